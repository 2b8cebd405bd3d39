"""Slices: how much is done for one client, or of what one server says, before all others had their turn.

One write of a client may take seconds of work, and so may the answers of a server. So work is counted in words
(`sql.effort`). A client gets a SLICE of it in a turn, and a turn takes at most about TURN altogether. A client whose input is not
finished then waits in a queue here for its next slice, first in, first out; mostly it gets that in the next turn, which comes at
once (`Driver.press`). Sockets that a turn has not reached are the first ones the next turn serves, but for those of *heavy*
clients, which have used up HEAVY in one turn lately: they queue for a slice instead. So what a light client asks does not wait
for a slice of each heavy one.

While a client waits for a slice its socket is not read (`Outboxes.pause_client`).
"""

from __future__ import annotations

import select
from collections import deque
from typing import TYPE_CHECKING, Final

import structlog

from rwsplit.exchange.lease import CLOSED
from rwsplit.server.server import Server

if TYPE_CHECKING:
    from rwsplit.relay.client import Client
    from rwsplit.relay.relay import Relay

#: Words of work for one client in one turn: about 2 ms, sixty short statements or ten of new shapes.
SLICE: Final = 256
#: Words of work in one turn after which it serves no further socket.
TURN: Final = 512
#: Slices one client gets at most in a turn while no other client waits.
SLICES: Final = TURN // SLICE
#: With more ready sockets than these a turn may have to leave some to the next.
FEW: Final = 4
#: Words of work for one client in one turn that make it heavy, and for how many seconds.
HEAVY: Final = SLICE // 2
HEAVY_FOR: Final = 0.1
#: Words of work for sending a unit and taking its answer, and for passing on a chunk.
UNIT: Final = 3
CHUNK: Final = 1
#: Words of work for having a server learn or forget a statement, and for taking its answer.
LESSON: Final = 3
#: Statements looked up among those a server knows for one word of work.
LOOKS: Final = 8
#: Pending units and chunks of one client beyond which no more of its input is looked at.
MOST_PENDING: Final = 256
#: Words of work beyond which the time of a turn is measured.
BUSY: Final = SLICE // 2
#: Seconds of a turn that is logged as long, and seconds between two such log lines.
LONG: Final = 0.25
QUIET: Final = 1.0

READABLE: Final = select.EPOLLIN

_log = structlog.get_logger("rwsplit.relay")


class Slices:
    """The clients and servers that wait for the rest of their work."""

    __slots__ = (
        "_fresh",
        "_heaviest",
        "_heaviest_words",
        "_left",
        "_logged",
        "_parses",
        "_relay",
        "heavy",
        "longest",
        "size",
    )

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.size = SLICE
        """Words of a slice."""
        self._fresh: deque[Client | Server] = deque()
        """Clients and servers whose ready sockets the last turn did not reach."""
        self._left: deque[Client | Server] = deque()
        """Clients with input that was read but not worked off, and servers with more to read."""
        self.heavy: dict[Client, float] = {}
        """Clients that made a turn long, and until when their ready sockets are served behind all others."""
        self._heaviest: Client | None = None
        """The client that has got the most work in this turn; `_heaviest_words` is how much."""
        self._heaviest_words = 0
        self._parses = 0
        self._logged = 0.0
        self.longest = 0.0
        """Seconds the longest turn took."""

    def __len__(self) -> int:
        return len(self._fresh) + len(self._left)

    def later(self, party: Client | Server) -> None:
        """Queue *party*, which has unfinished work, behind all others."""
        if not party.queued:
            party.queued = True
            self._left.append(party)
            self._relay.driver.press()

    def goes_on(self, client: Client, words: int) -> bool:
        """Count *words* of work for *client*; return whether its slice allows more. If not, queue it for the next one."""
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
        """Leave the ready socket of *party* to the next turn."""
        if not party.queued:
            party.queued = True
            self._fresh.append(party)
            self._relay.driver.press()

    def find_heavy(self, client: Client) -> None:
        """Take note that *client* made this turn long."""
        if not client.closed:
            self.heavy[client] = self._relay.now + HEAVY_FOR

    def is_heavy(self, client: Client) -> bool:
        """Return whether *client*, one of *heavy*, still is."""
        if self.heavy[client] > self._relay.now:
            return True
        del self.heavy[client]
        return False

    def may_go_on(self, client: Client) -> bool:
        """Return whether more input of *client* may be looked at: not while too much of it is pending."""
        return len(client.pending) < MOST_PENDING and not client.is_stuffed

    def serve_put_off(self, limit: int) -> None:
        """Serve the sockets that the last turn did not reach, until *limit* words of work are done."""
        fresh, effort = self._fresh, self._relay.effort
        for _ in range(len(fresh)):
            self._serve(fresh.popleft())
            if effort.words > limit:
                break

    def serve_left_over(self, limit: int) -> None:
        """Give queued clients and servers a slice each, at least one of them, until *limit* words of work are done."""
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
            if party.lease != CLOSED and not party.paused:
                self._relay.reading.serve_server(party, READABLE)
            return
        if party.closed:
            return
        effort = self._relay.effort
        before = effort.words
        party.allowance = self.size
        if party.is_behind or party.pending:
            self._relay.reading.go_on(party)
        if not (party.paused or party.queued or party.closed):
            self._relay.reading.serve_client(party, READABLE)
        if effort.words - before > HEAVY:
            self.find_heavy(party)

    # How long turns take...

    def weigh(self, client: Client) -> None:
        """Remember *client* if it has got more work than any other in this turn."""
        words = self.size - client.allowance
        if words > self._heaviest_words:
            self._heaviest, self._heaviest_words = client, words

    def note(self, seconds: float, words: int, sockets: int) -> None:
        """Record a busy turn of *seconds* and *words* of work; log it if it was long."""
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
