"""Pin: whether a session keeps one server while it is idle, and how far that is known.

A session is PINNED once a statement leaves state on its server (`session.pinning` says which), DOUBTED when a later one may have ended
that, or when nobody can tell whether the state has come to be, ASKING while the server is asked what is left. It is pinned FOR_GOOD in
session mode. What no query shows cannot be asked for: then a doubt is passed over.

What is not in TABLE is illegal. Only this file sets a session's pin.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from rwsplit.session.pinning import UNSEEN, PinReason


class PinState(Enum):
    """How far a pin is known; the value is how ARCHITECTURE.md calls it."""

    FREE = "free"
    PINNED = "pinned"
    DOUBTED = "doubted"
    ASKING = "asking"
    FOR_GOOD = "for good"


class PinEvent(Enum):
    """What changes a pin."""

    LEFT = "a statement leaves state"
    DOUBT = "a statement may have ended it"
    ASKED = "its server is asked"
    PASSED_OVER = "it is not asked, since no query shows it"
    FOUND = "something is left"
    NOTHING = "nothing is left"
    UNANSWERED = "no answer"
    GONE = "it is known to be gone"
    SESSION_MODE = "its pool is in session mode"


class IllegalPin(Exception):
    """The event cannot happen in the state."""


_S, _E = PinState, PinEvent
TABLE: Final[Mapping[PinState, Mapping[PinEvent, PinState]]] = {
    _S.FREE: {
        _E.LEFT: _S.PINNED,
        _E.DOUBT: _S.FREE,
        _E.PASSED_OVER: _S.FREE,
        _E.FOUND: _S.PINNED,
        _E.NOTHING: _S.FREE,
        _E.UNANSWERED: _S.FREE,
        _E.GONE: _S.FREE,
        _E.SESSION_MODE: _S.FOR_GOOD,
    },
    _S.PINNED: {
        _E.LEFT: _S.PINNED,
        _E.DOUBT: _S.DOUBTED,
        _E.ASKED: _S.ASKING,
        _E.PASSED_OVER: _S.PINNED,
        _E.GONE: _S.FREE,
        _E.SESSION_MODE: _S.FOR_GOOD,
    },
    _S.DOUBTED: {
        _E.LEFT: _S.DOUBTED,
        _E.DOUBT: _S.DOUBTED,
        _E.ASKED: _S.ASKING,
        _E.PASSED_OVER: _S.PINNED,
        _E.GONE: _S.FREE,
    },
    _S.ASKING: {
        _E.DOUBT: _S.ASKING,
        _E.FOUND: _S.PINNED,
        _E.NOTHING: _S.FREE,
        _E.UNANSWERED: _S.DOUBTED,
        _E.GONE: _S.FREE,
    },
    _S.FOR_GOOD: {
        _E.DOUBT: _S.FOR_GOOD,
        _E.PASSED_OVER: _S.FOR_GOOD,
        _E.GONE: _S.FOR_GOOD,
        _E.SESSION_MODE: _S.FOR_GOOD,
    },
}


class Pinned:
    """The part of a session that says why it keeps its server."""

    __slots__ = ("pin", "pin_state")

    def __init__(self) -> None:
        self.pin: PinReason | None = None
        """Why it keeps its server while idle; None: it does not."""
        self.pin_state = PinState.FREE

    def would_pin(self, reason: PinReason) -> bool:
        """Return whether *reason* is one to note: the first, or one that lasts."""
        if self.pin is None:
            return True
        return reason in UNSEEN and self.pin_state is not PinState.FOR_GOOD

    def pin_for(self, reason: PinReason) -> None:
        """A statement leaves state on its server: *reason*."""
        self._happens(PinEvent.LEFT)
        self.pin = reason

    def pin_for_good(self) -> None:
        """It keeps its server until it ends: session mode."""
        self._happens(PinEvent.SESSION_MODE)
        self.pin = PinReason.SESSION_MODE

    def doubt_pin(self) -> None:
        """What pins it may be gone, or may never have come."""
        self._happens(PinEvent.DOUBT)

    def ask_pin(self, *, audits: bool) -> None:
        """Its server is asked what is left, if *audits*."""
        self._happens(PinEvent.ASKED if audits else PinEvent.PASSED_OVER)

    def pin_answered(self, left: PinReason | None) -> None:
        """Its server has said what is *left*."""
        self._happens(PinEvent.NOTHING if left is None else PinEvent.FOUND)
        self.pin = left

    def pin_unanswered(self) -> None:
        """Its server could not say what is left."""
        self._happens(PinEvent.UNANSWERED)

    def unpin(self) -> None:
        """Nothing is left on its server, unless it is its own for good."""
        self._happens(PinEvent.GONE)
        if self.pin_state is PinState.FREE:
            self.pin = None

    def _happens(self, event: PinEvent) -> None:
        following = TABLE[self.pin_state].get(event)
        if following is None:
            raise IllegalPin(f"a session {self.pin_state.value} ({self.pin}): {event.value}")
        self.pin_state = following
