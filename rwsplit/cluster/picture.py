"""Picture: what is known of the cluster, folded from probes and failures into ClusterViews.

The one place where health, topology, freshness and the operator's wishes meet. It is fed by the
monitor's board, one event at a time, and `compose` returns the view of that moment. A NodeView that
would not differ from the last one is used again, so that readers may compare by identity.

While no primary is up, staleness is counted to the last sample instead of to now: nothing newer
can be acknowledged through rwsplit, so a replica that has replayed everything known stays eligible
however long the primary is away, and one that was behind must still catch up first.
Sessions are not affected: what they wrote is compared with `fresh_until`, which does not move.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs

from rwsplit.cluster import eligibility
from rwsplit.cluster.freshness import FreshnessClock
from rwsplit.cluster.health import HealthTracker
from rwsplit.cluster.node import NEVER, AdminState, Down, NodeView, Refusal, Role, Up
from rwsplit.cluster.observation import Observation
from rwsplit.cluster.topology import Topology
from rwsplit.cluster.view import ClusterView
from rwsplit.config.model import Config, NodeConfig


class KnownNode:
    """What is known of one node, still in parts."""

    __slots__ = (
        "admin",
        "basis",
        "config",
        "health",
        "index",
        "lost_at",
        "observation",
        "view",
    )

    def __init__(self, config: NodeConfig, index: int, health: HealthTracker) -> None:
        self.config = config
        self.index = index
        self.health = health
        self.admin = AdminState.ATTACHED
        self.observation: Observation | None = None
        self.view: NodeView | None = None
        self.basis: object = None
        """What *view* was made from: another is made only when this has changed."""
        self.lost_at = NEVER
        """When a connection to it was last lost; a probe sent before that proves nothing."""

    @property
    def is_up(self) -> bool:
        """Whether the node answers (a banned one does not count)."""
        return isinstance(self.health.health, Up)

    @property
    def is_down(self) -> bool:
        """Whether the node is Down (neither up nor banned)."""
        return isinstance(self.health.health, Down)


class Picture:
    """Everything known of the cluster; *now* is monotonic seconds everywhere."""

    def __init__(
        self, config: Config, now: float, admin: Mapping[str, AdminState] | None = None
    ) -> None:
        self.clock = FreshnessClock()
        self.topology = Topology()
        self._config = config
        self._nodes: dict[str, KnownNode] = {}
        self._generation = 0
        self.reconfigure(config, now)
        for name, state in (admin or {}).items():
            if name in self._nodes:
                self._nodes[name].admin = state

    def observed(self, name: str, look: Observation, sent: float, now: float) -> None:
        """Take note of the answer to a probe of *name* that was sent at *sent*."""
        node = self._nodes[name]
        node.observation = look
        node.health.succeeded(now, bannable=look.role is not Role.PRIMARY)
        self._reconsider()

        if not self.topology.follows(look) or sent < node.lost_at:
            self.clock.forget(name)
        elif look.role is Role.REPLICA:
            self.clock.probed(name, look.lsn)
        elif name == self.topology.primary:
            self.clock.sampled(sent, look.lsn)

    def failed(self, name: str, reason: str, now: float, *, lost: bool) -> None:
        """Take note of a failed probe; *lost* says that the connection is gone, not just slow.

        A replica may have restarted behind a lost connection, and replay from further back.
        """
        node = self._nodes[name]
        node.health.failed(now, reason)
        if lost:
            self._lose(node, now)
        self._reconsider()

    def struck(self, name: str, reason: str, now: float) -> None:
        """Take note of a failure that a session met on *name*."""
        node = self._nodes[name]
        if name == self.topology.primary:
            node.health.failed(now, reason)
        else:
            node.health.struck(now, reason)
            self._lose(node, now)
        self._reconsider()

    def admin(self, name: str) -> AdminState:
        """Return what the operator wants of *name*. Raises KeyError if there is no such node."""
        return self._nodes[name].admin

    def set_admin(self, name: str, state: AdminState) -> None:
        """Do with *name* what the operator wants. Raises KeyError if there is no such node."""
        self._nodes[name].admin = state

    def reconfigure(self, config: Config, now: float) -> None:
        """Use *config*; a node keeps what is known of it if its name and address are the same."""
        before = self._nodes
        self._config = config
        self._nodes = {}
        for index, settings in enumerate(config.nodes):
            known = before.get(settings.name)
            if known is None or not _same_address(known.config, settings):
                health = HealthTracker(
                    rise=config.monitor.rise, fall=config.monitor.fall, now=now
                )
                admin = known.admin if known else AdminState.ATTACHED
                known = KnownNode(settings, index, health)
                known.admin = admin
                known.lost_at = now
                self._forget(settings.name)
            known.config, known.index = settings, index
            known.health.rise, known.health.fall = config.monitor.rise, config.monitor.fall
            self._nodes[settings.name] = known

        for name in before.keys() - self._nodes.keys():
            self._forget(name)
        self._reconsider()

    def behind(self) -> Iterator[str]:
        """Yield the nodes that are up and are not known to have replayed the last sample."""
        last = self.clock.last_sample
        for name, node in self._nodes.items():
            if name == self.topology.primary or not node.is_up:
                continue
            if last is None or self.clock.fresh_until(name) < last[0]:
                yield name

    def compose(self, now: float) -> ClusterView:
        """Return the view of this moment."""
        self._generation += 1
        leader = self._nodes.get(self.topology.primary or "")
        last = self.clock.last_sample
        leads = leader is not None and leader.is_up
        stopped_at = None if leads or last is None else last[0]
        counted_to = now if stopped_at is None else stopped_at

        nodes = [self._view(name, node, counted_to) for name, node in self._nodes.items()]
        primary = None
        if leader is not None and leads and leader.admin is AdminState.ATTACHED:
            primary = nodes[leader.index]
        if primary is None and all(node.refusal for node in nodes):
            nodes = [self._pardon(node, counted_to) for node in nodes]
        return ClusterView(
            nodes=tuple(nodes),
            primary=primary,
            replicas=_readers(nodes),
            generation=self._generation,
            stopped_at=stopped_at,
        )

    def _view(self, name: str, node: KnownNode, counted_to: float) -> NodeView:
        """Return the NodeView of *node*; staleness is counted up to *counted_to*."""
        config, health, look = node.config, node.health, node.observation
        fresh_until = self.clock.fresh_until(name)
        role = look.role if look else Role.UNKNOWN
        lag_bytes, lag_seconds = self._lag(node)
        refusal = (
            eligibility.refuse_admin(node.admin)
            or eligibility.refuse_health(health.health)
            or eligibility.refuse_role(role, on_timeline=self._on_timeline(look))
            or self._refuse_lag(fresh_until, counted_to, lag_bytes)
        )
        basis = (
            config,
            node.index,
            role,
            look and (look.timeline, look.lsn, look.server_version),
            health.health,
            health.up_since,
            node.admin,
            node.lost_at,
            fresh_until,
            lag_bytes,
            lag_seconds,
            refusal,
        )
        if node.view is None or basis != node.basis:
            node.basis = basis
            node.view = NodeView(
                name=name,
                host=config.host,
                port=config.port,
                index=node.index,
                weight=config.weight,
                backup=config.backup,
                role=role,
                health=health.health,
                admin=node.admin,
                timeline=look.timeline if look else None,
                lsn=look.lsn if look else None,
                lag_bytes=lag_bytes,
                lag_seconds=lag_seconds,
                fresh_until=fresh_until,
                lost_at=node.lost_at,
                refusal=refusal,
                up_since=health.up_since,
                server_version=look.server_version if look else None,
            )
        return node.view

    def _pardon(self, node: NodeView, counted_to: float) -> NodeView:
        """Return *node* without its ban; used when there is nobody at all to answer reads."""
        known = self._nodes[node.name]
        if node.refusal is not Refusal.BANNED:
            return node
        refusal = eligibility.refuse_role(
            node.role, on_timeline=self._on_timeline(known.observation)
        ) or self._refuse_lag(node.fresh_until, counted_to, node.lag_bytes)
        return node if refusal else attrs.evolve(node, refusal=None)

    def _on_timeline(self, look: Observation | None) -> bool:
        """Return False for a node known to be elsewhere; before any primary nobody is."""
        return look is not None and (
            self.topology.timeline is None or self.topology.follows(look)
        )

    def _refuse_lag(
        self, fresh_until: float, counted_to: float, lag_bytes: int | None
    ) -> Refusal | None:
        limits = self._config.consistency
        return eligibility.refuse_lag(
            fresh_until,
            counted_to - fresh_until,
            lag_bytes,
            max_lag=limits.max_lag,
            max_lag_bytes=limits.max_lag_bytes,
        )

    def _lag(self, node: KnownNode) -> tuple[int | None, float | None]:
        """Return how far replay is behind the last sample: bytes, and seconds if behind."""
        look, last = node.observation, self.clock.last_sample
        if look is None or look.role is not Role.REPLICA or node.is_down:
            return None, None
        if last is None or not self.topology.follows(look):
            return None, look.replay_age
        lag_bytes = max(0, last[1] - look.lsn)
        return lag_bytes, look.replay_age if lag_bytes else 0.0

    def _lose(self, node: KnownNode, now: float) -> None:
        """Forget how far *node* has replayed: it may have restarted."""
        node.lost_at = now
        self.clock.forget(node.config.name)

    def _forget(self, name: str) -> None:
        self.clock.forget(name)
        self.topology.forget(name)

    def _reconsider(self) -> None:
        """Look again who the primary is; a new one voids what was known of freshness."""
        seen = {
            name: node.observation
            for name, node in self._nodes.items()
            if node.observation is not None and node.is_up
        }
        settled = all(node.health.seen for node in self._nodes.values())
        if self.topology.consider(seen, settled=settled):
            self.clock.reset()


def _same_address(before: NodeConfig, after: NodeConfig) -> bool:
    return (before.host, before.port) == (after.host, after.port)


def _readers(nodes: Sequence[NodeView]) -> tuple[NodeView, ...]:
    """Return the nodes that take reads: the regular ones, or the backups if there are none."""
    eligible = [node for node in nodes if node.refusal is None and node.weight > 0]
    regular = tuple(node for node in eligible if not node.backup)
    return regular or tuple(eligible)
