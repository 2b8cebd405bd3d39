"""Plain reads take a way of their own through the relay; what is left behind is what any other way leaves."""

from __future__ import annotations

import pytest

from rwsplit.exchange.lease import IDLE, LANE
from rwsplit.protocol import codes
from rwsplit.protocol.framing import frame
from rwsplit.relay.plain import PlainReads
from tests.support import frames
from tests.support.memory_relay import ANSWER, MemoryRelay, wire_of

NOTICE = frame(codes.NOTICE, b"SNOTICE\0VNOTICE\0C00000\0Mhello\0\0")
#: What is an error everywhere.
ERROR = frames.error("42601", routine="scanner_yyerror")
READY = frame(codes.READY, b"I")


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What `PlainReads.send` said, in order."""
    said: list[bool] = []
    real = PlainReads.send

    def send(self: PlainReads, client: object) -> bool:
        said.append(real(self, client))  # type: ignore[arg-type]
        return said[-1]

    monkeypatch.setattr(PlainReads, "send", send)
    return said


def test_a_read_at_home_goes_the_plain_way_and_leaves_everything_as_it_was(taken: list[bool]):
    rig = MemoryRelay(1)
    [client] = rig.clients
    for number in range(3):
        rig.ask(client, b"select %d" % number)
        rig.turn_clients([client])
        [server] = rig.busy()
        assert client.server is server
        assert rig.relay.counters.load[server.pool.node_index] == 1
        rig.answer([server], ANSWER)
        assert wire_of(client).sent == ANSWER
    assert taken == [False, True, True]  # the first has no home yet
    assert (client.server, client.in_flight, client.statements) == (None, 0, 3)
    assert (server.lease, server.holder, server.dirty) == (IDLE, None, False)
    assert not any(rig.relay.counters.load)
    assert rig.relay.counters.reads[server.pool.node_index] == 3


def test_a_read_costs_one_send_each_way():
    rig = MemoryRelay(8)
    for client in rig.clients:
        rig.ask(client, b"select 1")
    rig.turn_clients(rig.clients)
    rig.answer(rig.busy(), ANSWER)
    sends = sum(wire_of(s).sends for s in rig.relay.servers.values())
    assert (sends, sum(wire_of(c).sends for c in rig.clients)) == (8, 8)


@pytest.mark.parametrize(
    "pieces",
    [
        [NOTICE + ANSWER],
        [ANSWER[:20], ANSWER[20:]],
        [ANSWER[:-3], ANSWER[-3:]],
        [ANSWER[:-6], READY],
        [ERROR + READY],
        [ERROR, READY],
    ],
    ids=["notice", "in two", "ready in two", "ready apart", "error", "error in two"],
)
def test_whatever_comes_instead_of_a_whole_answer_reaches_the_client_all_the_same(
    pieces: list[bytes], taken: list[bool]
):
    rig = MemoryRelay(1)
    [client] = rig.clients
    for answer in ([ANSWER], pieces, [ANSWER]):
        rig.ask(client, b"select 1")
        rig.turn_clients([client])
        got = b""
        for piece in answer:
            wire_of(client).sent = b""
            rig.answer(rig.busy(), piece)
            got += wire_of(client).sent
        assert got == b"".join(answer)
        assert (client.server, client.in_flight) == (None, 0)
    assert taken == [False, True, True]
    assert not any(rig.relay.counters.load)


def test_an_error_that_may_be_the_replicas_age_is_asked_of_the_primary_once():
    rig = MemoryRelay(1)
    [client] = rig.clients
    for _ in range(2):
        rig.ask(client, b"select 1")
        rig.turn_clients([client])
        [replica] = rig.busy()
        wire_of(client).sent = b""
        rig.answer([replica], frames.error("22P02") + READY)
        assert wire_of(client).sent == b""
        [primary] = rig.busy()
        assert (replica.is_replica, primary.is_replica) == (True, False)
        rig.answer([primary], frames.error("42501") + READY)
        assert wire_of(client).sent == frames.error("42501") + READY
    assert not any(rig.relay.counters.load)


def test_a_unit_that_was_used_again_is_as_good_as_new(taken: list[bool]):
    rig = MemoryRelay(1)
    [client] = rig.clients
    for text in (b"select 1", b"select 2", b"show rwsplit.last_route", b"select 3"):
        rig.ask(client, text)
        rig.turn_clients([client])
        unit = client.server.responses.owed[0]  # type: ignore[union-attr]
        assert (unit.size, unit.forwarded, unit.failed) == (0, False, False)  # type: ignore[union-attr]
        rig.answer(rig.busy(), ANSWER)
    assert client.last is not None
    assert client.last[1].reason.name == "READ"


def test_a_lane_takes_what_would_have_to_wait():
    rig = MemoryRelay(12, size=1, lane_depth=16)
    for _ in range(2):  # the first round teaches what the shape costs
        for client in rig.clients:
            rig.ask(client, b"select 1")
        rig.turn_clients(rig.clients)
        while rig.busy():
            rig.answer(rig.busy(), ANSWER)
    assert rig.relay.counters.shared > 0
    assert sum(client.statements for client in rig.clients) == 24
    assert not any(rig.relay.counters.load)
    assert all(s.lease == IDLE for s in rig.relay.servers.values())


def test_a_lane_goes_to_a_session_that_waits_for_a_server_of_its_own():
    rig = MemoryRelay(4, size=1, lane_depth=4)
    readers = rig.clients[:3]
    for _ in range(2):  # the first round teaches what the shape costs
        for client in readers:
            rig.ask(client, b"select 1")
        rig.turn_clients(readers)
        while rig.busy():
            rig.answer(rig.busy(), ANSWER)
    for client in (*readers, rig.clients[3]):
        rig.ask(client, b"select 1" if client in readers else b"select count(*) from t")
        rig.turn_clients([client])
    lanes = rig.busy()
    assert {lane.lease for lane in lanes} == {LANE}
    assert rig.clients[3].wait is not None

    while rig.busy():
        rig.answer(rig.busy(), ANSWER)

    assert [client.statements for client in rig.clients] == [3, 3, 3, 1]
    assert {lane.lease for lane in lanes} == {IDLE}


def test_an_error_that_comes_before_its_ready_for_query_takes_names_back():
    rig = MemoryRelay(1)
    [client] = rig.clients
    said = frames.parse("", "select 1") + frames.bind() + frames.execute()
    for number in range(2):  # the second one is not the first read of its session
        wire_of(client).incoming = said + frames.parse(f"s{number}", "select 2") + frames.SYNC
        rig.turn_clients([client])
        [server] = rig.busy()
        for piece in (frames.PARSE_COMPLETE + ERROR, READY):
            rig.answer([server], piece)
        assert client.names.keys() == {b""}
        assert not client.names.unsettled
