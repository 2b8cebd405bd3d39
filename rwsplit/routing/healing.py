"""Healing: what an error of a replica means for a statement of which nothing has been answered.

Four kinds. A write after all, or what a standby cannot do, runs on the primary. A conflict with recovery and a replica
that is going away run on another replica. An object that is not there may not have been replayed yet: the
primary's word is final. So may, last, be the cause of nearly any other error - a value just added to an enum, a privilege just
granted, a function just corrected - as long as the replica is not known to be up to date.

Asking again costs the primary one statement. Where DDL is known that the replica lacks, that is always worth it; where
none is known, an `Allowance` bounds what an application that fails in a loop can ask of the primary.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from rwsplit.cluster.node import NEVER
from rwsplit.routing.route import Route, RouteReason, Target


class Cure(NamedTuple):
    """Where a statement runs next; *remembers*: its shape is known as writing from now on."""

    route: Route
    remembers: bool = False


_WRITES: Final = Route(Target.PRIMARY, RouteReason.RETRIED_READ_ONLY)
_CONFLICT: Final = Cure(Route(Target.REPLICA, RouteReason.RETRIED_CONFLICT))
LOST: Final = Cure(Route(Target.REPLICA, RouteReason.RETRIED_LOST))
NOT_REPLAYED: Final = Cure(Route(Target.PRIMARY, RouteReason.RETRIED_NOT_REPLAYED))

#: SQLSTATEs with a meaning of their own.
CURES: Final[dict[bytes, Cure]] = {
    b"25006": Cure(_WRITES, remembers=True),
    b"0A000": Cure(_WRITES, remembers=True),
    b"55000": Cure(_WRITES),
    b"XX000": Cure(_WRITES),
    b"40001": _CONFLICT,
    b"40P01": _CONFLICT,
    **dict.fromkeys((b"42P01", b"42703", b"42883", b"3F000", b"42704"), NOT_REPLAYED),
}

#: Statements that fail for unknown reasons may be asked again so many at once, and so many a second.
BURST: Final = 100
RATE: Final = 20.0


class Allowance:
    """How many more statements may be asked again without a reason that is known."""

    __slots__ = ("_left", "_since")

    def __init__(self) -> None:
        self._left = float(BURST)
        self._since = NEVER

    def take(self, now: float) -> bool:
        """Take one at the moment *now*; False: there is none left."""
        self._left = min(BURST, self._left + (now - self._since) * RATE)
        self._since = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def may_be_unreplayed(
    *, fresh_until: float, sent: float, defined: float, now: float, allowance: Allowance
) -> bool:
    """Return whether an error of a statement *sent* to a replica may come of what that has not replayed.

    *fresh_until*: of the replica by now; *defined*: the moment of the last DDL that is known of.
    """
    if NEVER < defined >= fresh_until:
        return True
    return fresh_until <= sent and allowance.take(now)
