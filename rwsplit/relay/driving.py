"""Drivers: who waits for the relay's epoll set and calls `Relay.turn`.

`TrioDriver` is a task like any other: it waits for the set with trio (an epoll set can itself be polled). It is
right wherever a relay is part of a larger trio program, and costs a pass of trio's scheduler per wake-up. A process
that only serves drives the relay from the outside instead: `app.host`.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Final, NoReturn, Protocol

import trio

#: Turns taken back to back before other tasks get their turn.
TURNS: Final = 8
#: Most sockets served in one turn.
BATCH: Final = 1024

Events = list[tuple[int, int]]


class Driver(Protocol):
    """Something that calls *turn* with what is ready in *epoll*."""

    epoll: select.epoll

    async def drive(self, turn: Callable[[Events], None]) -> NoReturn:
        """Call *turn* whenever sockets are ready, until cancelled; what it raises is raised here."""

    def close(self) -> None:
        """Close the set: the relay is through with it."""


class TrioDriver:
    """Drives a relay from a trio task."""

    def __init__(self) -> None:
        self.epoll = select.epoll()

    async def drive(self, turn: Callable[[Events], None]) -> NoReturn:
        """Call *turn* whenever sockets are ready, until cancelled."""
        fd = self.epoll.fileno()
        poll = self.epoll.poll
        while True:
            await trio.lowlevel.wait_readable(fd)
            for _ in range(TURNS):
                events = poll(0, BATCH)
                if not events:
                    break
                turn(events)

    def close(self) -> None:
        """Close the set."""
        self.epoll.close()
