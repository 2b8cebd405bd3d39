"""Who is late is found out by one look every tick, in time that is only said to pass."""

from __future__ import annotations

import attrs
import pytest

from rwsplit.config.model import PoolConfig
from rwsplit.relay.relay import Relay
from rwsplit.relay.server_timers import PATIENCE
from rwsplit.server.server import Server
from tests.support.memory_relay import ANSWER, MemoryRelay, wire_of


@pytest.fixture
def cancelled(monkeypatch: pytest.MonkeyPatch) -> list[Server]:
    """The servers that cancel requests were sent to."""
    sent: list[Server] = []
    monkeypatch.setattr(Relay, "start_task", lambda self, task, server: sent.append(server))
    return sent


def configure(rig: MemoryRelay, **settings: float) -> None:
    pool = PoolConfig(**settings)  # type: ignore[arg-type]
    rig.relay.reconfigure(attrs.evolve(rig.relay.config, pool=pool), rig.relay.chooser)


def look(rig: MemoryRelay, after: float) -> None:
    """Let *after* seconds pass, and look."""
    rig.now += after
    rig.relay.now = rig.now
    rig.relay.deadlines.look(rig.now)
    rig.relay.outboxes.flush()


def test_without_a_timeout_nobody_is_late(cancelled: list[Server]):
    rig = MemoryRelay(2)
    rig.ask(rig.clients[0], b"select 1")
    rig.turn_clients(rig.clients)
    look(rig, 10_000.0)
    assert cancelled == []
    assert not any(client.closed for client in rig.clients)


def test_a_statement_is_cancelled_again_each_second_and_then_its_session_and_its_server_end(
    cancelled: list[Server],
):
    rig = MemoryRelay(1)
    [client] = rig.clients
    configure(rig, query_timeout=2.0)
    rig.ask(client, b"select 1")
    rig.turn_clients([client])
    [server] = rig.busy()

    look(rig, 1.9)
    assert cancelled == []
    look(rig, 0.2)
    assert cancelled == [server]
    look(rig, 0.5)
    assert cancelled == [server]
    server.cancels = 0  # the request was sent
    look(rig, 0.6)
    assert cancelled == [server] * 2
    look(rig, PATIENCE)
    assert client.closed
    assert b"57014" in wire_of(client).sent
    assert b"query_timeout is 2 s" in wire_of(client).sent
    assert rig.busy() == [server]
    look(rig, PATIENCE)
    assert rig.busy() == []
    assert server.fd not in rig.relay.servers


def test_time_is_counted_from_when_the_server_was_free_for_it(cancelled: list[Server]):
    rig = MemoryRelay(1)
    [client] = rig.clients
    configure(rig, query_timeout=2.0)
    for _ in range(3):
        rig.ask(client, b"select 1")
        rig.turn_clients([client])
        look(rig, 1.5)
        rig.answer(rig.busy(), ANSWER)
        rig.now += 5.0
    assert cancelled == []


def test_all_clients_are_looked_at_only_when_one_can_be_due():
    rig = MemoryRelay(2)
    idle, busy = rig.clients
    configure(rig, client_idle_timeout=10.0)
    look(rig, 0.0)
    rig.ask(busy, b"select 1")
    rig.turn_clients([busy])
    look(rig, 8.5)
    assert not idle.closed
    rig.answer(rig.busy(), ANSWER)
    look(rig, 1.0)
    assert idle.closed
    assert b"57P05" in wire_of(idle).sent
    assert not busy.closed
    look(rig, 9.5)
    assert busy.closed
