"""Slices: how much is done for one client, or of what one server says, before all others had their turn.

A client may send in one go what takes a second to work off, a server answer it as fast. So what is done is counted, in words
(`sql.effort`): a client gets a SLICE, a turn of the loop may take TURN altogether, and what is left over waits in a queue
here. It gets its next slice behind all others, first in, first out, mostly in the next turn, which comes at once (`Driver.press`).
Sockets a turn had no time for are what the next one begins with: they have had nothing yet.

Nothing is polled for that: a client with something left over is not read (`Outboxes.pause_client`).
"""

from __future__ import annotations

import select
from collections import deque
from typing import TYPE_CHECKING, Final

import structlog

from rwsplit.server.server import CLOSED, Server

if TYPE_CHECKING:
    from rwsplit.relay.client import Client
    from rwsplit.relay.relay import Relay

#: Words of work done for one client in one turn: some 2 ms, sixty short statements or ten that were never seen.
SLICE: Final = 256
#: Words of work of one turn, beyond which it serves nobody else.
TURN: Final = 512
#: Slices one client gets in a turn, at most, while nobody else is there.
SLICES: Final = TURN // SLICE
#: Sockets that are ready beyond which a turn may have to put some off.
FEW: Final = 8
#: What it takes to send a unit, and to take in its answer; and to pass on what needs no thought.
UNIT: Final = 3
CHUNK: Final = 1
#: What it takes to have a server learn or forget a statement, and to take in what it says of that.
LESSON: Final = 3
#: Statements of which it takes a word to look whether a server knows them.
LOOKS: Final = 8
#: Units and chunks of one client that may wait before more of what it sends is looked at.
MOST_PENDING: Final = 256
#: Words of work beyond which it is looked at how long a turn took.
BUSY: Final = SLICE // 2
#: Seconds that make a turn a long one, which is logged, and between two such lines in the log.
LONG: Final = 0.25
QUIET: Final = 1.0

READABLE: Final = select.EPOLLIN

_log = structlog.get_logger("rwsplit.relay")


class Slices:
    """Knows who has something left over."""

    __slots__ = (
        "_fresh",
        "_heaviest",
        "_heaviest_words",
        "_left",
        "_logged",
        "_parses",
        "_relay",
        "longest",
        "size",
    )

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.size = SLICE
        """Words of a slice."""
        self._fresh: deque[Client | Server] = deque()
        """Whose sockets a turn had no time for."""
        self._left: deque[Client | Server] = deque()
        """Of whom something is left that has been read."""
        self._heaviest: Client | None = None
        """The client this turn has done most for, and how much."""
        self._heaviest_words = 0
        self._parses = 0
        self._logged = 0.0
        self.longest = 0.0
        """Seconds the longest turn took."""

    def __len__(self) -> int:
        return len(self._fresh) + len(self._left)

    def later(self, party: Client | Server) -> None:
        """Go on with *party*, which has something left over, when all others had their turn."""
        if not party.queued:
            party.queued = True
            self._left.append(party)
            self._relay.driver.press()

    def goes_on(self, client: Client, words: int) -> bool:
        """Count *words* of work done for *client*; return whether more may be done for it now. Else it waits for its slice."""
        self.spend(client, words)
        if client.allowance > 0:
            return True
        self.later(client)
        return False

    def spend(self, client: Client, words: int) -> None:
        """Count *words* of work done for *client*."""
        client.effort.words += words
        client.allowance -= words

    def put_off(self, party: Client | Server) -> None:
        """Read the socket of *party* in the next turn: there is no time in this one."""
        if not party.queued:
            party.queued = True
            self._fresh.append(party)
            self._relay.driver.press()

    def may_go_on(self, client: Client) -> bool:
        """Return whether what *client* has left over can be looked at: what there is of it already has somewhere to go."""
        return len(client.pending) < MOST_PENDING and not client.is_stuffed

    def serve_put_off(self, limit: int) -> None:
        """Begin a turn with those the last one had no time for, until *limit* words of work have been done."""
        fresh, effort = self._fresh, self._relay.effort
        for _ in range(len(fresh)):
            self._serve(fresh.popleft())
            if effort.words > limit:
                break

    def serve_left_over(self, limit: int) -> None:
        """End a turn with those who have something left over, one at least, until *limit* words of work have been done."""
        left, effort = self._left, self._relay.effort
        for _ in range(len(left) + SLICES):
            if not left:
                break
            self._serve(left.popleft())
            if effort.words > limit:
                break
        self._relay.driver.pressed = bool(self._fresh or left)

    def _serve(self, party: Client | Server) -> None:
        party.queued = False
        if isinstance(party, Server):
            if party.use is not CLOSED and not party.paused:
                self._relay.reading.serve_server(party, READABLE)
            return
        if party.closed:
            return
        party.allowance = self.size
        if party.is_behind or party.pending:
            self._relay.reading.go_on(party)
        if not (party.paused or party.queued or party.closed):
            self._relay.reading.serve_client(party, READABLE)

    # What a turn has done...

    def weigh(self, client: Client) -> None:
        """Take note of what is being done for *client*, if it is more than for any other in this turn."""
        words = self.size - client.allowance
        if words > self._heaviest_words:
            self._heaviest, self._heaviest_words = client, words

    def note(self, seconds: float, words: int, sockets: int) -> None:
        """Take note of a busy turn that took so long, and log it if that was too long."""
        if seconds > self.longest:
            self.longest = seconds
        client, self._heaviest = self._heaviest, None
        heaviest, self._heaviest_words = self._heaviest_words, 0
        effort, now = self._relay.effort, self._relay.now
        parses = effort.parses - self._parses
        self._parses = effort.parses
        if seconds < LONG or now - self._logged < QUIET:
            return
        self._logged = now
        _log.warning(
            "long_turn",
            seconds=round(seconds, 3),
            sockets=sockets,
            words=words,
            parses=parses,
            session=None if client is None else client.pid,
            database=None if client is None else client.database,
            user=None if client is None else client.user,
            words_of_session=heaviest,
            left_over=len(self),
        )
