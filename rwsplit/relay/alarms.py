"""Alarms: calls a driver makes at given moments, for what recurs too often to be worth a task.

There are a handful of them (the relay's tick, a pulse per node), so the next one is simply looked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable

#: The moment of an alarm that is not set.
UNSET = math.inf


class Alarm:
    """One call, made once each time it is set."""

    __slots__ = ("_alarms", "call", "due")

    def __init__(self, alarms: Alarms, call: Callable[[], None]) -> None:
        self._alarms = alarms
        self.call = call
        self.due = UNSET

    def set(self, due: float) -> None:
        """Have the call made at the moment *due*, not at the one set before."""
        self.due = due
        self._alarms.review()

    def clear(self) -> None:
        """Have no call made."""
        self.set(UNSET)


class Alarms:
    """All alarms of a driver."""

    def __init__(self) -> None:
        self.next = UNSET
        """The moment of the first that is due."""
        self.on_change: Callable[[], None] = _nothing
        """Called when `next` has changed."""
        self._all: list[Alarm] = []

    def add(self, call: Callable[[], None]) -> Alarm:
        """Return a new alarm that makes *call*; it is not set yet."""
        alarm = Alarm(self, call)
        self._all.append(alarm)
        return alarm

    def remove(self, alarm: Alarm) -> None:
        """Forget *alarm*."""
        self._all.remove(alarm)
        alarm.clear()

    def ring(self, now: float) -> None:
        """Make the calls that are due at the moment *now*."""
        for alarm in [alarm for alarm in self._all if alarm.due <= now]:
            if alarm.due <= now:  # still: a call before may have put it off
                alarm.due = UNSET
                alarm.call()
        self.review()

    def review(self) -> None:
        """Find the next one anew."""
        before, self.next = self.next, min((alarm.due for alarm in self._all), default=UNSET)
        if self.next != before:
            self.on_change()


def _nothing() -> None:
    """Nobody to tell."""
