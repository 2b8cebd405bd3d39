"""Whatever one client sends, a bystander is served, and no node is blamed for what rwsplit takes over it."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from tests.support import frames
from tests.support.attack_length import TIMES
from tests.support.bystander import Bystander
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy
from tests.support.raw_client import RawClient

pytestmark = pytest.mark.integration

PATIENCE = 240.0
#: Seconds nobody has to wait for, however slow the machine is: a turn is counted in work, see tests/component/test_relay_slices.py.
STALL = 15.0
BLAMED = (
    "node_down",
    "node_banned",
    "node_frozen",
    "node_still_down",
    "server_failed",
    "client_failed",
)


@contextmanager
def bystander(proxy: Proxy) -> Iterator[Bystander]:
    """Have one while the block runs: it must not notice anything, nor any node be blamed."""
    with Bystander(proxy, patience=PATIENCE) as one:
        yield one
    assert one.slowest_query < STALL
    assert one.slowest_login < 2 * STALL
    log = proxy.log_path.read_text()
    assert not [event for event in BLAMED if event in log]


def attackers(count: int, attack: Callable[[int], None]) -> None:
    """Run *attack* in so many threads at once, `TIMES` times in each, every time with another number."""
    errors: list[Exception] = []

    def run(number: int) -> None:
        try:
            for turn in range(TIMES):
                attack(number + turn * count)
        except Exception as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE * TIMES)
        assert not thread.is_alive()
    assert not errors


def read_all(client: RawClient, count: int) -> bytes:
    """Return what *client* gets up to the ReadyForQuery number *count*."""
    got: list[bytes] = []
    while count:
        frame = client.frame()
        if frame.code == b"Z":
            count -= 1
        elif frame.code == b"E":
            got.append(frame.payload)
    return b"".join(got)


@pytest.fixture
def server(cluster: EmbeddedCluster, make_proxy: MakeProxy) -> Proxy:
    return make_proxy(cluster, {"log": {"level": "warning"}})


def test_shapes_nobody_has_seen(server: Proxy):
    """Hundreds at once, from ten clients: in the time these take the bystander is served again and again."""

    def attack(number: int) -> None:
        with server.raw(timeout=PATIENCE) as client:
            texts = [f"select {n} as c{number}_{n}, {n} as d{n}" for n in range(600)]
            client.send(b"".join(map(frames.query, texts)))
            assert not read_all(client, len(texts))

    with bystander(server) as one:
        before = one.queries
        attackers(10, attack)
        assert one.queries - before >= 20


@pytest.mark.parametrize("count", [1000, 4000])
def test_parses_in_one_unit(server: Proxy, count: int):
    def attack(number: int) -> None:
        with server.raw(timeout=PATIENCE) as client:
            parses = [frames.parse(f"s{n}", f"select {n}, {number}") for n in range(count)]
            client.send(b"".join(parses) + frames.SYNC)
            assert not read_all(client, 1)
            run = frames.bind("s7") + frames.execute() + frames.SYNC
            client.send(run + frames.query("discard all"))
            assert not read_all(client, 2)

    with bystander(server):
        attackers(3, attack)


def test_portals_in_one_transaction(server: Proxy):
    def attack(_: int) -> None:
        with server.raw(timeout=PATIENCE) as client:
            client.send(frames.query("begin") + frames.parse("s", "select 1") + frames.SYNC)
            assert not read_all(client, 2)
            for at in range(0, 20_000, 500):
                bound = b"".join(frames.bind("s", portal=f"p{n}") for n in range(at, at + 500))
                client.send(bound + frames.SYNC)
                assert not read_all(client, 1)
            client.send(frames.execute("p7") + frames.SYNC + frames.query("commit"))
            assert not read_all(client, 2)

    with bystander(server):
        attackers(2, attack)


def test_syncs_whose_answers_are_never_read(server: Proxy):
    before = memory(server)
    with bystander(server), server.raw(timeout=PATIENCE) as client:
        sock: socket.socket = client.socket
        sock.settimeout(2.0)
        sent = 0
        try:
            while sent < 3_000_000:
                sent += sock.send(frames.SYNC * 10_000)
        except TimeoutError:
            pass
        assert memory(server) - before < 64 << 20


def test_copy_of_many_small_frames_is_whole(server: Proxy):
    rows = 20_000
    with bystander(server), server.connect() as admin:
        admin.execute("create table if not exists copied (n int)")
        admin.execute("truncate copied")
        admin.commit()

        def attack(number: int) -> None:
            with server.raw(timeout=PATIENCE) as client:
                client.send(frames.query("copy copied from stdin"))
                wait_for(client, b"G")
                data = b"".join(
                    frames.message("d", b"%d\n" % (number * rows + n)) for n in range(rows)
                )
                client.send(data + frames.message("c"))
                assert not read_all(client, 1)

        attackers(3, attack)
        # Others have written it: a replica need not have replayed that yet.
        row = admin.execute(
            "/* rwsplit: primary */ select count(*), count(distinct n), sum(n) from copied"
        ).fetchone()
        total = 3 * rows * TIMES
        assert row == (total, total, total * (total - 1) // 2)
        admin.execute("drop table copied")
        admin.commit()


def wait_for(client: RawClient, code: bytes) -> None:
    while client.frame().code != code:
        pass


def memory(proxy: Proxy) -> int:
    """Return the bytes of memory the process of *proxy* uses."""
    text = Path(f"/proc/{proxy.pid}/status").read_text()
    [line] = [line for line in text.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) << 10


def test_memory_is_used_again_by_the_next_storm(server: Proxy):
    def storm() -> int:
        with server.raw(timeout=PATIENCE) as client:
            parses = [
                frames.parse(f"s{n}", f"select {n} as {'x' * 40}{n}") for n in range(10_000)
            ]
            for at in range(0, 10_000, 500):
                client.send(b"".join(parses[at : at + 500]) + frames.SYNC)
                assert not read_all(client, 1)
        return memory(server)

    with bystander(server):
        sizes = [storm() for _ in range(3 + TIMES)]
    print("RSS after each storm, MB:", [size >> 20 for size in sizes])
    assert sizes[-1] - sizes[1] < 16 << 20


def test_statements_beyond_the_limit_are_refused(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster, {"limits": {"max_statements_per_client": 5}})
    with proxy.connect(autocommit=True) as other, proxy.raw(timeout=PATIENCE) as client:
        for n in range(7):
            client.send(
                frames.parse(f"s{n}", f"select {n}")
                + frames.bind(f"s{n}")
                + frames.execute()
                + frames.SYNC
            )
            error = read_all(client, 1)
            assert (b"C53400\0" in error) is (n >= 5)
            if n >= 5:
                assert b"limits.max_statements_per_client" in error
                assert b"rwsplit_too_many" not in error
        client.send(frames.query("prepare p as select 1"))
        assert b"C53400\0" in read_all(client, 1)
        client.send(frames.close("s0") + frames.SYNC + frames.query("prepare p as select 1"))
        assert not read_all(client, 2)
        client.send(frames.query("deallocate p") + frames.query("begin"))
        assert not read_all(client, 2)
        client.send(frames.parse("s5", "select 5") + frames.SYNC)  # there is room for one
        assert not read_all(client, 1)
        client.send(frames.parse("s6", "select 6") + frames.SYNC)
        assert b"C53400\0" in read_all(client, 1)
        client.send(frames.query("select 1"))
        assert b"C25P02\0" in read_all(client, 1)  # as by any error
        client.send(frames.query("rollback"))
        assert not read_all(client, 1)
        portals = b"".join(frames.bind("s1", portal=f"p{n}") for n in range(7))
        client.send(frames.query("begin") + portals + frames.SYNC + frames.query("rollback"))
        assert b"named portals" in read_all(client, 3)
        assert other.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize("during", ["idle", "reads"])
def test_a_process_that_was_stopped_blames_nobody(server: Proxy, during: str):
    """As by a suspended machine; longer than probes may take."""
    with server.connect(autocommit=True) as connection:
        connection.execute("select 1")
        stop = threading.Event()
        thread = threading.Thread(target=keep_reading, args=(server, stop), daemon=True)
        if during == "reads":
            thread.start()
            time.sleep(0.3)  # noqa: TID251 - reads are under way
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        time.sleep(3.0)  # noqa: TID251 - it is the time that matters
        os.kill(pid, signal.SIGCONT)
        assert connection.execute("select 1").fetchone() == (1,)
        time.sleep(1.0)  # noqa: TID251 - for a verdict, if there were one
        stop.set()
        if during == "reads":
            thread.join(PATIENCE)
    log = server.log_path.read_text()
    assert "stalled" in log
    assert not [event for event in BLAMED if event in log]
    assert "rwsplit_stalls_total" in str(server.console("show metrics"))


def keep_reading(proxy: Proxy, stop: threading.Event) -> None:
    with proxy.connect(autocommit=True) as connection:
        while not stop.is_set():
            connection.execute("select 1")
