"""Healing: a unit that failed before anything of it was answered runs again, if another server may do better.

What heals, where and when, is the table of `exchange.healing`; here its conditions are looked up, and it is carried out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rwsplit.exchange.healing import TABLE, Condition, ailment_of, may_run_again
from rwsplit.protocol import codes
from rwsplit.relay.client import Client
from rwsplit.routing.route import Route, Target
from rwsplit.routing.unreplayed import Allowance, may_be_unreplayed
from rwsplit.server.server import Server
from rwsplit.session.unit import Unit

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay


class Healing:
    """Judges errors of servers, and runs again what they refused."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._allowance = Allowance()

    def heals(self, client: Client, server: Server, unit: Unit) -> bool:
        """Run *unit*, of which nothing but an error was answered, once more; return False if the client gets the error."""
        assert unit.error is not None
        if client.in_flight or not may_run_again(unit.restarts):
            return False
        if client.tx != codes.IDLE and not self._relay.late.lost(client, [unit]):
            return False
        cure = TABLE[server.is_replica].get(ailment_of(unit.error))
        if cure is None or not self._holds(cure.condition, server, unit):
            return False
        if cure.blames:
            unit.refused_by |= 1 << unit.node
        if cure.remembers and unit.script is not None:
            unit.script.cost.writes = True
        self._relay.counters.retries += 1
        self._relay.replies.release(client, server)
        self.run_again(client, [unit], unit.route if cure.route is None else cure.route)
        return True

    def _holds(self, condition: Condition, server: Server, unit: Unit) -> bool:
        """Return whether *condition* holds for *unit*, which *server* has refused."""
        match condition:
            case Condition.ALWAYS:
                return True
            case Condition.PRIMARY_IS_THERE:
                return self._relay.view.primary is not None
            case Condition.MAY_BE_LATE:
                return self._may_be_late(server, unit)
            case Condition.STRAY_CANCEL:
                return not unit.cancelled and server.absorb_stray_cancel()
            case Condition.SHARED_PARSE:  # that failed; it is parsed again for itself
                return bool(unit.piece.needs) and not (unit.restarts or unit.cancelled)
            case (
                Condition.TAUGHT_BEFORE
            ):  # else the client reads rows as it was told before the DDL
                return (unit.describes or bool(unit.piece.taught)) and not unit.restarts

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

    def failed_again(self, server: Server, unit: Unit, error: bytes) -> None:
        """Forget that *unit* needs the primary if that fails it by such an *error*, too, as a replica has done."""
        cure, script = TABLE[True].get(ailment_of(error)), unit.script
        if cure is None or not cure.remembers or script is None or server.is_replica:
            return
        if unit.restarts and unit.route == cure.route:
            script.cost.writes = False

    def _may_be_late(self, server: Server, unit: Unit) -> bool:
        """Return whether *server*, a replica, may lack what *unit* needs, and there is a primary to ask."""
        relay = self._relay
        node, session = relay.view.node(server.pool.node), unit.session
        if relay.view.primary is None or node is None or session is None:
            return False
        return may_be_unreplayed(
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
