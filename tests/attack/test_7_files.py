"""Files: strangers cannot use up what clients need, and a process without descriptors blames no node."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from collections.abc import Generator

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from rwsplit.cluster.node import Up
from rwsplit.cluster.observation import Observation
from rwsplit.config.choices import AuthType, SslMode
from rwsplit.config.model import Config, MonitorConfig, NodeConfig
from rwsplit.errors import OutOfFiles
from rwsplit.monitor.board import Board
from rwsplit.monitor.probe import Probe
from rwsplit.monitor.watcher import Watcher
from rwsplit.protocol import frontend
from rwsplit.protocol.fields import parse_error_fields
from rwsplit.server import files
from rwsplit.server.dialer import Dialed, dial, send_cancel
from rwsplit.server.endpoint import Endpoint
from rwsplit.server.files import Purpose
from rwsplit.server.server import Server
from rwsplit.server.stream import WireStream
from rwsplit.server.wire import PlainWire
from tests.support.lobby import OpenLobby, served
from tests.support.memory_relay import MemoryRelay, wire_of
from tests.support.scripted import KEY, OK, READY, node, says


@contextlib.contextmanager
def descriptors_left(number: int) -> Generator[None]:
    """Have *number* more descriptors than are in use, and no reserve beyond those."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + number, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def log_in(port: int, *, database: str = "shop") -> tuple[bytes, dict[str, str]]:
    """Connect and send a startup packet; return the first message's code, and the fields of an error."""
    sock = trio.socket.socket()
    await sock.connect(("127.0.0.1", port))
    stream = WireStream(PlainWire(socket.socket(fileno=sock.detach())))
    try:
        await stream.send_all(frontend.startup_message({"user": "app", "database": database}))
        code, payload = await stream.read_frame()
        if code == ord("R"):
            code, payload = await stream.read_frame()
        return bytes([code]), parse_error_fields(payload) if code == ord("E") else {}
    finally:
        stream.close()


# -- strangers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", b"\0\0"], ids=["silent", "half a packet"])
async def test_strangers_who_never_log_in_keep_nobody_out(said):
    lobby = OpenLobby(method=AuthType.TRUST, max_login_conn=50, client_login_timeout=60)
    async with served(lobby) as port:
        strangers = [socket.create_connection(("127.0.0.1", port)) for _ in range(80)]
        for stranger in strangers:
            stranger.sendall(said)
        with trio.fail_after(30), capture_logs() as logs:
            for database in ("shop", "rwsplit"):
                code, _ = await log_in(port, database=database)
                assert code != b"E"
        assert [log["event"] for log in logs].count("half_open_dropped") == 1
        assert len(lobby.half_open) <= 50
        assert lobby.half_open.dropped >= 30
        for stranger in strangers:
            stranger.close()


async def test_who_makes_room_is_told_why():
    lobby = OpenLobby(method=AuthType.TRUST, max_login_conn=1, client_login_timeout=60)
    async with served(lobby) as port:
        stranger = WireStream(PlainWire(socket.create_connection(("127.0.0.1", port))))
        await stranger.send_all(b"\0")
        with trio.fail_after(30):
            assert (await log_in(port))[0] != b"E"
            code, payload = await stranger.read_frame()
        stranger.close()

    fields = parse_error_fields(payload)
    assert (code, fields["C"]) == (ord("E"), "53300")
    assert "max_login_conn = 1" in fields["M"]


async def test_a_crowd_larger_than_the_limit_logs_in(monkeypatch):
    """Nobody is dropped who does what it can: the rest of them waits in the kernel's queue."""
    monkeypatch.setattr("rwsplit.client.half_open.SILENT", 30.0)  # however slow this machine is
    monkeypatch.setattr("rwsplit.client.half_open.SPEAKING", 30.0)
    lobby = OpenLobby(method=AuthType.TRUST, max_login_conn=4)
    heard = []

    async def client(port: int) -> None:
        code, _ = await log_in(port)
        heard.append(code)

    async with served(lobby) as port, trio.open_nursery() as nursery:
        for _ in range(60):
            nursery.start_soon(client, port)

    assert heard == [b"S"] * 60
    assert lobby.half_open.dropped == 0


async def test_clients_that_have_logged_in_are_not_counted():
    lobby = OpenLobby(method=AuthType.TRUST, max_login_conn=2)
    async with served(lobby) as port:
        with trio.fail_after(30):
            for _ in range(10):
                assert (await log_in(port))[0] == b"S"
        assert len(lobby.established) == 10
        assert (len(lobby.half_open), lobby.half_open.dropped) == (0, 0)


# -- a process without descriptors ------------------------------------------------------------------


async def test_the_last_descriptors_are_for_the_console(monkeypatch):
    lobby = OpenLobby(method=AuthType.TRUST)
    async with served(lobby) as port:
        assert (await log_in(port))[0] == b"S"
        monkeypatch.setattr(
            "rwsplit.client.listener.is_spent", lambda _fd, purpose: purpose is Purpose.CLIENT
        )
        monkeypatch.setattr(
            "rwsplit.client.startup.is_short", lambda purpose: purpose is Purpose.CLIENT
        )
        with capture_logs() as logs:
            code, fields = await log_in(port)
            assert (code, fields["C"]) == (b"E", "53000")
            assert "out of file descriptors" in fields["M"]
            code, _ = await log_in(port, database="rwsplit")
            assert code == b"Z"

    assert [log["event"] for log in logs].count("few_files_left") == 1


async def test_where_even_those_are_used_up_who_has_not_logged_in_makes_room(monkeypatch):
    lobby = OpenLobby(method=AuthType.TRUST)
    async with served(lobby) as port:
        stranger = socket.create_connection(("127.0.0.1", port))
        with trio.fail_after(30):
            while not len(lobby.half_open):
                await trio.lowlevel.checkpoint()
        monkeypatch.setattr("rwsplit.client.listener.is_spent", lambda _fd, _purpose: True)
        code, _ = await log_in(port, database="rwsplit")
        assert code == b"Z"
        assert lobby.half_open.dropped == 1
        stranger.close()


async def test_strangers_leave_to_servers_what_clients_must_leave(monkeypatch):
    """They took all but the last 32, until `client_login_timeout`: no server could be opened, and nothing was executed."""
    monkeypatch.setattr(
        "rwsplit.client.listener.is_spent", lambda _fd, purpose: purpose is Purpose.CLIENT
    )
    lobby = OpenLobby(method=AuthType.TRUST, client_login_timeout=60)
    async with served(lobby) as port:
        strangers = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
        with trio.fail_after(30):
            while lobby.half_open.dropped < 40 - 16:
                await trio.lowlevel.checkpoint()
            assert len(lobby.half_open) == 16
            assert (await log_in(port, database="rwsplit"))[0] == b"Z"
        for stranger in strangers:
            stranger.close()


async def test_a_crowd_of_strangers_makes_room_without_a_pause_each(monkeypatch):
    """Ten a second got in: an operator behind 200 strangers gave up."""
    monkeypatch.setattr("rwsplit.client.listener.PAUSE", 3600.0)
    lobby = OpenLobby(method=AuthType.TRUST, client_login_timeout=60)
    async with served(lobby) as port:
        crowd = [socket.socket() for _ in range(20)]
        for stranger in crowd[:5]:
            stranger.connect(("127.0.0.1", port))
        with trio.fail_after(30):
            while len(lobby.half_open) < 5:
                await trio.lowlevel.checkpoint()
            with descriptors_left(0):
                for stranger in crowd[5:]:
                    stranger.connect(("127.0.0.1", port))
                while lobby.half_open.dropped < 15:
                    await trio.lowlevel.checkpoint()
        for stranger in crowd:
            stranger.close()


def test_the_number_of_a_descriptor_says_how_many_are_left(monkeypatch):
    monkeypatch.setattr(files, "limit", lambda: 4096)
    assert [purpose for purpose in Purpose if not files.is_spent(3999, purpose)] == list(
        Purpose
    )
    assert [purpose for purpose in Purpose if not files.is_spent(4000, purpose)] == [
        Purpose.SERVER,
        Purpose.CONSOLE,
        Purpose.OURS,
    ]
    assert [p for p in Purpose if not files.is_spent(4032, p)] == [
        Purpose.CONSOLE,
        Purpose.OURS,
    ]
    assert [p for p in Purpose if not files.is_spent(4064, p)] == [Purpose.OURS]
    monkeypatch.setattr(files, "limit", lambda: 256)  # the reserves are smaller, too
    assert not files.is_spent(231, Purpose.CLIENT)
    assert files.is_spent(232, Purpose.CLIENT)


async def test_a_dial_without_a_descriptor_is_no_nodes_fault():
    endpoint = Endpoint(host="127.0.0.1", port=1, sslmode=SslMode.DISABLE)
    with descriptors_left(0):
        with pytest.raises(OutOfFiles, match="out of file descriptors"):
            await dial(
                endpoint, database="d", user="u", parameters={}, credentials=None, timeout=5
            )
        with pytest.raises(OutOfFiles):
            await send_cancel(endpoint, 1, b"abcd", timeout=5)


@pytest.mark.parametrize("host", ["localhost", "a.name.invalid"])
async def test_nor_is_a_name_that_cannot_be_looked_up_without_one(host):
    endpoint = Endpoint(host=host, port=1, sslmode=SslMode.DISABLE)
    with descriptors_left(0), pytest.raises(OutOfFiles):
        await dial(endpoint, database="d", user="u", parameters={}, credentials=None, timeout=5)


async def test_servers_leave_some_to_probes(monkeypatch):
    monkeypatch.setattr(
        "rwsplit.server.dialer.is_spent", lambda _fd, purpose: purpose is Purpose.SERVER
    )
    async with node(says(OK, KEY, READY)) as port:
        endpoint = Endpoint(host="127.0.0.1", port=port, sslmode=SslMode.DISABLE)

        async def open_one(purpose: Purpose) -> Dialed:
            return await dial(
                endpoint,
                database="d",
                user="u",
                parameters={},
                credentials=None,
                timeout=5,
                purpose=purpose,
            )

        with pytest.raises(OutOfFiles):
            await open_one(Purpose.SERVER)
        (await open_one(Purpose.OURS)).wire.close()


async def test_a_pool_that_could_not_dial_bans_no_node_and_tries_again(nursery):
    rig = MemoryRelay(2, size=1)
    relay = rig.relay
    failures: list[str] = []
    opened: list[Server] = []

    async def open_server(_pool: object) -> Server:
        opened.append(server)
        raise files.out_of_files()

    relay._open_server = open_server
    relay.report_failure = lambda node, _reason: failures.append(node)
    relay._nursery = nursery
    [server] = [s for s in relay.servers.values() if s.pool.node == "n0"]
    pool = server.pool
    relay.close_server(server)
    rig.ask(rig.clients[0], b"delete from t")
    with capture_logs() as logs:
        for _ in range(20):
            rig.turn_clients(rig.clients[:1])
            await trio.testing.wait_all_tasks_blocked()
            rig.now += 0.2
            relay._tick()
            await trio.testing.wait_all_tasks_blocked()

    assert failures == []
    assert (pool.failures, pool.starting, pool.refused) == (0, 0, None)
    assert len(opened) > 10
    assert pool.retry_at - rig.now <= 0.1
    assert "out of file descriptors" in pool.limit
    assert [log["event"] for log in logs] == ["server_not_opened"]
    assert not wire_of(rig.clients[0]).sent
    relay._nursery = None


async def test_a_probe_that_could_not_dial_says_nothing_of_the_node(autojump_clock):
    config = Config(
        nodes=(NodeConfig(name="pg0", host="127.0.0.1", port=1),),
        monitor=MonitorConfig(rise=1, fall=1),
    )
    board = Board(config)
    probe = Probe(config.nodes[0], config.monitor, config.tls)
    looks = 0

    class Looker:
        """Is a probe whose descriptors are gone."""

        async def look(self) -> Observation:
            nonlocal looks
            looks += 1
            with descriptors_left(0):
                return await probe.look()

        async def rest(self) -> None:
            await trio.sleep_forever()

        def fileno(self) -> int:
            return -1

        def close(self) -> None:
            probe.close()

    watcher = Watcher("pg0", board, Looker(), interval=0.1)
    before = board.view.node("pg0")
    with capture_logs() as logs, trio.move_on_after(5):
        await watcher.run()

    assert looks > 30
    assert board.view.node("pg0") == before
    assert before is not None
    assert not isinstance(before.health, Up)
    assert [log["event"] for log in logs] == ["node_not_probed"]
