"""Healing: a unit that failed before anything of it was answered runs again, if another server may do better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rwsplit.protocol import codes
from rwsplit.protocol.responses import LOSING, is_stale_plan, sqlstate
from rwsplit.relay.client import Client
from rwsplit.routing.healing import CURES, LOST, NOT_REPLAYED, Allowance, may_be_unreplayed
from rwsplit.routing.route import Route, Target
from rwsplit.server.server import Server
from rwsplit.session.unit import Unit

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

#: Times a unit is run again before its error is what the client gets.
MOST_RESTARTS: Final = 8


class Healing:
    """Judges errors of servers, and runs again what they refused."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._allowance = Allowance()

    def heals(self, client: Client, server: Server, unit: Unit) -> bool:
        """Run *unit*, of which nothing but an error was answered, once more; return False if the client gets the error."""
        assert unit.error is not None
        if client.in_flight or unit.restarts > MOST_RESTARTS:
            return False
        if client.tx != codes.IDLE and not self._relay.late.lost(client, [unit]):
            return False
        state = sqlstate(unit.error)
        if state in (b"26000", b"57014") or is_stale_plan(unit.error):
            if not self._is_our_doing(server, unit, state):
                return False
            route = unit.route
        else:
            route = self._verdict(server, unit, state)
            if route is None:
                return False
            unit.refused_by |= 1 << unit.node
        self._relay.counters.retries += 1
        self._relay.replies.release(client, server)
        self.run_again(client, [unit], route)
        return True

    def _is_our_doing(self, server: Server, unit: Unit, state: bytes) -> bool:
        """Return whether the error came of rwsplit sharing the server, so that the client must not see it."""
        if state == b"26000":
            # It relied on another session's Parse, which failed; it is parsed again for itself.
            return bool(unit.piece.needs) and not (unit.restarts or unit.cancelled)
        if state == b"57014" and unit.cancelled:
            return False
        if state != b"57014":
            # Else the client reads rows as it was told before the DDL.
            return (unit.describes or bool(unit.piece.taught)) and not unit.restarts
        if not server.stray_cancels:
            return False
        server.stray_cancels -= 1
        return True

    def run_again(self, client: Client, units: list[Unit], route: Route | None) -> None:
        """Put *units*, of which nothing was answered, back at the head of the session's queue."""
        if client.tx == codes.IDLE:
            client.transaction = None  # what has begun with it begins anew
        for unit in reversed(units):
            unit.restart()
            if route is None or route.target is not Target.REPLICA or not _begins(client, unit):
                unit.route = route
            else:
                self._relay.counters.reasons[route.reason.number] += 1
            client.pending.appendleft(unit)
            client.pending_bytes += unit.size_in
        self._relay.dispatcher.pump(client)

    def _verdict(self, server: Server, unit: Unit, state: bytes) -> Route | None:
        """Return where *unit*, which *server* refused with *state*, runs next; None if that was the answer."""
        if state in LOSING:
            return LOST.route
        if not server.is_replica:
            return None
        cure = CURES.get(state, NOT_REPLAYED)
        if cure is NOT_REPLAYED and not self._may_be_unreplayed(server, unit, state):
            return None
        if cure.remembers and unit.script is not None:
            unit.script.cost.writes = True
        return cure.route

    def failed_again(self, server: Server, unit: Unit, state: bytes) -> None:
        """Forget that *unit* needs the primary if that fails it with *state*, too, as a replica has done."""
        cure, script = CURES.get(state), unit.script
        if cure is None or not cure.remembers or script is None or server.is_replica:
            return
        if unit.restarts and unit.route == cure.route:
            script.cost.writes = False

    def _may_be_unreplayed(self, server: Server, unit: Unit, state: bytes) -> bool:
        """Return whether the primary, if there is one, is worth asking."""
        relay = self._relay
        node, session = relay.view.node(server.pool.node), unit.session
        if relay.view.primary is None or node is None or session is None:
            return False
        return state in CURES or may_be_unreplayed(
            fresh_until=node.fresh_until,
            sent=unit.sent,
            defined=session.knowledge.defined(session.database),
            now=relay.now,
            allowance=self._allowance,
        )


def _begins(client: Client, unit: Unit) -> bool:
    """Return whether *unit* begins a transaction, whose kind its route must go on saying."""
    script = unit.script
    return script is not None and script.controls_transaction and client.tx == codes.IDLE
