"""HalfOpen: the clients that have not proved who they are, and which of them must go when there are too many.

They are strangers, so they are counted by themselves (`limits.max_login_conn`) and cannot use up `limits.max_client_conn`. At
the limit the next one waits in the kernel's queue until one of them has logged in or left, or makes room for it:

    nothing heard of it for `SILENT`       the oldest goes first: a client says something at once
    has said something, and not logged in  the oldest goes when it has had `SPEAKING`

Whoever has said something that is still to be read waits for rwsplit, and is spared: a crowd may keep it busy for long. Not more often than `SPARED`, as who
never stops talking has always said something.
To refuse the new one instead would let whoever fills the table keep everybody out for `client_login_timeout`; to drop the oldest
at once would end the logins of a crowd that is merely large.
"""

from __future__ import annotations

import select
from typing import Final

import attrs
import trio

from rwsplit.server.pace import Pace

#: Seconds after which a client that has said nothing may be dropped, and one that has but did not log in.
SILENT: Final = 0.25
SPEAKING: Final = 2.0
#: Times that one client is spared.
SPARED: Final = 5
#: Clients at most that are listened to in one pass of trio's scheduler.
PACE: Final = 16


@attrs.define(eq=False)
class Entry:
    """One client that has not logged in yet."""

    fd: int
    since: float
    """When it was accepted, or spared."""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    """What its startup runs in."""
    spared: int = 0
    """How often it had its time again."""
    is_dropped: bool = False
    """It had to make room."""
    for_console: bool = False
    """There are so few descriptors left that only the console may have it."""


class HalfOpen:
    """Counts who has not logged in. Use it from the trio thread only."""

    def __init__(self) -> None:
        self.pace = Pace(PACE)
        """At which they are listened to, so that a crowd which speaks at once does not stop everybody else."""
        self.dropped = 0
        """How many had to make room so far."""
        self._silent: dict[Entry, None] = {}
        """By age, as the others."""
        self._speaking: dict[Entry, None] = {}
        self._left = trio.Event()

    def __len__(self) -> int:
        return len(self._silent) + len(self._speaking)

    def enter(self, fd: int, now: float, *, for_console: bool = False) -> Entry:
        """Count in a client that was just accepted."""
        entry = Entry(fd, now, for_console=for_console)
        self._silent[entry] = None
        return entry

    def spoke(self, entry: Entry) -> None:
        """Note that something was heard of *entry*."""
        if entry in self._silent:
            del self._silent[entry]
            self._speaking[entry] = None

    def leave(self, entry: Entry) -> None:
        """Count out a client that has logged in, or left. May be called again."""
        if entry in self._silent or entry in self._speaking:
            self._silent.pop(entry, None)
            self._speaking.pop(entry, None)
            self._left.set()
            self._left = trio.Event()

    def drop(self, entry: Entry) -> None:
        """Have *entry* make room: its startup is cancelled, and closes its socket."""
        entry.is_dropped = True
        self.dropped += 1
        self.leave(entry)
        entry.scope.cancel()

    def oldest(self) -> Entry | None:
        """Return who is to go first, one that has said nothing if there is one."""
        return next(iter(self._silent), None) or next(iter(self._speaking), None)

    def make_room_for_console(self, most: int) -> bool:
        """Drop one of those that only the console may have, if there are *most* of them; return whether one was dropped."""
        found = [e for e in (*self._silent, *self._speaking) if e.for_console]
        if len(found) >= max(most, 1):
            self.drop(found[0])
        return len(found) >= max(most, 1)

    async def wait_for_room(self, limit: int) -> None:
        """Block until fewer than *limit* are left, dropping those that have had their time."""
        while len(self) >= limit:
            now = trio.current_time()
            due = self._drop_one(now)
            if due > now:
                left = self._left
                with trio.move_on_at(due):
                    await left.wait()

    def _drop_one(self, now: float) -> float:
        """Drop who has had his time; return when somebody has, *now* if one was dropped, or spared."""
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
        """Let *entry* have its time again: it has said something that rwsplit has not come to yet."""
        self._silent.pop(entry, None)
        self._speaking.pop(entry, None)
        entry.since = now
        entry.spared += 1
        self._speaking[entry] = None


def _has_said_something(fd: int) -> bool:
    """Return whether there is something to read from the socket *fd*, its end included."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
