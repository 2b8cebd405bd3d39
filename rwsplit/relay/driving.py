"""Drivers: who waits for the relay's epoll set, calls `Relay.turn` and rings the alarms.

`TrioDriver` is a task like any other: it waits for the set with trio (an epoll set can itself be polled). It is
right wherever a relay is part of a larger trio program, and costs a pass of trio's scheduler per wake-up. A process
that only serves drives the relay from the outside instead: `app.host`.
"""

from __future__ import annotations

import contextlib
import select
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, NoReturn

import trio

from rwsplit.relay.alarms import Alarms

#: Turns taken back to back before other tasks get their turn.
TURNS: Final = 8
#: Most sockets served in one turn.
BATCH: Final = 1024

Events = list[tuple[int, int]]


class Driver(ABC):
    """Something that calls a turn with what is ready in *epoll*, and rings its alarms in between."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.alarms = Alarms()
        self.watched: dict[int, Callable[[], None]] = {}
        """Sockets in the set that are neither a session's nor a server's, and what a turn calls for each."""
        self.pressed = False
        """Whether the next turn must come at once, even if no socket is ready: some work is left."""

    def press(self) -> None:
        """Make the next turn come at once: some work is left for it."""
        self.pressed = True

    def watch(self, fd: int, call: Callable[[], None]) -> None:
        """Have *call* made in each turn in which *fd* can be read."""
        self.watched[fd] = call
        self.epoll.register(fd, select.EPOLLIN)

    def unwatch(self, fd: int) -> None:
        """Forget *fd*, which may be closed already."""
        if self.watched.pop(fd, None) is not None and not self.epoll.closed:
            with contextlib.suppress(OSError):
                self.epoll.unregister(fd)

    @abstractmethod
    async def drive(self, turn: Callable[[Events], None]) -> NoReturn:
        """Call *turn* whenever sockets are ready, or it is pressed for, until cancelled; what it raises is raised here."""

    @abstractmethod
    def close(self) -> None:
        """Close the set: the relay is through with it."""


class TrioDriver(Driver):
    """Drives a relay from a trio task."""

    def __init__(self) -> None:
        super().__init__()
        self._wake: Callable[[], None] = _nothing
        """Ends the waiting."""

    def press(self) -> None:
        """Make the next turn come at once."""
        if not self.pressed:
            self.pressed = True
            self._wake()

    async def drive(self, turn: Callable[[Events], None]) -> NoReturn:
        """Call *turn* whenever sockets are ready, or it is pressed for, until cancelled."""
        fd = self.epoll.fileno()
        poll = self.epoll.poll
        alarms = self.alarms
        while True:
            with trio.CancelScope(deadline=alarms.next) as scope:

                def expire(scope: trio.CancelScope = scope) -> None:
                    scope.deadline = alarms.next

                alarms.on_change = expire
                self._wake = scope.cancel
                if self.pressed:
                    await trio.lowlevel.checkpoint()
                else:
                    await trio.lowlevel.wait_readable(fd)
            self._wake = _nothing
            alarms.ring(trio.current_time())
            for _ in range(TURNS):
                events = poll(0, BATCH)
                if not (events or self.pressed):
                    break
                turn(events)
                if self.pressed:
                    break  # work may go on without end, and other tasks must run, too

    def close(self) -> None:
        """Close the set."""
        self.epoll.close()


def _nothing() -> None:
    """Do nothing: no loop is waiting."""
