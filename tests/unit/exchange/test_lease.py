"""Who has a server: what may follow what, and what becomes of one that is free."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from rwsplit.exchange.lease import (
    CANCEL_AWAITED,
    CANCEL_DONE,
    CLEANED,
    CLOSED,
    COOLING,
    EVENTS,
    HELD,
    IDLE,
    LANE,
    LAST_ANSWER,
    LEFT,
    LOST,
    RESET_SENT,
    RESETTING,
    ROLLBACK_SENT,
    ROLLING_BACK,
    SHARED,
    SHELVED,
    STATES,
    TABLE,
    TAKEN,
    UNCLAIMED,
    Fate,
    IllegalLease,
    Leased,
    Next,
    next_after_free,
)
from rwsplit.protocol import codes
from rwsplit.session.pinning import PinReason
from rwsplit.session.session import Session

#: What brings a new server into each state.
PATHS = {
    UNCLAIMED: (),
    IDLE: (SHELVED,),
    HELD: (TAKEN,),
    LANE: (TAKEN, SHARED),
    ROLLING_BACK: (ROLLBACK_SENT,),
    RESETTING: (RESET_SENT,),
    COOLING: (CANCEL_AWAITED,),
    CLOSED: (LOST,),
}


def a_session(pin: PinReason | None = None) -> Session:
    return SimpleNamespace(pin=pin)  # type: ignore[return-value]


DOES: dict[int, Callable[[Leased], None]] = {
    TAKEN: lambda server: server.take(a_session()),
    SHARED: Leased.share,
    LAST_ANSWER: Leased.end_lane,
    LEFT: Leased.leave,
    SHELVED: Leased.shelve,
    ROLLBACK_SENT: Leased.roll_back,
    RESET_SENT: Leased.reset,
    CLEANED: Leased.cleaned,
    CANCEL_AWAITED: Leased.cool,
    CANCEL_DONE: Leased.cooled,
    LOST: Leased.close,
}


def a_server(state: int = UNCLAIMED) -> Leased:
    server = Leased()
    for event in PATHS[state]:
        DOES[event](server)
    assert server.lease == state
    return server


@pytest.mark.parametrize("event", range(len(EVENTS)), ids=EVENTS)
@pytest.mark.parametrize("state", range(len(STATES)), ids=STATES)
def test_a_server_changes_hands_as_the_table_says_and_in_no_other_way(state: int, event: int):
    server = a_server(state)
    holder = server.holder

    if event in TABLE[state]:
        DOES[event](server)
        assert server.lease == TABLE[state][event]
        assert (server.holder is not None) == (server.lease == HELD)
    else:
        with pytest.raises(IllegalLease, match=f"is {STATES[state]}: {EVENTS[event]}$"):
            DOES[event](server)
        assert (server.lease, server.holder) == (state, holder), "nothing has happened"


def test_every_state_can_be_left_but_that_of_a_closed_server():
    for state, after in TABLE.items():
        assert any(following != state for following in after.values()) == (state != CLOSED)


def test_a_server_that_is_taken_is_its_sessions():
    server, session = a_server(IDLE), a_session()
    server.take(session)
    assert server.holder is session


@pytest.mark.parametrize("end", [Leased.leave, Leased.shelve])
def test_what_comes_behind_it_is_not_for_the_session_that_has_left(
    end: Callable[[Leased], None],
):
    server = a_server(HELD)
    server.responses.owner = []
    end(server)
    assert server.responses.owner is None


@pytest.mark.parametrize(
    ("pin", "is_kept"),
    [(None, False), (PinReason.SESSION_MODE, False), (PinReason.LISTEN, True)],
)
def test_it_is_kept_by_a_session_that_has_state_there(pin: PinReason | None, *, is_kept: bool):
    server = a_server()
    server.take(a_session(pin))
    assert server.is_kept is is_kept


def test_nobody_keeps_what_nobody_holds():
    assert not a_server(IDLE).is_kept


def test_the_first_reason_to_close_it_is_the_one_that_is_told():
    server = a_server(HELD)
    server.expire(Fate.TOO_OLD)
    server.expire(Fate.LOST)
    assert server.fate is Fate.TOO_OLD


# When it is free...


def clean() -> Leased:
    return a_server(UNCLAIMED)


def test_a_clean_server_is_handed_on():
    assert next_after_free(clean(), has_too_many=False) is Next.HAND_ON


def test_one_its_pool_has_no_room_for_is_closed():
    assert next_after_free(clean(), has_too_many=True) is Next.CLOSE


def awaits_cancel(server: Leased) -> None:
    server.cancels = 1


def is_of_unknown_parameters(server: Leased) -> None:
    server.parameters = None


def is_in_a_transaction(server: Leased) -> None:
    server.tx = codes.IN_TRANSACTION


def has_a_failed_transaction(server: Leased) -> None:
    server.tx = codes.FAILED


def has_litter(server: Leased) -> None:
    server.litter = [b"C"]


#: From the least to the most urgent.
NEEDS = [
    (awaits_cancel, Next.COOL),
    (is_of_unknown_parameters, Next.RESET),
    (Leased.soil, Next.RESET),
    (is_in_a_transaction, Next.ROLL_BACK),
    (has_a_failed_transaction, Next.ROLL_BACK),
    (has_litter, Next.TIDY),
    (lambda server: server.expire(Fate.NODE_LEFT), Next.CLOSE),
]


@pytest.mark.parametrize("number", range(len(NEEDS)))
def test_the_most_urgent_need_comes_first(number: int):
    server = clean()
    NEEDS[number][0](server)
    assert next_after_free(server, has_too_many=False) is NEEDS[number][1], "alone"
    for need, _ in NEEDS[:number]:
        need(server)
    assert next_after_free(server, has_too_many=False) is NEEDS[number][1], (
        "with all lesser ones"
    )


def test_what_was_wiped_is_clean_again():
    server = clean()
    server.soil()
    server.wiped()
    assert next_after_free(server, has_too_many=False) is Next.HAND_ON
