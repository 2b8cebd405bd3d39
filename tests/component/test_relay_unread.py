"""Clients that take nothing of what is sent to them are not waited for for ever; those that read slowly are."""

from __future__ import annotations

import attrs
import pytest

from rwsplit.config.model import PoolConfig
from rwsplit.exchange.lease import CLOSED
from rwsplit.relay.relay import Relay
from rwsplit.server.server import Server
from tests.support import frames
from tests.support.memory_relay import ANSWER, MemoryRelay, MemoryWire, wire_of

TIMEOUT = 600.0
"""The default."""


@pytest.fixture
def cancelled(monkeypatch: pytest.MonkeyPatch) -> list[Server]:
    """The servers that cancel requests were sent to."""
    sent: list[Server] = []
    monkeypatch.setattr(Relay, "start_task", lambda self, task, server: sent.append(server))
    return sent


class Rig(MemoryRelay):
    """A relay with one client, whose socket takes as much as a test says."""

    def __init__(self, *, room: int = 1000, **settings: float) -> None:
        super().__init__(1)
        pool = PoolConfig(**settings)  # type: ignore[arg-type]
        self.relay.reconfigure(attrs.evolve(self.relay.config, pool=pool), self.relay.chooser)
        self.client = self.clients[0]
        self.wire: MemoryWire = wire_of(self.client)
        self.wire.room = room
        self.pass_time(1)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.now += 1.0
            self.relay.now = self.now
            self.relay.deadlines.look(self.now)
            self.relay.outboxes.flush()

    def gets(self, rows: bytes, sql: str = "select a") -> Server:
        """Have the client ask for *rows*, and the server send them; return that."""
        self.ask(self.client, sql.encode())
        self.turn_clients([self.client])
        [server] = self.busy()
        self.turn_servers([(server, frames.COLUMNS + rows)])
        return server

    def reads(self, size: int) -> None:
        """Have the client's machine acknowledge *size* bytes; the system makes room of them if they are many."""
        self.wire.kept -= size
        if size > 300:
            self.wire.room = size
            self.relay.turn([(self.client.fd, 4)])  # EPOLLOUT


def test_a_client_that_does_not_read_its_rows_gives_back_its_server(cancelled: list[Server]):
    rig = Rig()
    server = rig.gets(frames.row(300_000 * "x"))
    assert rig.client.blocked
    assert server.paused
    rig.pass_time(TIMEOUT - 2)
    assert not rig.client.closed
    rig.pass_time(3)
    assert rig.client.closed
    assert cancelled == [server]
    assert not server.paused
    rig.turn_servers([(server, frames.error("57014") + frames.ready())])
    assert not rig.busy()
    assert server.lease != CLOSED


def test_one_that_reads_slowly_is_left_alone():
    rig = Rig(room=10_000)
    rig.gets(frames.row(300_000 * "x"))
    for _ in range(20):
        rig.pass_time(TIMEOUT - 10)
        rig.reads(1)
    assert not rig.client.closed
    rig.pass_time(TIMEOUT + 2)
    assert rig.client.closed


def test_so_is_one_whose_system_takes_more_now_and_then():
    rig = Rig(room=10_000)
    rig.gets(frames.row(300_000 * "x"))
    for _ in range(10):
        rig.pass_time(TIMEOUT - 10)
        rig.reads(1000)
        assert rig.client.blocked
    assert not rig.client.closed


def test_one_that_has_read_all_is_forgotten():
    rig = Rig(room=100)
    server = rig.gets(frames.row(20_000 * "x"))
    assert rig.client.blocked
    rig.reads(100)
    rig.wire.room = None
    rig.relay.turn([(rig.client.fd, 4)])
    assert not rig.client.blocked
    rig.pass_time(3 * TIMEOUT)
    assert not rig.client.closed
    rig.turn_servers([(server, frames.complete() + frames.ready())])


def test_a_transaction_is_rolled_back():
    rig = Rig()
    rig.ask(rig.client, b"begin isolation level serializable")
    rig.turn_clients([rig.client])
    [server] = rig.busy()
    rig.turn_servers([(server, frames.complete("BEGIN") + frames.ready("T"))])
    rig.gets(300 * frames.row(1000 * "x") + frames.complete() + frames.ready("T"))
    rig.pass_time(TIMEOUT + 2)
    assert rig.client.closed
    [owed] = server.responses.owed
    assert "end a transaction" in owed.purpose.value  # type: ignore[attr-defined]


def test_one_that_has_no_server_any_more_is_ended_as_well():
    rig = Rig(room=20)
    rig.gets(ANSWER[34:])
    assert rig.busy() == []
    rig.pass_time(TIMEOUT + 2)
    assert rig.client.closed


def test_nobody_is_ended_where_it_is_turned_off():
    rig = Rig(client_write_timeout=0)
    rig.gets(frames.row(300_000 * "x"))
    rig.pass_time(3 * TIMEOUT)
    assert not rig.client.closed


def test_one_that_has_gone_is_forgotten():
    rig = Rig()
    server = rig.gets(frames.row(300_000 * "x"))
    rig.relay.loss.client_gone(rig.client)
    rig.turn_servers([(server, frames.error("57014") + frames.ready())])
    rig.pass_time(TIMEOUT + 2)
    assert rig.relay.counters.timeouts == 0
