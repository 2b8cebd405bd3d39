"""Storms of logins against a real cluster: what they open, who is refused, and how others fare meanwhile."""

from __future__ import annotations

import resource
import socket
import statistics
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from tests.support.attack_length import TIMES
from tests.support.bystander import Bystander
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

#: Connections of strangers; fewer than 4 096, the usual hard limit of descriptors.
HALF_OPEN = min(600 * TIMES, 3000)


@pytest.fixture
def many_files() -> Iterator[None]:
    """As many descriptors for this process as it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Peak:
    """The most that *count* has returned while the block ran."""

    def __init__(self, count: Callable[[], int]) -> None:
        self.most = 0
        self._count = count
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            self.most = max(self.most, self._count())


def test_300_logins_of_different_options_do_not_fill_the_node(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster, {"pool": {"size": 4}})

    def log_in(number: int) -> str:
        with proxy.connect(options=f"-c work_mem={number + 100}kB") as connection:
            row = connection.execute("show work_mem").fetchone()
            assert row is not None
            return str(row[0])

    with psycopg.connect(cluster.primary.dsn(), autocommit=True) as watcher:

        def count() -> int:
            row = watcher.execute(
                "select count(*) from pg_stat_activity where usename = 'app'"
            ).fetchone()
            assert row is not None
            return int(row[0])

        with Peak(count) as peak, ThreadPoolExecutor(40) as threads:
            shown = list(threads.map(log_in, range(300)))

    assert shown == [f"{number + 100}kB" for number in range(300)]
    # The pool's four, four that ask, and such as have been told to go and are not gone yet.
    assert 1 <= peak.most <= 4 + 4 + 8
    assert "53300" not in proxy.log()


def test_a_burst_of_one_client_too_many_refuses_one(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster, {"limits": {"max_client_conn": 12}})
    with proxy.connect():
        pass  # its welcome is known from here on
    assert wait_until(lambda: not proxy.console("SHOW CLIENTS"), timeout=10)
    start, heard = threading.Barrier(13), []
    admitted = []

    def client() -> None:
        start.wait(20)
        try:
            admitted.append(proxy.connect())
        except psycopg.OperationalError as error:
            heard.append(str(error))

    threads = [threading.Thread(target=client) for _ in range(13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(admitted), len(heard)) == (12, 1)
    assert "max_client_conn = 12" in heard[0]
    for connection in admitted:
        connection.close()


def test_equal_logins_that_are_refused_ask_the_node_a_few_times(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster, {})

    def log_in(_: int) -> str:
        with pytest.raises(psycopg.OperationalError) as refused:
            proxy.connect("no_such_database")
        return str(refused.value)

    with ThreadPoolExecutor(20) as threads:
        heard = list(threads.map(log_in, range(100)))

    assert all('database "no_such_database" does not exist' in sentence for sentence in heard)


@pytest.mark.parametrize("deferred", ["0s", "45s"], ids=["accepted", "kept by the kernel"])
def test_thousands_who_never_log_in_keep_nobody_waiting(
    cluster: EmbeddedCluster, make_proxy: MakeProxy, many_files: None, deferred: str
):
    limit = HALF_OPEN // 3
    settings = {"limits": {"max_login_conn": limit}, "tcp": {"defer_accept": deferred}}
    proxy = make_proxy(cluster, settings)
    with Bystander(proxy, patience=60) as bystander:
        before = bystander.logins
        strangers = [
            socket.create_connection((proxy.host, proxy.port), 30) for _ in range(HALF_OPEN)
        ]
        assert wait_until(lambda: bystander.logins >= before + 10, timeout=120)
        assert proxy.console("SHOW VERSION")
        for stranger in strangers:
            stranger.close()
    # The first waits for three tables of strangers to have had their quarter of a second.
    assert statistics.median(bystander.login_seconds[before:]) < 2


def test_without_descriptors_nodes_stay_up_and_operators_get_in(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster, {})
    with proxy.connect() as settled:
        settled.execute("select 1")
        assert proxy.pid is not None
        limit = proxy.open_files() + 60
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (limit, limit))
        clients, refusals = _fill(proxy)
        assert len(clients) < 60
        assert "out of file descriptors" in refusals[0]
        assert not wait_until(lambda: _is_any_node_away(proxy), timeout=2)
        for client in (settled, *clients):
            client.execute("select 1")
        for client in clients:
            client.close()
    assert wait_until(lambda: _gets_in(proxy), timeout=10)
    log = proxy.log()
    assert "node_down" not in log
    assert "node_banned" not in log
    assert log.count("few_files_left") == 1


def _fill(proxy: Proxy) -> tuple[list[psycopg.Connection], list[str]]:
    """Connect until that is refused; return the connections, and what was said."""
    clients: list[psycopg.Connection] = []
    while len(clients) < 100:
        try:
            clients.append(proxy.connect())
        except psycopg.OperationalError as error:
            return clients, [str(error)]
    raise AssertionError("nobody was refused")


def _is_any_node_away(proxy: Proxy) -> bool:
    return any(row["health"] != "up" for row in proxy.console("SHOW NODES"))


def _gets_in(proxy: Proxy) -> bool:
    try:
        proxy.connect().close()
    except psycopg.OperationalError:
        return False
    return True
