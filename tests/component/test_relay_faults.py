"""What becomes of sessions when rwsplit itself fails: they are told, at once; the others go on; no server keeps a rest of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog.testing

from rwsplit.exchange.lease import CLOSED, HELD, IDLE, Fate
from rwsplit.relay.client import Client
from rwsplit.relay.faults import MOST_ROUNDS
from rwsplit.server.server import Server
from rwsplit.session.journal import Journal
from tests.support.frames import FLUSH, bind, complete, error, execute, parse, query, ready, row
from tests.support.memory_relay import ANSWER, MemoryRelay, wire_of

WRITE = b"insert into t values (1)"
WRITTEN = complete("INSERT 0 1") + ready()


class Bug(Exception):
    """Stands for a fault of the program."""


def breaks(
    monkeypatch: pytest.MonkeyPatch, part: object, name: str, victim: Any = None
) -> None:
    """Have the method *name* of *part* fail, for *victim* only if that is among its arguments' owners."""
    sound: Callable[..., Any] = getattr(part, name)

    def broken(*args: Any, **options: Any) -> Any:
        if victim is None or victim in args:
            raise Bug
        return sound(*args, **options)

    monkeypatch.setattr(part, name, broken)


@pytest.fixture
def rig() -> Iterator[MemoryRelay]:
    rig = MemoryRelay(3, size=1, forgives=True)
    blamed: list[str] = []
    rig.relay.report_failure = lambda node, reason: blamed.append(node)
    yield rig
    assert not blamed, "no node is to blame"
    assert not any(rig.relay.counters.load), "nothing is under way any more"


def says(rig: MemoryRelay, client: Client, text: bytes) -> Server:
    """Have *client* send *text*; return the server that got it."""
    rig.ask(client, text)
    rig.turn_clients([client])
    assert client.server is not None
    return client.server


def is_told(client: Client) -> bool:
    return client.closed and b"CXX000" in wire_of(client).sent


def test_who_is_answered_while_rwsplit_fails_is_told_and_its_server_closed(
    rig: MemoryRelay, monkeypatch: pytest.MonkeyPatch
):
    client = rig.clients[0]
    server = says(rig, client, WRITE)
    with monkeypatch.context() as patch:
        breaks(patch, rig.relay.moments, "done")
        rig.turn_servers([(server, WRITTEN)])
    assert is_told(client)
    assert (server.lease, server.fate) == (CLOSED, Fate.FAULT)


def test_what_the_session_says_next_does_not_wait_for_ever(
    rig: MemoryRelay, monkeypatch: pytest.MonkeyPatch
):
    client = rig.clients[0]
    server = says(rig, client, b"set work_mem = '9MB'")
    rig.ask(client, b"rollback")
    rig.turn_clients([client])
    assert client.pending, "it waits for the read-back"
    with monkeypatch.context() as patch:
        breaks(patch, Journal, "read")
        answer = row("UTF8", "394d42") + complete() + ready()
        rig.turn_servers([(server, complete("SET") + ready() + answer)])
    assert is_told(client)


def test_whose_answers_came_in_the_same_read_is_told_too(monkeypatch: pytest.MonkeyPatch):
    rig = MemoryRelay(8, size=1, lane_depth=16, forgives=True)
    shared, sharing = lanes(rig)
    assert len(sharing) > 1
    breaks(monkeypatch, rig.relay.plain, "note", sharing[0])
    rig.turn_servers([(shared, ANSWER * shared.owed_count)])
    assert all(map(is_told, sharing))
    while rig.busy():
        rig.answer(rig.busy(), ANSWER)
    assert not any(rig.relay.counters.load)
    assert sum(client.closed for client in rig.clients) == len(sharing)


def test_a_session_that_waited_for_the_server_fails_alone(
    rig: MemoryRelay, monkeypatch: pytest.MonkeyPatch
):
    client, waiter, other = rig.clients
    server = says(rig, client, WRITE)
    for late in (waiter, other):
        rig.ask(late, WRITE)
    rig.turn_clients([waiter, other])
    with monkeypatch.context() as patch:
        breaks(patch, rig.relay.sender, "send", waiter)
        rig.turn_servers([(server, WRITTEN)])
    assert wire_of(client).sent == WRITTEN
    assert is_told(waiter)
    assert (client.closed, other.closed) == (False, False)
    assert server.lease == CLOSED, "nobody knows what has been said to it"
    rig.relay.loss.client_gone(other)  # it would wait for the next server


def test_half_of_what_a_session_says_never_comes_before_what_another_says(
    rig: MemoryRelay, monkeypatch: pytest.MonkeyPatch
):
    client = rig.clients[0]
    rig.ask(client, WRITE)
    with monkeypatch.context() as patch:
        # Its bytes are queued, and its answer is not in the books.
        breaks(patch, rig.relay.choice, "keeps_level")
        rig.turn_clients([client])
    assert is_told(client)
    assert all(wire_of(server).sent == b"" for server in rig.relay.servers.values())
    assert all(server.lease == IDLE for server in rig.relay.servers.values())


@pytest.mark.parametrize(
    ("part", "name"),
    [
        *(
            ("trials", "starts"),
            ("bringing", "starts"),
            ("sender", "send"),
            ("sender", "_take"),
        ),
        *(("choice", "keeps_level"), ("pins", "note")),
    ],
)
def test_whatever_fails_while_a_unit_is_sent_leaves_no_server_behind(
    rig: MemoryRelay, monkeypatch: pytest.MonkeyPatch, part: str, name: str
):
    client = rig.clients[0]
    rig.ask(client, b"listen news")
    with monkeypatch.context() as patch:
        breaks(patch, getattr(rig.relay, part), name)
        rig.turn_clients([client])  # which sees that all is as it must be
    assert is_told(client)
    assert all(server.lease == IDLE for server in rig.relay.servers.values())


def test_a_server_whose_session_leaves_while_rwsplit_fails_is_closed(
    rig: MemoryRelay, monkeypatch: pytest.MonkeyPatch
):
    client = rig.clients[0]
    server = says(rig, client, b"begin; " + WRITE)
    rig.turn_servers([(server, complete("BEGIN") + complete("INSERT 0 1") + ready("T"))])
    wire_of(client).incoming = b""
    with monkeypatch.context() as patch:
        breaks(patch, rig.relay.replies, "settle")
        with pytest.raises(Bug):
            rig.relay.loss.client_gone(client)
    rig.relay.faults.are_new = True
    rig.turn([])
    assert server.lease == CLOSED


def lanes(rig: MemoryRelay) -> tuple[Server, list[Client]]:
    """Have all clients read on a few lanes; return the busiest, and whose it is."""
    for _ in range(2):  # the first round teaches what the shape costs
        for client in rig.clients:
            rig.ask(client, b"select 1")
        rig.turn_clients(rig.clients)
        if rig.relay.counters.shared:
            break
        while rig.busy():
            rig.answer(rig.busy(), ANSWER)
    shared = max(rig.busy(), key=lambda server: server.owed_count)
    return shared, [client for client in rig.clients if client.server is shared]


def test_a_fault_of_one_that_is_served_again_reaches_those_whose_answers_came_with_its(
    monkeypatch: pytest.MonkeyPatch,
):
    rig = MemoryRelay(8, size=1, lane_depth=16, forgives=True)
    shared, sharing = lanes(rig)
    rig.ask(sharing[0], b"select 2")
    rig.turn_clients([sharing[0]])
    with monkeypatch.context() as patch:
        breaks(patch, rig.relay.choice, "home", sharing[0])
        rig.turn_servers([(shared, ANSWER * shared.owed_count)])
    assert all(client.closed or not client.in_flight for client in sharing)
    while rig.busy():
        rig.answer(rig.busy(), ANSWER)
    assert not any(rig.relay.counters.load)


def test_a_fault_in_what_becomes_of_one_session_leaves_the_others_of_its_server(
    monkeypatch: pytest.MonkeyPatch,
):
    rig = MemoryRelay(8, size=1, lane_depth=16, forgives=True)
    shared, sharing = lanes(rig)
    with monkeypatch.context() as patch:
        breaks(patch, rig.relay.healing, "run_again", sharing[0])
        rig.relay.lose_server(shared, None)
    rig.turn([])
    assert is_told(sharing[0])
    assert not any(client.closed for client in sharing[1:])


@pytest.mark.parametrize(
    "last", [ready(), error("57P01", severity="FATAL")], ids=["violation", "goodbye"]
)
def test_a_server_that_ends_in_the_same_read_is_given_to_nobody(rig: MemoryRelay, last: bytes):
    client, waiter, _ = rig.clients
    rig.relay.report_failure = lambda node, reason: None
    server = says(rig, client, WRITE)
    rig.ask(waiter, WRITE)
    rig.turn_clients([waiter])
    rig.turn_servers([(server, WRITTEN + last)])
    assert wire_of(client).sent == WRITTEN
    assert (client.closed, waiter.closed) == (False, False)
    assert waiter.wait is not None
    assert server.lease == CLOSED
    rig.relay.loss.client_gone(waiter)


def test_what_came_before_a_violation_reaches_its_session(rig: MemoryRelay):
    client = rig.clients[0]
    server = says(rig, client, WRITE)
    rig.relay.report_failure = lambda node, reason: None
    rig.turn_servers([(server, WRITTEN + WRITTEN)])
    assert wire_of(client).sent == WRITTEN
    assert (client.closed, client.in_flight, client.server) == (False, 0, None)
    assert server.lease == CLOSED


def test_a_session_in_a_transaction_loses_it_with_its_fault(
    rig: MemoryRelay, monkeypatch: pytest.MonkeyPatch
):
    client = rig.clients[0]
    server = says(rig, client, b"begin; " + WRITE)
    rig.turn_servers([(server, complete("BEGIN") + complete("INSERT 0 1") + ready("T"))])
    assert server.lease == HELD
    with monkeypatch.context() as patch:
        breaks(patch, rig.relay.sender, "send")
        rig.ask(client, WRITE)
        rig.turn_clients([client])
    assert is_told(client)
    assert server.lease == CLOSED
    assert query(WRITE.decode()) not in wire_of(server).sent


# In upkeep...


def test_who_is_refused_while_rwsplit_fails_is_told_and_the_others_are_refused(
    rig: MemoryRelay, monkeypatch: pytest.MonkeyPatch
):
    client, broken, other = rig.clients
    server = says(rig, client, WRITE)
    for late in (broken, other):
        rig.ask(late, WRITE)
    rig.turn_clients([broken, other])
    rig.now += 1000
    with monkeypatch.context() as patch:
        breaks(patch, rig.relay.own_answers, "answer", broken)
        rig.relay._tick()
    assert is_told(broken)
    assert (other.closed, other.wait) == (False, None)
    assert server.lease == HELD
    rest(rig)


def rest(rig: MemoryRelay) -> None:
    """Answer all that is under way."""
    while rig.busy():
        rig.turn_servers([(server, WRITTEN) for server in rig.busy()])


def test_a_session_says_its_states(rig: MemoryRelay):
    client, waiting, asking = rig.clients
    says(rig, client, WRITE)
    rig.ask(waiting, WRITE)
    rig.turn_clients([waiting])
    assert "between units; between frames; pin free; 1 in flight, 0 pending" in repr(client)
    assert "; waits for a server of its pool; 0 in flight, 1 pending, on None>" in repr(waiting)
    assert repr(asking).startswith("<Client app@app pid=")
    rest(rig)


def test_upkeep_that_fails_once_is_done_by_the_next_tick(
    rig: MemoryRelay, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        breaks(patch, rig.relay.homes, "look")
        rig.relay._tick()
        rig.relay._tick()
    rig.relay._tick()
    assert not any(client.closed for client in rig.clients)


def test_upkeep_that_fails_for_long_ends_rwsplit(
    rig: MemoryRelay, monkeypatch: pytest.MonkeyPatch
):
    breaks(monkeypatch, rig.relay.homes, "look")
    for _ in range(MOST_ROUNDS):
        rig.relay._tick()
    with pytest.raises(Bug):
        rig.relay._tick()


@pytest.mark.parametrize("behind", [b"", query("begin")])
def test_a_server_that_ends_a_unit_before_its_sync_is_not_used_any_more(behind: bytes):
    """No PostgreSQL does that; what its next answer is to would not be known."""
    rig = MemoryRelay(1, size=1)
    [client] = rig.clients
    rig.say(client, parse("", "update t set a = 1") + bind() + execute() + FLUSH + behind)
    rig.turn_clients([client])
    [server] = rig.busy()
    with structlog.testing.capture_logs() as logs:
        rig.turn_servers([(server, error() + ready())])
    assert [log["event"] for log in logs if log["log_level"] == "warning"] == [
        "server_violation"
    ]
    assert server.lease == CLOSED
    assert client.closed
    assert not rig.busy()
