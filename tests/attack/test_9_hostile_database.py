"""The owner of a database cannot have rwsplit run anything: neither as the monitor's role nor as a client of that database.

The database has a schema full of traps in front of pg_catalog: views, functions, operators and types of the names that
rwsplit's own questions use, each of which leaves a line in PostgreSQL's log. (The class of CVE-2018-1058 and CVE-2025-12819.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.node import EmbeddedNode
from rwsplit.embedded.processes import wait_until
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy
from tests.unit.test_own_sql import constants, put_together

pytestmark = pytest.mark.integration

DATABASE = "hostile"
SPRUNG = "a trap was sprung"

MAKE_TRAPS = """
create schema trap;
create function trap.spring(what pg_catalog.text) returns pg_catalog.bool language plpgsql volatile as $$
begin raise log 'a trap was sprung: % as %', what, current_user; return true; end $$;
grant usage on schema trap to public;

-- Relations: every view and table of the names in use, as a view of the real one.
do $do$
declare name pg_catalog.text; columns pg_catalog.text;
begin
    foreach name in array RELATIONS loop
        begin
            -- No view has a column of a pseudo-type, as pg_attribute has.
            select pg_catalog.string_agg(pg_catalog.format('r.%I', attname), ', ') into columns
              from pg_catalog.pg_attribute
             where attrelid = ('pg_catalog.' || name)::pg_catalog.regclass and attnum > 0 and atttypid <> 'anyarray'::pg_catalog.regtype;
            execute pg_catalog.format(
                'create view trap.%1$I as select %2$s from pg_catalog.%1$I r where trap.spring(%1$L)', name, columns);
            execute pg_catalog.format('grant select on trap.%I to public', name);
        exception when undefined_table or insufficient_privilege then null;
        end;
    end loop;
end $do$;

-- Functions: with the same arguments, so that the search path alone decides.
do $do$
declare p record;
begin
    for p in select oid, proname, prorettype, pronargs, proretset,
                    pg_catalog.pg_get_function_identity_arguments(oid) as arguments
               from pg_catalog.pg_proc
              where pronamespace = 'pg_catalog'::pg_catalog.regnamespace and prokind = 'f' and provariadic = 0
                and proname = any (FUNCTIONS)
    loop
        begin
            execute pg_catalog.format(
                'create function trap.%I(%s) returns %s%s language plpgsql volatile as $f$'
                ' begin perform trap.spring(%L); return%s; end $f$',
                p.proname, p.arguments, case when p.proretset then 'setof ' else '' end,
                p.prorettype::pg_catalog.regtype, p.proname,
                case when p.proretset or p.prorettype::pg_catalog.regtype::pg_catalog.text = 'void'
                     then '' else ' null' end);
        exception when others then null;  -- those with OUT arguments, pseudo-types
        end;
    end loop;
end $do$;

-- Operators: of every pair of the types in use.
do $do$
declare o record;
begin
    for o in select oid, oprname, oprleft::pg_catalog.regtype as l, oprright::pg_catalog.regtype as r,
                    oprresult::pg_catalog.regtype as res
               from pg_catalog.pg_operator
              where oprname in ('=', '<>', '>=', '~~', '!~', '&&', '||', '-', '+', '*') and oprleft <> 0
                and oprleft::pg_catalog.regtype::pg_catalog.text in
                    ('text', 'name', 'oid', 'integer', 'bigint', '"char"', 'timestamp with time zone', 'pg_lsn', 'anyarray')
    loop
        begin
            execute pg_catalog.format(
                'create function trap.op%s(%s, %s) returns %s language plpgsql volatile as $f$'
                ' begin perform trap.spring(%L); return $1 operator(pg_catalog.%s) $2; end $f$',
                o.oid, o.l, o.r, o.res, o.oprname, o.oprname);
            execute pg_catalog.format(
                'create operator trap.%s (function = trap.op%s, leftarg = %s, rightarg = %s)',
                o.oprname, o.oid, o.l, o.r);
        exception when others then null;
        end;
    end loop;
end $do$;

create domain trap.oid as pg_catalog.oid check (trap.spring('oid'));
create domain trap.text as pg_catalog.text check (trap.spring('text'));
create domain trap.name as pg_catalog.name check (trap.spring('name'));
create domain trap.int8 as pg_catalog.int8 check (trap.spring('int8'));
create domain trap.float8 as pg_catalog.float8 check (trap.spring('float8'));

create function trap.ours(a pg_catalog.refcursor default 'x') returns pg_catalog.int4 language sql as 'select 1';
create table trap.kept (n pg_catalog.int4);
create view trap.seen as select n from trap.kept;
"""
#: What may be decided about sessions of the monitor's role there; of a database, its owner decides.
DECIDED = (
    "search_path = trap, pg_catalog, public",
    "default_transaction_isolation = serializable",
    "client_min_messages = debug1",
    "standard_conforming_strings = off",
    "statement_timeout = '1ms'",
    "lock_timeout = '1ms'",
)


def names_in_use() -> tuple[list[str], list[str]]:
    """Return the relations and the functions that rwsplit's own SQL mentions."""
    texts = " ".join([*constants().values(), *(text for _, text in put_together())])
    functions = set(re.findall(r"pg_catalog\.(\w+)\(", texts))
    return sorted(set(re.findall(r"pg_catalog\.(pg_\w+)", texts)) - functions), sorted(
        functions
    )


def _array(names: list[str]) -> str:
    return f"'{{{','.join(names)}}}'::pg_catalog.text[]"


def sprung(nodes: list[EmbeddedNode], marks: list[int]) -> list[str]:
    """Return the traps that were sprung since the logs had the lengths *marks*."""
    found = []
    for node, mark in zip(nodes, marks, strict=True):
        text = node.log.read_text(errors="replace")[mark:]
        found += [f"{node.name}: {line}" for line in text.splitlines() if SPRUNG in line]
    return found


def lengths(nodes: list[EmbeddedNode]) -> list[int]:
    return [len(node.log.read_text(errors="replace")) for node in nodes]


@pytest.fixture
def hostile(cluster: EmbeddedCluster) -> Iterator[str]:
    """A database whose owner, no superuser, has laid traps for whoever comes."""
    relations, functions = names_in_use()
    with cluster.primary.connect("postgres") as admin:
        admin.execute(f"create database {DATABASE} owner app")
        try:
            traps = MAKE_TRAPS.replace("RELATIONS", _array(relations))
            with cluster.primary.connect(DATABASE, "app") as owner:
                owner.execute("set search_path = pg_catalog")
                owner.execute(traps.replace("FUNCTIONS", _array(functions)).encode())
                owner.execute(f"alter database {DATABASE} set {DECIDED[0]}".encode())
            # What a superuser, or one with CREATEROLE, may have been talked into.
            for setting in DECIDED:
                admin.execute(
                    f"alter role rwsplit in database {DATABASE} set {setting}".encode()
                )
            cluster.wait_until_replayed()
            yield DATABASE
        finally:
            admin.execute(f"drop database {DATABASE} with (force)")


def test_the_traps_are_traps(cluster: EmbeddedCluster, hostile: str):
    """For whoever asks as rwsplit used to."""
    nodes = [cluster.primary]
    for question in (
        "select reset_val from pg_settings where name = 'search_path'",
        "select lower('A')",
        "select 1 where 'a'::pg_catalog.text = 'a'::pg_catalog.text",
        "select 'a'::text",
        "select 1 from pg_catalog.pg_class where relkind in ('r') limit 1",
    ):
        marks = lengths(nodes)
        for user in ("rwsplit", "postgres"):
            patient = "-c statement_timeout=0"
            with cluster.primary.connect(hostile, user, options=patient) as victim:
                victim.execute(question.encode())
        assert wait_until(lambda marks=marks: len(sprung(nodes, marks)) >= 2, timeout=10), (
            question
        )


def test_nothing_of_ours_steps_into_one(
    cluster: EmbeddedCluster, make_proxy: MakeProxy, hostile: str
):
    nodes = list(cluster.nodes.values())
    marks = lengths(nodes)
    settings = {"monitor": {"database": hostile, "catalog_interval": "200ms"}}
    proxy = make_proxy(cluster, settings)
    # The probes of every node have been here, or they would not be up.
    assert proxy.has_all_nodes_up()
    with proxy.connect(hostile, "postgres", prepare_threshold=None) as client:
        _let_rwsplit_ask(client)
        assert wait_until(lambda: catalog_reads(proxy, hostile), timeout=20), proxy.log_tail()
        # Whether there is such a database is asked over the monitor's database, which is this one.
        proxy.console("RECONNECT hostile")
        with pytest.raises(psycopg.Error, match="there is no database"):
            proxy.console("RECONNECT nowhere")
        _let_rwsplit_ask(client)
    assert sprung(nodes, marks) == []
    # The view is known, although the search path there leads elsewhere.
    with proxy.connect(hostile, "postgres", prepare_threshold=None) as client:
        assert wait_until(lambda: _route_of_view(client).startswith("replica"), timeout=20), (
            _route_of_view(client),
            proxy.log_tail(),
        )
    assert proxy.stop() == 0
    assert sprung(nodes, marks) == []


def _let_rwsplit_ask(client: psycopg.Connection[tuple[object, ...]]) -> None:
    """Do what gives rise to questions of rwsplit's own on the server of *client*, and nothing that uses a name."""
    client.execute("select 1")
    client.execute("set work_mem = '2MB'")
    client.execute("set my.own = 'x'")
    client.execute("reset work_mem")
    client.execute("listen news")
    client.execute("unlisten *")
    client.execute("create temp table kept_here (n pg_catalog.int4)")
    client.execute("drop table kept_here")
    client.execute("select pg_catalog.pg_advisory_lock(1)")
    client.execute("select pg_catalog.pg_advisory_unlock(1)")
    client.execute(
        "do 'begin perform pg_catalog.set_config(''work_mem'', ''3MB'', false); end'"
    )
    client.execute("begin")
    client.execute("select 1")
    client.execute("commit")
    client.execute("reset all")


def _route_of_view(client: psycopg.Connection[tuple[object, ...]]) -> str:
    client.execute("select n from trap.seen")
    [(route,)] = client.execute("show rwsplit.last_route").fetchall()
    return str(route)


def catalog_reads(proxy: Proxy, database: str) -> bool:
    return any("catalog_read" in line and database in line for line in proxy.log().splitlines())


def test_a_promotion_steps_into_none(
    cluster: EmbeddedCluster, make_proxy: MakeProxy, hostile: str
):
    """It is refused, as the primary is there; but every node has been asked before that."""
    nodes = list(cluster.nodes.values())
    proxy = make_proxy(cluster, {"monitor": {"database": hostile}})
    marks = lengths(nodes)
    with pytest.raises(psycopg.Error, match=r"is still up|may not promote"):
        proxy.console("PROMOTE NODE replica1")
    assert proxy.stop() == 0
    assert sprung(nodes, marks) == []
