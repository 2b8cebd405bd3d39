"""Stalls: times in which rwsplit itself did not run, for which no node or client must be blamed.

A machine that swaps or is suspended, a SIGSTOP, or a long piece of work holds up the whole process. What nodes and clients have sent
meanwhile lies unread, and by the clock they are late. So if a deadline is noticed later than by HELD_UP, rwsplit reads
what has arrived before it judges anybody.
"""

from __future__ import annotations

from typing import Final

import structlog

from rwsplit.server.patience import HELD_UP

#: Seconds of a stall that is logged, and seconds between two such log lines.
LONG_STALL: Final = 2.0
LOG_INTERVAL: Final = 5.0

_log = structlog.get_logger("rwsplit.relay")


class Stalls:
    """How late the relay's tick, which is due every 50 ms, has been."""

    __slots__ = ("_excused", "_logged", "longest", "number", "seconds")

    def __init__(self) -> None:
        self.number = 0
        """How often the tick was late by more than HELD_UP."""
        self.seconds = 0.0
        """Seconds by which it was late then, altogether."""
        self.longest = 0.0
        """Seconds by which it was late at most."""
        self._excused = False
        self._logged = 0.0

    def excuses(self, late: float, now: float) -> bool:
        """Record that the tick is *late* by so many seconds; return whether it must check no deadlines.

        Never true twice in a row: a process that is always late must check its deadlines all the same.
        """
        if late <= HELD_UP:
            self._excused = False
            return False
        self.number += 1
        self.seconds += late
        self.longest = max(self.longest, late)
        if late >= LONG_STALL and now - self._logged >= LOG_INTERVAL:
            self._logged = now
            _log.warning("stalled", seconds=round(late, 3))
        self._excused = not self._excused
        return self._excused
