"""Timeouts of statements, transactions and clients, and the notice to who waits."""

from __future__ import annotations

import socket
from typing import Any

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from tests.support.load import Load, where
from tests.support.messages import FLUSH, SYNC, bind, execute, parse, query
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy
from tests.support.raw_client import error_fields

pytestmark = pytest.mark.integration

PRIMARY = "/* rwsplit: primary */ "


def active(cluster: EmbeddedCluster) -> list[object]:
    return [
        row
        for node in cluster.nodes.values()
        for row in node.query(
            "select pid, state, query from pg_stat_activity"
            " where usename = 'app' and state <> 'idle'"
        )
    ]


def is_quiet(cluster: EmbeddedCluster) -> bool:
    return wait_until(lambda: not active(cluster), timeout=10)


# query_timeout...


@pytest.fixture(scope="module")
def hasty(cluster: EmbeddedCluster, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Proxy(
        cluster,
        tmp_path_factory.mktemp("hasty"),
        {
            "pool": {
                "size": 2,
                "query_timeout": "300ms",
                "users": {"postgres": {"query_timeout": "0s"}},
            }
        },
    ) as running:
        yield running


@pytest.mark.parametrize("hint", ["", PRIMARY])
def test_a_statement_that_runs_too_long_is_cancelled_and_the_session_goes_on(
    cluster: EmbeddedCluster, hasty: Proxy, hint: str
):
    with hasty.connect() as client:
        for cursor in (psycopg.ClientCursor, psycopg.Cursor):
            client.cursor_factory = cursor  # type: ignore[assignment]
            for _ in range(2):
                with pytest.raises(psycopg.errors.QueryCanceled, match="due to query_timeout"):
                    client.execute(hint + "select pg_sleep(30)")  # type: ignore[arg-type]
                assert client.execute("select 1").fetchone() == (1,)
        assert is_quiet(cluster)
        assert len(hasty.console("SHOW CLIENTS")) == 1


def test_a_statement_in_a_transaction_that_runs_too_long_fails_it(
    cluster: EmbeddedCluster, hasty: Proxy
):
    with hasty.raw() as client:
        client.query("begin")
        client.send(query("select pg_sleep(30)"), query("select 2"))
        error = error_fields(client.frames_until(b"E")[-1].payload)
        assert (error["C"], error["M"]) == (
            "57014",
            "canceling statement due to query_timeout",
        )
        assert client.frame().payload == b"E"
        assert client.error()["C"] == "25P02"
        client.frames_until(b"Z")
        assert client.query("rollback")[-1].payload == b"I"


def test_short_statements_one_after_the_other_are_not_one_long_one(hasty: Proxy):
    with hasty.connect() as client, client.transaction():
        for _ in range(5):
            client.execute("select pg_sleep(0.15)")
    with hasty.connect(user="postgres") as patient:
        patient.execute("select pg_sleep(0.6)")


def test_a_client_that_does_not_finish_its_unit_has_no_statement_that_runs(hasty: Proxy):
    with hasty.raw() as client:
        client.send(parse("select 1"), bind(), execute(), FLUSH)
        assert client.codes_until(b"C") == b"12DC"
        client.socket.settimeout(0.7)
        with pytest.raises(TimeoutError):
            client.frame()
        client.socket.settimeout(10)
        client.send(parse("select 2"), bind(), execute(), SYNC)
        assert client.codes_until(b"Z") == b"12DCZ"


def test_a_client_that_does_not_read_its_rows_is_disconnected_and_its_server_is_free(
    cluster: EmbeddedCluster, hasty: Proxy
):
    with hasty.raw(timeout=30) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send(query("select repeat('x', 1000) from generate_series(1, 300000)"))
        assert wait_until(lambda: hasty.console("SHOW CLIENTS") == [], timeout=15)
        assert is_quiet(cluster)


def test_a_copy_whose_data_do_not_come_is_ended(cluster: EmbeddedCluster, hasty: Proxy):
    with hasty.raw(timeout=30) as client:
        client.query("create table if not exists copied_in (n int)")
        client.send(query("copy copied_in from stdin"))
        client.frames_until(b"G")
        error = error_fields(client.frames_until(b"E")[-1].payload)
        assert error["C"] == "57014"
        assert "query_timeout" in error["M"] + error.get("D", "")
        assert is_quiet(cluster)
    with hasty.connect() as other:
        other.execute("drop table copied_in")


def test_a_long_read_on_a_lane_is_cancelled_without_a_stranger_noticing(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(
        cluster, {"pool": {"size": 1, "lane_depth": 8, "query_timeout": "300ms"}}
    )
    text = "select current_setting('cluster_name'), pg_sleep(%s)"
    with proxy.connect(cursor_factory=psycopg.ClientCursor) as client:
        for _ in range(5):
            client.execute(text, (0,))
        with Load(proxy, where, clients=6) as load:
            load.go_on(100)
            for _ in range(4):
                with pytest.raises(psycopg.errors.QueryCanceled, match="due to query_timeout"):
                    client.execute(text, (30,))
            load.go_on(100)
        assert not load.errors


# Idle clients...


def test_a_client_that_idles_in_a_transaction_is_disconnected_and_rolled_back(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster, {"pool": {"size": 1, "idle_transaction_timeout": "500ms"}})
    with proxy.raw() as nowhere:
        nowhere.query("begin")
        assert nowhere.error()["C"] == "25P03"
    with proxy.raw() as client, proxy.raw() as failed, proxy.connect() as other:
        other.execute("create table if not exists left_open (n int)")
        for each in (client, failed):
            each.query("begin")
            if each is failed:
                each.query("select 1/0")
            else:
                each.query("insert into left_open values (1)")
            error = each.error()
            assert (error["S"], error["C"]) == ("FATAL", "25P03")
            assert "idle_transaction_timeout is 0.5 s" in error["D"]
            assert each.is_closed()
        assert is_quiet(cluster)
        assert other.execute("select count(*) from left_open").fetchone() == (0,)
        with other.transaction():
            for _ in range(4):
                other.execute("select pg_sleep(0.2)")
            other.execute("select pg_sleep(0.8)")  # it works, it does not idle
        other.execute("drop table left_open")


def test_a_client_that_idles_is_disconnected_and_one_that_works_is_not(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(
        cluster,
        {
            "pool": {
                "client_idle_timeout": "1h",
                "users": {"app": {"client_idle_timeout": "500ms"}},
            }
        },
    )
    with proxy.connect(user="postgres") as patient, proxy.raw() as used, proxy.raw() as never:
        with proxy.connect() as busy:
            used.query("select 1")
            for _ in range(4):
                busy.execute("select pg_sleep(0.3)")
            busy.execute("begin")
            for client in (never, used):
                error = client.error()
                assert (error["S"], error["C"]) == ("FATAL", "57P05")
                assert "client_idle_timeout is 0.5 s" in error["D"]
                assert client.is_closed()
            busy.execute("select pg_sleep(0.7)")
            busy.execute("commit")
        assert patient.execute("select 1").fetchone() == (1,)
        proxy.reload({"pool": {"users": {"postgres": {"client_idle_timeout": "100ms"}}}})
        assert wait_until(lambda: proxy.console("SHOW CLIENTS") == [], timeout=5)


# Who waits...


def test_a_client_that_waits_is_told_so_once_and_then_served(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(
        cluster,
        {"pool": {"size": 1, "query_wait_timeout": "3s"}},
    )
    with proxy.connect() as holder, proxy.raw() as waiter:
        holder.execute("begin")
        holder.execute("lock table pg_am in access share mode")
        for _ in range(2):
            waiter.send(query(PRIMARY + "select 1"))
            notice = waiter.frame()
            assert notice.code == b"N"
            fields = error_fields(notice.payload)
            assert (fields["S"], fields["C"]) == ("NOTICE", "00000")
            assert "for a server of primary: pool.size is 1" in fields["M"]
            waiter.socket.settimeout(0.5)
            with pytest.raises(TimeoutError):
                waiter.frame()
            waiter.socket.settimeout(10)
            holder.execute("rollback")
            assert waiter.codes_until(b"Z") == b"TDCZ"
            holder.execute("begin")
            holder.execute("lock table pg_am in access share mode")


# How many clients...


def test_a_database_and_a_user_have_only_so_many_clients(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(
        cluster,
        {
            "pool": {
                "databases": {"app": {"max_db_client_connections": 2}},
                "users": {
                    "*": {"max_user_client_connections": 3},
                    "postgres": {"max_user_client_connections": 1},
                },
            }
        },
    )
    with proxy.connect() as first, proxy.connect(user="postgres") as second:
        for refused, said in (
            ({}, 'database "app" (max_db_client_connections = 2)'),
            (
                {"database": "postgres", "user": "postgres"},
                'user "postgres" (max_user_client_connections = 1)',
            ),
        ):
            with pytest.raises(psycopg.OperationalError) as error:
                proxy.connect(**refused)
            assert said in str(error.value)
        third = proxy.connect("postgres")
        fourth = proxy.connect("postgres")
        with pytest.raises(psycopg.OperationalError, match="max_user_client_connections = 3"):
            proxy.connect("postgres")
        for client in (first, second, third, fourth):
            assert client.execute("select 1").fetchone() == (1,)
            client.close()

    def gets_in() -> bool:
        try:
            proxy.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    assert wait_until(gets_in, timeout=5)
