"""Rooms: which nodes have a server to give to a session, and what becomes of those that wait where there is none.

A replica that refuses a login - a database or role it does not know yet, another password, too many connections -
is not the client's business: it means "not this node for this pool, now". Its readers go to the next replica or to
the primary, whose word alone is final. While a pool is closed, servers are opened on trial, and nobody waits for them.

A queue is no home either: readers that wait while another node could serve them look again, if that node is fresh
enough for them. Nothing of this is asked while no pool refuses and nobody waits (`scarce`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import structlog

from rwsplit.cluster.node import NodeView
from rwsplit.config.choices import ReadsOnPrimary
from rwsplit.errors import (
    CapacityError,
    LoginUnfinished,
    NodeError,
    RwsplitError,
    ServerRefused,
)
from rwsplit.relay.client import Client
from rwsplit.routing.consistency import ANY_REPLICA, NOWHERE, PRIMARY_HOME, all_but, readers
from rwsplit.routing.route import RouteReason, Target
from rwsplit.server.files import Seldom
from rwsplit.server.pool import Pool
from rwsplit.server.server import Server
from rwsplit.session.unit import Unit

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

#: Waiting sessions of one pool that may look elsewhere in one tick.
LOOKS: Final = 64
#: Seconds a session waits for a server that is being opened before it looks elsewhere.
OPENING: Final = 0.25
#: Errors of a node that is not ready: its health hears of them.
_NOT_READY: Final = frozenset({"57P03", "57P01", "57P02"})
#: Why a read is on the primary that a replica could answer.
_FOR_WANT_OF_A_REPLICA: Final = frozenset(
    {RouteReason.NO_FRESH_REPLICA, RouteReason.SHARED_READ}
)

_log = structlog.get_logger("rwsplit.relay")


class Rooms:
    """Knows which pools have room, and moves who waits to where there is some."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.scarce = False
        """A pool refuses servers, or a session waits for one: that a node is fresh is not enough."""
        self._out_of_files = Seldom()

    # What nodes say...

    def dial_failed(
        self, pool: Pool[Server], error: RwsplitError, *, excused: bool = False
    ) -> None:
        """Handle that a server for *pool* could not be opened; *excused*: the node may not be at fault.

        Raises errors that are neither a node's fault nor a shortage.
        """
        relay = self._relay
        match error:
            case ServerRefused():
                self.refuse(pool, error)
            case NodeError():
                pool.dial_failed(error, relay.now)
                if not (excused or isinstance(error, LoginUnfinished)):
                    relay.report_failure(pool.node, str(error))
            case CapacityError():
                pool.dial_put_off(error, relay.now)
                if self._out_of_files.is_due(relay.now):
                    _log.warning("server_not_opened", node=pool.node, reason=str(error))
            case _:
                raise error

    def refuse(self, pool: Pool[Server], error: ServerRefused) -> None:
        """Go on without the server that *pool* was refused; those who wait for it look elsewhere."""
        relay = self._relay
        before = pool.refused
        pool.dial_failed(error, relay.now)
        refused = pool.refused
        assert refused is not None
        self.scarce = True
        if before is None or before.sqlstate != refused.sqlstate:
            _log.warning(
                "pool_refused",
                node=pool.node,
                database=pool.database,
                user=pool.user,
                sqlstate=refused.sqlstate,
                reason=refused.message,
            )
        if refused.sqlstate in _NOT_READY:
            relay.report_failure(pool.node, str(error))
        primary = relay.view.primary
        if primary is not None and primary.name == pool.node:
            self._refused_by_primary(pool, error)
            return
        for client in list(pool.waiters):
            self._look_again(client, pool)  # type: ignore[arg-type]  # the relay's are all Clients

    def _refused_by_primary(self, pool: Pool[Server], error: ServerRefused) -> None:
        """Tell those who wait for the primary what it says, unless it may still serve them."""
        if error.server_sqlstate in _NOT_READY or pool.servers:
            return
        refused = pool.refused
        if refused is not None and refused.is_full:
            return  # saturation is not failure: they go on waiting
        for client in list(pool.waiters):
            self._relay.waits.end(client)  # type: ignore[arg-type]
            self._relay.fail_client(client, error.response)  # type: ignore[arg-type]

    def _look_again(self, client: Client, pool: Pool[Server]) -> None:
        """Have *client* look for another node, or tell it what the one it asks for says."""
        unit = client.pending[0]
        assert isinstance(unit, Unit)
        refused = pool.refused
        assert refused is not None
        if unit.route is None or unit.route.target is not Target.NODE:
            self._relay.loss.requeue(client)
        elif not (refused.is_full or pool.servers):
            self._relay.hinting.refused(client, unit, pool.node, refused)

    def adopt(self, pool: Pool[Server], server: Server) -> None:
        """Take *server*, which was opened, into *pool*."""
        refused = pool.refused
        pool.adopt(server)
        if refused is not None:
            _log.info(
                "pool_accepted",
                node=pool.node,
                database=pool.database,
                user=pool.user,
                refused_for=round(self._relay.now - refused.since, 1),
            )

    # Who goes where...

    def offered(self, client: Client, candidates: Sequence[NodeView]) -> list[NodeView]:
        """Return those of *candidates* that have a server for *client*, else those worth waiting for."""
        free: list[NodeView] = []
        full: list[NodeView] = []
        for node in candidates:
            pool = self._relay.pools.find(node.name, client.database, client.user)
            if pool is None or pool.has_room:
                free.append(node)
            elif not pool.is_closed:
                full.append(node)
            else:
                pool.is_wanted = True
        return free or full

    def bound_for(self, client: Client) -> int:
        """Return what *client* is bound for: nowhere any more if that replica, or every one, is closed to it."""
        bound = client.bound_for
        if self.scarce and bound != NOWHERE:
            targets = [n for n in self._relay.view.replicas if bound in (ANY_REPLICA, n.index)]
            if targets and not self.offered(client, targets):
                client.bound_for = NOWHERE
        return client.bound_for

    def refusal(self, client: Client, node: NodeView) -> str | None:
        """Return why *node* has no server for *client*, if it said so."""
        pool = self._relay.pools.find(node.name, client.database, client.user)
        if pool is None or pool.refused is None or not pool.is_closed:
            return None
        return f"refuses the login: {pool.refused}"

    def shut(self) -> set[str]:
        """Return the nodes that have no server for anybody who asks."""
        if not self.scarce:
            return set()
        pools = list(self._relay.pools)
        closed = {pool.node for pool in pools if pool.is_closed}
        return closed - {pool.node for pool in pools if pool.servers and not pool.is_closed}

    def look(self, now: float) -> None:
        """Have closed pools try again, and those who wait look elsewhere."""
        relay = self._relay
        pools = [pool for pool in relay.pools if pool.refused is not None or pool.waiters]
        self.scarce = bool(pools)
        for pool in pools:
            if pool.refused is not None and (pool.is_wanted or relay.waits.homeless):
                pool.try_again(now)
            if pool.waiters:
                self._look_elsewhere(pool, now)

    def _look_elsewhere(self, pool: Pool[Server], now: float) -> None:
        """Have those who wait in *pool* go to nodes that have room, as far as these are fresh enough for them."""
        relay = self._relay
        free = self._free_nodes(pool)
        if not free:
            return
        stuck = pool.is_full or pool.failures > 0
        for client in list(pool.waiters)[:LOOKS]:
            unit = client.pending[0]
            if not isinstance(unit, Unit) or not (stuck or now - unit.arrived >= OPENING):
                return
            if self._may_go(client, unit, free):  # type: ignore[arg-type]  # all are Clients
                relay.loss.requeue(client)  # type: ignore[arg-type]
                free = self._free_nodes(pool)
                if not free:
                    return

    def _free_nodes(self, pool: Pool[Server]) -> list[NodeView]:
        """Return the nodes besides that of *pool* that may answer reads and have room for its sessions."""
        relay = self._relay
        view = relay.view
        nodes = list(view.replicas)
        if relay.config.routing.reads_on_primary is ReadsOnPrimary.SHARE and view.primary:
            nodes.append(view.primary)
        found = []
        for node in nodes:
            other = relay.pools.find(node.name, pool.database, pool.user)
            if other is not pool and (other is None or other.has_room):
                found.append(node)
        return found

    def _may_go(self, client: Client, unit: Unit, free: Sequence[NodeView]) -> bool:
        """Return whether *client* may read from one of the *free* nodes what it waits for."""
        relay = self._relay
        route = unit.route
        if route is None or client.server is not None:
            return False  # it moves to the primary, a replica in hand
        if route.target is not Target.REPLICA and (
            route.reason not in _FOR_WANT_OF_A_REPLICA or unit.restarts
        ):
            return False
        if relay.view.primary in free:
            return True
        fresh = readers(
            relay.view,
            floor=max(
                relay.choice.last_write(client, client.level),
                relay.oldest(relay.config.consistency.max_lag),
            ),
            last_read=client.last_read,
            home=PRIMARY_HOME,
            refused_by=unit.refused_by | all_but(client.bound_for),
        )
        return any(node in free for node in fresh)
