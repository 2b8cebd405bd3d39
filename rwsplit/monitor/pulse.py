"""Pulse: the regular looks at one node, without a task.

While a node answers as it should, ten times a second, waking a task for each question and each answer is most of
what watching costs. So there the driver's alarm asks and the driver's set of sockets brings the answer, both
within the turn loop. Whatever is out of the ordinary - a failure, an answer that does not come, something said
unasked, a session in a hurry - ends the pulse, and the watcher's task takes over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import trio

from rwsplit.cluster.observation import Observation
from rwsplit.monitor.board import Board
from rwsplit.monitor.link import ProbeFailed
from rwsplit.relay.driving import Driver
from rwsplit.server.patience import HELD_UP


class Asker(Protocol):
    """What a pulse needs of a `Probe` that is linked to its node."""

    timeout: float

    def fileno(self) -> int:
        """Return the link's file descriptor, -1 if there is none."""

    def ask(self) -> None:
        """Begin a look. Raises ProbeFailed."""

    def answer(self) -> Observation | None:
        """Return what was seen, None while the answer is incomplete. Raises ProbeFailed."""

    def too_late(self) -> ProbeFailed:
        """Give up the link and return the failure that is."""

    def close(self) -> None:
        """Give up the link."""


class Pulse:
    """Looks at one node again and again, from the turn loop of *driver*."""

    def __init__(self, name: str, board: Board, probe: Asker, driver: Driver) -> None:
        self.is_beating = False
        self._name = name
        self._board = board
        self._probe = probe
        self._driver = driver
        self._next: Callable[[float], float] = float
        self._asked = 0.0
        self._waiting = False
        """A question is out."""
        self._due = 0.0
        """When its answer is overdue."""
        self._excused = False
        """Whether the answer got more time because rwsplit itself was held up."""
        self._stopping = False
        self._over = trio.Event()
        self._fd = -1

    async def beat(self, asked: float, following: Callable[[float], float]) -> float:
        """Look at the node until something is out of the ordinary; return when it was asked last.

        *asked* is when that was before, *following* says when the look after one is due.
        """
        self._next, self._asked = following, asked
        self._over = trio.Event()
        self._stopping = False
        self._fd = self._probe.fileno()
        alarms = self._driver.alarms
        self._alarm = alarms.add(self._ring)
        self._alarm.set(following(asked))
        self._driver.watch(self._fd, self._ready)
        self.is_beating = True
        try:
            await self._over.wait()
        finally:
            self._end()
            alarms.remove(self._alarm)
            if (
                self._waiting
            ):  # cancelled: what is still to come would be taken for another answer
                self._waiting = False
                self._probe.close()
        return self._asked

    def stop(self) -> None:
        """Make an end of it, as soon as a question that is out has been answered."""
        self._stopping = True
        if not self._waiting:
            self._end()

    def _end(self) -> None:
        if self.is_beating:
            self.is_beating = False
            self._driver.unwatch(self._fd)
            self._alarm.clear()
            self._over.set()

    def _ring(self) -> None:
        """A look is due, or its answer is overdue."""
        if self._waiting:
            late = self._board.now() - self._due
            if late > HELD_UP and not self._excused:
                # rwsplit was late, not the node: the answer may be there, unread.
                self._excused = True
                self._wait(min(late, self._probe.timeout))
            else:
                self._failed(self._probe.too_late())
            return
        self._asked = self._board.now()
        self._waiting, self._excused = True, False
        self._wait(self._probe.timeout)
        try:
            self._probe.ask()
        except ProbeFailed as failure:
            self._failed(failure)

    def _wait(self, seconds: float) -> None:
        """Wait at most *seconds* for the answer."""
        self._due = self._board.now() + seconds
        self._alarm.set(self._due)

    def _ready(self) -> None:
        """The link can be read."""
        if not self._waiting:  # said unasked: mostly that the connection ends
            self._end()
            return
        try:
            look = self._probe.answer()
        except ProbeFailed as failure:
            self._failed(failure)
            return
        if look is None:
            return
        self._waiting = False
        self._alarm.set(self._next(self._asked))
        self._board.observed(self._name, look, self._asked)
        if self._stopping or not look.examined:  # the task finds out what led to a promotion
            self._end()

    def _failed(self, failure: ProbeFailed) -> None:
        self._waiting = False
        self._end()
        self._board.failed(self._name, str(failure), lost=failure.lost, silent=failure.silent)
