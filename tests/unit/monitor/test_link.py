"""One question at a time, over a connection on which anything may be said at any time."""

from __future__ import annotations

import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from rwsplit.embedded.certificates import make_certificates
from rwsplit.monitor.link import Link, ProbeFailed
from rwsplit.protocol import backend, codes, frontend
from rwsplit.protocol.fields import cstring
from rwsplit.protocol.framing import frame
from rwsplit.server.stream import MAX_PAYLOAD, WireStream
from rwsplit.server.wire import READ_SIZE, PlainWire
from tests.support.frames import notification
from tests.support.scripted import read_question
from tests.support.wires import plain_pair, tls_pair

QUESTION = frontend.bind("", "look") + frontend.execute() + frontend.sync()
BOUND = backend.bind_complete()
DONE = backend.command_complete("SELECT 1")
READY = backend.ready_for_query(b"I")
STATUS = backend.parameter_status("in_hot_standby", "off")
NOTICE = backend.notice_response("WARNING", "01000", "collation changed")
UNASKED = STATUS + NOTICE + notification("news")
CANCELLED = backend.error_response("ERROR", "57014", "canceling statement due to timeout")
SHUTDOWN = backend.error_response("FATAL", "57P01", "terminating connection\nby command")
GONE = "server closed the connection unexpectedly"


def answer(*values: bytes | None) -> bytes:
    return BOUND + backend.data_row(values) + DONE + READY


class Pair:
    """A link and the node at its other end."""

    def __init__(self, link: WireStream, node: WireStream) -> None:
        self.link = Link(link)
        self.node = node

    async def asked(self, *said: bytes) -> object:
        """Ask, have the node say *said* piece by piece, and return the row or the failure."""
        result: list[object] = []

        async def ask() -> None:
            try:
                result.append(await self.link.ask(QUESTION))
            except ProbeFailed as failure:
                result.append(failure)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            assert await read_question(self.node) == QUESTION
            for piece in said:
                await self.node.send_all(piece)
                await wait_all_tasks_blocked()
        return result[0]


class StutteringWire(PlainWire):
    """Has something to say every second time it is asked, as TLS with half a record."""

    __slots__ = ("_speaks",)

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._speaks = True

    def recv(self) -> bytes | None:
        self._speaks = not self._speaks
        return super().recv() if self._speaks else None


@pytest.fixture
async def pair():
    made = Pair(*map(WireStream, plain_pair()))
    yield made
    made.link.close()
    made.node.close()


async def failure(link: Link) -> ProbeFailed:
    """Ask, and return how that failed."""
    with pytest.raises(ProbeFailed) as caught:
        await link.ask(QUESTION)
    return caught.value


def lost(outcome: object, reason: str) -> bool:
    """Whether *outcome* is a failure for *reason*, the connection lost."""
    assert isinstance(outcome, ProbeFailed)
    assert str(outcome) == reason
    return outcome.lost


async def test_the_answer_is_the_values_of_its_row(pair):
    assert await pair.asked(answer(b"t", None, b"")) == [b"t", None, b""]
    assert await pair.asked(answer(b"f")) == [b"f"]
    assert not pair.link.is_closed


async def test_an_answer_without_a_row_is_empty(pair):
    assert await pair.asked(BOUND + DONE + READY) == ()


async def test_an_answer_may_come_byte_by_byte(pair):
    assert await pair.asked(*(bytes([byte]) for byte in answer(b"1"))) == [b"1"]


async def test_what_is_said_unasked_may_come_at_any_time(pair):
    await pair.node.send_all(UNASKED)
    whole = UNASKED + BOUND + UNASKED + backend.data_row([b"1"]) + UNASKED + DONE + READY

    assert await pair.asked(whole + UNASKED[:9]) == [b"1"]
    assert await pair.asked(UNASKED[9:] + answer(b"2")) == [b"2"]


async def test_an_error_fails_the_question_and_not_the_link(pair):
    outcome = await pair.asked(CANCELLED, READY)

    assert not lost(outcome, "canceling statement due to timeout")
    assert await pair.asked(answer(b"1")) == [b"1"]


async def test_after_a_fatal_error_the_link_is_closed(pair):
    outcome = await pair.asked(SHUTDOWN)

    assert lost(outcome, "terminating connection")
    assert pair.link.is_closed


@pytest.mark.parametrize(
    ("fields", "deadly"),
    [
        (["S致命错误", "VFATAL", "Mended"], True),
        (["SPANIK", "VPANIC", "Mended"], True),
        (["SFEHLER", "VERROR", "Mended"], False),
        (["SFATAL", "Mended"], True),
        (["SERROR", "Mended"], False),
    ],
)
async def test_the_severity_that_is_never_translated_counts(pair, fields, deadly):
    error = frame(codes.ERROR, b"".join(map(cstring, fields)) + b"\0")

    assert lost(await pair.asked(error + READY), "ended") is deadly
    assert pair.link.is_closed is deadly


async def test_an_error_without_a_message_has_a_sentence_all_the_same(pair):
    outcome = await pair.asked(frame(codes.ERROR, b"SERROR\0\0") + READY)

    assert not lost(outcome, "no reason given")


async def test_what_a_node_said_before_it_left_is_the_reason(pair):
    await pair.node.send_all(SHUTDOWN)
    pair.node.close()

    assert lost(await failure(pair.link), "terminating connection")


async def test_what_came_behind_an_answer_is_heard_before_the_next(pair):
    assert await pair.asked(answer(b"1") + SHUTDOWN) == [b"1"]

    assert lost(await pair.asked(), "terminating connection")


async def test_what_came_before_the_first_question_is_heard_as_well():
    one, other = map(WireStream, plain_pair())
    pair = Pair(WireStream(one.wire, SHUTDOWN), other)

    assert lost(await pair.asked(), "terminating connection")
    other.close()


async def test_a_connection_that_ended_at_rest_is_noticed_when_asked(pair):
    await pair.asked(answer(b"1"))
    pair.node.close()

    assert lost(await failure(pair.link), GONE)
    assert pair.link.is_closed


async def test_a_connection_that_ends_in_an_answer_is_lost(pair, nursery):
    async def half_an_answer() -> None:
        await read_question(pair.node)
        await pair.node.send_all(answer(b"1")[:-1])
        pair.node.close()

    nursery.start_soon(half_an_answer)

    assert lost(await failure(pair.link), GONE)


@pytest.mark.parametrize(
    ("nonsense", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "invalid message length"),
        (frame(codes.DATA_ROW, b"\0\1"), "a row ends before its last value"),
        (frame(codes.ERROR, b"SERROR"), "an error field has no terminating zero byte"),
        (frame(codes.NOTICE, bytes(MAX_PAYLOAD + 1))[:-1], "a message of more than"),
    ],
)
async def test_what_is_no_postgresql_is_left_alone(pair, nonsense, words):
    outcome = await pair.asked(nonsense)

    assert isinstance(outcome, ProbeFailed)
    assert str(outcome).startswith(f"does not speak as PostgreSQL does: {words}")
    assert outcome.lost
    assert pair.link.is_closed


async def test_a_question_that_was_given_up_closes_the_link(pair, autojump_clock):
    with trio.move_on_after(1) as scope:
        await pair.link.ask(QUESTION)

    assert scope.cancelled_caught
    assert pair.link.is_closed


async def test_a_question_the_node_is_slow_to_take_is_sent_in_parts(pair, nursery):
    question = frontend.parse("look", " " * 1_000_000) + frontend.sync()
    received = []

    async def serve() -> None:
        received.append(await read_question(pair.node, limit=2_000_000))
        await pair.node.send_all(answer(b"1"))

    nursery.start_soon(serve)

    assert await pair.link.ask(question) == [b"1"]
    assert received == [question]


async def test_behind_tls_nothing_is_left_lying(tmp_path):
    pair = Pair(*await tls_pair(make_certificates(tmp_path / "tls")))
    # More than one read takes, so the end is in OpenSSL's hands while the socket is silent.
    flood = NOTICE * (3 * READ_SIZE // len(NOTICE))

    assert await pair.asked(answer(b"1")) == [b"1"]
    assert await pair.asked(flood + answer(b"2")) == [b"2"]
    pair.link.close()
    pair.node.close()


async def test_a_readable_socket_may_have_nothing_to_say_yet():
    wire, other = plain_pair()
    pair = Pair(WireStream(StutteringWire(wire.detach())), WireStream(other))

    assert await pair.asked(answer(b"1")) == [b"1"]
    pair.link.close()
    pair.node.close()


async def test_closing_says_goodbye_and_may_be_done_again(pair):
    pair.link.close()
    pair.link.close()

    assert await pair.node.receive_exactly(5) == frontend.terminate()
    assert pair.link.is_closed


async def test_closing_needs_nobody_at_the_other_end(pair):
    pair.node.close()

    pair.link.close()

    assert pair.link.is_closed
