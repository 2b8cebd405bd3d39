"""Deadlines: what is done about clients that wait, statements that run, and clients that idle for too long.

One look every tick of `upkeep` instead of a timer per statement: everything is worked out from moments that are recorded
anyway. All servers are looked at every tick only where a timeout is set for what they run, else every second
(`server_timers`); all clients no sooner than one of them can be due.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from rwsplit.config.model import OverrideConfig, PoolConfig
from rwsplit.protocol import codes
from rwsplit.protocol.backend import error_response, notice_response
from rwsplit.relay.server_timers import ServerTimers
from rwsplit.relay.silence import Silence
from rwsplit.relay.unread import Unread
from rwsplit.session.unit import Unit

if TYPE_CHECKING:
    from rwsplit.relay.client import Client
    from rwsplit.relay.relay import Relay
    from rwsplit.server.pool import Pool
    from rwsplit.server.server import Server

#: Seconds a statement waits, at most, before its client is told what for.
NOTIFY: Final = 5.0
#: Seconds between two looks at timers that may be a second late.
ROUND: Final = 1.0
#: Seconds one look counts at most: if more have passed, rwsplit itself was held up and has not read what others sent.
HELD_UP: Final = 1.0


class Deadlines:
    """Checks all timers of clients and servers, a look every tick."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._own: dict[Client, None] = {}
        """Sessions with timeouts of their own."""
        self._next_round = 0.0
        self._last = relay.now
        """Moment of the last look."""
        self._awake = 0.0
        """Seconds for which rwsplit has run: while it does not, it cannot tell that others are silent."""
        self.server_timers = ServerTimers(relay, self)
        self.silence = Silence(relay)
        self.unread = Unread(relay)
        self.reconfigure(relay.config.pool)

    def reconfigure(self, config: PoolConfig) -> None:
        """Heed the settings of *config* from now on."""
        self._notify = min(NOTIFY, config.query_wait_timeout / 2 or NOTIFY)
        self._watches_servers = _any(
            config, "query_timeout", "transaction_timeout", "idle_transaction_timeout"
        )
        self.server_timers.shortest = min(
            _shortest(config, "query_timeout"), _shortest(config, "transaction_timeout")
        )
        self._shortest_idle = min(
            _shortest(config, "client_idle_timeout"),
            _shortest(config, "idle_transaction_timeout"),
            _shortest(config, "transaction_timeout"),
        )
        self._next_clients = 0.0

    def look(self, now: float) -> None:
        """Do what is due."""
        self._awake += min(now - self._last, HELD_UP)
        self._last = now
        self._notify_waiting(now)
        is_round = now >= self._next_round
        if self._watches_servers or is_round:
            self.server_timers.look(now, self._awake)
        if is_round:
            self._next_round = now + ROUND
            self.silence.look(self._awake)
            self.unread.look(self._awake)
        if self._shortest_idle < math.inf and now >= self._next_clients:
            self._look_at_clients(now)
        for client in list(self._own):
            self._look_at_own(client, now)

    def heed(self, client: Client) -> None:
        """Heed the timeouts that *client* has set for itself, where no server does."""
        parameters = client.parameters
        if parameters.idle_session or parameters.idle_transaction:
            self._own[client] = None
        else:
            self._own.pop(client, None)

    # Who waits...

    def _notify_waiting(self, now: float) -> None:
        relay = self._relay
        for pool in relay.pools:
            for client in pool.waiters:
                if not self._tell(client, now, pool):  # type: ignore[arg-type]  # the relay's are all Clients
                    break
        for client in relay.waits.homeless:
            self._tell(client, now, None)

    def _tell(self, client: Client, now: float, pool: Pool[Server] | None) -> bool:
        """Tell *client*, once, that it waits for a server of *pool*, or for a node; return whether it has waited long enough."""
        unit = client.pending[0]
        if not isinstance(unit, Unit) or now - unit.arrived < self._notify:
            return False
        if client.notified != unit.arrived:
            client.notified = unit.arrived
            if pool is None:
                what = f"a node that may answer: {self._relay.upkeep.refusals(client, unit)}"
            else:
                what = f"a server of {pool.node}: {self._relay.pins.limit(pool)}"
                self._relay.pins.report(pool, now)
            message = f"the statement has waited {now - unit.arrived:.1f} s for {what}"
            client.sink.append(notice_response("NOTICE", "00000", message))
            self._relay.outboxes.touch_client(client)
        return True

    # Who idles...

    def _look_at_clients(self, now: float) -> None:
        earliest = now + self._shortest_idle
        for client in list(self._relay.clients.values()):
            due, end = self._due(client)
            if due > now:
                earliest = min(earliest, due)
            else:
                end(client)
        self._next_clients = earliest

    def _due(self, client: Client) -> tuple[float, Callable[[Client], None]]:
        """Return when the first timer of *client* is due, and what to do then; `server_timers` checks the others."""
        settings = client.settings
        idles = not (client.in_flight or client.pending)
        since = max(client.connected_at, client.last_answer, client.begun)
        if client.tx == codes.IDLE:
            timeout = settings.client_idle_timeout
            due = since + timeout if timeout and idles else math.inf
            return due, lambda client: self.end_idle(client, timeout)
        if client.server is not None:
            return math.inf, _nothing
        idle, whole = settings.idle_transaction_timeout, settings.transaction_timeout
        idle_due = since + idle if idle and idles else math.inf
        whole_due = client.begun + whole if whole else math.inf
        if idle_due <= whole_due:
            return idle_due, lambda client: self.end_idle_transaction(client, idle)
        return whole_due, lambda client: self.end_long_transaction(client, whole)

    def _look_at_own(self, client: Client, now: float) -> None:
        """End a session that idles without a server for longer than it wants to itself."""
        if client.closed:
            del self._own[client]
            return
        if client.in_flight or client.pending or client.server is not None:
            return
        idles = client.tx == codes.IDLE
        parameters = client.parameters
        timeout = parameters.idle_session if idles else parameters.idle_transaction
        since = max(client.connected_at, client.last_answer, client.begun)
        if not timeout or since + timeout > now:
            return
        what = "idle-session" if idles else "idle-in-transaction"
        message = f"terminating connection due to {what} timeout"
        self._relay.counters.timeouts += 1
        self._relay.fail_client(
            client, error_response("FATAL", "57P05" if idles else "25P03", message)
        )

    # How sessions end...

    def end_idle(self, client: Client, timeout: float) -> None:
        """End the session of *client*, which has idled for *timeout* seconds."""
        message = "terminating connection due to idle-session timeout"
        self._end(client, "57P05", message, f"client_idle_timeout is {timeout:g} s")

    def end_idle_transaction(self, client: Client, timeout: float) -> None:
        """End the session of *client*, which has idled in a transaction for *timeout* seconds."""
        message = "terminating connection due to idle-in-transaction timeout"
        self._end(client, "25P03", message, f"idle_transaction_timeout is {timeout:g} s")

    def end_long_transaction(self, client: Client, timeout: float) -> None:
        """End the session of *client*, whose transaction has taken *timeout* seconds."""
        message = "terminating connection due to transaction timeout"
        self._end(client, "25P04", message, f"transaction_timeout is {timeout:g} s")

    def end_uncancelled(self, client: Client, timeout: float) -> None:
        """End the session of *client*, whose statement goes on although query_timeout (*timeout* seconds) has cancelled it."""
        message = "terminating connection because its statement could not be cancelled"
        self._end(client, "57014", message, f"query_timeout is {timeout:g} s")

    def _end(self, client: Client, code: str, message: str, detail: str) -> None:
        self._relay.counters.timeouts += 1
        self._relay.fail_client(client, error_response("FATAL", code, message, detail=detail))


def _any(config: PoolConfig, *settings: str) -> bool:
    return any(_shortest(config, setting) < math.inf for setting in settings)


def _shortest(config: PoolConfig, setting: str) -> float:
    """Return the shortest timeout called *setting* that anybody has, infinity if nobody has one."""
    overrides: Iterable[OverrideConfig] = [*config.databases, *config.users]
    found = [getattr(config, setting), *(getattr(each, setting) for each in overrides)]
    return min((timeout for timeout in found if timeout), default=math.inf)


def _nothing(_client: Client) -> None:
    """Do nothing: no timer of this client is checked here."""
