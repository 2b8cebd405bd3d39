"""What has come of a client's bytes: what may follow what, and what is kept meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rwsplit.session.frames import STREAM_LIMIT
from rwsplit.session.input import (
    ALLOWED,
    BEHIND,
    BETWEEN_FRAMES,
    BETWEEN_UNITS,
    COMPLETE,
    FRAME_EVENTS,
    FRAME_STATES,
    FRAMES,
    HELD,
    IN_FRAME,
    IN_LONG_FRAME,
    IN_OPEN_UNIT,
    IN_UNIT,
    INCOMPLETE,
    MESSAGE,
    OPEN,
    PASSED_ON,
    SETTLED,
    SPENT,
    STREAMED,
    UNIT_EVENTS,
    UNIT_STATES,
    UNITS,
    UNSETTLED,
    IllegalInput,
    Input,
)
from rwsplit.session.session import Session
from tests.support import frames

#: What brings a new input into each state.
UNIT_PATHS = {
    BETWEEN_UNITS: (),
    IN_UNIT: (MESSAGE,),
    OPEN: (MESSAGE, PASSED_ON),
    IN_OPEN_UNIT: (MESSAGE, PASSED_ON, MESSAGE),
}
FRAME_PATHS = {
    BETWEEN_FRAMES: (),
    IN_FRAME: (INCOMPLETE,),
    IN_LONG_FRAME: (STREAMED,),
    BEHIND: (SPENT,),
    HELD: (UNSETTLED,),
}


def ends(taken: Input) -> None:
    """Let the frame that has begun be complete."""
    if taken.frame_state == IN_LONG_FRAME:
        taken.pass_through(b"rest")
    else:
        taken.take(COMPLETE)


DOES: dict[int, Callable[[Input], object]] = {
    INCOMPLETE: lambda taken: taken.keep(INCOMPLETE, b"Q", 5),
    STREAMED: lambda taken: taken.stream(4),
    COMPLETE: ends,
    SPENT: lambda taken: taken.keep(SPENT, b"more"),
    ALLOWED: lambda taken: taken.take(ALLOWED),
    UNSETTLED: lambda taken: taken.keep(UNSETTLED, b"more"),
    SETTLED: lambda taken: taken.take(SETTLED),
}


def an_input(*, unit: int = BETWEEN_UNITS, frame: int = BETWEEN_FRAMES) -> Input:
    taken = Input()
    for event in UNIT_PATHS[unit]:
        taken.step(event)
    for event in FRAME_PATHS[frame]:
        DOES[event](taken)
    assert (taken.unit_state, taken.frame_state) == (unit, frame)
    return taken


@pytest.mark.parametrize("event", range(len(UNIT_EVENTS)), ids=UNIT_EVENTS)
@pytest.mark.parametrize("state", range(len(UNIT_STATES)), ids=UNIT_STATES)
def test_a_unit_comes_as_the_table_says_and_in_no_other_way(state: int, event: int):
    taken = an_input(unit=state)
    if event in UNITS[state]:
        taken.step(event)
        assert taken.unit_state == UNITS[state][event]
    else:
        with pytest.raises(IllegalInput, match=f"^{UNIT_STATES[state]}: {UNIT_EVENTS[event]}$"):
            taken.step(event)
        assert taken.unit_state == state, "nothing has happened"


@pytest.mark.parametrize("event", range(len(FRAME_EVENTS)), ids=FRAME_EVENTS)
@pytest.mark.parametrize("state", range(len(FRAME_STATES)), ids=FRAME_STATES)
def test_bytes_are_kept_as_the_table_says_and_in_no_other_way(state: int, event: int):
    taken = an_input(frame=state)
    kept = taken.size, taken.missing
    if event in FRAMES[state]:
        DOES[event](taken)
        assert taken.frame_state == FRAMES[state][event]
        assert (taken.size > 0) == (taken.frame_state in {IN_FRAME, BEHIND, HELD})
        assert (taken.missing > 0) == (taken.frame_state == IN_LONG_FRAME)
    else:
        with pytest.raises(
            IllegalInput, match=f"^{FRAME_STATES[state]}: {FRAME_EVENTS[event]}$"
        ):
            DOES[event](taken)
        assert taken.frame_state == state, "nothing has happened"
        assert (taken.size, taken.missing) == kept


@pytest.mark.parametrize("state", range(len(UNIT_STATES)), ids=UNIT_STATES)
def test_a_long_frame_is_passed_on_behind_all_that_came_before_it(state: int):
    taken = an_input(unit=state)
    if state in {BETWEEN_UNITS, OPEN}:
        taken.stream(1)
        assert taken.frame_state == IN_LONG_FRAME
    else:
        with pytest.raises(IllegalInput, match=f"^{UNIT_STATES[state]}: "):
            taken.stream(1)
        assert (taken.frame_state, taken.missing) == (BETWEEN_FRAMES, 0)


def test_a_long_frame_ends_with_its_last_byte():
    taken = Input()
    taken.stream(5)
    assert taken.pass_through(b"abc") == 3
    assert taken.frame_state == IN_LONG_FRAME
    assert taken.pass_through(b"deQ") == 2
    assert taken.frame_state == BETWEEN_FRAMES


@pytest.mark.parametrize("state", [IN_FRAME, BEHIND, HELD])
def test_only_the_rest_of_a_frame_makes_what_is_kept_worth_looking_at(state: int):
    taken = an_input(frame=state)
    assert not taken.add(b"abc")
    assert taken.add(b"d") is (state == IN_FRAME)


@pytest.mark.parametrize("frame", range(len(FRAME_STATES)), ids=FRAME_STATES)
@pytest.mark.parametrize("unit", range(len(UNIT_STATES)), ids=UNIT_STATES)
def test_a_unit_is_unended_while_its_messages_wait_for_a_sync_and_not_for_rwsplit(
    unit: int, frame: int
):
    if (unit, frame) in {(IN_UNIT, IN_LONG_FRAME), (IN_OPEN_UNIT, IN_LONG_FRAME)}:
        return  # cannot be
    taken = an_input(unit=unit, frame=frame)
    assert taken.is_unended is (unit in {IN_UNIT, IN_OPEN_UNIT} and frame != BEHIND)
    assert taken.is_open is (unit in {OPEN, IN_OPEN_UNIT})


# What a session's messages amount to...

ASKED = frames.parse("", "select 1") + frames.bind()


@pytest.mark.parametrize(
    ("said", "unit"),
    [
        (frames.query("select 1"), BETWEEN_UNITS),
        (frames.SYNC, BETWEEN_UNITS),
        (frames.copy_data(b"1"), BETWEEN_UNITS),
        (ASKED, IN_UNIT),
        (ASKED + frames.SYNC, BETWEEN_UNITS),
        (ASKED + frames.FLUSH, OPEN),
        (ASKED + frames.FLUSH * 2, OPEN),
        (ASKED + frames.copy_data(b"1"), OPEN),
        (ASKED + frames.FLUSH + frames.execute(), IN_OPEN_UNIT),
        (ASKED + frames.copy_data(b"1") + frames.execute(), IN_OPEN_UNIT),
        (ASKED + frames.FLUSH + frames.execute() + frames.FLUSH, OPEN),
        (ASKED + frames.FLUSH + frames.execute() + frames.SYNC, BETWEEN_UNITS),
        (ASKED + frames.query("select 1"), BETWEEN_UNITS),
        # It only asks: rwsplit ends it.
        (frames.parse("", "select 1") + frames.FLUSH, BETWEEN_UNITS),
    ],
)
def test_where_in_a_unit_a_client_is_follows_from_what_it_has_said(
    session: Session, said: bytes, unit: int
):
    session.receive(said)
    assert (session.input.unit_state, session.input.frame_state) == (unit, BETWEEN_FRAMES)

    again = Session(
        session.knowledge, user="app", database="shop", parameters=session.parameters
    )
    for byte in said:
        again.receive(bytes([byte]))
    assert (again.input.unit_state, again.input.frame_state) == (unit, BETWEEN_FRAMES)


@pytest.mark.parametrize(
    ("before", "unit"),
    [
        (b"", BETWEEN_UNITS),
        (ASKED, IN_UNIT),
        (ASKED + frames.FLUSH, OPEN),
        (ASKED + frames.FLUSH + frames.execute(), IN_OPEN_UNIT),
    ],
)
@pytest.mark.parametrize("frame", [IN_FRAME, BEHIND, HELD])
def test_bytes_are_left_wherever_in_a_unit_they_are(
    session: Session, before: bytes, unit: int, frame: int
):
    if frame == HELD:
        session.receive(frames.parse("a", "select 1") + frames.SYNC)
    if before:
        session.receive(before)
    if frame == BEHIND:
        session.allowance = 0
        session.receive(frames.bind() + frames.bind() + frames.bind() + bytes(STREAM_LIMIT))
        unit |= IN_UNIT  # one frame is looked at, whatever the allowance
    else:
        session.receive(frames.bind("a") if frame == HELD else frames.bind()[:-1])
    assert (session.input.unit_state, session.input.frame_state) == (unit, frame)
