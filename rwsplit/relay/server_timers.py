"""Server timers: end what a server, or the session that holds it, has been doing for too long.

The timers of a server follow from its standing (`standing.TIMERS`). How long it has been in that standing is computed from
moments that are recorded anyway; where there is none, from earlier looks, and then it is exact only to the time between two looks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from rwsplit.exchange.chores import Chore
from rwsplit.exchange.lease import CLOSED, IDLE, LANE
from rwsplit.protocol import codes
from rwsplit.protocol.backend import error_response
from rwsplit.relay.standing import TIMERS, Standing, Timer, client_of, standing, unit_of
from rwsplit.relay.trials import Trial
from rwsplit.server.server import Server
from rwsplit.session.unit import CancelReason, Unit

if TYPE_CHECKING:
    from rwsplit.protocol.responses import Owed
    from rwsplit.relay.client import Client
    from rwsplit.relay.deadlines import Deadlines
    from rwsplit.relay.relay import Relay

#: Seconds between two cancel requests for one statement: the first may have come too early.
AGAIN: Final = 1.0
#: Seconds for a cancelled statement to end (its client may not read); after that its session is ended, and then its server.
PATIENCE: Final = 5.0
#: Standings whose timers are checked elsewhere: by the janitor, `pins`, `Deadlines` (all clients), and the canceller.
ELSEWHERE: Final = frozenset({Standing.POOLED, Standing.IDLE, Standing.CANCELLING})

_IDLE: Final = codes.IDLE
_UNMOVED: Final = (0, 0.0)
_log = structlog.get_logger("rwsplit.relay")


class Look(NamedTuple):
    """One look at one server."""

    server: Server
    about: Standing
    head: Owed | None
    """The first of the answers it owes."""
    unit: Unit | None
    """The unit it runs."""
    client: Client | None
    """The client whose unit that is, or that holds the server while it owes nothing."""
    now: float
    awake: float
    """Seconds in which rwsplit has run."""


class ServerTimers:
    """Looks at all servers, and ends work that has taken too long."""

    def __init__(self, relay: Relay, deadlines: Deadlines) -> None:
        self._relay = relay
        self._deadlines = deadlines
        self._last = 0.0
        """Moment of the last look."""
        self.shortest = 0.0
        """The shortest timeout of any statement."""
        self._late: dict[Unit, float] = {}
        """Statements over query_timeout that still run, and since when they have been cancelled."""
        self._rested: dict[Unit, float] = {}
        """Unfinished units, and when rwsplit last waited for their clients to send more."""
        self._moved: dict[Unit, tuple[int, float]] = {}
        """Units that are or were open: the number of answers at the last look, and when a look first found more."""
        self._seen: dict[Server, tuple[object, float]] = {}
        """What each server was doing at the current look, and since when."""
        self._before = self._seen
        """The same at the look before."""
        self.checks: Mapping[Timer, Callable[[Look], None]] = {
            Timer.QUERY: self._query,
            Timer.TRANSACTION: self._transaction,
            Timer.IDLE_TRANSACTION: self._idle_transaction,
            Timer.CLIENT_IDLE: self._client_idle,
            Timer.WAIT: self._own_work,
        }
        """The timers that are checked here."""

    def look(self, now: float, awake: float) -> None:
        """Check the timers of all servers at *now*, when rwsplit has run for *awake* seconds."""
        late, self._late = self._late, {}
        rested, self._rested = self._rested, {}
        moved, self._moved = self._moved, {}
        self._before, self._seen = self._seen, {}
        for server in list(self._relay.servers.values()):
            if server.lease == IDLE:
                continue
            owed = server.responses.owed
            head = owed[0] if owed else None
            if isinstance(head, Unit) and head not in rested and self._is_young(head, now):
                continue
            about = standing(server)
            if about in ELSEWHERE:
                continue
            unit = unit_of(server)
            if unit in late:
                self._late[unit] = late[unit]
            if unit is not None and unit.planned:
                known = moved.get(unit, (unit.done, 0.0))
                self._moved[unit] = known if known[0] == unit.done else (unit.done, now)
            if unit is not None and about is Standing.UNFINISHED:
                self._rested[unit] = now
            elif unit in rested:
                self._rested[unit] = rested[unit]
            self._check(Look(server, about, head, unit, client_of(server), now, awake))
        self._last = now

    def _check(self, look: Look) -> None:
        """Check the timers of one server, until one ends the session or the server."""
        for timer in TIMERS[look.about]:
            check = self.checks.get(timer)
            if check is not None:
                check(look)
                if look.server.lease == CLOSED or (look.client and look.client.closed):
                    return

    def _is_young(self, unit: Unit, now: float) -> bool:
        """Return whether *unit* runs for too short a time for any timer: true of most, which spares them a closer look."""
        client = unit.session
        return (
            now - unit.sent < self.shortest
            and client is not None
            and client.tx == _IDLE
            and not (unit.is_open or unit.row_limit)
        )

    def _for(self, look: Look, *mark: object) -> float:
        """Return for how many seconds every look has found the same *mark* for the server."""
        known = self._before.get(look.server)
        since = known[1] if known is not None and known[0] == mark else look.awake
        self._seen[look.server] = (mark, since)
        return look.awake - since

    # Statements and transactions...

    def _query(self, look: Look) -> None:
        server, now = look.server, look.now
        timeout = server.pool.config.query_timeout
        unit = look.unit
        if not timeout or unit is None:
            return
        client = look.client
        if look.about is Standing.UNFINISHED and not (client and client.is_mid_frame):
            return  # all is answered, and the client has sent nothing more
        since = self._late.pop(unit, None)
        if now - max(unit.sent, server.last_done, self._rest_of(look, unit)) < timeout:
            return
        relay = self._relay
        if since is None:
            since = now
            relay.canceller.time_out(server, unit)
        elif now - since < PATIENCE:
            if int((now - since) / AGAIN) > int((self._last - since) / AGAIN):
                relay.canceller.time_out(server, unit)
        elif client is not None:
            self._deadlines.end_uncancelled(client, timeout)
        elif now - since >= 2 * PATIENCE:
            relay.lose_server(server, None)
            return
        self._late[unit] = since

    def _rest_of(self, look: Look, unit: Unit) -> float:
        """Return until when *unit* spent no time on the statement that runs: rwsplit waited for its client, or another statement ran."""
        if look.about is not Standing.RUNNING:
            return 0.0
        return max(self._rested.get(unit, 0.0), self._moved.get(unit, _UNMOVED)[1])

    def _transaction(self, look: Look) -> None:
        server, client = look.server, look.client
        timeout = server.pool.config.transaction_timeout
        if not timeout or server.lease == LANE:
            return
        unit = look.unit
        if client is not None and client.tx != codes.IDLE:
            begun = client.begun
        elif unit is not None:
            begun = max(unit.sent, server.last_done)
        else:
            return
        if look.now - begun < timeout:
            return
        cancels = unit is not None and unit.cancelled is None
        if unit is not None:
            unit.cancelled = unit.cancelled or CancelReason.TRANSACTION_TIMEOUT
        if client is not None:
            self._deadlines.end_long_transaction(client, timeout)
        elif cancels:
            self._relay.canceller.cancel_server(server)

    # Clients that send nothing...

    def _idle_transaction(self, look: Look) -> None:
        timeout = look.server.pool.config.idle_transaction_timeout
        client = look.client
        if timeout and client is not None and self._idles_for(look) >= timeout:
            self._deadlines.end_idle_transaction(client, timeout)

    def _client_idle(self, look: Look) -> None:
        """End a session that idles outside a transaction in the middle of a unit or a message."""
        timeout = look.server.pool.config.client_idle_timeout
        client = look.client
        if not timeout or client is None or client.tx != codes.IDLE:
            return
        if self._idles_for(look) >= timeout:
            self._deadlines.end_idle(client, timeout)

    def _idles_for(self, look: Look) -> float:
        """Return for how many seconds the client has sent nothing; 0 while the client itself waits for rwsplit."""
        client, head = look.client, look.head
        if client is None or client.closed or client.pending:
            return 0.0
        if head is None:
            return look.now - look.server.last_done
        return self._for(look, head, head.done, client.missing)

    # rwsplit's own work...

    def _own_work(self, look: Look) -> None:
        """Close a server that does not finish a query of rwsplit's own, or a cancelled statement."""
        timeout = self._relay.config.pool.query_wait_timeout
        head = look.head
        if isinstance(head, Chore) and (look.unit is None or isinstance(head, Trial)):
            what = head.purpose.value
        elif look.unit is not None and look.unit.cancelled is not None:
            what = "end a statement that was cancelled"
        else:
            return  # it may have an effect, so it is not given up
        if timeout and self._for(look, head) >= timeout:
            self._give_up(look.server, what, timeout)

    def _give_up(self, server: Server, what: str, timeout: float) -> None:
        node = server.pool.node
        reason = f"it did not {what}"
        _log.warning("server_given_up", node=node, server=server.pid, reason=reason)
        self._relay.counters.timeouts += 1
        message = f"{node} did not {what} within query_wait_timeout ({timeout:g} s)"
        self._relay.lose_server(server, error_response("FATAL", "08006", message))
