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

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs

from rwsplit.cluster import eligibility
from rwsplit.cluster.freshness import FreshnessClock
from rwsplit.cluster.health import HealthTracker
from rwsplit.cluster.node import (
    NEVER,
    PRESENT,
    AdminState,
    Down,
    Health,
    NodeView,
    Refusal,
    Role,
)
from rwsplit.cluster.observation import Observation, Place, Source
from rwsplit.cluster.remembered import Remembered
from rwsplit.cluster.topology import Topology
from rwsplit.cluster.view import ClusterView
from rwsplit.config.model import Config, NodeConfig
from rwsplit.lsn import LSN

#: Seconds a replica may be without a source, at most, before it proves nothing any more.
SOURCE_PATIENCE: Final = 10.0
#: Seconds to wait at a first start for nodes that could tell whose cluster it is.
IDENTITY_PATIENCE: Final = 3.0


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
        "sourceless_since",
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
        self.sourceless_since: float | None = NEVER
        """Since when it has taken its WAL from nowhere; None: it has a source."""

    @property
    def is_up(self) -> bool:
        """Whether the node answers, as far as probes know (a banned one does not count)."""
        return isinstance(self.health.health, PRESENT)

    @property
    def is_down(self) -> bool:
        """Whether the node is Down."""
        return isinstance(self.health.health, Down)


class Picture:
    """Everything known of the cluster; *now* is monotonic seconds everywhere."""

    def __init__(
        self,
        config: Config,
        now: float,
        admin: Mapping[str, AdminState] | None = None,
        remembered: Remembered | None = None,
    ) -> None:
        """*admin* and *remembered* are what was known before a restart."""
        self.clock = FreshnessClock()
        self.topology = Topology()
        self.unsaved: str | None = None
        """Why what is known could not be saved."""
        self._began = now
        self._last_lsn = remembered.lsn if remembered else None
        self._config = config
        self._nodes: dict[str, KnownNode] = {}
        self._generation = 0
        self._no_primary_since: float | None = None
        self.reconfigure(config, now)
        for name, state in (admin or {}).items():
            if name in self._nodes:
                self._nodes[name].admin = state
        self.topology = Topology(remembered)
        for name, place in (remembered.members if remembered else {}).items():
            if name not in self._nodes or _place(self._nodes[name].config) != place:
                self.topology.forget(name)

    @property
    def last_lsn(self) -> LSN | None:
        """The last insert LSN seen of the primary, also of one that is gone; None: none is known."""
        last = self.clock.last_sample
        return self._last_lsn if last is None else last[1]

    def remember(self) -> Remembered:
        """Return what should be known after a restart."""
        known = self.topology
        return Remembered(
            identity=known.identity,
            timeline=known.timeline,
            highest=known.highest,
            history=known.history,
            primary=known.primary,
            lsn=self.last_lsn,
            members={
                name: _place(self._nodes[name].config)
                for name in known.members
                if name in self._nodes
            },
            rivals=known.rivals,
            abandoned=known.abandoned,
        )

    def accept(self, name: str, now: float) -> None:
        """Take *name*, which is up and says it is the primary, for the primary from now on."""
        self.topology.accept(name, self._seen())
        self._reset_clock()
        self._reconsider(now)

    def observed(self, name: str, look: Observation, sent: float, now: float) -> None:
        """Take note of the answer to a probe of *name* that was sent at *sent*."""
        node = self._nodes[name]
        node.observation = look
        node.health.succeeded(now, bannable=look.role is not Role.PRIMARY, took=now - sent)
        if look.source is not Source.NONE:
            node.sourceless_since = None
        elif node.sourceless_since is None:
            node.sourceless_since = now
        self._reconsider(now)

        strays = self.topology.strays(name)
        if not self.topology.follows(look) or strays or sent < node.lost_at:
            self.clock.forget(name)
        elif look.role is Role.REPLICA:
            self.clock.probed(name, look.lsn)
        elif name == self.topology.primary:
            self.clock.sampled(sent, look.lsn)

    def failed(
        self, name: str, reason: str, now: float, *, lost: bool, silent: bool = False
    ) -> None:
        """Note that a probe failed; *lost*: the connection is gone, not just slow; *silent*: not one byte came from the node.

        A replica may have restarted behind a lost connection, and replay from further back.
        """
        node = self._nodes[name]
        node.health.failed(now, reason, silent=silent)
        if lost:
            self._lose(node, now)
        self._reconsider(now)

    def struck(self, name: str, reason: str, now: float) -> None:
        """Take note of a failure that a session met on *name*."""
        node = self._nodes[name]
        if name == self.topology.primary:
            node.health.failed(now, reason)
        else:
            node.health.struck(now, reason)
            self._lose(node, now)
        self._reconsider(now)

    def owes(self, name: str, now: float, *, heard: float, asked: float) -> bool:
        """Take note that *name* owes sessions an answer; return whether it should be probed at once.

        *heard* is when it last answered one, *asked* when it was asked what it has owed longest.
        """
        bannable = name != self.topology.primary
        return self._nodes[name].health.owes(now, heard=heard, asked=asked, bannable=bannable)

    def held_up(self, now: float) -> None:
        """Note that rwsplit itself did not run for a while: no node is late for answers from that time."""
        for node in self._nodes.values():
            node.health.held_up(now)

    def health(self, name: str) -> Health:
        """Return the health of *name*. Raises KeyError if there is no such node."""
        return self._nodes[name].health.health

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
        self._reconsider(now)

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

        nodes = [
            self._view(name, node, now, counted_to, leader if leads else None)
            for name, node in self._nodes.items()
        ]
        primary = None
        if leader is not None and leads and leader.admin is AdminState.ATTACHED:
            primary = nodes[leader.index]
        if primary is not None:
            self._no_primary_since = None
        elif self._no_primary_since is None:
            self._no_primary_since = now
        if primary is None and all(node.refusal for node in nodes):
            nodes = [self._pardon(node, counted_to) for node in nodes]
        return ClusterView(
            nodes=tuple(nodes),
            primary=primary,
            replicas=_readers(nodes),
            no_writes=self.topology.no_writes,
            no_primary_since=self._no_primary_since,
            unsaved=self.unsaved,
            generation=self._generation,
            stopped_at=stopped_at,
        )

    def _view(
        self,
        name: str,
        node: KnownNode,
        now: float,
        counted_to: float,
        leader: KnownNode | None,
    ) -> NodeView:
        """Return the NodeView of *node*; staleness is counted up to *counted_to*, *leader* is the primary if up."""
        config, health, look = node.config, node.health, node.observation
        fresh_until = self.clock.fresh_until(name)
        role = look.role if look else Role.UNKNOWN
        lag_bytes, lag_seconds = self._lag(node)
        doubt = self.topology.doubts.get(name) if node.is_up else None
        refusal = (
            eligibility.refuse_admin(node.admin)
            or eligibility.refuse_health(health.health)
            or self._refuse_role(name, node)
            or self._refuse_source(name, node, now, leader)
            or self._refuse_lag(fresh_until, counted_to, lag_bytes)
        )
        basis = (
            config,
            node.index,
            role,
            look and (look.timeline, look.lsn, look.received, look.server_version),
            doubt,
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
                received=look.received if look else None,
                doubt=doubt,
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
        refusal = self._refuse_role(node.name, known) or self._refuse_lag(
            node.fresh_until, counted_to, node.lag_bytes
        )
        return node if refusal else attrs.evolve(node, refusal=None)

    def _refuse_role(self, name: str, node: KnownNode) -> Refusal | None:
        look = node.observation
        return eligibility.refuse_role(
            look.role if look else Role.UNKNOWN,
            ours=look is None or self.topology.is_ours(look),
            on_timeline=self._on_timeline(look),
            rival=name in self.topology.doubts,
        )

    def _refuse_source(
        self, name: str, node: KnownNode, now: float, leader: KnownNode | None
    ) -> Refusal | None:
        look, since = node.observation, node.sourceless_since
        assert look is not None  # or its role would have kept it from reads
        if leader is None or since is None:
            sourceless_for = 0.0
        else:  # nobody has a source while the primary is away
            sourceless_for = now - (
                max(since, leader.health.up_since) if since > NEVER else since
            )
        return eligibility.refuse_source(
            look.source,
            strays=self.topology.strays(name),
            sourceless_for=sourceless_for,
            patience=min(SOURCE_PATIENCE, self._config.consistency.max_lag),
        )

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

    def _reconsider(self, now: float) -> None:
        """Look again who the primary is; a new one voids what was known of freshness."""
        if self.topology.consider(self._seen(), settled=self._is_settled(now)):
            self._reset_clock()

    def _is_settled(self, now: float) -> bool:
        """Return whether enough was looked at to decide something.

        That is every node, and whose cluster it is must not hang on those that do not answer - but for a while only:
        they may never have been there.
        """
        if not all(node.health.seen for node in self._nodes.values()):
            return False
        if self.topology.identity is not None or now - self._began >= IDENTITY_PATIENCE:
            return True
        seen = self._seen().values()
        counts = Counter(look.system_identifier for look in seen)
        return max(counts.values(), default=0) > len(self._nodes) - len(seen)

    def _seen(self) -> dict[str, Observation]:
        """Return the last look at every node that is up."""
        return {
            name: node.observation
            for name, node in self._nodes.items()
            if node.observation is not None and node.is_up
        }

    def _reset_clock(self) -> None:
        self.clock.reset()
        self._last_lsn = None


def _same_address(before: NodeConfig, after: NodeConfig) -> bool:
    return _place(before) == _place(after)


def _place(config: NodeConfig) -> Place:
    return config.host, config.port


def _readers(nodes: Sequence[NodeView]) -> tuple[NodeView, ...]:
    """Return the nodes that take reads: the regular ones, or the backups if there are none."""
    eligible = [node for node in nodes if node.refusal is None and node.weight > 0]
    regular = tuple(node for node in eligible if not node.backup)
    return regular or tuple(eligible)
