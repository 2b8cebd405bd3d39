"""Board: the one writer of the ClusterView, and the place where news about nodes arrive.

Watchers bring probes, the relay brings failures it met, the console what the operator wants. Each
piece of news is folded into the `Picture`, and a new view is published at once: `view` is replaced
and every callback in `on_publish` is called, synchronously, before the call that brought the news
returns. Nothing here awaits except `wait_for`, so nobody ever sees half an update.

What changes is logged, too: of the nodes by `monitor.outages`, of who leads here and by `monitor.chronicle`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
import structlog
import trio

from rwsplit.cluster.node import AdminState
from rwsplit.cluster.observation import Observation
from rwsplit.cluster.picture import Picture
from rwsplit.cluster.remembered import Remembered
from rwsplit.cluster.view import ClusterView
from rwsplit.config.model import Config
from rwsplit.monitor.chronicle import Chronicle
from rwsplit.monitor.outages import Outages

_log = structlog.get_logger("rwsplit.monitor")


@attrs.frozen(kw_only=True)
class NodeStatistics:
    """What watching one node has amounted to."""

    probes: int = 0
    failed_probes: int = 0
    reported_failures: int = 0
    """Failures met by sessions."""
    probe_seconds: float | None = None
    """How long the last probe took that was answered."""


@attrs.frozen(kw_only=True)
class MonitorStatistics:
    """What the monitor has done so far."""

    publications: int
    hurries: int
    """Times a session wanted a sample at once."""
    primary_changes: int
    samples_kept: int
    nodes: Mapping[str, NodeStatistics]


class Board:
    """Publishes the ClusterView. Use it from the trio thread only."""

    def __init__(
        self,
        config: Config,
        *,
        admin: Mapping[str, AdminState] | None = None,
        remembered: Remembered | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """*admin* are the remembered wishes of the operator, *remembered* is what was known of the cluster, *clock*
        gives monotonic seconds.
        """
        self.config = config
        self.now = clock or trio.current_time
        self.on_publish: list[Callable[[ClusterView], None]] = []
        self.on_admin: list[Callable[[str, AdminState], None]] = []
        """Called with a node's name and state when that was changed, so that it can be saved."""
        self.on_reload: list[Callable[[str], None]] = []
        """Called with a node's name when it has read its configuration again."""
        self._reloads: dict[str, int] = {}
        self.on_doubt: list[Callable[[str], None]] = []
        """Called with the name of a node that should be probed at once."""
        self.in_flight: Callable[[str], int] | None = None
        """How many statements and transactions a node is busy with; a draining node without any
        becomes detached. Without this function it stays draining."""
        self.picture = Picture(config, self.now(), admin, remembered)
        self.chronicle = Chronicle()
        self.hurried = trio.Event()
        """Set by `hurry`; replaced by the task that serves it."""
        self.reconfigured = trio.Event()
        """Set by `reconfigure`; replaced by the task that serves it."""
        self._changed = trio.Event()
        self._statistics: dict[str, NodeStatistics] = {}
        self._hurries = 0
        self._primary_changes = 0
        self._outages = Outages()
        self._split = False
        self._last_primary: tuple[str, int | None] | None = None
        self.view = self.picture.compose(self.now())

    def observed(self, name: str, look: Observation, sent: float) -> None:
        """Publish what a probe of *name* sent at *sent* has seen."""
        now = self.now()
        if self.view.node(name) is None:
            return
        self._count(name, probes=1, probe_seconds=now - sent)
        if look.reloads > self._reloads.get(name, 0):
            _log.info("node_reloaded", node=name)
            for reloaded in self.on_reload:
                reloaded(name)
        self._reloads[name] = look.reloads
        self.picture.observed(name, look, sent, now)
        self._publish(now)

    def failed(self, name: str, reason: str, *, lost: bool, silent: bool = False) -> None:
        """Publish that a probe of *name* failed; *lost*: its connection is gone; *silent*: not one byte came from the node."""
        if self.view.node(name) is None:
            return
        self._count(name, probes=1, failed_probes=1)
        now = self.now()
        self.picture.failed(name, reason, now, lost=lost, silent=silent)
        self._publish(now)

    def report_failure(self, node: str, reason: str, now: float) -> None:
        """Publish that a session could not reach *node*, or lost its server there."""
        if self.view.node(node) is None:
            return
        self._count(node, reported_failures=1)
        self.picture.struck(node, reason, now)
        self._publish(now)
        self.hurry()

    def report_owing(self, node: str, heard: float, asked: float, now: float) -> None:
        """Publish what follows from it that *node* owes sessions an answer; see `Picture.owes`."""
        known = self.view.node(node)
        if known is None:
            return
        if self.picture.owes(node, now, heard=heard, asked=asked):
            for callback in self.on_doubt:
                callback(node)
        if self.picture.health(node) is not known.health:
            self._publish(now)

    def held_up(self) -> None:
        """Note that rwsplit itself did not run for a while; see `Picture.held_up`."""
        self.picture.held_up(self.now())

    def set_admin(self, node: str, state: AdminState) -> None:
        """Publish what the operator wants of *node*. Raises KeyError if there is no such node."""
        if self.picture.admin(node) is state:
            return
        self.picture.set_admin(node, state)
        _log.info("node_admin_changed", node=node, state=state.value)
        for callback in self.on_admin:
            callback(node, state)
        self._publish(self.now())

    def accept(self, node: str) -> None:
        """Publish that *node*, which is up and says so, is the primary: an operator knows better."""
        now = self.now()
        self.picture.accept(node, now)
        _log.info("primary_accepted", node=node)
        self._publish(now)

    def hurry(self) -> None:
        """Ask for a sample of the primary and a probe of the nodes that are behind it, at once.

        Asked again while that is under way, one more round follows; never more than one.
        """
        self._hurries += 1
        self.hurried.set()

    def reconfigure(self, config: Config) -> None:
        """Use *config* from now on; what is known of unchanged nodes is kept."""
        self.config = config
        now = self.now()
        self.picture.reconfigure(config, now)
        names = {node.name for node in config.nodes}
        for gone in self._statistics.keys() - names:
            del self._statistics[gone]
        self._outages.keep(names)
        self.reconfigured.set()
        self._publish(now)

    async def wait_for(self, predicate: Callable[[ClusterView], bool]) -> ClusterView:
        """Block until a view satisfies *predicate*; return that view."""
        while not predicate(self.view):
            await self._changed.wait()
        return self.view

    def statistics(self) -> MonitorStatistics:
        """Return what the monitor has done so far."""
        return MonitorStatistics(
            publications=self.view.generation,
            hurries=self._hurries,
            primary_changes=self._primary_changes,
            samples_kept=len(self.picture.clock),
            nodes={
                node.name: self._statistics.get(node.name, NodeStatistics())
                for node in self.view.nodes
            },
        )

    def _publish(self, now: float) -> None:
        """Replace the view, tell its listeners, and wake the tasks that wait for news."""
        before, self.view = self.view, self.picture.compose(now)
        self._changed.set()
        self._changed = trio.Event()
        self._note_topology()
        self._outages.look(before, self.view, now)
        self.chronicle.look(self.picture, now)
        for callback in self.on_publish:
            callback(self.view)
        self._finish_draining()

    def _finish_draining(self) -> None:
        """Detach the draining nodes that have nothing in flight any more."""
        if self.in_flight is None:
            return
        for node in self.view.nodes:
            if node.admin is AdminState.DRAINING and not self.in_flight(node.name):
                self.set_admin(node.name, AdminState.DETACHED)
                return  # which has published again, and come here again

    def _count(
        self,
        name: str,
        *,
        probes: int = 0,
        failed_probes: int = 0,
        reported_failures: int = 0,
        probe_seconds: float | None = None,
    ) -> None:
        known = self._statistics.get(name, NodeStatistics())
        self._statistics[name] = NodeStatistics(
            probes=known.probes + probes,
            failed_probes=known.failed_probes + failed_probes,
            reported_failures=known.reported_failures + reported_failures,
            probe_seconds=known.probe_seconds if probe_seconds is None else probe_seconds,
        )

    def _note_topology(self) -> None:
        """Log who leads, if that changed; sample a new primary at once, for nothing is fresh."""
        topology = self.picture.topology
        primary, last = topology.primary, self._last_primary
        if primary is not None and (primary, topology.timeline) != last:
            before = last[0] if last else None
            tell = _log.info if before is None else _log.warning
            tell("primary_changed", node=primary, before=before, timeline=topology.timeline)
            self._primary_changes += last is not None
            self._last_primary = (primary, topology.timeline)
            self.hurry()
        rivals = topology.rivals
        if bool(rivals) is not self._split:
            self._split = bool(rivals)
            if rivals:
                _log.error("split_brain", primary=primary, refused=sorted(rivals))
            else:
                _log.warning("split_brain_over", primary=primary)
