"""Pool modes: when a session gives back its server, and what that does to what it may do."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from tests.support.messages import SYNC, bind, execute, parse, query
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy
from tests.support.raw_client import error_fields

pytestmark = pytest.mark.integration


def pid(connection: psycopg.Connection[Any]) -> object:
    row = connection.execute(
        "select pg_backend_pid(), current_setting('cluster_name')"
    ).fetchone()
    assert row is not None
    return row


@pytest.fixture(scope="module")
def sessions(cluster: EmbeddedCluster, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Proxy(
        cluster,
        tmp_path_factory.mktemp("sessions"),
        {"pool": {"mode": "session", "size": 2, "lane_depth": 8, "query_wait_timeout": "5s"}},
    ) as running:
        yield running


def test_a_session_keeps_one_server_of_the_primary_for_all_it_does(sessions: Proxy):
    with sessions.connect() as one, sessions.connect() as other:
        seen = {pid(connection) for connection in (one, other) for _ in range(5)}
        assert {node for _, node in seen} == {"primary"}  # type: ignore[misc]
        assert len(seen) == 2
        assert one.execute("show rwsplit.pinned").fetchone() == ("its pool is in session mode",)
        with one.transaction():
            mine = pid(one)
        assert pid(one) == mine
        one.execute("/* rwsplit: replica */ select 1")
        assert pid(one) == mine


def test_what_a_view_hides_is_there_for_the_session_and_gone_with_it(
    cluster: EmbeddedCluster, sessions: Proxy
):
    cluster.primary.query(
        "create or replace view hides as select set_config('hidden.mine', 'x', false)",
        database="app",
    )
    cluster.primary.query("grant select on hides to app", database="app")
    shown = "select nullif(current_setting('hidden.mine', true), '')"
    with sessions.connect() as one:
        one.execute("select * from hides")
        one.execute("create temp table kept (n int)")
        assert one.execute(shown).fetchone() == ("x",)
        before = pid(one)
        one.execute("discard all")
        assert one.execute(shown).fetchone() == (None,)
        assert pid(one) == before
        assert one.execute("show rwsplit.pinned").fetchone() != ("no",)
        one.execute("select * from hides")
    with sessions.connect() as first, sessions.connect() as second:
        for later in (first, second):
            assert later.execute(shown).fetchone() == (None,)
            assert later.execute("select to_regclass('pg_temp.kept')").fetchone() == (None,)


def test_a_session_hears_notifications_and_gets_results_of_pipelines(sessions: Proxy):
    with sessions.raw() as one, sessions.connect() as other:
        one.query("do $$begin execute 'listen unseen'; end$$")
        other.execute("notify unseen, 'hello'")
        frame = one.frame()
        assert (frame.code, b"hello" in frame.payload) == (b"A", True)
        one.send(query("select 1"), query("begin"), query("select 2"), query("commit"))
        assert one.codes_until(b"Z") + one.codes_until(b"Z") == b"TDCZCZ"
        assert one.codes_until(b"Z") + one.codes_until(b"Z") == b"TDCZCZ"


def test_a_session_more_than_servers_waits_until_another_ends(sessions: Proxy):
    with sessions.connect() as one, sessions.connect() as other, sessions.raw() as third:
        for connection in (one, other):
            connection.execute("select 1")
        third.send(query("select 3"))
        assert wait_until(
            lambda: sum(int(row["cl_waiting"]) for row in sessions.console("SHOW POOLS")) == 1,
            timeout=5,
        )
        one.close()
        assert third.codes_until(b"Z") == b"TDCZ"


def test_a_session_ends_with_its_server(cluster: EmbeddedCluster, sessions: Proxy):
    with sessions.raw() as one:
        [_, row, *_] = one.query("select pg_backend_pid()")
        cluster.primary.query("select pg_terminate_backend(%s)", int(row.payload[6:]))
        assert error_fields(one.frames_until(b"E")[-1].payload)["C"] == "57P01"
        assert one.is_closed()


def test_databases_and_users_have_modes_of_their_own(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(
        cluster,
        {
            "pool": {
                "databases": {"app": {"mode": "session"}},
                "users": {"postgres": {"mode": "statement"}},
            }
        },
    )
    with proxy.connect() as session, proxy.connect(user="postgres") as statement:
        assert len({pid(session) for _ in range(6)}) == 1
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            statement.execute("begin")
    with proxy.connect("postgres") as transaction:
        assert transaction.execute("show rwsplit.pinned").fetchone() == ("no",)
        with transaction.transaction():
            transaction.execute("select 1")
        proxy.reload({"pool": {"mode": "statement"}})
        with transaction.transaction():  # it keeps the mode it logged in with
            transaction.execute("select 1")
        with (
            proxy.connect("postgres") as newcomer,
            pytest.raises(psycopg.errors.FeatureNotSupported),
        ):
            newcomer.execute("begin")


# Statement mode...


@pytest.fixture(scope="module")
def statements(cluster: EmbeddedCluster, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Proxy(
        cluster, tmp_path_factory.mktemp("statements"), {"pool": {"mode": "statement"}}
    ) as running:
        yield running


def test_a_transaction_of_several_statements_is_refused_and_the_session_goes_on(
    statements: Proxy,
):
    with statements.connect() as client:
        for cursor in (psycopg.ClientCursor, psycopg.Cursor):
            client.cursor_factory = cursor  # type: ignore[assignment]
            with pytest.raises(
                psycopg.errors.FeatureNotSupported, match="statement pooling mode"
            ):
                client.execute("start transaction read only")
            assert client.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
            assert client.execute("select 1").fetchone() == (1,)
        client.execute("create table if not exists committed (n int)")
        client.execute("insert into committed values (1)")
        assert client.execute("select count(*) from committed").fetchone() == (1,)
        client.execute("drop table committed")
        client.cursor_factory = psycopg.ClientCursor  # type: ignore[assignment]
        client.execute("begin; select 1; commit")


def test_refusals_in_a_pipeline_come_in_their_place(statements: Proxy):
    with statements.raw() as client:
        client.send(
            query("select 1"), query("begin"), query("select 2"), *[query("begin")] * 3000
        )
        assert [client.codes_until(b"Z") for _ in range(3)] == [b"TDCZ", b"EZ", b"TDCZ"]
        for _ in range(3000):
            assert client.codes_until(b"Z") == b"EZ"
        client.send(parse("begin", "b"), SYNC, bind("b"), execute(), SYNC)
        assert [client.codes_until(b"Z") for _ in range(2)] == [b"1Z", b"EZ"]
        client.send(bind("b"), execute(), parse("commit"), bind(), execute(), SYNC)
        assert client.codes_until(b"Z").endswith(b"Z")


def test_a_transaction_nobody_foresaw_ends_the_session_and_is_rolled_back(
    cluster: EmbeddedCluster, statements: Proxy
):
    with statements.raw() as client:
        client.query("create table if not exists unforeseen (n int)")
        client.send(query("begin; insert into unforeseen values (1); select 1/0; commit"))
        frames = client.frames_until(b"Z")
        assert frames[-1].payload == b"E"
        assert client.error()["C"] == "0A000"
        assert client.is_closed()
    with statements.connect() as other:
        assert other.execute("select count(*) from unforeseen").fetchone() == (0,)
        other.execute("drop table unforeseen")
    assert wait_until(
        lambda: all(row["state"] == "idle" for row in statements.console("SHOW SERVERS")),
        timeout=5,
    )


# server_reset_query...


def test_the_reset_query_is_the_operators(cluster: EmbeddedCluster, make_proxy: MakeProxy):
    proxy = make_proxy(
        cluster,
        {"pool": {"mode": "session", "size": 1, "server_reset_query": "DEALLOCATE ALL"}},
    )
    with proxy.connect() as one:
        one.execute("create temp table kept (n int)")
        one.execute("prepare gone as select 1")
        one.execute("select 1", prepare=True)
        before = pid(one)
    with proxy.connect() as other:
        assert pid(other) == before
        assert other.execute("select to_regclass('pg_temp.kept') is null").fetchone() == (
            False,
        )
        assert other.execute("select count(*) from pg_prepared_statements").fetchone() == (0,)
        assert other.execute("select 1", prepare=True).fetchone() == (1,)
        proxy.reload({"pool": {"server_reset_query": "DISCARD ALL"}})
    with proxy.connect() as third:
        assert pid(third) == before
        assert third.execute("select to_regclass('pg_temp.kept') is null").fetchone() == (True,)
        proxy.reload({"pool": {"server_reset_query": "this is no query"}})
    with proxy.connect() as fourth:
        assert pid(fourth) != before
    assert "server_reset_failed" in proxy.log()
    assert all(row["health"] == "up" for row in proxy.nodes().values())
