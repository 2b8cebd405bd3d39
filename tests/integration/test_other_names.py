"""What is called by another name - an aggregate, an operator, a type, a schema that was renamed - leaves nothing to other sessions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import ReachableCluster
from tests.support import messages
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

LEAVES = "set_config('my.leak', 'left', false)"
NODES = ("primary", "node=replica1", "node=replica2", "node=replica3")


@pytest.fixture(scope="module")
def names(cluster: ReachableCluster[Any]) -> Iterator[None]:
    with cluster.primary.connect("app", "app") as connection:
        connection.execute(
            f"""
            create schema named;
            create function named.leaves() returns text volatile language sql as $$select {LEAVES}$$;
            create aggregate named.sets(text, bool) (sfunc = set_config, stype = text, initcond = 'my.leak');
            create operator named.@@@ (function = pg_try_advisory_lock, leftarg = int, rightarg = int);
            create function named.unconforming() returns void language plpgsql
                set standard_conforming_strings = off
                as $$begin perform length('a\\'' || {LEAVES} || 'b'); -- '
                end$$;
            create function named.makes() returns void language plpgsql
                set search_path = pg_temp, public as 'begin create table made (a int); end';
            create domain named.checked as int check (named.leaves() is not null);
            create domain named.over as named.checked;
            create type named.composed as (a named.over);
            create function named.locks() returns bool volatile language sql
                as 'select pg_advisory_lock(7) is not null';
            create view named.locking as select named.locks();
            create schema hiding; create table hiding.t (a int);
            create view hiding.locking as select a from hiding.t;
            """
        )
        cluster.wait_until_replayed()
        yield
        connection.execute("drop schema named, hiding cascade")


@pytest.fixture
def narrow(cluster: ReachableCluster[Any], make_proxy: MakeProxy, names: None) -> Proxy:
    """A proxy whose sessions share one server a node, and that has read the catalog."""
    proxy = make_proxy(cluster, {"pool": {"size": 1}})
    with proxy.connect() as client:
        assert wait_until(lambda: "catalog_read" in proxy.log(), timeout=10)
        client.execute("select 1")
    return proxy


def undone(*texts: str) -> bytes:
    return (
        messages.query("begin")
        + b"".join(map(messages.query, texts))
        + messages.query("rollback")
    )


#: `set_config` is undone with its transaction; an advisory lock of the session is not.
LOCK = "select pg_advisory_lock(7)"
WAYS = {
    "an aggregate": messages.query("select named.sets('left', false)"),
    "an operator": messages.query("select 1 operator(named.@@@) 2"),
    "a function that is read otherwise": messages.query("select named.unconforming()"),
    "a function whose tables are temporary": messages.query("select named.makes()"),
    "a domain": messages.query("select '1'::named.over"),
    "its array": messages.query("select '{1}'::named._over"),
    "a type of it": messages.query("select '(1)'::named.composed"),
    "a schema that was renamed": undone(
        "create schema renamed",
        f"create function renamed.f() returns void volatile language sql as $${LOCK}$$",
        "alter schema named rename to other",
        "alter schema renamed rename to named",
        "select named.f()",
    ),
    "a view that was renamed": undone(
        "alter table named.locking rename to plain", "select * from named.plain"
    ),
    "a view that was hidden": undone("drop table hiding.t cascade", "select * from locking"),
    "a domain that was made": undone(
        "create domain named.locked as int check (named.locks())",
        "select '1'::named.locked",
    ),
    "a cast that was made": undone(
        "create type named.source as enum ('a')",
        f"create function named.cast(named.source) returns int volatile language sql as $${LOCK}; select 1$$",
        "create cast (named.source as int) with function named.cast(named.source)",
        "select 'a'::named.source::int",
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_it_leaves_is_nobody_elses(
    cluster: ReachableCluster[Any], narrow: Proxy, way: str
):
    for _ in range(3):
        with narrow.raw(options="-c search_path=hiding,named,public") as client:
            client.send(WAYS[way])
            for _ in range(WAYS[way].count(b"Q\0")):
                assert not [f for f in client.frames_until(b"Z") if f.code == b"E"]
        for node in NODES:
            with narrow.connect() as other:
                text = (
                    f"/* rwsplit: {node} */ select current_setting('my.leak', true), "
                    "to_regclass('pg_temp.made')::text"
                )
                assert other.execute(text).fetchone() in {(None, None), ("", None)}
    for node in cluster.nodes.values():
        with node.connect() as watcher:
            query = "select count(*) from pg_locks where locktype = 'advisory'"
            assert wait_until(lambda: watcher.execute(query).fetchone() == (0,), timeout=5)  # noqa: B023 - it is called here
