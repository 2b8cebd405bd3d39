"""Unreplayed: whether an error of a replica may come of what that has not replayed yet.

Asking the primary again costs it one statement. Where DDL is known that the replica lacks, that is always worth it; where
none is known, an `Allowance` bounds what an application that fails in a loop can ask of the primary.
"""

from __future__ import annotations

from typing import Final

from rwsplit.cluster.node import NEVER

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
