"""The response queue against a naive model, however the server's bytes are cut.

The model knows what was asked of the server, message by message: what the client wants to hear of
(forward), what it never asked for (swallow), what the server never got (make up). It writes down the
server's bytes and, beside them, what each client must read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import hypothesis.strategies as st
from hypothesis import event, given, settings

from rwsplit.protocol.responses import (
    FORWARD,
    HOLD_LIMIT,
    SWALLOW,
    Owed,
    ResponseQueue,
    Step,
    What,
)
from tests.support.frames import (
    BIND_COMPLETE,
    CLOSE_COMPLETE,
    COLUMNS,
    COPY_OUT,
    EMPTY,
    NO_DATA,
    PARAMETERS,
    PARSE_COMPLETE,
    SUSPENDED,
    complete,
    copy_data,
    error,
    message,
    notice,
    parameter,
    ready,
    row,
)


class Asked(NamedTuple):
    """One message of a unit, and how the server answers it."""

    step: Step
    answer: bytes
    noise: bytes = b""
    """What comes in front of the answer without being asked for."""
    hidden: bytes = b""
    """The same, but not for the client's ears."""


class Asking(NamedTuple):
    """One unit."""

    messages: list[Asked]
    fails_at: int | None
    """Position of the message that fails."""
    state: str
    status: str
    planned: bool
    """False: every answer is forwarded, and nobody counts."""
    guarded: bool
    gone: bool
    """Its client has left."""


class Expected(NamedTuple):
    """What must come of a unit."""

    told: bytes
    done: int
    failed: bool


rows = st.lists(
    st.sampled_from(
        [1, 5, 300, 9_000, HOLD_LIMIT - 14, HOLD_LIMIT, HOLD_LIMIT + 5, 50_000]
    ).map(lambda size: row("x" * size)),
    max_size=4,
).map(b"".join)
answers = st.one_of(
    st.sampled_from(
        [
            PARSE_COMPLETE,
            BIND_COMPLETE,
            CLOSE_COMPLETE,
            COLUMNS,
            PARAMETERS + NO_DATA,
            EMPTY,
            SUSPENDED,
            COPY_OUT + copy_data(b"1\n") + message("c") + complete("COPY 1"),
        ]
    ),
    rows.map(lambda data: data + complete()),
)
noises = st.sampled_from([b"", b"", b"", notice(), parameter("TimeZone", "UTC")])
hidden = st.sampled_from([b"", b"", b"", parameter("in_hot_standby", "on")])
asked = st.one_of(
    st.builds(Asked, st.just(FORWARD), answers, noises, hidden),
    st.builds(
        Asked,
        st.just(SWALLOW),
        st.sampled_from([PARSE_COMPLETE, CLOSE_COMPLETE]),
        noises,
        st.just(b""),
    ),
    st.sampled_from([PARSE_COMPLETE, CLOSE_COMPLETE]).map(lambda told: Asked(told, b"")),
)
unplanned = st.builds(Asked, st.just(FORWARD), answers, noises, hidden)
states = st.sampled_from(["22012", "23505", "25006", "57014"])


@st.composite
def askings(draw: st.DrawFn) -> Asking:
    planned = draw(st.booleans())
    messages = draw(st.lists(asked if planned else unplanned, max_size=7))
    real = [at for at, said in enumerate(messages) if not isinstance(said.step, bytes)]
    fails_at = draw(st.one_of(st.none(), st.sampled_from(real))) if real else None
    return Asking(
        messages,
        fails_at,
        draw(states),
        draw(st.sampled_from("ITE")),
        planned,
        draw(st.booleans()),
        draw(st.booleans()),
    )


def serve(asking: Asking) -> tuple[bytes, Expected]:
    """Return what the server sends for one unit, and what is to be made of it."""
    sent, told, made_up = b"", b"", b""
    done = 0
    for at, said in enumerate(asking.messages):
        if isinstance(said.step, bytes):
            made_up += said.step
            done += 1
            continue
        sent += said.noise + said.hidden
        told += said.noise + made_up
        made_up = b""
        if at == asking.fails_at:
            sent += error(asking.state)
            told += error(asking.state)
            break
        sent += said.answer
        done += 1
        if said.step == FORWARD:
            told += said.answer
    end = ready(asking.status)
    return sent + end, Expected(told + made_up + end, done, asking.fails_at is not None)


def owe(queue: ResponseQueue, asking: Asking) -> tuple[Owed, list[bytes]]:
    sink: list[bytes] = []
    owed = Owed(None if asking.gone else sink, guarded=asking.guarded)
    if asking.planned:
        owed.steps = deque(said.step for said in asking.messages)
    queue.owed.append(owed)
    return owed, sink


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    """Return *data* cut at *cuts*, taken modulo its length."""
    places = sorted({cut % len(data) for cut in cuts} - {0}) if data else []
    return [
        data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)
    ]


cuts = st.lists(st.integers(0, 1_000_000), max_size=12)


@settings(deadline=None)  # some rows are long
@given(asked=st.lists(askings(), min_size=1, max_size=5), cuts=cuts)
def test_each_client_reads_what_it_asked_for_however_the_bytes_are_cut(
    asked: list[Asking], cuts: list[int]
) -> None:
    queue = ResponseQueue()
    owed = [owe(queue, asking) for asking in asked]
    served = [serve(asking) for asking in asked]

    events = [
        happened
        for chunk in chunks(b"".join(sent for sent, _ in served), cuts)
        for happened in queue.receive(chunk)
    ]

    ends = []
    for (unit, sink), asking, (_, expected) in zip(owed, asked, served, strict=True):
        if expected.failed:
            ends.append((What.FAILED, unit, error(asking.state)))
        ends.append((What.DONE, unit, ord(asking.status)))
        if asking.planned:
            assert unit.done == expected.done
        assert unit.failed is expected.failed
        healable = asking.guarded and expected.failed
        if healable and (asking.gone or len(expected.told) < HOLD_LIMIT):
            assert unit.error == error(asking.state)
            assert not sink
            event("kept an error")
        if unit.error is not None:
            assert healable
            unit.deliver()
        assert b"".join(sink) == (b"" if asking.gone else expected.told)
    assert [happened for happened in events if happened[0] in (What.DONE, What.FAILED)] == ends
    assert not queue.owed


def receives(queue: ResponseQueue, data: Iterable[bytes]) -> None:
    """Have *queue* receive *data* up to a violation."""
    for chunk in data:
        if any(what is What.VIOLATION for what, _, _ in queue.receive(chunk)):
            event("a violation")
            return


@given(asked=st.lists(askings(), max_size=3), cuts=cuts, junk=st.binary(max_size=60))
def test_random_bytes_from_a_server_are_a_violation_or_nothing(
    asked: list[Asking], cuts: list[int], junk: bytes
) -> None:
    queue = ResponseQueue()
    for asking in asked:
        owe(queue, asking)
    sent = b"".join(serve(asking)[0] for asking in asked[1:]) + junk
    receives(queue, chunks(sent, cuts))


frame_like = st.builds(
    lambda code, payload, wrong: message(chr(code), payload)[: len(payload) + 5 - wrong],
    st.sampled_from([*b"DTC123nsItVAKNSEZGHWRdc", 0]),
    st.binary(max_size=8),
    st.sampled_from([0, 0, 0, 0, 1]),
)


@given(
    asked=st.lists(askings(), min_size=1, max_size=4),
    frames=st.lists(frame_like, max_size=10),
    cuts=cuts,
)
def test_frames_in_no_sensible_order_are_a_violation_or_nothing(
    asked: list[Asking], frames: list[bytes], cuts: list[int]
) -> None:
    queue = ResponseQueue()
    for asking in asked:
        owe(queue, asking)
    receives(queue, chunks(b"".join(frames), cuts))
