"""Healing: where a statement runs next that a node has refused before anything of it was answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rwsplit.protocol.responses import LOSING
from rwsplit.routing.healing import CURES, LOST, NOT_REPLAYED, Allowance, may_be_unreplayed
from rwsplit.routing.route import Route
from rwsplit.server.server import Server
from rwsplit.session.unit import Unit

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay


class Healing:
    """Judges errors of nodes."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._allowance = Allowance()

    def verdict(self, server: Server, unit: Unit, state: bytes) -> Route | None:
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
