"""Deadlines: what is done about clients that wait, statements that run, and clients that idle for too long.

One look every tick of `upkeep` instead of a timer per statement: everything here is worked out from moments that
are recorded anyway. A look at all clients is taken no sooner than one of them can be due.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from rwsplit.config.model import OverrideConfig, PoolConfig
from rwsplit.protocol import codes
from rwsplit.protocol.backend import error_response, notice_response
from rwsplit.relay.trials import Trial
from rwsplit.server.server import Server
from rwsplit.session.unit import Unit

if TYPE_CHECKING:
    from rwsplit.relay.client import Client
    from rwsplit.relay.relay import Relay

#: Seconds a statement waits, at most, before its client is told what for.
NOTIFY: Final = 5.0
#: Seconds between two cancel requests for one statement: the first may have come too early.
AGAIN: Final = 1.0
#: Seconds a cancelled statement is given to end (its client may not read); then its session ends, and then its server.
PATIENCE: Final = 5.0


class Deadlines:
    """Knows who is late."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._last = 0.0
        """Moment of the last look."""
        self._late: dict[Unit, float] = {}
        """Statements over query_timeout that still run, and since when they have been cancelled."""
        self._own: dict[Client, None] = {}
        """Sessions with timeouts of their own."""
        self.reconfigure(relay.config.pool)

    def reconfigure(self, config: PoolConfig) -> None:
        """Heed the settings of *config* from now on."""
        self._notify = min(NOTIFY, config.query_wait_timeout / 2 or NOTIFY)
        self._watches_servers = _any(config, "query_timeout", "idle_transaction_timeout")
        self._shortest_idle = min(
            _shortest(config, "client_idle_timeout"),
            _shortest(config, "idle_transaction_timeout"),
        )
        self._next_clients = 0.0

    def look(self, now: float) -> None:
        """Do what is due."""
        self._notify_waiting(now)
        if self._watches_servers:
            self._look_at_servers(now)
        if self._shortest_idle < math.inf and now >= self._next_clients:
            self._look_at_clients(now)
        for client in list(self._own):
            self._look_at_own(client, now)
        self._last = now

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
                if not self._tell(client, now):  # type: ignore[arg-type]  # the relay's are all Clients
                    break
        for client in relay.homeless:
            self._tell(client, now)

    def _tell(self, client: Client, now: float) -> bool:
        """Tell *client*, once, what it waits for; return whether it has waited long enough."""
        unit, pool = client.pending[0], client.waits_for
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

    # What runs, and who idles in a transaction...

    def _look_at_servers(self, now: float) -> None:
        before, self._late = self._late, {}
        for server in list(self._relay.servers.values()):
            config = server.pool.config
            owed = server.responses.owed
            if not owed:
                if config.idle_transaction_timeout:
                    self._in_transaction(server, now - config.idle_transaction_timeout)
            elif config.query_timeout and isinstance(owed[0], Unit | Trial):
                unit = owed[0].unit if isinstance(owed[0], Trial) else owed[0]
                self._running(server, unit, now, before.get(unit))

    def _in_transaction(self, server: Server, since: float) -> None:
        client: Client | None = server.holder  # type: ignore[assignment]  # the relay's are all Clients
        if (
            client is None
            or client.tx == codes.IDLE
            or client.in_flight
            or client.pending
            or server.last_done > since
        ):
            return
        self._end_transaction(client, server.pool.config.idle_transaction_timeout)

    def _running(self, server: Server, unit: Unit, now: float, since: float | None) -> None:
        timeout = server.pool.config.query_timeout
        if unit.is_open and not unit.steps and server.copying <= 0:
            unit.sent = now  # all is answered, its client has not said what comes next
        if now - max(unit.sent, server.last_done) < timeout:
            return
        relay = self._relay
        client: Client | None = unit.session  # type: ignore[assignment]
        if since is None:
            since = now
            relay.canceller.time_out(server, unit)
        elif now - since < PATIENCE:
            if int((now - since) / AGAIN) > int((self._last - since) / AGAIN):
                relay.canceller.time_out(server, unit)
        elif client is not None:
            message = "terminating connection because its statement could not be cancelled"
            self._end(client, "57014", message, f"query_timeout is {timeout:g} s")
        elif now - since >= 2 * PATIENCE:
            relay.lose_server(server, None)
            return
        self._late[unit] = since

    # Who idles...

    def _look_at_clients(self, now: float) -> None:
        earliest = now + self._shortest_idle
        for client in list(self._relay.clients.values()):
            if client.in_flight or client.pending:
                continue
            nowhere = client.tx != codes.IDLE and client.server is None
            if client.tx != codes.IDLE and not nowhere:
                continue  # its server tells
            settings = client.settings
            timeout = (
                settings.idle_transaction_timeout if nowhere else settings.client_idle_timeout
            )
            if not timeout:
                continue
            due = max(client.connected_at, client.last_answer, client.begun) + timeout
            if due > now:
                earliest = min(earliest, due)
            elif nowhere:
                self._end_transaction(client, timeout)
            else:
                message = "terminating connection due to idle-session timeout"
                self._end(client, "57P05", message, f"client_idle_timeout is {timeout:g} s")
        self._next_clients = earliest

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

    def _end_transaction(self, client: Client, timeout: float) -> None:
        message = "terminating connection due to idle-in-transaction timeout"
        self._end(client, "25P03", message, f"idle_transaction_timeout is {timeout:g} s")

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
