"""The end: TERM waits for transactions, a second TERM or QUIT does not, and everybody hears 57P01."""

from __future__ import annotations

import contextlib
import signal
import threading
import time

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from tests.support.load import Load, where
from tests.support.postgres import MakeProxy
from tests.support.raw_client import RawClient, error_fields, message, rows

pytestmark = pytest.mark.integration


def test_term_lets_a_transaction_finish_and_says_goodbye_to_the_idle(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster)
    with proxy.raw() as idle, proxy.raw() as busy, proxy.raw() as sleeper:
        busy.query("begin")
        busy.query("create table if not exists finishing (n int)")
        sleeper.send(message(b"Q", b"select 'slept' from pg_sleep(0.7)\0"))
        assert wait_until(lambda: proxy.nodes()["primary"]["in_flight"] >= 1, timeout=5)

        proxy.signal(signal.SIGTERM)

        assert idle.error()["C"] == "57P01"
        assert idle.is_closed()
        with pytest.raises(psycopg.OperationalError):
            proxy.connect()
        assert rows(sleeper.frames_until(b"Z")) == [(b"slept",)]
        assert sleeper.error()["C"] == "57P01"

        busy.query("insert into finishing values (1)")
        assert [frame.payload for frame in busy.query("commit")] == [b"COMMIT\0", b"I"]
        assert busy.error()["C"] == "57P01"
        assert busy.is_closed()
        assert proxy.wait(timeout=10) == 0
    assert cluster.primary.query("select count(*) from finishing", database="app") == [(1,)]
    cluster.primary.query("drop table finishing", database="app")


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_second_signal_ends_it_at_once(
    cluster: EmbeddedCluster, make_proxy: MakeProxy, second: signal.Signals
):
    proxy = make_proxy(cluster)
    with proxy.raw() as busy:
        busy.query("begin")
        busy.query("lock table pg_am in access share mode")
        proxy.signal(signal.SIGTERM)
        assert wait_until(lambda: "draining" in proxy.log(), timeout=5)
        began = time.monotonic()
        proxy.signal(second)
        assert busy.error()["C"] == "57P01"
        assert proxy.wait(timeout=10) == 0
        assert time.monotonic() - began < 5


def test_the_timeout_of_a_shutdown_cuts_off_what_is_left(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster, {"limits": {"shutdown_timeout": "300ms"}})
    with proxy.raw() as busy:
        busy.query("begin")
        proxy.signal(signal.SIGTERM)
        assert busy.error()["C"] == "57P01"
        assert proxy.wait(timeout=10) == 0


def test_the_console_answers_while_it_drains_and_can_end_it(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster)
    with (
        proxy.raw() as busy,
        psycopg.connect(
            proxy.dsn("rwsplit", "postgres"),
            autocommit=True,
            cursor_factory=psycopg.ClientCursor,
        ) as console,
    ):
        busy.query("begin")
        console.execute("SHUTDOWN WAIT_FOR_SERVERS")
        assert wait_until(lambda: "draining" in proxy.log(), timeout=5)
        assert len(console.execute("SHOW CLIENTS").fetchall()) == 1
        with contextlib.suppress(psycopg.OperationalError):  # it may be gone before it answers
            console.execute("SHUTDOWN")
        assert busy.error()["C"] == "57P01"
        assert proxy.wait(timeout=10) == 0


def test_under_load_everybody_hears_goodbye_and_no_answer_is_cut_off(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster)
    ended: list[str] = []

    def work() -> None:
        # libpq would take a goodbye that comes together with an answer for a notice.
        with proxy.raw() as client:
            try:
                while not ended_by(client, ended):
                    pass
            except (EOFError, OSError) as error:
                ended.append(repr(error))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert wait_until(
        lambda: sum(row["statements"] for row in proxy.console("SHOW CLIENTS")) > 200,
        timeout=10,
    )
    proxy.signal(signal.SIGTERM)
    assert proxy.wait(timeout=10) == 0
    for thread in threads:
        thread.join(5)
    assert ended == ["57P01"] * 8


def ended_by(client: RawClient, ended: list[str]) -> bool:
    """Run a read; True and its SQLSTATE in *ended* if that was the end."""
    client.send(message(b"Q", b"select 1\0"))
    codes = b""
    while not codes.endswith(b"Z"):
        frame = client.frame()
        codes += frame.code
        if frame.code == b"E":
            assert codes == b"E", codes
            ended.append(error_fields(frame.payload)["C"])
            return True
    return False


def test_its_servers_are_gone_with_it(cluster: EmbeddedCluster, make_proxy: MakeProxy):
    def backends() -> set[object]:
        asked = "select pid from pg_stat_activity where usename in ('app', 'rwsplit')"
        return {
            (node.name, pid) for node in cluster.nodes.values() for (pid,) in node.query(asked)
        }

    others = backends()  # of the proxy that serves the other tests
    proxy = make_proxy(cluster)
    with Load(proxy, where, clients=3) as load:
        load.go_on(30)
    with RawClient(proxy.port):  # a client that never logs in holds up nothing
        proxy.signal(signal.SIGTERM)
        assert proxy.wait(timeout=10) == 0
    assert wait_until(lambda: backends() <= others, timeout=10)
