"""Functions and views of the application's own go where they belong, without configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import ReachableCluster
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

READ = "replica", "READ"

SCHEMA = """
create schema known;
create table known.t (a int, owner text);
insert into known.t values (1, 'app');
create unlogged table known.quick (a int);
create function known.steady() returns int language plpgsql stable as
  $$begin return (select max(a) from known.t); end$$;
create function known.loose() returns int language plpgsql as
  $$begin return (select max(a) from known.t); end$$;
create function known.writes() returns int language sql as
  $$insert into known.t values (1, 'x') returning a$$;
create function known.configures() returns text language plpgsql as
  $$begin perform set_config('known.mark', 'left', false); return 'set'; end$$;
create function known.configures_locally() returns text language plpgsql as
  $$begin perform set_config('known.mark', 'left', true); return 'set'; end$$;
create function known.steady_configures() returns text language plpgsql stable as
  $$begin perform set_config('known.mark', 'left', false); return 'set'; end$$;
create function known.wraps() returns text language plpgsql stable as
  $$begin return known.configures(); end$$;
create function known.dynamic() returns int language plpgsql as
  $$declare n int; begin execute 'select ' || 1 into n; return n; end$$;
create function known.spelt() returns int language plpgsql as
  $$declare n int; begin execute format('select a from known.%I', 't') into n; return n; end$$;
create function known.steady_spelt() returns text language plpgsql stable as
  $$declare n text; begin execute 'select set_config(''known.mark'', $1, false)' into n using 'left'; return n; end$$;
create function known.steady_opaque(q text) returns text language plpgsql stable as
  $$declare n text; begin execute q into n; return n; end$$;
create function known.atomic() returns int language sql begin atomic select known.writes(); end;
create function known.step(int, int) returns int language plpgsql as $$begin return $1; end$$;
create aggregate known.total(int) (sfunc = known.step, stype = int);
create function known.same(int, int) returns bool language plpgsql as $$begin return $1 = $2; end$$;
create operator known.=== (leftarg = int, rightarg = int, function = known.same);
create domain known.checked as int check (known.same(value, value));
create function known_label(known.t) returns text language plpgsql as $$begin return 'l'; end$$;
create function known.defaults(a int default known.writes()) returns int language sql stable as
  $$select a$$;
create view known.plain as select a from known.t;
create view known.setting as select set_config('known.mark', 'left', false) as m;
create view known.through as select m from known.setting;
create view known.over_quick as select a from known.quick;
create view known.over_loose as select known.loose() as a;
create view known.over_steady as select known.steady() as a;
create view known.locks as select a from known.t for update;
create view known.stats as select count(*) from pg_stat_activity;
create view known.role_of_the_node as select pg_is_in_recovery() as it;
create function known.is_a_standby() returns bool stable language plpgsql as
  $$begin return current_setting('in_hot_standby')::bool; end$$;
create table known.parted (a int) partition by list (a);
create table known.parted_1 partition of known.parted for values in (1);
create unlogged table known.parted_2 partition of known.parted for values in (2);
create table known.guarded (a int);
alter table known.guarded enable row level security;
create policy p on known.guarded using (known.same(a, a));
create schema left_ones; create schema right_ones;
create function left_ones.chosen() returns text language sql stable as $$select 'left'$$;
create function right_ones.chosen() returns text language plpgsql as $$begin return 'right'; end$$;
create table left_ones.place (a int);
create unlogged table right_ones.place (a int);
"""


@pytest.fixture(scope="module")
def schema(cluster: ReachableCluster[Any]) -> Iterator[None]:
    with cluster.primary.connect("app", "app") as connection:
        connection.execute(SCHEMA)
        cluster.wait_until_replayed()
        yield
        connection.execute("drop schema known, left_ones, right_ones cascade")


@pytest.fixture(scope="module")
def knowing(
    cluster: ReachableCluster[Any], schema: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A proxy that has read the catalog of `app`."""
    with (
        Proxy(cluster, tmp_path_factory.mktemp("knowing")) as running,
        running.connect(),
    ):
        assert wait_until(lambda: has_read(running, "app"), timeout=10), running.log_tail()
        yield running


def has_read(proxy: Proxy, database: str) -> bool:
    return any(
        "catalog_read" in line and f"database={database} " in line
        for line in proxy.log().splitlines()
    )


def route(connection: psycopg.Connection[Any], statement: Any) -> tuple[str, str]:
    """Run *statement*; return the kind of node it is for, and why."""
    connection.execute(statement)
    return last_route(connection)


def last_route(connection: psycopg.Connection[Any]) -> tuple[str, str]:
    [(text,)] = connection.execute("show rwsplit.last_route").fetchall()
    node, _, rest = text.partition(" ")
    reason = rest.partition(":")[0]
    if reason in {"READ", "NO_FRESH_REPLICA", "WAITED_FOR_REPLICA"}:
        return READ  # wherever its session has to read just now
    if reason == "IN_TRANSACTION":
        return node, reason
    assert node == "primary"
    return node, reason


def pin(connection: psycopg.Connection[Any]) -> str:
    [(text,)] = connection.execute("show rwsplit.pinned").fetchall()
    return str(text)


def becomes(wanted: Any, look: Callable[[], Any]) -> bool:
    return bool(wait_until(lambda: look() == wanted, timeout=10))


@pytest.mark.parametrize(
    "statement",
    [
        "select known.steady()",
        "select * from known.plain",
        "select * from known.over_steady",
        "select * from known.parted_1",
        "copy (select known.steady()) to stdout",
    ],
)
def test_what_only_reads_goes_to_a_replica(knowing: Proxy, statement: str):
    with knowing.connect(prepare_threshold=None) as connection:
        if statement.startswith("copy"):
            with connection.cursor().copy(statement) as copy:  # type: ignore[call-overload]
                assert list(copy)
            assert last_route(connection) == READ
        else:
            assert route(connection, statement) == READ


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("select known.loose()", "VOLATILE_FUNCTION"),
        ("select known.writes()", "VOLATILE_FUNCTION"),
        ("select known.atomic()", "VOLATILE_FUNCTION"),
        ("select known.spelt()", "VOLATILE_FUNCTION"),
        ("select known.configures_locally()", "VOLATILE_FUNCTION"),
        ("select known.total(1)", "VOLATILE_FUNCTION"),
        ("select 1 operator(known.===) 1", "VOLATILE_FUNCTION"),
        ("select 1::known.checked", "VOLATILE_FUNCTION"),
        ("select t.known_label from known.t", "VOLATILE_FUNCTION"),
        ("select known.defaults()", "VOLATILE_FUNCTION"),
        ("select * from known.over_loose", "VOLATILE_FUNCTION"),
        ("select * from known.guarded", "VOLATILE_FUNCTION"),
        ("select * from known.locks", "LOCKS_ROWS"),
        ("select * from known.quick", "NEEDS_PRIMARY"),
        ("select * from known.over_quick", "NEEDS_PRIMARY"),
        ("select * from known.parted", "NEEDS_PRIMARY"),
        ("select * from known.stats", "NEEDS_PRIMARY"),
        ("select * from known.role_of_the_node", "NODE_ROLE"),
        ("select known.is_a_standby()", "NODE_ROLE"),
    ],
)
def test_what_does_not_goes_to_the_primary_and_pins_nobody(
    knowing: Proxy, statement: str, reason: str
):
    with knowing.connect(prepare_threshold=None) as connection:
        assert route(connection, statement) == ("primary", reason)
        assert pin(connection) == "no"


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("select known.configures()", "parameter"),
        ("select known.steady_configures()", "parameter"),
        ("select known.wraps()", "parameter"),
        ("select * from known.setting", "parameter"),
        ("select * from known.through", "parameter"),
        ("insert into known.t (owner) select m from known.through", "parameter"),
        ("select known.dynamic()", "function"),
        ("select known.steady_spelt()", "parameter"),
        (
            "select known.steady_opaque($$select set_config('known.mark', 'left', false)$$)",
            "function",
        ),
    ],
)
def test_what_leaves_session_state_pins_its_session(
    knowing: Proxy, statement: str, reason: str
):
    with knowing.connect(prepare_threshold=None) as connection:
        assert route(connection, statement)[0] == "primary"
        assert reason in pin(connection)
        if reason == "SET":
            mark = "select current_setting('known.mark', true)"
            assert connection.execute(mark).fetchone() == ("left",)
    with knowing.connect() as stranger:
        for _ in range(5):
            mark = (
                "/* rwsplit: primary */ select nullif(current_setting('known.mark', true), '')"
            )
            assert stranger.execute(mark).fetchone() == (None,)


def test_prepared_statements_are_judged_alike(knowing: Proxy):
    with knowing.connect(prepare_threshold=0) as connection:
        for _ in range(2):
            assert route(connection, "select known.steady()") == READ
            assert route(connection, "select known.loose()") == ("primary", "VOLATILE_FUNCTION")
        assert pin(connection) == "no"


def test_the_search_path_chooses_between_functions_of_one_name(knowing: Proxy):
    statement = "select chosen()"
    with (
        knowing.connect(options="-c search_path=left_ones") as left,
        knowing.connect(options="-c search_path=right_ones,public") as right,
    ):
        for _ in range(7):  # psycopg prepares it by then
            assert left.execute(statement).fetchone() == ("left",)
            assert route(left, statement) == READ
            assert right.execute(statement).fetchone() == ("right",)
            assert route(right, statement) == ("primary", "VOLATILE_FUNCTION")
            assert route(left, "select * from place") == READ
            assert route(right, "select * from place") == ("primary", "NEEDS_PRIMARY")
        assert pin(left) == pin(right) == "no"


def test_a_search_path_of_a_transaction_counts(knowing: Proxy):
    with knowing.connect(
        options="-c search_path=left_ones", prepare_threshold=None
    ) as connection:
        with connection.transaction():
            assert connection.execute("select chosen()").fetchone() == ("left",)
            assert last_route(connection)[0] != "primary"
            connection.execute("set local search_path = right_ones")
            assert connection.execute("select chosen()").fetchone() == ("right",)
        assert connection.execute("select chosen()").fetchone() == ("left",)
        assert pin(connection) == "no"


def test_a_role_starts_with_the_search_path_it_has(
    cluster: ReachableCluster[Any], knowing: Proxy
):
    if "known_other" not in cluster.passwords:
        cluster.add_user("known_other", "other")
    with cluster.primary.connect("app") as connection:
        connection.execute("alter role known_other in database app set search_path = left_ones")
        connection.execute("grant usage on schema left_ones to known_other")
    cluster.write_userlist(knowing.userlist)
    cluster.wait_until_replayed()
    knowing.reload()

    def fresh() -> tuple[str, str]:
        with knowing.connect(user="known_other") as connection:
            return route(connection, "select chosen()")

    assert becomes(READ, fresh)


def test_ddl_shows_at_once(knowing: Proxy):
    volatile = "create or replace function known.young() returns int language plpgsql as 'begin return 2; end'"
    with (
        knowing.connect(prepare_threshold=0) as one,
        knowing.connect(prepare_threshold=0) as other,
    ):
        one.execute(
            "create function known.young() returns int language sql stable as 'select 1'"
        )
        try:
            assert route(one, "select known.young()")[0] == "primary"  # unknown for a moment
            one.execute("discard all")

            def fresh() -> tuple[str, str]:
                with knowing.connect() as another:
                    return route(another, "select known.young()")

            assert becomes(READ, fresh)
            assert route(other, "select known.young()") == READ
            for _ in range(3):
                assert other.execute("select known.young()").fetchone() == (1,)
            one.execute(volatile)
            assert other.execute("select known.young()").fetchone() == (2,)
            assert route(other, "select known.young()")[0] == "primary"
            assert becomes(("primary", "VOLATILE_FUNCTION"), fresh)
        finally:
            one.execute("drop function known.young()")


def test_ddl_in_a_transaction_counts_when_it_is_committed(knowing: Proxy):
    with knowing.connect(prepare_threshold=None) as one, knowing.connect() as other:
        with one.transaction():
            one.execute("create view known.young_view as select known.steady() as a")
            with pytest.raises(psycopg.errors.UndefinedTable):
                other.execute("select * from known.young_view")
        try:

            def fresh() -> tuple[str, str]:
                with knowing.connect() as another:
                    return route(another, "select * from known.young_view")

            assert fresh()[0] in {"primary", "replica"}
            assert becomes(READ, fresh)
            one.execute(
                "create or replace view known.young_view as select known.configures()::int as a"
                " where false"
            )
            assert route(other, "select * from known.young_view")[0] == "primary"
            assert pin(other) != "no"
            assert becomes(("primary", "SESSION_STATE"), fresh)
        finally:
            one.execute("drop view known.young_view")


def test_temporary_tables_are_no_news(knowing: Proxy):
    with knowing.connect(prepare_threshold=None) as one, knowing.connect() as other:
        one.execute("create temp table known_temporary (a int)")
        assert route(other, "select known.steady()") == READ


def test_the_operators_patterns_have_the_last_word(
    cluster: ReachableCluster[Any], knowing: Proxy
):
    with knowing.connect(prepare_threshold=None) as connection:
        assert route(connection, "select known.loose()")[0] == "primary"
        try:
            knowing.reload({"routing": {"functions": {"reads": ["known.loose"]}}})
            assert route(connection, "select known.loose()") == READ
            look = "select * from known.over_loose"
            assert becomes(READ, lambda: route(connection, look))
        finally:
            knowing.reload({"routing": {"functions": {"reads": []}}})


def test_explain_knows_the_catalog_of_the_only_database(knowing: Proxy):
    with knowing.connect():
        rows = knowing.console("EXPLAIN ROUTE 'select known.steady()'")
        assert {row["name"]: row["value"] for row in rows}["reason"] == "READ"
        rows = knowing.console("EXPLAIN ROUTE 'select * from known.over_quick'")
        assert {row["name"]: row["value"] for row in rows}["reason"] == "NEEDS_PRIMARY"


def test_foreign_tables_are_read_on_the_primary(cluster: ReachableCluster[Any], knowing: Proxy):
    with cluster.primary.connect("app") as connection:
        connection.execute(
            "create foreign data wrapper known_wrapper; create server known_server "
            "foreign data wrapper known_wrapper; create foreign table known.far (a int) "
            "server known_server; grant select on known.far to app"
        )
        try:
            knowing.console("RELOAD")

            def fresh() -> str:
                with knowing.connect(prepare_threshold=None) as another:
                    with pytest.raises(psycopg.Error, match="no handler"):
                        another.execute("select * from known.far")
                    [(text,)] = another.execute("show rwsplit.last_route").fetchall()
                    return str(text).partition(":")[0]

            assert becomes("primary NEEDS_PRIMARY", fresh)
        finally:
            connection.execute("drop foreign data wrapper known_wrapper cascade")


def test_databases_have_catalogs_of_their_own(cluster: ReachableCluster[Any], knowing: Proxy):
    with cluster.primary.connect("postgres") as connection:
        connection.execute("create database known_too owner app")
        connection.execute("create database known_not owner app")
        connection.execute("revoke connect on database known_not from public")
    try:
        for database in ("known_too", "known_not"):
            with cluster.primary.connect(database, "app") as connection:
                connection.execute("create schema known")
                connection.execute(
                    "create function known.steady() returns int language plpgsql as 'begin return 7; end'"
                )
        cluster.wait_until_replayed()
        with (
            knowing.connect("known_too", prepare_threshold=None) as too,
            knowing.connect("known_not", prepare_threshold=None) as unread,
            knowing.connect(prepare_threshold=None) as app,
        ):
            assert wait_until(lambda: has_read(knowing, "known_too"), timeout=10)
            assert route(too, "select known.steady()") == ("primary", "VOLATILE_FUNCTION")
            assert pin(too) == "no"
            assert route(app, "select known.steady()") == READ
            assert wait_until(lambda: "catalog_unavailable" in knowing.log(), timeout=10)
            assert route(unread, "select known.steady()") == ("primary", "UNKNOWN_FUNCTION")
            assert pin(unread) != "no"
            unread.execute("create table t (a int)")
            knowing.console("RELOAD")
            unread.execute("drop table t")
        said = [line for line in knowing.log().splitlines() if "catalog_unavailable" in line]
        assert len(said) == 1
        assert "known_not" in said[0]
    finally:
        with cluster.primary.connect("postgres") as connection:
            connection.execute("drop database known_too with (force)")
            connection.execute("drop database known_not with (force)")


def test_a_database_that_is_dropped_is_no_warning(
    cluster: ReachableCluster[Any], knowing: Proxy
):
    with cluster.primary.connect("postgres") as connection:
        connection.execute("create database known_dropped owner app")
        try:
            cluster.wait_until_replayed()
            with knowing.connect("known_dropped", prepare_threshold=None):
                assert wait_until(lambda: has_read(knowing, "known_dropped"), timeout=10)
                connection.execute("drop database known_dropped with (force)")
                knowing.console("RELOAD")
                assert wait_until(lambda: told_of("known_dropped", knowing)[1:], timeout=10)
        finally:
            connection.execute("drop database if exists known_dropped with (force)")
    assert [line for line in told_of("known_dropped", knowing) if "warning" in line] == []
    assert "database_gone" in told_of("known_dropped", knowing)[1]


def told_of(database: str, proxy: Proxy) -> list[str]:
    """Return the lines of the log about the catalog of *database*."""
    ours = ("catalog_read", "catalog_unavailable", "database_gone")
    lines = [line for line in proxy.log().splitlines() if database in line]
    return [line for line in lines if any(event in line for event in ours)]


def test_it_can_be_turned_off(cluster: ReachableCluster[Any], schema: None, make_proxy: Any):
    proxy = make_proxy(cluster, {"monitor": {"catalog_interval": 0}})
    with proxy.connect(prepare_threshold=None) as connection:
        assert route(connection, "select known.steady()") == ("primary", "UNKNOWN_FUNCTION")
        connection.execute("discard all")
        proxy.reload({"monitor": {"catalog_interval": "1s"}})
        assert wait_until(lambda: has_read(proxy, "app"), timeout=10)
        assert route(connection, "select known.steady()") == READ
        proxy.reload({"monitor": {"catalog_interval": 0}})
        assert becomes(
            ("primary", "UNKNOWN_FUNCTION"), lambda: route(connection, "select known.steady()")
        )
