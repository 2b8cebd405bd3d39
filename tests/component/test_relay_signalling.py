"""Sessions that end or cancel others, wherever those are: working, waiting, or on a lane."""

from __future__ import annotations

import pytest

from rwsplit.relay.client import Client
from tests.support.frames import query
from tests.support.memory_relay import ANSWER, MemoryRelay, wire_of

TERMINATED = b"C57P01\0Mterminating connection due to administrator command"
REPLACED = query("SELECT true AS pg_terminate_backend")


@pytest.fixture
def rig() -> MemoryRelay:
    return MemoryRelay(3, size=1)


def terminate(rig: MemoryRelay, asker: Client, target: Client) -> bytes:
    """Have *asker* terminate *target*; return what the primary is sent for it."""
    rig.ask(asker, b"select pg_terminate_backend(%d)" % target.pid)
    rig.turn_clients([asker])
    assert asker.server is not None
    return wire_of(asker.server).sent


def test_an_idle_session_ends_and_the_asker_is_answered(rig: MemoryRelay):
    asker, target, _ = rig.clients
    assert terminate(rig, asker, target) == REPLACED
    assert target.closed
    assert TERMINATED in wire_of(target).sent
    assert target.pid not in rig.relay.by_pid
    assert not asker.closed


def test_a_session_in_a_queue_ends_and_leaves_it(rig: MemoryRelay):
    asker, target, holder = rig.clients
    rig.ask(holder, b"delete from t")
    rig.turn_clients([holder])
    rig.ask(asker, b"select pg_terminate_backend(%d)" % target.pid)
    rig.turn_clients([asker])
    rig.ask(target, b"delete from u")
    rig.turn_clients([target])
    assert target.line is not None
    rig.answer(rig.busy(), ANSWER)
    assert target.closed
    assert asker.server is not None
    assert wire_of(asker.server).sent.endswith(REPLACED)
    rig.answer(rig.busy(), ANSWER)
    assert not any(rig.relay.counters.load)


def test_what_a_terminated_session_runs_is_cancelled_and_its_server_kept_for_nobody_meanwhile(
    rig: MemoryRelay,
):
    asker, target, _ = rig.clients
    rig.ask(target, b"select 1")
    rig.turn_clients([target])
    server = target.server
    assert server is not None
    terminate(rig, asker, target)
    assert target.closed
    assert server.cancels == 1


def test_behind_work_in_flight_the_number_goes_to_the_node(rig: MemoryRelay):
    asker, target, _ = rig.clients
    sent = query("delete from t") + query(f"select pg_terminate_backend({target.pid})")
    wire_of(asker).incoming = sent
    rig.turn_clients([asker])
    assert asker.server is not None
    assert wire_of(asker.server).sent == sent
    assert not target.closed


@pytest.mark.parametrize("user", ["app", "other"])
def test_only_a_session_of_the_same_user_is_ended(rig: MemoryRelay, user: str):
    asker, target, _ = rig.clients
    target.user = user
    sent = terminate(rig, asker, target)
    assert target.closed == (user == "app")
    assert (sent == REPLACED) == (user == "app")


def test_on_a_lane_a_terminated_session_leaves_the_others_alone():
    rig = MemoryRelay(3, size=1, lane_depth=4)
    asker, target, other = rig.clients
    for client in (target, other):  # what it costs is known from then on
        rig.ask(client, b"select 1")
        rig.turn_clients([client])
        rig.answer(rig.busy(), ANSWER)
    for client in (target, other):
        rig.ask(client, b"select 1")
    rig.turn_clients([target, other])
    readers = rig.busy()
    terminate(rig, asker, target)
    assert target.closed
    assert not any(server.cancels for server in readers)
    rig.answer(rig.busy(), ANSWER)
    assert not other.closed
    assert ANSWER in wire_of(other).sent
    assert not any(rig.relay.counters.load)


def test_a_session_that_ends_as_it_gives_its_server_to_the_asker_gets_its_answer_first(
    rig: MemoryRelay,
):
    asker, target, _ = rig.clients
    rig.ask(target, b"delete from t")
    rig.turn_clients([target])
    rig.ask(asker, b"select pg_terminate_backend(%d)" % target.pid)
    rig.turn_clients([asker])
    assert asker.line is not None
    rig.answer(rig.busy(), ANSWER)
    assert target.closed
    answered = wire_of(target).sent
    assert answered.startswith(ANSWER)
    assert TERMINATED in answered
    assert asker.server is not None
    assert wire_of(asker.server).sent.endswith(REPLACED)
    rig.answer(rig.busy(), ANSWER)
    assert not any(rig.relay.counters.load)
