"""Stalls: when rwsplit itself did not run, so that nobody else is blamed for it.

Whatever holds up the process - a machine that swaps or is suspended, a SIGSTOP, work that takes too long - holds up its
answers to itself as well: what nodes and clients have said meanwhile lies unread, and by the clock they are late. So
where something is overdue, it counts how late that was noticed: if by more than HELD_UP, what has come is read first.
"""

from __future__ import annotations

from typing import Final

import structlog

from rwsplit.server.patience import HELD_UP

#: Seconds that make a stall one to be logged, and between two such lines in the log.
LONG: Final = 2.0
QUIET: Final = 5.0

_log = structlog.get_logger("rwsplit.relay")


class Stalls:
    """How late the relay's tick, which is due every 50 ms, has been."""

    __slots__ = ("_excused", "_logged", "longest", "number", "seconds")

    def __init__(self) -> None:
        self.number = 0
        """Times it was late by more than HELD_UP."""
        self.seconds = 0.0
        """By how much, altogether."""
        self.longest = 0.0
        """By how much at most, ever."""
        self._excused = False
        self._logged = 0.0

    def excuses(self, late: float, now: float) -> bool:
        """Take note that the tick comes *late* by so many seconds; return whether nothing is to be judged by the clock in it.

        Never twice in a row: who is always late must judge all the same.
        """
        if late <= HELD_UP:
            self._excused = False
            return False
        self.number += 1
        self.seconds += late
        self.longest = max(self.longest, late)
        if late >= LONG and now - self._logged >= QUIET:
            self._logged = now
            _log.warning("stalled", seconds=round(late, 3))
        self._excused = not self._excused
        return self._excused
