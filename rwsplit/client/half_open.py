"""HalfOpen: the clients that have not logged in yet, and which of them are dropped when there are too many.

A limit of their own (`limits.max_login_conn`) keeps them from using up `limits.max_client_conn`. At that limit a new connection
waits in the kernel's queue until a half-open client logs in or disconnects, or until rwsplit drops one:

    sent nothing for `SILENT` seconds             dropped, the oldest first: a real client sends its startup packet at once
    sent something, no login within `SPEAKING`    dropped, the oldest first

A client whose bytes rwsplit has not read yet is not dropped: there rwsplit is late, not the client. But `SPARED` times at most, since a client
that sends all the time always has unread bytes.
Rejected: to refuse the new connection, since then an attacker who fills the table keeps all clients out for
`client_login_timeout`; and to drop the oldest at once, since that ends the logins of a crowd that is merely large.
"""

from __future__ import annotations

import select
from typing import Final

import attrs
import trio

from rwsplit.server.pace import Pace

#: Seconds after which a client that has sent nothing may be dropped, and one that has sent something but not logged in.
SILENT: Final = 0.25
SPEAKING: Final = 2.0
#: Times that one client with unread bytes is not dropped.
SPARED: Final = 5
#: Clients read at most in one pass of trio's scheduler.
PACE: Final = 16


@attrs.define(eq=False)
class Entry:
    """One client that has not logged in yet."""

    fd: int
    since: float
    """When it was accepted, or last found with unread bytes."""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    """The scope its startup runs in."""
    spared: int = 0
    """How often it was found with unread bytes, and not dropped."""
    is_dropped: bool = False
    """It was dropped to make room for another client."""
    for_console: bool = False
    """Descriptors are short: it may log in only to the console."""


class HalfOpen:
    """Counts the clients that have not logged in. Use it from the trio thread only."""

    def __init__(self) -> None:
        self.pace = Pace(PACE)
        """At which they are listened to, so that a crowd which speaks at once does not stop everybody else."""
        self.dropped = 0
        """How many clients were dropped so far."""
        self._silent: dict[Entry, None] = {}
        """The clients that have sent nothing, the oldest first; `_speaking` has the others."""
        self._speaking: dict[Entry, None] = {}
        self._left = trio.Event()

    def __len__(self) -> int:
        return len(self._silent) + len(self._speaking)

    def enter(self, fd: int, now: float, *, for_console: bool = False) -> Entry:
        """Add a client that was just accepted."""
        entry = Entry(fd, now, for_console=for_console)
        self._silent[entry] = None
        return entry

    def spoke(self, entry: Entry) -> None:
        """Note that *entry* has sent something."""
        if entry in self._silent:
            del self._silent[entry]
            self._speaking[entry] = None

    def leave(self, entry: Entry) -> None:
        """Remove a client that has logged in or disconnected. May be called again."""
        if entry in self._silent or entry in self._speaking:
            self._silent.pop(entry, None)
            self._speaking.pop(entry, None)
            self._left.set()
            self._left = trio.Event()

    def drop(self, entry: Entry) -> None:
        """Drop *entry*: cancel its startup, which then closes its socket."""
        entry.is_dropped = True
        self.dropped += 1
        self.leave(entry)
        entry.scope.cancel()

    def oldest(self) -> Entry | None:
        """Return the client to drop first: the oldest that has sent nothing, else the oldest."""
        return next(iter(self._silent), None) or next(iter(self._speaking), None)

    def make_room_for_console(self, most: int) -> bool:
        """Drop the oldest client that may log in only to the console if there are *most* of them; return whether one was dropped."""
        found = [e for e in (*self._silent, *self._speaking) if e.for_console]
        if len(found) >= max(most, 1):
            self.drop(found[0])
        return len(found) >= max(most, 1)

    async def wait_for_room(self, limit: int) -> None:
        """Block until there are fewer than *limit*, dropping clients whose time is over."""
        while len(self) >= limit:
            now = trio.current_time()
            due = self._drop_one(now)
            if due > now:
                left = self._left
                with trio.move_on_at(due):
                    await left.wait()

    def _drop_one(self, now: float) -> float:
        """Drop one client whose time is over, or give it more; return *now* then, else when the next one's time is over."""
        due = []
        for entries, patience in ((self._silent, SILENT), (self._speaking, SPEAKING)):
            entry = next(iter(entries), None)
            if entry is None:
                continue
            if now - entry.since >= patience:
                if entry.spared < SPARED and _has_said_something(entry.fd):
                    self._spare(entry, now)
                else:
                    self.drop(entry)
                return now
            due.append(entry.since + patience)
        return min(due)

    def _spare(self, entry: Entry, now: float) -> None:
        """Restart the time of *entry*, whose bytes rwsplit has not read yet."""
        self._silent.pop(entry, None)
        self._speaking.pop(entry, None)
        entry.since = now
        entry.spared += 1
        self._speaking[entry] = None


def _has_said_something(fd: int) -> bool:
    """Return whether the socket *fd* has bytes to read, or its end."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
