"""Limits: what happens at them, and that the error says which one it was."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from tests.support.load import Connection, Load, where
from tests.support.postgres import MakeCluster, MakeProxy
from tests.support.proxy import Proxy
from tests.support.raw_client import RawClient, message

pytestmark = pytest.mark.integration


def test_one_client_too_many_is_refused_with_the_limits_name(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster, {"limits": {"max_client_conn": 3}})
    clients = [proxy.connect() for _ in range(3)]
    with pytest.raises(psycopg.OperationalError) as refused:
        proxy.connect()
    assert "max_client_conn" in str(refused.value)
    with RawClient(proxy.port) as client, pytest.raises(AssertionError, match="53300"):
        client.log_in(user="app", database="app", password=cluster.passwords["app"])
    assert len(proxy.console("SHOW CLIENTS")) == 3  # an operator gets in

    clients.pop().close()
    assert wait_until(lambda: _gets_in(proxy), timeout=5)
    for client in clients:
        client.execute("select 1")
        client.close()


def _gets_in(proxy: Proxy) -> bool:
    try:
        with proxy.connect() as client:
            client.execute("select 1")
    except psycopg.OperationalError:
        return False
    return True


def test_a_pool_of_one_serves_many_one_after_the_other(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster, {"pool": {"size": 1}})

    def step(connection: Connection) -> object:
        with connection.transaction():
            connection.execute("create temp table if not exists mine (n int) on commit drop")
            connection.execute("insert into mine values (1)")
        return where(connection)

    with Load(proxy, step, clients=8) as load:
        load.go_on(60)
    assert not load.errors
    assert all(row["servers"] <= 1 for row in proxy.nodes().values())


def test_waiting_too_long_for_a_server_is_refused_with_the_limits_name_and_the_session_goes_on(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster, {"pool": {"size": 1, "query_wait_timeout": "400ms"}})
    with proxy.connect() as holder, proxy.connect() as waiter:
        holder.execute("begin")
        holder.execute("lock table pg_am in access share mode")
        for cursor_factory in (psycopg.ClientCursor, psycopg.Cursor):
            waiter.cursor_factory = cursor_factory  # type: ignore[assignment]
            began = time.monotonic()
            with pytest.raises(psycopg.Error) as refused:
                waiter.execute("create table never (n int)")
            assert refused.value.sqlstate == "53300"
            assert "query_wait_timeout" in str(refused.value)
            assert "pool.size" in str(refused.value)
            assert 0.3 < time.monotonic() - began < 3
        assert waiter.execute("select 1").fetchone() == (1,)
        holder.execute("rollback")
        waiter.execute("create temp table now_it_works (n int)")


def test_a_long_statement_that_waited_too_long_is_refused_and_the_session_goes_on(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster, {"pool": {"size": 1, "query_wait_timeout": "300ms"}})
    text = b"create table never (n int) -- " + b"x" * 600_000 + b"\0"
    with proxy.connect() as holder, proxy.raw() as waiter:
        holder.execute("begin")
        holder.execute("lock table pg_am in access share mode")
        for _ in range(2):
            waiter.send(message(b"Q", text))
            assert waiter.codes_until(b"Z").lstrip(b"N") == b"EZ"
        assert waiter.query("select 1")[-1].payload == b"I"


def test_a_transaction_that_must_move_to_a_full_primary_gets_there(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster, {"pool": {"size": 1, "query_wait_timeout": "10s"}})
    with proxy.connect() as holder, proxy.connect() as mover:
        holder.execute("begin")
        holder.execute("lock table pg_am in access share mode")
        mover.execute("begin read only")
        assert str(where(mover)).startswith("replica")
        moved: list[object] = []

        def move() -> None:
            mover.execute("select txid_current()")
            moved.append(where(mover))

        moving = threading.Thread(target=move, daemon=True)
        moving.start()
        assert wait_until(
            lambda: any(row["state"] == "waiting" for row in proxy.console("SHOW CLIENTS")),
            timeout=5,
        )
        holder.execute("rollback")
        began = time.monotonic()
        moving.join(8)
        assert moved == ["primary"]
        assert time.monotonic() - began < 2
        mover.execute("commit")


def test_a_client_that_dies_in_the_queue_leaves_it(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster, {"pool": {"size": 1}})
    with proxy.connect() as holder, proxy.connect() as last:
        holder.execute("begin")
        holder.execute("lock table pg_am in access share mode")
        with proxy.raw() as client:
            client.send(message(b"Q", b"create table never (n int)\0"))
            assert wait_until(lambda: _waiting(proxy) == 1, timeout=5)
        assert wait_until(lambda: _waiting(proxy) == 0, timeout=5)
        holder.execute("rollback")
        last.execute("create temp table t (n int)")
        assert last.execute("select to_regclass('never')").fetchone() == (None,)


def _waiting(proxy: Proxy) -> int:
    return sum(int(row["cl_waiting"]) for row in proxy.console("SHOW POOLS"))


def test_postgresqls_own_limit_makes_statements_wait_not_fail(
    make_cluster: MakeCluster, make_proxy: MakeProxy
):
    small = make_cluster(
        replicas=1,
        settings={
            "max_connections": "14",
            "max_wal_senders": "4",
            "superuser_reserved_connections": "3",
        },
    )
    proxy = make_proxy(small, {"pool": {"size": 10, "query_wait_timeout": "15s"}})
    with proxy.connect() as known:
        known.execute("create table if not exists exhausted (n int)")
    hogs = []
    try:
        while True:
            hogs.append(small.primary.connect("app", "app"))
    except psycopg.OperationalError:
        pass

    def step(connection: Connection) -> object:
        connection.execute("insert into exhausted select 1 from pg_sleep(0.005)")
        return where(connection)

    with Load(proxy, step, clients=8) as load:
        load.go_on(30)
        for hog in hogs:
            hog.close()
        load.go_on(30)
    assert not load.errors
    assert proxy.nodes()["primary"]["health"] == "up"


def test_a_thousand_idle_clients_and_a_storm_of_logins(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster, {"auth": {"type": "password"}})
    files = proxy.open_files()
    before = proxy.memory()
    idle: list[RawClient] = []
    password = cluster.passwords["app"]
    errors: list[Exception] = []
    lock = threading.Lock()

    def log_in(count: int) -> None:
        for _ in range(count):
            try:
                client = RawClient(proxy.port, timeout=30)
                client.log_in(user="app", database="app", password=password)
            except Exception as error:  # noqa: BLE001 - the test judges
                errors.append(error)
            else:
                with lock:
                    idle.append(client)

    storm = [threading.Thread(target=log_in, args=(50,), daemon=True) for _ in range(20)]
    for thread in storm:
        thread.start()
    for thread in storm:
        thread.join(60)
    assert errors == []
    assert len(idle) == 1000
    with proxy.connect() as client:
        assert client.execute("select 1").fetchone() == (1,)
    for client in idle[::97]:
        assert client.query("select 1")[1].payload.endswith(b"1")
    assert proxy.memory() - before < 60 * 1024 * 1024
    for client in idle:
        client.close()
    assert wait_until(lambda: proxy.console("SHOW CLIENTS") == [], timeout=10)
    assert wait_until(lambda: proxy.open_files() < files + 30, timeout=10)


def test_a_pipeline_longer_than_what_is_read_ahead_is_answered_in_full(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster, {"pool": {"size": 2, "lane_depth": 16}})
    text = b"select 1 /* " + b"x" * 1000 + b" */\0"
    count = 3000
    with proxy.raw(timeout=20) as client:
        for _ in range(3):
            client.query("select 1 /* short, and known now */")
        sender = threading.Thread(
            target=lambda: [client.send(message(b"Q", text)) for _ in range(count)], daemon=True
        )
        sender.start()
        for _ in range(count):
            assert client.codes_until(b"Z") == b"TDCZ"
        sender.join(5)
