"""Clients that are slow, stop reading or die, and servers that are terminated under them."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from tests.support.load import Connection, Load, where
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy
from tests.support.raw_client import RawClient, error_fields, message

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def dying(cluster: EmbeddedCluster) -> EmbeddedCluster:
    """A cluster with a table to leave locks on."""
    cluster.primary.query("create table if not exists dying (n int)", database="app")
    cluster.primary.query("grant all on dying to app", database="app")
    cluster.wait_until_replayed()
    return cluster


def backends(cluster: EmbeddedCluster, condition: str) -> list[tuple[str, int]]:
    """(node, pid) of the application's backends that are as *condition* says."""
    return [
        (name, pid)
        for name, node in cluster.nodes.items()
        for (pid,) in node.query(
            "select pid from pg_stat_activity where usename = 'app' and " + condition  # type: ignore[operator]
        )
    ]


def abort(client: RawClient) -> None:
    """Die as a killed process on a lost machine does: the connection is reset."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_clients_that_stop_reading_cost_little_memory_and_hold_up_nobody(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster)
    with Load(proxy, where, clients=3) as load:
        load.go_on(100)
        memory = proxy.memory()
        slow = [proxy.raw() for _ in range(6)]
        for number, client in enumerate(slow):
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            begin = message(b"Q", b"begin\0") if number % 2 else b""
            client.send(
                begin,
                message(b"Q", b"select repeat('x', 1000) from generate_series(1, 300000)\0"),
            )
        assert wait_until(
            lambda: (
                len(backends(cluster, "state = 'active' and wait_event = 'ClientWrite'"))
                == len(slow)
            ),
            timeout=20,
        )
        load.go_on(300)
        assert proxy.memory() - memory < 24 * 1024 * 1024
        for client in slow[:3]:
            abort(client)
        for client in slow[3:]:
            client.close()
        assert wait_until(
            lambda: not backends(cluster, "state <> 'idle' and query like '%300000%'"),
            timeout=10,
        )
        load.go_on(50)
    assert not load.errors


def test_a_slow_client_gets_every_row_in_the_end(cluster: EmbeddedCluster, proxy: Proxy):
    with proxy.raw(timeout=30) as client:
        client.send(
            message(b"Q", b"select n, repeat('x', 5000) from generate_series(1, 8000) n\0")
        )
        assert wait_until(
            lambda: backends(cluster, "state = 'active' and wait_event = 'ClientWrite'") != [],
            timeout=10,
        )
        frames = client.frames_until(b"Z")
        numbers = [int(f.payload[6 : f.payload.index(b"\0\0\x13\x88")]) for f in frames[1:-2]]
        assert numbers == list(range(1, 8001))


def in_a_query(client: RawClient) -> None:
    client.send(message(b"Q", b"select pg_sleep(60)\0"))


def in_a_write(client: RawClient) -> None:
    client.query("begin")
    client.query("insert into dying values (1)")
    client.send(message(b"Q", b"update dying set n = (select 2 from pg_sleep(60))\0"))


def in_an_idle_transaction(client: RawClient) -> None:
    client.query("begin")
    client.query("lock table dying in access exclusive mode")


def in_a_failed_transaction(client: RawClient) -> None:
    client.query("begin")
    client.query("lock table dying in access exclusive mode")
    client.query("select 1/0")


def in_a_copy(client: RawClient) -> None:
    client.send(message(b"Q", b"copy dying from stdin\0"))
    client.frames_until(b"G")
    client.send(message(b"d", b"1\n"))


def in_half_a_frame_of_copy(client: RawClient) -> None:
    in_a_copy(client)
    client.send(b"d" + struct.pack("!i", 200_000) + b"1\n" * 50_000)


def in_an_open_unit(client: RawClient) -> None:
    client.send(
        message(b"P", b"\0insert into dying values (1)\0\0\0"),
        message(b"B", b"\0\0\0\0\0\0\0\0"),
        message(b"E", b"\0\0\0\0\0"),
        message(b"H"),
    )
    client.frames_until(b"C")


def in_a_suspended_portal(client: RawClient) -> None:
    client.query("begin")
    client.query("lock table dying in share mode")
    client.send(
        message(b"P", b"\0select generate_series(1, 100)\0\0\0"),
        message(b"B", b"\0\0\0\0\0\0\0\0"),
        message(b"E", b"\0\0\0\0\5"),
        message(b"S"),
    )
    client.frames_until(b"Z")


def with_session_state(client: RawClient) -> None:
    client.query("select pg_advisory_lock(4711)")
    client.query("create temp table mine (n int)")
    client.query("set statement_timeout = '1h'")


DEATHS = (
    in_a_query,
    in_a_write,
    in_an_idle_transaction,
    in_a_failed_transaction,
    in_a_copy,
    in_half_a_frame_of_copy,
    in_an_open_unit,
    in_a_suspended_portal,
    with_session_state,
)


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "reset"])
def test_what_a_client_that_dies_held_is_given_back_clean(
    dying: EmbeddedCluster, make_proxy: MakeProxy, reset: bool
):
    proxy = make_proxy(dying, {"pool": {"size": 1, "query_wait_timeout": "10s"}})
    for death in DEATHS:
        client = proxy.raw()
        death(client)
        if death in (in_a_query, in_a_write):
            assert wait_until(
                lambda: backends(dying, "state = 'active' and query like '%pg_sleep%'") != [],
                timeout=5,
            )
        if reset:
            abort(client)
        else:
            client.close()

        _is_clean(dying, proxy, death)
    assert "failed" not in proxy.log()


def _is_clean(cluster: EmbeddedCluster, proxy: Proxy, death: Callable[..., None]) -> None:
    name = death.__name__
    assert wait_until(lambda: not backends(cluster, "state <> 'idle'"), timeout=5), (
        f"{name}: {proxy.console('SHOW SERVERS')}"
    )
    assert (
        cluster.primary.query(
            "select locktype from pg_locks l join pg_stat_activity a using (pid) where a.usename = 'app'"
        )
        == []
    ), name
    with proxy.connect() as other:
        assert other.execute("select count(*) from dying").fetchone() == (0,), name
        with other.transaction():
            other.execute("lock table dying in access exclusive mode nowait")
            assert other.execute("show statement_timeout").fetchone() == ("0",), name
            assert other.execute("select to_regclass('pg_temp.mine')").fetchone() == (None,)
    assert wait_until(
        lambda: all(row["state"] == "idle" for row in proxy.console("SHOW SERVERS")), timeout=5
    ), f"{name}: {proxy.console('SHOW SERVERS')}"


def test_an_idle_pooled_server_that_is_terminated_is_just_dropped(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster)
    with proxy.connect() as client:
        for _ in range(3):
            assert where(client) is not None
            for name, pid in backends(cluster, "state = 'idle'"):
                cluster.nodes[name].query("select pg_terminate_backend(%s)", pid)
            assert where(client) is not None
    assert all(row["health"] == "up" for row in proxy.nodes().values())


def test_reads_on_terminated_busy_servers_run_elsewhere(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster)

    def step(connection: Connection) -> object:
        row = connection.execute(
            "select current_setting('cluster_name') from pg_sleep(0.02)"
        ).fetchone()
        return row and row[0]

    with Load(proxy, step, clients=8) as load:
        for node in cluster.replicas * 3:
            load.go_on(20)
            node.query(
                "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'"
            )
        load.go_on(30)
    assert not load.errors
    assert all(row["health"] == "up" for row in proxy.nodes().values())


def test_a_terminated_transaction_hears_of_it_once(
    dying: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(dying)
    for busy in (False, True):
        with proxy.raw() as client:
            client.query("begin")
            client.query("insert into dying values (1)")
            if busy:
                client.send(message(b"Q", b"select pg_sleep(60)\0"))
                state = "state = 'active' and query like '%pg_sleep%'"
            else:
                state = "state = 'idle in transaction'"
            assert wait_until(lambda s=state: len(backends(dying, s)) == 1, timeout=5)  # type: ignore[misc]
            [(name, pid)] = backends(dying, state)
            dying.nodes[name].query("select pg_terminate_backend(%s)", pid)

            last = client.frames_until(b"E")[-1]
            assert error_fields(last.payload)["C"] == "57P01"
            assert client.is_closed()
    assert dying.primary.query("select count(*) from dying", database="app") == [(0,)]


def test_a_session_that_idles_too_long_in_a_transaction_gets_postgresqls_error(
    dying: EmbeddedCluster, proxy: Proxy
):
    with proxy.raw() as client:
        client.query("begin")
        client.query("set local idle_in_transaction_session_timeout = '100ms'")
        client.query("insert into dying values (1)")
        assert client.error()["C"] == "25P03"
        assert client.is_closed()


def test_a_statement_timeout_is_an_error_and_the_session_goes_on(proxy: Proxy):
    with proxy.connect(options="-c statement_timeout=100ms") as client:
        for statement in ("select pg_sleep(5)", "/* rwsplit: primary */ select pg_sleep(5)"):
            with pytest.raises(psycopg.errors.QueryCanceled):
                client.execute(statement)  # type: ignore[arg-type]
        assert client.execute("select 1").fetchone() == (1,)


def test_many_clients_that_die_in_the_middle_leave_no_lock_and_no_server_behind(
    dying: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(dying, {"pool": {"size": 5, "lane_depth": 8}})
    with Load(proxy, where, clients=3) as load:
        files = proxy.open_files()

        # Locks exclude each other, so most of them die while they wait for each other.
        def die_impatiently(number: int) -> None:
            for turn in range(6):
                client = proxy.raw(timeout=0.3)
                with contextlib.suppress(TimeoutError, EOFError):
                    DEATHS[(number + turn) % len(DEATHS)](client)
                abort(client)

        threads = [
            threading.Thread(target=die_impatiently, args=(n,), daemon=True) for n in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        # The load is at work all the time, but not with the statements of now.
        [(now,)] = dying.primary.query("select clock_timestamp()::text")
        busy = "state <> 'idle' and query not like '%cluster_name%'"
        stuck = f"{busy} and query_start <= '{now}'"
        assert wait_until(lambda: not backends(dying, stuck), timeout=15), proxy.console(
            "SHOW SERVERS"
        )
        assert wait_until(lambda: len(proxy.console("SHOW CLIENTS")) == 3, timeout=5)
        assert wait_until(lambda: proxy.open_files() <= files + 20, timeout=5)
        load.go_on(50)
    assert not load.errors
    assert "failed" not in proxy.log()
    with proxy.connect() as client, client.transaction():
        client.execute("lock table dying in access exclusive mode nowait")


@pytest.mark.parametrize(
    "begun",
    ["begin", "begin; select 1", "begin read only", "begin; insert into dying values (1)"],
)
def test_a_clients_own_idle_in_transaction_timeout_strikes_wherever_its_transaction_is(
    dying: EmbeddedCluster, proxy: Proxy, begun: str
):
    with proxy.raw() as client, proxy.connect() as other:
        client.query("set idle_in_transaction_session_timeout = '200ms'")
        for text in begun.split("; "):
            client.query(text)
        assert client.error()["C"] == "25P03"
        assert client.is_closed()
        assert other.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize("before", ["select 1", "listen x", "insert into dying values (1)"])
def test_a_clients_own_idle_session_timeout_strikes_it_and_no_pooled_server(
    dying: EmbeddedCluster, make_proxy: MakeProxy, before: str
):
    proxy = make_proxy(dying, {"pool": {"size": 1}})
    with proxy.raw() as client, proxy.connect() as other:
        client.query("set idle_session_timeout = '300ms'")
        client.query(before)
        for _ in range(10):
            if before != "listen x":
                other.execute("insert into dying values (2)")
            other.execute("select pg_sleep(0.05)")
        assert client.error()["C"] == "57P05"
        assert client.is_closed()
        for _ in range(10):
            other.execute("insert into dying values (2)")
            other.execute("select pg_sleep(0.05)")
        assert not backends(dying, "query like '%idle_session_timeout%'")
    dying.primary.query("delete from dying", database="app")
