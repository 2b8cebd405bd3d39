"""Pins: who keeps servers while idle, and when that ends although no query could tell.

Two ways end a pin for state that no query shows. It turns out that there is none: the functions that were unknown when
they ran are known by now (`session.unknowns`). Or the operator says that state may go (`pool.pin_idle_timeout`). In
both cases the server is asked first for what a query *can* see, which goes on pinning; then it is wiped.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import structlog

from rwsplit.protocol import codes
from rwsplit.protocol.backend import notice_response
from rwsplit.relay.client import Client
from rwsplit.server.pool import Pool
from rwsplit.server.server import Server
from rwsplit.session.pinning import UNSEEN, PinReason
from rwsplit.session.unit import Unit
from rwsplit.session.unknowns import Unknowns, texts_of
from rwsplit.sql.script import Script

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

#: Seconds between two looks at who is pinned.
INTERVAL: Final = 0.25
#: Seconds between two readings of a catalog because of a name it does not have: doubled while that tells nothing new.
GAPS: Final = (1.0, 60.0)
#: Seconds between two reports of one pool whose servers are kept.
REPORT_INTERVAL: Final = 60.0
#: Sessions a report names, those idle longest.
MOST_NAMED: Final = 5

_log = structlog.get_logger("rwsplit.relay")


class Pins:
    """Looks after pinned sessions that are idle."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._next = 0.0
        self._gaps: dict[str, tuple[float, float, object]] = {}
        """By database: when its catalog may be asked for again, the gap until then, what was known."""
        self._reported: dict[tuple[str, str, str], float] = {}

    def note(self, client: Client, unit: Unit, script: Script, reason: PinReason) -> None:
        """Take note that *unit* pins *client* for *reason*, before that is its pin."""
        if reason not in UNSEEN:
            return
        if client.unknowns is None or client.pin not in UNSEEN:
            client.unknowns = Unknowns()
        # A text that is not recognised may be parsed later; one that must not be parsed stays unknown.
        is_told = reason is PinReason.UNKNOWN_FUNCTION or unit.waiting_for
        texts = texts_of(unit, script) if is_told else ()
        client.unknowns.note(reason, client.scope, texts)
        if reason is PinReason.UNKNOWN_FUNCTION:
            self._ask_for_catalog(client)

    def _ask_for_catalog(self, client: Client) -> None:
        """Have the catalog read again, which may not know yet what was made by another way."""
        database, knowledge, now = client.database, client.knowledge, self._relay.now
        known = knowledge.catalog(database)
        first, most = GAPS
        due, gap, before = self._gaps.get(database, (0.0, first, None))
        if now < due:
            return
        gap = min(2 * gap, most) if known is before else first
        self._gaps[database] = now + gap, gap, known
        knowledge.on_ddl(database)

    def look(self, now: float) -> None:
        """End what pins are to end."""
        if now < self._next:
            return
        self._next = now + INTERVAL
        timeout = self._relay.config.pool.pin_idle_timeout
        for server in list(self._relay.servers.values()):
            client: Client | None = server.holder  # type: ignore[assignment]  # all are Clients
            if client is None or client.pin not in UNSEEN or not _is_idle(client, server):
                continue
            if client.pin is PinReason.SESSION_MODE:
                continue
            if client.unknowns is not None:
                for scope, text in client.unknowns.unread():
                    self._relay.parsing.learn(client, scope, text)
            if client.unknowns is not None and client.unknowns.are_dispelled():
                self._relay.readback.ask(client, server, reviews=True)
            elif timeout and now - server.last_done >= timeout:
                self._time_out(client, server, timeout)
        self._relay.outboxes.flush()

    def _time_out(self, client: Client, server: Server, timeout: float) -> None:
        assert client.pin is not None
        message = f"rwsplit ends what kept this session on its server: {client.pin.value}"
        detail = f"It has been idle for pool.pin_idle_timeout ({timeout:g} s)."
        client.sink.append(notice_response("WARNING", "01000", f"{message}. {detail}"))
        self._relay.outboxes.touch_client(client)
        _log.info("pin_timed_out", client=client.pid, user=client.user, reason=client.pin.value)
        self._relay.readback.ask(client, server, reviews=True)

    # Who keeps the servers others wait for...

    def limit(self, pool: Pool[Server]) -> str:
        """Return what those who wait for a server of *pool* have run into, and who keeps its servers."""
        reasons = Counter(_reason(client) for client, _ in self._keepers(pool))
        if not reasons:
            return pool.limit
        kept = ", ".join(f"{count} as {reason}" for reason, count in reasons.most_common())
        return f"{pool.limit}, and idle sessions keep {reasons.total()} of its servers: {kept}"

    def report(self, pool: Pool[Server], now: float) -> None:
        """Log, now and then, who keeps the servers of *pool* that others wait for."""
        key = pool.node, pool.database, pool.user
        keepers = self._keepers(pool)
        if not keepers or now < self._reported.get(key, 0.0):
            return
        self._reported[key] = now + REPORT_INTERVAL
        keepers.sort(key=lambda keeper: keeper[1].last_done)
        named = [
            f"{client.pid} ({client.application_name or client.host}) idle {now - server.last_done:.0f} s: "
            + _reason(client)
            for client, server in keepers[:MOST_NAMED]
        ]
        _log.warning(
            "pool_kept_by_idle_sessions",
            node=pool.node,
            database=pool.database,
            user=pool.user,
            waiting=len(pool.waiters),
            limit=pool.limit,
            kept=len(keepers),
            idle_longest=named,
        )

    def _keepers(self, pool: Pool[Server]) -> list[tuple[Client, Server]]:
        """Return the idle sessions that keep servers of *pool*."""
        found = []
        for server in pool.servers:
            client: Client | None = server.holder  # type: ignore[assignment]  # all are Clients
            if client is not None and not (client.in_flight or client.pending):
                found.append((client, server))
        return found


def _is_idle(client: Client, server: Server) -> bool:
    return not (
        client.tx != codes.IDLE
        or client.in_flight
        or client.pending
        or client.settling is not None
        or client.is_mid_frame
        or server.responses.owed
        or server.copying
    )


def _reason(client: Client) -> str:
    if client.tx != codes.IDLE:
        return "it is idle in a transaction"
    return "it is about to be given back" if client.pin is None else client.pin.value
