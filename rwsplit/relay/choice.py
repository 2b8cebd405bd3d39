"""Choice: which node a unit goes to.

The policy gives the verdict (`routing.policy`); for a read, consistency says which replicas may answer it
(`routing.consistency`), and balancing picks one. Where none may, the read waits for freshness as long as it is
allowed to, and then the primary answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeGuard

from rwsplit.cluster.node import NEVER, AdminState, NodeView, Refusal, Up
from rwsplit.config.choices import ConsistencyLevel, PoolMode, ReadsOnPrimary
from rwsplit.protocol import codes
from rwsplit.relay.client import Client
from rwsplit.routing import policy
from rwsplit.routing.consistency import NOWHERE, PRIMARY_HOME, all_but, keeps, readers
from rwsplit.routing.route import Route, RouteReason, Target
from rwsplit.routing.spill import Spill
from rwsplit.server.server import Server
from rwsplit.session.acceptance import sets_anew
from rwsplit.session.journal import SERIALIZABLE
from rwsplit.session.pinning import pin_reason
from rwsplit.session.unit import Unit
from rwsplit.sql.script import Script
from rwsplit.sql.statement import Hints

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

#: How long the next read of a session bound for another replica may wait for it (seconds).
MOVE_WAIT: Final = 0.05

_SESSION: Final = ConsistencyLevel.SESSION
_LEVELS: Final = {level.value: level for level in ConsistencyLevel}
_SESSION_MODE: Final = Route(Target.PRIMARY, RouteReason.SESSION_MODE)
_SERIALIZABLE: Final = Route(Target.PRIMARY, RouteReason.SERIALIZABLE)
_REFUSED: Final = Route(Target.PRIMARY, RouteReason.REFUSED_PARAMETER)
_OPEN: Final = Route(Target.PRIMARY, RouteReason.OPEN_UNIT)
_SHARED: Final = Route(Target.PRIMARY, RouteReason.SHARED_READ)
_FALLBACK: Final = Route(Target.PRIMARY, RouteReason.NO_FRESH_REPLICA)
#: Why a read may be on the primary although a replica might do.
_MOVABLE: Final = frozenset({RouteReason.SHARED_READ, RouteReason.NO_FRESH_REPLICA})


class Choice:
    """Chooses nodes."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def route(self, client: Client, unit: Unit, script: Script) -> Route:
        if unit.route is not None and unit.restarts:
            return unit.route  # where it is to be run again was decided by what failed
        if unit.is_open or client.mode is PoolMode.SESSION or client.isolation == SERIALIZABLE:
            return _bound(client, unit)
        if script.hints is not None and script.hints.asks:
            hinted = self._hinted(script, script.hints)
            if hinted is not None:
                return hinted
        if client.in_band.route != "auto":
            return policy.route_setting(script, client.in_band.route)
        if client.rules:
            ruled = client.rules.route(script)
            if _is_possible(ruled, script):
                return ruled
        gives_up = script.anywhere and self._gives_up(client, script)
        return _REFUSED if gives_up else policy.route_facts(script)

    def _gives_up(self, client: Client, script: Script) -> bool:
        """Return whether *script* is to rid *client* of a parameter that the primary refuses.

        The primary judges that. A server that still has the parameter from before would only refuse the script.
        """
        primary = self._relay.view.primary
        return (
            primary is not None
            and self._relay.pool_of(client, primary).acceptance.has_refused(client.parameters)
            and sets_anew(script, (name for name, _ in client.parameters.values))
        )

    def _hinted(self, script: Script, hints: Hints) -> Route | None:
        """Return what *hints* make of the verdict, None if they cannot be followed."""
        if self._relay.hinting.is_for_nobody(hints):
            return Route(Target.NODE, RouteReason.HINT, hints.node)  # an error, even of a write
        hinted = policy.route_hints(script, hints)
        return hinted if _is_possible(hinted, script) else None

    def home(self, client: Client) -> NodeView | None:
        """Return the session's home if a plain read can only go there, and may: the usual case in a hurry.

        None says nothing; `reader` knows.
        """
        relay = self._relay
        view = relay.view
        index, last_read = client.home, client.last_read
        if index < 0 or last_read < view.freshest or client.bound_for != NOWHERE:
            return None
        node = view.nodes[index]
        if (
            node.refusal is None
            and node.fresh_until > client.last_write
            and node.fresh_until > relay.floor
            and node.lost_at < last_read
            and client.level is _SESSION
        ):
            return node
        return None

    def reader(self, client: Client, unit: Unit, route: Route) -> NodeView | None:
        """Return the node to read from; None after making the session wait, or if there is none."""
        relay = self._relay
        view = relay.view
        settings = relay.config.consistency
        level = (
            client.level if route.consistency is None else ConsistencyLevel(route.consistency)
        )
        floor = oldest = self._oldest(client, route)
        last_write = last_read = NEVER
        home, refused_by = client.home, unit.refused_by
        if level is not ConsistencyLevel.EVENTUAL:
            last_write = self.last_write(client, level)
            floor = max(floor, last_write)
            last_read = client.last_read
            refused_by |= all_but(relay.rooms.bound_for(client))
        candidates = readers(
            view, floor=floor, last_read=last_read, home=home, refused_by=refused_by
        )
        if relay.rooms.scarce:
            candidates = relay.rooms.offered(client, candidates)
        if relay.config.routing.reads_on_primary is ReadsOnPrimary.SHARE:
            candidates = self._with_primary(client, level, candidates)
        if candidates:
            client.bound_for = NOWHERE
            node = relay.chooser.choose(candidates, relay.counters.load, relay.now)
            if node is view.primary:
                unit.route = _SHARED
            elif unit.was_parked and not _begins(unit):
                unit.route = route._replace(reason=RouteReason.WAITED_FOR_REPLICA)
            return node
        wait = settings.wait if client.bound_for == NOWHERE else MOVE_WAIT
        may_wait = wait and not unit.restarts and relay.now < unit.arrived + wait
        if may_wait and view.replicas:
            unit.was_parked = True
            relay.park(client, unit.arrived + wait)
            return None
        if client.bound_for != NOWHERE:
            client.bound_for = NOWHERE
            return self.reader(client, unit, route)
        never = relay.config.routing.reads_on_primary is ReadsOnPrimary.NEVER
        if never and route.reason is not RouteReason.PARAMETER:
            return None
        unit.route = _FALLBACK
        is_own = last_write == client.last_write
        client.spilled = Spill(view, relay.now, oldest, last_write, is_own, last_read, home)
        return view.primary

    def _oldest(self, client: Client, route: Route) -> float:
        """Return the moment a replica's freshness must exceed for the lag that *route*, or the session, allows."""
        lags = [lag for lag in (client.in_band.max_lag, route.max_lag) if lag is not None]
        return self._relay.oldest(min(lags) if lags else self._relay.config.consistency.max_lag)

    def keeps_level(self, client: Client, server: Server, script: Script) -> bool:
        """Return whether what *script* reads on *server* now is never older than the session may see at its level.

        So it is not if something asked for level `eventual`, or for a node that is not fresh enough.
        """
        if self.level(client, script) is ConsistencyLevel.EVENTUAL:
            return False
        if not server.is_replica:
            return True
        nodes, index = self._relay.view.nodes, server.pool.node_index
        return index < len(nodes) and keeps(
            nodes[index],
            floor=client.last_write,
            last_read=client.last_read,
            home=client.home,
        )

    def level(self, client: Client, script: Script) -> ConsistencyLevel:
        """Return the level at which the session, or a hint, wants *script* to read."""
        hints, transaction = script.hints, client.transaction
        asked = None if hints is None else hints.consistency
        if asked is None and transaction is not None and transaction.hinted is not None:
            asked = transaction.hinted.consistency
        if asked is None:
            return client.level
        # A level this version does not know can only be stricter (`routing.policy`).
        return _LEVELS.get(asked, ConsistencyLevel.CLUSTER)

    def _with_primary(
        self, client: Client, level: ConsistencyLevel, replicas: Sequence[NodeView]
    ) -> Sequence[NodeView]:
        """Return *replicas*, which may answer a read, and the primary if it takes part in this one.

        It could always answer. So it is a home like any other: sessions come to it and leave it as they do a replica.
        """
        primary = self._relay.view.primary
        if primary is None or not isinstance(primary.health, Up):
            return replicas
        if level is not ConsistencyLevel.EVENTUAL:
            if client.bound_for != NOWHERE:
                return [primary] if client.bound_for == primary.index else replicas
            if all(node.index == client.home for node in replicas):  # it cannot move
                return [primary] if client.home < 0 else replicas
        return [*replicas, primary]

    def may_move_to_replica(self, client: Client, units: Sequence[Unit]) -> bool:
        """Return whether a replica may answer *units*, which are in flight on the primary."""
        if client.tx != codes.IDLE or not units:
            return False
        script, route = units[0].script, units[0].route
        if script is None or route is None or route.reason not in _MOVABLE:
            return False
        level, floor, last_read = self.level(client, script), self._oldest(client, route), NEVER
        if level is not ConsistencyLevel.EVENTUAL:
            floor, last_read = max(floor, self.last_write(client, level)), client.last_read
        return bool(
            readers(self._relay.view, floor=floor, last_read=last_read, home=PRIMARY_HOME)
        )

    def last_write(self, client: Client, level: ConsistencyLevel) -> float:
        """Return the moment of the last write that a read at *level* must see."""
        if level is ConsistencyLevel.CLUSTER:
            return self._relay.last_write
        return client.last_write

    def may_stay(self, client: Client, server: Server, script: Script, route: Route) -> bool:
        """Return whether a transaction on a replica may read *script*, whose verdict is *route*, there as well.

        What lets a read go to a node is asked again: its level, and the lag.
        """
        if route.target is not Target.REPLICA:
            return route.target is Target.NODE  # its transaction is where it is
        nodes, index = self._relay.view.nodes, server.pool.node_index
        if index >= len(nodes) or nodes[index].refusal is Refusal.LAGGING:
            return False
        level = self.level(client, script)
        floor, last_read = self._oldest(client, route), NEVER
        if level is not ConsistencyLevel.EVENTUAL:
            floor = max(floor, self.last_write(client, level))
            last_read = client.last_read
        return keeps(nodes[index], floor=floor, last_read=last_read, home=client.home)

    def named(self, route: Route) -> NodeView | None:
        """Return the node a hint or rule names, None if it cannot take work now."""
        node = None if route.node is None else self._relay.view.node(route.node)
        if node is None or not isinstance(node.health, Up):
            return None
        if not self._relay.upkeep.is_usable(node.name):
            return None
        return node if node.admin is AdminState.ATTACHED else None


def _begins(unit: Unit) -> bool:
    """Return whether *unit* begins a transaction: its route says what kind of."""
    return unit.script is not None and unit.script.controls_transaction


def _bound(client: Client, unit: Unit) -> Route:
    """Return why *unit* goes to the primary whatever its statements are."""
    if unit.is_open:
        return _OPEN
    return _SESSION_MODE if client.mode is PoolMode.SESSION else _SERIALIZABLE


def _is_possible(route: Route | None, script: Script) -> TypeGuard[Route]:
    """Return whether a hint or rule can be followed: a pin that names its node could not be kept."""
    return route is not None and (route.target is not Target.NODE or pin_reason(script) is None)
