"""Input: how far a client's bytes have been understood, and what is kept of them.

Two things are to be known before more bytes can be looked at: where in a unit the client is, and why bytes are left, if any are.
What is not in UNITS or FRAMES is illegal. States and events are integers, since every message is looked at (see `exchange.lease`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rwsplit.session.inbox import Inbox

# Two tables, and not one of BETWEEN, IN_UNIT, OPEN, OPEN_IN_UNIT, IN_FRAME and HELD: a frame is incomplete, or must not be looked
# at yet, anywhere in a unit, and where that is must be known when it is looked at. One table of both would have eighteen states.
# What is lost or skipped of the answers (a Sync that a COPY has swallowed, a unit that has failed before its Sync) is no state of
# the input: it is looked at all the same.

# Where in a unit the client is...

#: Nothing has come of a unit.
BETWEEN_UNITS: Final = 0
#: Messages of a unit have come, and nothing of it has been passed on.
IN_UNIT: Final = 1
#: All that has come of a unit has been passed on.
OPEN: Final = 2
#: Messages have come behind that.
IN_OPEN_UNIT: Final = 3
UNIT_STATES: Final = ("between units", "in a unit", "open", "in an open unit")

#: Parse, Bind, Describe, Execute or Close.
MESSAGE: Final = 0
#: What has come of the unit is passed on: for a Flush, its size, or because something else than its Sync follows.
PASSED_ON: Final = 1
SYNC: Final = 2
#: Query or FunctionCall; what came before it is passed on first.
QUERY: Final = 3
UNIT_EVENTS: Final = ("message", "passed on", "Sync", "Query or FunctionCall")

#: By state and event, the next state.
UNITS: Final[Mapping[int, Mapping[int, int]]] = {
    BETWEEN_UNITS: {MESSAGE: IN_UNIT, SYNC: BETWEEN_UNITS, QUERY: BETWEEN_UNITS},
    IN_UNIT: {MESSAGE: IN_UNIT, PASSED_ON: OPEN, SYNC: BETWEEN_UNITS},
    # PASSED_ON: a Flush alone, or nothing at all.
    OPEN: {MESSAGE: IN_OPEN_UNIT, PASSED_ON: OPEN, SYNC: BETWEEN_UNITS, QUERY: BETWEEN_UNITS},
    IN_OPEN_UNIT: {MESSAGE: IN_OPEN_UNIT, PASSED_ON: OPEN, SYNC: BETWEEN_UNITS},
}

# Why bytes are left...

#: None are.
BETWEEN_FRAMES: Final = 0
#: They are the beginning of a frame.
IN_FRAME: Final = 1
#: None are; the beginning of a long frame has been passed on.
IN_LONG_FRAME: Final = 2
#: There is more than may be looked at in this slice.
BEHIND: Final = 3
#: They use a name of which it is not known yet what it means.
HELD: Final = 4
FRAME_STATES: Final = ("between frames", "in a frame", "in a long frame", "behind", "held")

#: A frame has begun whose end has not come.
INCOMPLETE: Final = 0
#: The beginning of such a frame is passed on.
STREAMED: Final = 1
#: Its end has come.
COMPLETE: Final = 2
#: The allowance of the session is used up.
SPENT: Final = 3
#: There is another one.
ALLOWED: Final = 4
#: A name must be settled first.
UNSETTLED: Final = 5
#: It is settled.
SETTLED: Final = 6
FRAME_EVENTS: Final = (
    *("incomplete", "beginning passed on", "complete", "allowance spent", "allowed more"),
    *("name unsettled", "names settled"),
)

#: By state and event, the next state.
FRAMES: Final[Mapping[int, Mapping[int, int]]] = {
    BETWEEN_FRAMES: {
        INCOMPLETE: IN_FRAME,
        STREAMED: IN_LONG_FRAME,
        SPENT: BEHIND,
        UNSETTLED: HELD,
    },
    IN_FRAME: {COMPLETE: BETWEEN_FRAMES},
    IN_LONG_FRAME: {COMPLETE: BETWEEN_FRAMES},
    BEHIND: {ALLOWED: BETWEEN_FRAMES},
    HELD: {SETTLED: BETWEEN_FRAMES},
}

ILLEGAL: Final = -1


def _rows(
    table: Mapping[int, Mapping[int, int]], events: Sequence[str]
) -> tuple[tuple[int, ...], ...]:
    return tuple(
        tuple(table[state].get(event, ILLEGAL) for event in range(len(events)))
        for state in range(len(table))
    )


_UNITS: Final = _rows(UNITS, UNIT_EVENTS)
_FRAMES: Final = _rows(FRAMES, FRAME_EVENTS)


class IllegalInput(RuntimeError):
    """Something was to become of a client's bytes that is not in UNITS or FRAMES: an error in rwsplit."""


class Input:
    """The input of one client."""

    __slots__ = ("_inbox", "frame_state", "missing", "unit_state")

    def __init__(self) -> None:
        self.unit_state = BETWEEN_UNITS
        self.frame_state = BETWEEN_FRAMES
        self.missing = 0
        """Bytes that are still to come of a long frame."""
        self._inbox = Inbox()

    @property
    def size(self) -> int:
        """How many bytes are kept."""
        return self._inbox.size

    @property
    def is_open(self) -> bool:
        """A unit has been passed on whose end has not come."""
        return self.unit_state >= OPEN

    @property
    def is_unended(self) -> bool:
        """All bytes were looked at as far as they can be, and messages came that neither a Sync nor a Flush has ended."""
        return self.unit_state in _UNENDED and self.frame_state != BEHIND

    # Units: each raises IllegalInput if it cannot be...

    def step(self, event: int) -> None:
        """Go where *event*, one of UNIT_EVENTS, leads."""
        state = _UNITS[self.unit_state][event]
        if state < 0:
            raise IllegalInput(f"{UNIT_STATES[self.unit_state]}: {UNIT_EVENTS[event]}")
        self.unit_state = state

    # Bytes: each raises IllegalInput if it cannot be...

    def keep(self, event: int, data: bytes, wanted: int = 0) -> None:
        """Keep *data* because of *event*; a frame is looked at again when there are *wanted* bytes of it."""
        self._frame(event)
        self._inbox.keep(data, wanted)

    def add(self, data: bytes) -> bool:
        """Put *data* behind what is kept; return whether there are as many bytes as are wanted of a frame."""
        return self._inbox.add(data) and self.frame_state == IN_FRAME

    def take(self, event: int) -> bytes:
        """Return what is kept, which because of *event* can be looked at now, and keep nothing."""
        self._frame(event)
        return self._inbox.take()

    def stream(self, missing: int) -> None:
        """The beginning of a frame has been passed on, of which *missing* bytes are still to come."""
        if self.unit_state in _UNENDED:
            raise IllegalInput(f"{UNIT_STATES[self.unit_state]}: {FRAME_EVENTS[STREAMED]}")
        self._frame(STREAMED)
        self.missing = missing

    def pass_through(self, data: bytes) -> int:
        """Return how many bytes of *data* belong to the frame whose beginning has been passed on."""
        size = min(self.missing, len(data))
        self.missing -= size
        if not self.missing:
            self._frame(COMPLETE)
        return size

    def _frame(self, event: int) -> None:
        state = _FRAMES[self.frame_state][event]
        if state < 0:
            raise IllegalInput(f"{FRAME_STATES[self.frame_state]}: {FRAME_EVENTS[event]}")
        self.frame_state = state


_UNENDED: Final = (IN_UNIT, IN_OPEN_UNIT)
