"""Upkeep: what the relay does when the cluster's picture changes or time has passed.

A published view ends the use of nodes that left it, wakes sessions that wait for a node or for freshness, and
a tick every 50 ms (`relay.TICK`) refuses what has waited too long and closes servers that are too old; `homes` evens out the
reads. Nothing here runs per statement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rwsplit.cluster.node import AdminState, Down, NodeView, Refusal, Role, Up
from rwsplit.cluster.view import ClusterView
from rwsplit.config.choices import ReadsOnPrimary
from rwsplit.exchange.lease import IDLE, Fate
from rwsplit.protocol.backend import error_response
from rwsplit.relay.client import Client
from rwsplit.relay.overdue import Overdue
from rwsplit.routing.consistency import NO_HOME, PRIMARY_HOME, all_but, readers
from rwsplit.routing.route import Target
from rwsplit.server.janitor import due, retire
from rwsplit.server.pool import Pool
from rwsplit.server.server import Server
from rwsplit.session.unit import Unit

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

#: Why a node's servers are of no more use.
NOT_OURS: Final = {Refusal.OTHER_CLUSTER, Refusal.OTHER_TIMELINE}
#: Seconds between two rounds of the janitor.
JANITOR_INTERVAL: Final = 1.0
#: Seconds after which messages without a Sync are sent on by themselves: PostgreSQL would have run them.
SYNC_PATIENCE: Final = 0.1


def is_replica_server(node: NodeView | None) -> bool:
    """Return whether what runs on *node* may be run elsewhere if that node fails.

    A primary that does not answer for a while is still the primary: its transactions wait for it.
    """
    return node is None or node.role is not Role.PRIMARY


class Upkeep:
    """Keeps pools, queues and balance in order."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._signature: object = None
        self._next_janitor = 0.0
        self._overdue = Overdue(relay)

    # News of the cluster...

    def view_changed(self, view: ClusterView) -> None:
        """Use *view* from now on."""
        relay = self._relay
        names = [node.name for node in view.nodes]
        before = [node.name for node in relay.view.nodes]
        relay.view = view
        relay.now = relay.clock()
        if names != before:
            self._renumber(before, names)
        signature = (
            view.primary and view.primary.name,
            tuple(
                (n.name, n.role, type(n.health), n.admin, n.refusal, n.doubt)
                for n in view.nodes
            ),
        )
        if signature != self._signature:
            self._signature = signature
            self._leave_nodes(view)
            self.retry_homeless()
        elif (
            relay.waits.homeless
            and relay.config.routing.reads_on_primary is ReadsOnPrimary.NEVER
        ):
            self.retry_homeless()
        if relay.waits.parked:
            self._wake_parked(view)
        relay.outboxes.flush()

    def _renumber(self, before: list[str], names: list[str]) -> None:
        """Nodes were added, removed or reordered: everything counted by index moves along."""
        relay = self._relay
        relay.counters.renumber(before, names)
        index = {name: number for number, name in enumerate(names)}
        gone = len(names)
        for pool in relay.pools:
            pool.node_index = index.get(pool.node, gone)
        for server in relay.servers.values():
            for owed in server.responses.owed:
                if isinstance(owed, Unit):
                    owed.node = server.pool.node_index
        for client in relay.clients.values():
            client.home = (
                index.get(before[client.home], NO_HOME) if client.home >= 0 else client.home
            )
            for item in client.pending:
                if isinstance(item, Unit):
                    item.refused_by = 0
        relay.homes.forget()

    def is_usable(self, name: str) -> bool:
        """Return whether servers of the node called *name* may be kept for use."""
        view = self._relay.view
        node = view.node(name)
        if node is None or node.admin is AdminState.DETACHED:
            return False
        if node.doubt is not None or node.refusal in NOT_OURS:
            return False
        # A node that claims to be a primary and is not the one gets no work.
        return node.role is not Role.PRIMARY or node is view.primary or view.primary is None

    def admit(self, server: Server) -> None:
        """Note what *server*, which was just opened, is good for."""
        pool = server.pool
        server.is_replica = is_replica_server(self._relay.view.node(pool.node))
        if not self.is_usable(pool.node):
            server.expire(Fate.NODE_LEFT)
            pool.put_off(self._relay.now)  # or the next one would be opened at once, as useless
        elif self._relay.rebasing.is_outdated(server):
            server.expire(Fate.OTHER_DEFAULTS)

    def _leave_nodes(self, view: ClusterView) -> None:
        relay = self._relay
        for pool in relay.pools:
            node = view.node(pool.node)
            usable = self.is_usable(pool.node)
            is_replica = is_replica_server(node)
            for server in list(pool.servers):
                server.is_replica = is_replica
                if not usable:
                    server.expire(Fate.NODE_LEFT)
                    self._retire(server, node)
                elif isinstance(node and node.health, Down) and server.is_replica:
                    relay.lose_server(server, None)
            if pool.waiters and not self._may_wait_for(node, view):
                for client in list(pool.waiters):
                    relay.loss.requeue(client)  # type: ignore[arg-type]

    def _retire(self, server: Server, node: NodeView | None) -> None:
        """Close a server of a node that left: now if idle, at once if the node is no longer ours."""
        relay = self._relay
        if server.lease == IDLE:
            relay.close_server(server)
        elif node is not None and node.admin is not AdminState.ATTACHED:
            return  # detached by an operator: what runs may finish, and then it is closed
        else:
            message = error_response(
                "FATAL", "57P01", f"rwsplit no longer uses node {server.pool.node}"
            )
            relay.lose_server(server, message)

    def _may_wait_for(self, node: NodeView | None, view: ClusterView) -> bool:
        if node is None or node.admin is not AdminState.ATTACHED:
            return False
        return node is view.primary or (node.refusal is None and isinstance(node.health, Up))

    def retry_homeless(self) -> None:
        """Let the sessions that wait for a node look again."""
        relay = self._relay
        for client in list(relay.waits.homeless):
            relay.loss.requeue(client)

    def _wake_parked(self, view: ClusterView) -> None:
        """Let those waiting for freshness go on where a replica is fresh enough now."""
        relay = self._relay
        for client in list(relay.waits.parked):
            last_write = relay.choice.last_write(client, client.level)
            floor = max(last_write, relay.oldest(relay.config.consistency.max_lag))
            if readers(
                view,
                floor=floor,
                last_read=client.last_read,
                home=PRIMARY_HOME,
                refused_by=all_but(client.bound_for),
            ):
                relay.counters.moves += 1
                relay.loss.requeue(client)

    # Time...

    def tick(self) -> None:
        """Do what is due."""
        relay = self._relay
        now = relay.now
        self._refuse_late(now)
        self._overdue.look(now)
        relay.deadlines.look(now)
        relay.pins.look(now)
        relay.homes.look(now)
        relay.rooms.look(now)
        relay.rebasing.work_off()
        if relay.unended:
            self._open_up(now)
        if now >= self._next_janitor:
            self._next_janitor = now + JANITOR_INTERVAL
            self._janitor(now)
        for pool in relay.pools:
            if pool.waiters:
                if pool.quotas:
                    self._make_room(pool)
                pool.ask(now)

    def _make_room(self, pool: Pool[Server]) -> None:
        """Close servers nobody wants of other pools, if only the quotas they share keep *pool* from one more."""
        if pool.failures or pool.is_at_size:
            return
        spares = [quota.spare() for quota in pool.quotas if quota.is_full]
        for server in spares if all(spares) else ():
            if server is not None:
                self._relay.close_server(server)

    def _open_up(self, now: float) -> None:
        """Send on what lacks its Sync for long: the client may wait for an error, which needs none."""
        relay = self._relay
        for client, since in list(relay.unended.items()):
            if now - since < SYNC_PATIENCE and not client.closed:
                continue
            del relay.unended[client]
            if client.closed:
                continue
            client.open_up()
            if client.pending and client.wait is None:
                relay.dispatcher.pump(client)

    def _refuse_late(self, now: float) -> None:
        relay = self._relay
        timeout = relay.config.pool.query_wait_timeout
        for pool in relay.pools:
            for client in list(pool.waiters):
                if client.pending[0].deadline > now:  # type: ignore[union-attr]
                    break
                relay.counters.timeouts += 1
                relay.own_answers.fail_unit(
                    client,  # type: ignore[arg-type]
                    "53300",
                    f"no server of {pool.node} became free within query_wait_timeout ({timeout:g} s);"
                    f" {relay.pins.limit(pool)}",
                )
        for client in list(relay.waits.homeless):
            unit = client.pending[0]
            if isinstance(unit, Unit) and relay.hinting.is_late(unit, now):
                relay.counters.timeouts += 1
                relay.hinting.fail(client, unit)
            elif isinstance(unit, Unit) and unit.deadline <= now:
                relay.counters.timeouts += 1
                relay.own_answers.fail_unit(
                    client,
                    "57P03",
                    f"no node may answer within query_wait_timeout ({timeout:g} s): "
                    + self.refusals(client, unit),
                )

    def refusals(self, client: Client, unit: Unit) -> str:
        """Return which nodes were considered for *unit* and why each was refused."""
        relay = self._relay
        target = Target.PRIMARY if unit.route is None else unit.route.target
        found = _why_no_writes(relay.view, target)
        for node in relay.view.nodes:
            if node.admin is not AdminState.ATTACHED:
                reason = node.admin.value
            elif not isinstance(node.health, Up):
                reason = f"down ({node.health.reason})"
            elif target is Target.NODE:
                reason = "not the node asked for"
            elif target is not Target.REPLICA:
                if node.role is Role.REPLICA and node.doubt is None:
                    continue  # replicas take no writes: that needs no saying
                reason = node.doubt.value if node.doubt else f"its role is {node.role.value}"
            else:
                reason = self._no_reader(client, unit, node)
            found.append(f"{node.name}: {reason}")
        return "; ".join(found)

    def _no_reader(self, client: Client, unit: Unit, node: NodeView) -> str:
        """Return why *node*, which is up, does not answer *unit*, a read."""
        if node is self._relay.view.primary:
            return "not a replica"
        if unit.refused_by >> node.index & 1:
            return "failed this statement"
        if node.refusal is not None:
            return node.refusal.value
        return self._relay.rooms.refusal(client, node) or Refusal.BEHIND_SESSION.value

    def _janitor(self, now: float) -> None:
        relay = self._relay
        for pool in relay.pools:
            for server in due(pool, now):
                relay.close_server(server)
            retire(pool, now)
            if self.is_usable(pool.node):
                pool.prewarm(now)
        relay.pools.discard_empty(now)


def _why_no_writes(view: ClusterView, target: Target) -> list[str]:
    """Return why there is no primary, for a statement that needs one; nothing if there is."""
    if view.no_writes is None or target in {Target.REPLICA, Target.NODE}:
        return []
    return [str(view.no_writes)]
