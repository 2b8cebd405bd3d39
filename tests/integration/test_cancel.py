"""Cancel requests: they reach what they are meant for, and never a stranger."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import ReachableCluster
from tests.support.messages import SYNC, query, statement
from tests.support.proxy import Proxy
from tests.support.raw_client import (
    PROTOCOL_3_2,
    RawClient,
    cancel_request,
    error_fields,
    rows,
)

pytestmark = pytest.mark.integration

CANCELED = "57014"


@pytest.fixture(scope="module")
def narrow(
    cluster: ReachableCluster[Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """One server per node: a session cancelled by mistake is the next one on the same server."""
    with Proxy(cluster, tmp_path_factory.mktemp("narrow"), {"pool": {"size": 1}}) as running:
        yield running


def log_in(proxy: Proxy, **options: Any) -> RawClient:
    client = RawClient(proxy.port)
    password = proxy.cluster.passwords["app"]
    client.log_in(user="app", database="app", password=password, **options)
    return client


def cancel(proxy: Proxy, pid: int, key: bytes) -> None:
    """Send a cancel request as libpq does, and wait until it is taken."""
    with RawClient(proxy.port) as request:
        request.send(cancel_request(pid, key))
        assert request.is_closed()


def cancel_client(proxy: Proxy, client: RawClient) -> None:
    cancel(proxy, client.pid, client.cancel_key)


def runs(cluster: ReachableCluster[Any], text: str, *, times: int = 1) -> bool:
    """Return whether *text* comes to run on *times* backends within five seconds."""

    def count() -> bool:
        found = sum(
            node.query(
                "select count(*)::int from pg_stat_activity where state = 'active' "
                "and query like '%%' || %s || '%%' and pid <> pg_backend_pid()",
                text,
            )[0][0]
            for node in cluster.nodes.values()
        )
        return found >= times

    return wait_until(count, timeout=5)


@pytest.mark.parametrize("hint", ["", "/* rwsplit: primary */"])
def test_a_running_statement_is_cancelled_by_any_protocol(
    cluster: ReachableCluster[Any], proxy: Proxy, hint: str
):
    with log_in(proxy) as client:
        for messages in (query, lambda text: statement(text) + SYNC):
            client.send(messages(f"{hint} select pg_sleep(30), 'to be cancelled'"))
            assert runs(cluster, "to be cancelled")
            cancel_client(proxy, client)
            frames = client.frames_until(b"Z")
            [error] = [frame for frame in frames if frame.code == b"E"]
            assert error_fields(error.payload)["C"] == CANCELED
            assert rows(client.query("select 1")) == [(b"1",)]


def test_a_statement_in_a_transaction_is_cancelled_and_fails_it(
    cluster: ReachableCluster[Any], proxy: Proxy
):
    with log_in(proxy) as client:
        client.query("begin")
        client.send(query("select pg_sleep(30), 'in a transaction'"))
        assert runs(cluster, "in a transaction")
        cancel_client(proxy, client)
        frames = client.frames_until(b"Z")
        assert error_fields(frames[-2].payload)["C"] == CANCELED
        assert frames[-1].payload == b"E"
        assert client.query("rollback")[-1].payload == b"I"


def test_a_statement_waiting_for_a_lock_is_cancelled(
    cluster: ReachableCluster[Any], proxy: Proxy
):
    with proxy.connect() as holder, log_in(proxy) as client:
        holder.execute("begin")
        holder.execute("select pg_advisory_xact_lock(12)")
        client.send(query("select pg_advisory_xact_lock(12), 'waits for a lock'"))
        assert runs(cluster, "waits for a lock")
        cancel_client(proxy, client)
        assert error_fields(client.frames_until(b"Z")[-2].payload)["C"] == CANCELED
        holder.execute("commit")


def test_a_statement_in_the_queue_is_cancelled_and_never_runs(
    cluster: ReachableCluster[Any], narrow: Proxy
):
    with narrow.connect() as holder, log_in(narrow) as client:
        holder.execute("create table cancelled_in_queue (a int)")
        holder.execute("begin")
        holder.execute("select 1")
        client.send(query("insert into cancelled_in_queue values (1)"))

        def waits() -> bool:
            return any(int(row["cl_waiting"]) for row in narrow.console("SHOW POOLS"))

        assert wait_until(waits, timeout=5)
        cancel_client(narrow, client)
        assert error_fields(client.frames_until(b"Z")[-2].payload)["C"] == CANCELED
        holder.execute("commit")
        assert client.query("select 1")[-1].payload == b"I"
        assert holder.execute("select count(*) from cancelled_in_queue").fetchone() == (0,)
        holder.execute("drop table cancelled_in_queue")


def test_wrong_keys_and_idle_sessions_are_ignored(
    cluster: ReachableCluster[Any], narrow: Proxy
):
    with log_in(narrow) as idle, log_in(narrow) as busy:
        idle.query("/* rwsplit: primary */ select 1")
        busy.send(query("/* rwsplit: primary */ select pg_sleep(0.5), 'undisturbed'"))
        assert runs(cluster, "undisturbed")
        cancel_client(narrow, idle)  # it used the same server a moment ago
        cancel(narrow, busy.pid, b"\0\0\0\0")
        cancel(narrow, 1, busy.cancel_key)
        assert busy.codes_until(b"Z") == b"TDCZ"


def test_a_late_cancel_never_hits_the_next_client(
    cluster: ReachableCluster[Any], narrow: Proxy
):
    strangers_failed: list[str] = []
    done = threading.Event()

    def stranger() -> None:
        with narrow.connect() as connection:
            while not done.is_set():
                try:
                    connection.execute("/* rwsplit: primary */ select pg_sleep(0.001)")
                except psycopg.Error as error:
                    strangers_failed.append(str(error))

    others = [threading.Thread(target=stranger) for _ in range(3)]
    for thread in others:
        thread.start()
    try:
        with log_in(narrow) as client:
            for _ in range(60):
                client.send(query("/* rwsplit: primary */ select pg_sleep(0.002)"))
                # Whether it comes before, during or after the statement is a matter of luck.
                cancel_client(narrow, client)
                client.frames_until(b"Z")
    finally:
        done.set()
        for thread in others:
            thread.join(10)
    assert strangers_failed == []


def test_a_client_that_leaves_does_not_leave_its_statement_running(
    cluster: ReachableCluster[Any], proxy: Proxy
):
    with log_in(proxy) as client:
        client.send(query("/* rwsplit: primary */ select pg_sleep(60), 'orphaned'"))
        assert runs(cluster, "orphaned")
    assert wait_until(lambda: not _active(cluster, "orphaned"), timeout=5)


def test_protocol_3_2_has_a_long_key(cluster: ReachableCluster[Any], proxy: Proxy):
    with log_in(proxy, protocol=PROTOCOL_3_2) as client:
        assert len(client.cancel_key) > 4
        client.send(query("select pg_sleep(30), 'long key'"))
        assert runs(cluster, "long key")
        cancel(proxy, client.pid, client.cancel_key[:4])
        cancel_client(proxy, client)
        assert error_fields(client.frames_until(b"Z")[-2].payload)["C"] == CANCELED


def test_a_copy_is_cancelled(cluster: ReachableCluster[Any], proxy: Proxy):
    with log_in(proxy) as client:
        client.send(query("copy (select pg_sleep(30), 'copied out') to stdout"))
        assert runs(cluster, "copied out")
        cancel_client(proxy, client)
        assert error_fields(client.frames_until(b"Z")[-2].payload)["C"] == CANCELED


def test_psycopg_cancels(cluster: ReachableCluster[Any], proxy: Proxy):
    with proxy.connect() as connection:

        def stop() -> None:
            if runs(cluster, "psycopg stops"):
                connection.cancel_safe(timeout=5)

        stopper = threading.Thread(target=stop)
        stopper.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("select pg_sleep(30), 'psycopg stops'")
        stopper.join(10)
        assert connection.execute("select 1").fetchone() == (1,)


def _active(cluster: ReachableCluster[Any], text: str) -> bool:
    return any(
        node.query(
            "select 1 from pg_stat_activity where state = 'active' "
            "and query like '%%' || %s || '%%' and pid <> pg_backend_pid()",
            text,
        )
        for node in cluster.nodes.values()
    )
