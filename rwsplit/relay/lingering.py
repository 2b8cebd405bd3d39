"""Lingering: a client reads the last words before its socket is closed.

To close a socket that holds unread input makes the kernel send a reset, and a reset takes along what the
client has not read yet: the one error that says why. A client that was sending while its session ended would
hear "server closed the connection unexpectedly". So after a FATAL error only the sending side is closed; what
the client still says is thrown away until it closes, too, or PATIENCE is over.
"""

from __future__ import annotations

import contextlib
from typing import Final

import trio

from rwsplit.relay.outboxes import send
from rwsplit.server.wire import Wire

#: Seconds a client is given to read the last words.
PATIENCE: Final = 1.0


class Lingering:
    """The sockets of sessions that have ended with an error."""

    def __init__(self) -> None:
        self._count = 0
        self._over = trio.Event()

    def see_off(self, nursery: trio.Nursery, wire: Wire, left: list[bytes]) -> None:
        """Have *wire* closed when the client has read what is *left* for it."""
        self._count += 1
        nursery.start_soon(self._see_off, wire, left, name="last words")

    async def wait_over(self) -> None:
        """Block until nobody lingers."""
        while self._count:
            await self._over.wait()

    async def _see_off(self, wire: Wire, left: list[bytes]) -> None:
        try:
            with trio.move_on_after(PATIENCE), contextlib.suppress(OSError):
                await _say_last_words(wire, left)
        finally:
            wire.close()
            self._count -= 1
            if not self._count:
                self._over.set()
                self._over = trio.Event()


async def _say_last_words(wire: Wire, left: list[bytes]) -> None:
    while send(wire, left) or wire.wants_write:
        await trio.lowlevel.wait_writable(wire.fileno())
    wire.finish()
    while not wire.discard():
        await trio.lowlevel.wait_readable(wire.fileno())
