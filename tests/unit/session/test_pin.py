"""Whether a session keeps its server, and how far that is known: every event in every state."""

from __future__ import annotations

from itertools import product

import pytest

from rwsplit.session.pin import TABLE, IllegalPin, PinEvent, Pinned, PinState
from rwsplit.session.pinning import PinReason

LISTEN, SEED = PinReason.LISTEN, PinReason.SEED

#: How each state is come to.
WAYS = {
    PinState.FREE: [],
    PinState.PINNED: [PinEvent.LEFT],
    PinState.DOUBTED: [PinEvent.LEFT, PinEvent.DOUBT],
    PinState.ASKING: [PinEvent.LEFT, PinEvent.ASKED],
    PinState.FOR_GOOD: [PinEvent.SESSION_MODE],
}


def happens(session: Pinned, event: PinEvent) -> None:
    match event:
        case PinEvent.LEFT:
            session.pin_for(LISTEN)
        case PinEvent.DOUBT:
            session.doubt_pin()
        case PinEvent.ASKED | PinEvent.PASSED_OVER:
            session.ask_pin(audits=event is PinEvent.ASKED)
        case PinEvent.FOUND:
            session.pin_answered(LISTEN)
        case PinEvent.NOTHING:
            session.pin_answered(None)
        case PinEvent.UNANSWERED:
            session.pin_unanswered()
        case PinEvent.GONE:
            session.unpin()
        case PinEvent.SESSION_MODE:
            session.pin_for_good()


def in_state(state: PinState) -> Pinned:
    session = Pinned()
    for event in WAYS[state]:
        happens(session, event)
    assert session.pin_state is state
    return session


@pytest.mark.parametrize(("state", "event"), [*product(PinState, PinEvent)])
def test_what_is_not_in_the_table_is_illegal(state: PinState, event: PinEvent):
    session = in_state(state)
    before = session.pin
    following = TABLE[state].get(event)
    if following is None:
        with pytest.raises(IllegalPin, match=event.value):
            happens(session, event)
        assert (session.pin_state, session.pin) == (state, before)
    else:
        happens(session, event)
        assert session.pin_state is following
        assert (session.pin is None) == (following is PinState.FREE)


def test_the_first_reason_stays_unless_another_lasts():
    session = Pinned()
    assert session.would_pin(LISTEN)
    session.pin_for(LISTEN)
    assert not session.would_pin(PinReason.TEMP_TABLE)
    assert session.would_pin(SEED)
    session.pin_for(SEED)
    assert session.pin is SEED


def test_session_mode_is_the_only_reason():
    session = in_state(PinState.FOR_GOOD)
    assert not session.would_pin(SEED)
    session.unpin()
    assert session.pin is PinReason.SESSION_MODE


def test_what_is_left_is_why_it_stays():
    session = in_state(PinState.ASKING)
    session.pin_answered(PinReason.TEMP_TABLE)
    assert session.pin is PinReason.TEMP_TABLE
