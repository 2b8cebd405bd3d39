"""What is sent so that no session sees what another one has drawn from sequences, and when nothing is sent."""

from __future__ import annotations

import pytest

from rwsplit.exchange.chores import DISCARD_SEQUENCES
from rwsplit.protocol import codes
from rwsplit.protocol.framing import frame
from rwsplit.relay import sequences
from rwsplit.relay.client import Client
from rwsplit.relay.resetting import Reset
from tests.support.memory_relay import MemoryRelay, wire_of

READY = frame(codes.READY, b"I")
IN_TRANSACTION = frame(codes.READY, b"T")
FAILED = frame(codes.READY, b"E")
DONE = frame(codes.COMMAND_COMPLETE, b"UPDATE 1\0")


def error(state: bytes) -> bytes:
    return frame(codes.ERROR, b"SERROR\0VERROR\0C" + state + b"\0Moh\0\0")


def crowded() -> MemoryRelay:
    """One server on each node for two sessions."""
    return MemoryRelay(2, size=1)


def says(rig: MemoryRelay, client: Client, query: bytes, status: bytes = READY) -> bool:
    """Have *client* run *query*; return whether sequences were discarded ahead of it."""
    rig.ask(client, query)
    rig.turn_clients([client])
    [server] = rig.busy()
    sent = wire_of(server).sent
    rig.turn_servers([(server, (DONE + status) * len(server.responses.owed))])
    while rig.busy():  # what a pinned session leaves
        rig.answer(rig.busy(), DONE + READY)
    assert sent.count(DISCARD_SEQUENCES) == sent.startswith(DISCARD_SEQUENCES)
    return sent.startswith(DISCARD_SEQUENCES)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequences, "PATIENCE", 2)


def test_after_a_while_in_which_nobody_asks_nothing_is_discarded(impatient: None):
    rig = crowded()
    one, other = rig.clients
    assert not says(rig, one, b"insert into t values (1)")
    assert says(rig, other, b"insert into t values (1)")
    assert not says(rig, other, b"insert into t values (1)")
    assert says(rig, one, b"insert into t values (1)")
    for _ in range(3):
        assert not says(rig, one, b"insert into t values (1)")
        assert not says(rig, other, b"update t set a = 2")
        assert not says(rig, other, b"select a from t for update")
        assert not says(rig, one, b"select pg_backend_pid()")
    assert says(rig, other, b"select lastval()")  # it might be another one's
    says(rig, other, b"discard all")
    assert says(rig, one, b"insert into t values (1)")
    assert not says(rig, one, b"insert into t values (1)")
    assert not says(rig, one, b"select lastval()")
    says(rig, one, b"discard all")
    for _ in range(sequences.PATIENCE + 1):  # once asked, always kept apart
        assert says(rig, other, b"update t set a = 1")
        assert says(rig, one, b"update t set a = 1")


def test_who_asks_for_what_only_he_has_drawn_finds_it():
    rig = crowded()
    one, _ = rig.clients
    assert not says(rig, one, b"insert into t values (1)")
    assert not says(rig, one, b"select lastval()")


def test_in_a_failed_transaction_nothing_is_discarded():
    rig = crowded()
    one, other = rig.clients
    says(rig, one, b"insert into t values (1)")
    says(rig, other, b"begin; select 1/0", FAILED)
    assert not says(rig, other, b"select lastval()", FAILED)
    assert not says(rig, other, b"rollback")


@pytest.mark.parametrize(("state", "goes_on"), [(b"25P02", True), (b"57014", False)])
def test_what_could_not_be_discarded_is_not_seen(state: bytes, goes_on: bool):
    rig = crowded()
    one, other = rig.clients
    says(rig, one, b"insert into t values (1)")
    rig.ask(other, b"select lastval()")
    rig.turn_clients([other])
    [server] = rig.busy()
    assert not server.mingled
    rig.turn_servers([(server, error(state) + READY)])
    assert server.mingled
    assert other.closed is not goes_on


@pytest.mark.parametrize(
    ("reset", "mingled"),
    [
        ("DISCARD ALL", False),
        ("RESET ALL; DISCARD SEQUENCES", False),
        ("RESET ALL", True),
        ("DISCARD PLANS", True),
    ],
)
def test_a_reset_query_that_leaves_them_leaves_what_was_drawn(reset: str, mingled: bool):
    rig = crowded()
    one, _ = rig.clients
    says(rig, one, b"insert into t values (1)")
    [server] = [s for s in rig.relay.servers.values() if s.last_writer is one]
    Reset(reset).done(server)
    assert (server.last_writer, server.mingled) == (None, mingled)
    Reset(reset).done(server)
    assert server.mingled is mingled


def test_an_untouched_server_stays_so():
    rig = crowded()
    server = next(iter(rig.relay.servers.values()))
    Reset("RESET ALL").done(server)
    assert not server.mingled
