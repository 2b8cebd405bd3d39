"""Which node runs what: by the nodes' own logs, by pgbench's counts, by what rwsplit says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import ReachableCluster
from tests.support.proxy import Proxy
from tests.support.traffic import StatementLog

pytestmark = pytest.mark.integration

REPLICAS = {"replica1", "replica2", "replica3"}


@pytest.fixture(scope="module")
def guided(
    cluster: ReachableCluster[Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A proxy that was told what some functions do, and some rules."""
    settings = {
        "routing": {
            "functions": {"reads": ["said_to_read*"], "writes": ["said_to_write"]},
            "rules": [
                {"to": "primary", "table": "routed_hot"},
                {"to": "node:replica2", "application_name": "reports*"},
                {"to": "replica", "function": "trusted"},
            ],
        },
    }
    with Proxy(cluster, tmp_path_factory.mktemp("guided"), settings) as running:
        yield running


@pytest.fixture(scope="module")
def schema(cluster: ReachableCluster[Any]) -> Iterator[None]:
    with cluster.primary.connect("app", "app") as connection:
        connection.execute(
            """
            create table routed (a int);
            create table routed_hot (a int);
            create sequence routed_numbers;
            create function said_to_read() returns int language plpgsql as
              $$begin insert into routed values (1); return 1; end$$;
            create function said_to_read_truly() returns bool language plpgsql as
              $$begin return pg_is_in_recovery(); end$$;
            create function said_to_write() returns bool language sql stable as
              $$select pg_is_in_recovery()$$;
            create function trusted() returns bool language plpgsql volatile as
              $$begin return pg_is_in_recovery(); end$$;
            create function writes_quietly() returns int language plpgsql stable as
              $$begin perform said_to_read(); return 2; end$$;
            """
        )
        cluster.wait_until_replayed()
        yield
        connection.execute(
            "drop function said_to_read, said_to_read_truly, said_to_write, trusted, writes_quietly;"
            "drop table routed, routed_hot; drop sequence routed_numbers"
        )


@pytest.fixture
def connection(guided: Proxy, schema: None) -> Iterator[psycopg.Connection[Any]]:
    with guided.connect(prepare_threshold=None) as made:
        yield made


def last_route(connection: psycopg.Connection[Any]) -> tuple[str, str]:
    """Return node and reason of the previous statement."""
    [(text,)] = connection.execute("show rwsplit.last_route").fetchall()
    node, _, rest = text.partition(" ")
    return node, rest.partition(":")[0]


def route(connection: psycopg.Connection[Any], statement: Any) -> tuple[str, str]:
    connection.execute(statement)
    return last_route(connection)


@pytest.mark.parametrize(
    "statement",
    [
        "select 1",
        "values (1)",
        "table routed",
        "with x as (select 1) select * from x",
        "copy (select 1) to stdout",
        "explain select * from routed",
        "show work_mem",
        "select now(), version()",
        "select count(*) from pg_class",
        "select 1; select 2",
    ],
)
def test_reads_go_to_a_replica(proxy: Proxy, schema: None, statement: str):
    with proxy.connect(cursor_factory=psycopg.ClientCursor) as connection:
        cursor = connection.cursor()
        if statement.startswith("copy"):
            with cursor.copy(statement) as copy:
                list(copy)
        else:
            cursor.execute(statement)
        node, reason = last_route(connection)
    assert node in REPLICAS
    assert reason == "READ"


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("insert into routed values (0)", "MAY_WRITE"),
        ("update routed set a = 2 where false", "MAY_WRITE"),
        ("delete from routed where false", "MAY_WRITE"),
        (
            "merge into routed using (select 1 as b) s on false when not matched then do nothing",
            "MAY_WRITE",
        ),
        ("with x as (insert into routed values (0) returning a) select * from x", "MAY_WRITE"),
        ("select * from routed for update", "LOCKS_ROWS"),
        ("select * from routed for key share", "LOCKS_ROWS"),
        ("select pg_advisory_xact_lock(4)", "NEEDS_PRIMARY"),
        ("select pg_current_wal_lsn()", "NEEDS_PRIMARY"),
        ("select nextval('routed_numbers')", "VOLATILE_FUNCTION"),
        ("select said_to_write()", None),
        ("explain analyze insert into routed values (0)", "MAY_WRITE"),
        ("create table routed_new (); drop table routed_new", "MAY_WRITE"),
        ("select * into routed_into from routed; drop table routed_into", "MAY_WRITE"),
        ("truncate routed_hot", "MAY_WRITE"),
        ("do $$begin end$$", "MAY_WRITE"),
        ("analyze routed", "MAY_WRITE"),
        ("notify routed", "MAY_WRITE"),
        ("select 1; insert into routed values (0)", "MAY_WRITE"),
        ("set local work_mem = '1MB'", "SESSION_STATE"),
    ],
)
def test_everything_else_goes_to_the_primary(
    guided: Proxy, schema: None, statement: str, reason: str | None
):
    with guided.connect(cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute(statement)
        node, found = last_route(connection)
    assert node == "primary"
    assert reason is None or found == reason


def test_the_nodes_logs_agree(cluster: EmbeddedCluster, proxy: Proxy, schema: None):
    with StatementLog(cluster) as executed, proxy.connect() as connection:
        for number in range(30):
            connection.execute(f"select {number} as spread_evenly", prepare=False)
            connection.execute(f"insert into routed values ({number})", prepare=False)
            connection.execute("select %s::int as prepared_read", (number,), prepare=True)
    writes = executed.where("insert into routed values")
    assert writes == {"primary": 30}
    reads = executed.where("spread_evenly")
    assert sum(reads.values()) == 30


def test_hints_are_followed_where_postgresql_would_not_refuse(
    connection: psycopg.Connection[Any],
):
    assert route(connection, "/* rwsplit: primary */ select 1") == ("primary", "HINT")
    assert route(connection, "/* rwsplit: node=replica2 */ select 1") == ("replica2", "HINT")
    assert route(connection, "select /* rwsplit: node=replica3 */ 1") == ("replica3", "HINT")
    node, reason = route(connection, "/* rwsplit: replica */ insert into routed values (1)")
    assert (node, reason) == ("primary", "MAY_WRITE")
    node, reason = route(
        connection, "/* rwsplit: node=replica2 */ insert into routed values (1)"
    )
    assert (node, reason) == ("primary", "MAY_WRITE")
    assert connection.execute("select 1").fetchone() == (1,)


def test_a_hint_leads_an_unknown_function_to_a_replica(guided: Proxy, schema: None):
    with guided.connect() as connection:
        node, reason = route(connection, "/* rwsplit: replica */ select said_to_read_truly()")
        assert (node in REPLICAS, reason) == (True, "HINT")


def test_set_rwsplit_route_lasts_until_it_is_changed(guided: Proxy, schema: None):
    with guided.connect() as connection:
        connection.execute("set rwsplit.route = 'primary'")
        for _ in range(7):  # psycopg prepares it by then
            assert route(connection, "select 1") == ("primary", "SESSION_ROUTE")
        connection.execute("set rwsplit.route to 'auto'")
        assert connection.execute("show rwsplit.route").fetchone() == ("auto",)
        with pytest.raises(
            psycopg.errors.InvalidParameterValue, match="Available values: auto"
        ):
            connection.execute("set rwsplit.route = 'elsewhere'")
        with pytest.raises(psycopg.errors.UndefinedObject):
            connection.execute("show rwsplit.nothing")
        connection.execute("set rwsplit.route = 'primary'")
        connection.execute("reset rwsplit.route")
        assert connection.execute("show rwsplit.route").fetchone() == ("auto",)


def test_a_startup_option_sets_the_route(guided: Proxy):
    with guided.connect(options="-c rwsplit.route=primary -c work_mem=5MB") as connection:
        assert route(connection, "select 1") == ("primary", "SESSION_ROUTE")
        assert connection.execute("show work_mem").fetchone() == ("5MB",)
    with pytest.raises(psycopg.OperationalError, match=r"rwsplit\.route"):
        guided.connect(options="-c rwsplit.route=elsewhere")


def test_a_read_that_writes_after_all_heals_and_is_remembered(guided: Proxy, schema: None):
    read = "select said_to_read()"

    def rows() -> int:
        [(count,)] = guided.cluster.primary.query("select count(*) from routed", database="app")
        return int(count)

    def is_remembered() -> bool:
        before = rows()
        with guided.connect(prepare_threshold=None) as connection:
            assert connection.execute(read).fetchone() == (1,)  # type: ignore[call-overload]
            healed = last_route(connection) == ("primary", "RETRIED_READ_ONLY")
            learned = route(connection, read) == ("primary", "LEARNED_WRITE")
        assert rows() == before + 2
        return healed and learned

    # What was learned is forgotten when the catalog is read, which it may be in between.
    assert any(is_remembered() for _ in range(5))


def test_what_the_primary_refuses_as_well_is_not_remembered(guided: Proxy, schema: None):
    day = "select date_trunc('day', timestamp '2020-01-01 10:00')"
    for _ in range(2):
        with guided.connect(prepare_threshold=None) as connection:
            assert route(connection, day)[1] == "READ"
            with pytest.raises(psycopg.errors.FeatureNotSupported):
                connection.execute(day.replace("day", "timezone"))  # type: ignore[call-overload]
            assert last_route(connection) == ("primary", "RETRIED_READ_ONLY")


def test_healing_works_by_the_extended_protocol_and_for_wrong_volatilities(
    guided: Proxy, schema: None
):
    # It may not know yet what was created past it; an unknown function fails on the replica that was asked for.
    assert wait_until(lambda: is_healed(guided), timeout=10)
    with guided.connect(prepare_threshold=0) as connection:
        query = "/* rwsplit: replica */ select writes_quietly() + %s"
        assert connection.execute(query, (1,)).fetchone() == (3,)
        assert connection.execute(query, (2,)).fetchone() == (4,)
        # A second session, a pipeline of its own.
    with guided.connect() as connection, connection.pipeline():
        cursors = [connection.execute("select said_to_read() + %s", (n,)) for n in range(5)]
        assert [cursor.fetchone() for cursor in cursors] == [(n + 1,) for n in range(5)]


def is_healed(proxy: Proxy) -> bool:
    with proxy.connect() as connection:
        try:
            connection.execute("/* rwsplit: replica */ select writes_quietly()")
        except psycopg.errors.ReadOnlySqlTransaction:
            return False
    return True


def test_functions_may_be_declared_as_reading_or_writing(guided: Proxy, schema: None):
    with guided.connect() as connection:
        assert connection.execute("select said_to_read_truly()").fetchone() == (True,)
        assert connection.execute("select said_to_write()").fetchone() == (False,)


def test_rules_lead_by_table_function_and_application(guided: Proxy, schema: None):
    with guided.connect(application_name="reports-nightly") as connection:
        assert route(connection, "select 1") == ("replica2", "RULE")
        node, reason = route(connection, "insert into routed values (1)")
        assert (node, reason) == ("primary", "MAY_WRITE")
    with guided.connect() as connection:
        node, reason = route(connection, "select trusted()")
        assert (node in REPLICAS, reason) == (True, "RULE")
        assert route(connection, "select * from routed_hot") == ("primary", "RULE")


def test_a_table_just_made_is_found_by_another_session(
    proxy: Proxy, cluster: ReachableCluster[Any]
):
    with proxy.connect() as one, proxy.connect() as other:
        for _ in range(10):
            one.execute("create table routed_young (a int)")
            # A replica that has not replayed it yet answers 42P01: the primary's word is final.
            assert other.execute("select count(*) from routed_young").fetchone() == (0,)
            one.execute("drop table routed_young")
        # At level `session` a replica may still show another session's table for as long as it is late.
        cluster.wait_until_replayed()
        with pytest.raises(psycopg.errors.UndefinedTable):
            other.execute("select count(*) from routed_young")


def test_sequences_of_a_session(proxy: Proxy, cluster: ReachableCluster[Any]):
    with proxy.connect() as one, proxy.connect() as other:
        one.execute("create sequence routed_sequence")
        try:
            assert one.execute("select nextval('routed_sequence')").fetchone() == (1,)
            assert one.execute("select currval('routed_sequence')").fetchone() == (1,)
            assert one.execute("select lastval()").fetchone() == (1,)
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
                other.execute("select currval('routed_sequence')")
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
                other.execute("select lastval()")
        finally:
            one.execute("drop sequence routed_sequence")


def test_a_database_nobody_uses_any_more_can_be_dropped(
    proxy: Proxy, cluster: ReachableCluster[Any]
):
    with proxy.connect("postgres", "postgres") as admin:
        admin.execute("create database left_behind")
        for _ in range(3):
            with proxy.connect("left_behind", "postgres") as client:
                client.execute("create table if not exists t (a int)")
                client.execute("select * from t")
        admin.execute("alter database left_behind rename to left_for_good")
        with proxy.connect("left_for_good", "postgres") as client:
            client.execute("insert into t values (1)")
        admin.execute("create database left_copy template left_for_good")
        admin.execute("drop database left_for_good")
        admin.execute("drop database left_copy")
