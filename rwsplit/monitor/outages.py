"""Outages: tells the log which nodes fail or lag, why, and when they are back. Changes only.

The levels are the operator's: what takes a node away from clients is a warning, and so is its return; that a node is up
for the first time is information. A node that is down from the start is told like one that goes down, and a cause that was
not told before in the same outage is told once: a node that is restarted may refuse the monitor's login.

Lag is logged with hysteresis: a replica that dithers around `max_lag` is reported lagging once, and fresh when it has been
so for a while.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, assert_never

import attrs
import structlog

from rwsplit.cluster.node import (
    NOT_PROBED,
    Banned,
    Down,
    Frozen,
    NodeView,
    Refusal,
    Role,
    Suspect,
    Up,
)
from rwsplit.cluster.view import ClusterView

#: Seconds without lag after which a replica that was logged as lagging is logged as fresh.
FRESH_AGAIN: Final = 5.0
#: What is wrong with what a replica receives.
ASTRAY: Final = {Refusal.NO_SOURCE, Refusal.OTHER_SOURCE, Refusal.OTHER_TIMELINE}
#: Causes told of one outage at most, however many there are.
MOST_CAUSES: Final = 5

_log = structlog.get_logger("rwsplit.monitor")


@attrs.define
class _Outage:
    """What has been told of a node that is out."""

    since: float
    causes: set[str] = attrs.field(factory=set)


class Outages:
    """Compares each view with the one before."""

    def __init__(self) -> None:
        self._outages: dict[str, _Outage] = {}
        self._lagging: dict[str, float | None] = {}
        self._refused: dict[str, Refusal] = {}

    def look(self, before: ClusterView, view: ClusterView, now: float) -> None:
        """Log what has become of the nodes since *before*."""
        for node in view.nodes:
            old = before.node(node.name)
            if old is not node:
                self._look_at_health(old, node, now)
                self._look_at_lag(node, view, now)
                self._look_at_source(node)
            elif self._lagging.get(node.name) is not None:
                self._look_at_lag(node, view, now)

    def keep(self, names: Collection[str]) -> None:
        """Forget all nodes but those of *names*."""
        for told in (self._outages, self._lagging, self._refused):
            for gone in told.keys() - names:
                del told[gone]

    def _look_at_health(self, old: NodeView | None, node: NodeView, now: float) -> None:
        was = None if old is None else old.health
        match node.health:
            case Up() if was is not None and not isinstance(was, Up | Suspect):
                self._back(node, now)
            case Frozen(since=since, until=until) if not isinstance(was, Frozen):
                self._begin(node, since)
                _log.warning(
                    "node_frozen",
                    node=node.name,
                    silent_seconds=round(now - since, 3),
                    seconds=round(until - now, 3),
                )
            case Banned(reason=reason, until=until) if was != node.health:
                self._begin(node, now)
                seconds = round(until - now, 3)
                _log.warning("node_banned", node=node.name, reason=reason, seconds=seconds)
            case Down(reason=reason) if reason != NOT_PROBED and was != node.health:
                self._down(node, reason, first=not _is_known_down(was), now=now)
            case Up() | Suspect() | Frozen() | Banned() | Down():
                pass
            case _:
                assert_never(node.health)

    def _begin(self, node: NodeView, since: float) -> _Outage:
        return self._outages.setdefault(node.name, _Outage(since))

    def _down(self, node: NodeView, reason: str, *, first: bool, now: float) -> None:
        outage = self._begin(node, now)
        if first:
            outage.causes = {reason}
            _log.warning("node_down", node=node.name, role=node.role.value, reason=reason)
        elif reason not in outage.causes and len(outage.causes) < MOST_CAUSES:
            outage.causes.add(reason)
            seconds = round(now - outage.since, 3)
            _log.warning("node_still_down", node=node.name, reason=reason, seconds=seconds)

    def _back(self, node: NodeView, now: float) -> None:
        outage = self._outages.pop(node.name, None)
        told = {"node": node.name, "role": node.role.value, "version": node.server_version}
        if outage is None:
            _log.info("node_up", **told)
        else:
            _log.warning("node_up", **told, after_seconds=round(now - outage.since, 3))

    def _look_at_lag(self, node: NodeView, view: ClusterView, now: float) -> None:
        """Log that *node* began to lag, or has been fresh for a while after that."""
        name = node.name
        if node.refusal is Refusal.LAGGING:
            if name not in self._lagging:
                lag_seconds = view.lag_seconds(node, now)
                _log.warning(
                    "replica_lagging",
                    node=name,
                    staleness_seconds=round(view.staleness(node, now), 3),
                    lag_bytes=node.lag_bytes,
                    lag_seconds=None if lag_seconds is None else round(lag_seconds, 3),
                )
            self._lagging[name] = None
        elif name in self._lagging and node.refusal is None:
            since = self._lagging[name]
            if since is None:
                self._lagging[name] = now
            elif now - since >= FRESH_AGAIN:
                _log.warning("replica_fresh", node=name)
                del self._lagging[name]

    def _look_at_source(self, node: NodeView) -> None:
        """Log that *node*, a replica, receives nothing, or something else than the primary's, and when it is fresh again."""
        refusal, told = node.refusal, self._refused.get(node.name)
        if refusal in ASTRAY and node.role is Role.REPLICA and refusal is not told:
            self._refused[node.name] = refusal
            _log.warning(
                "replica_refused",
                node=node.name,
                refusal=refusal.name,
                reason=refusal.value,
                timeline=node.timeline,
            )
        elif told is not None and refusal is None:
            del self._refused[node.name]
            _log.warning("replica_accepted", node=node.name, timeline=node.timeline)


def _is_known_down(was: object) -> bool:
    return isinstance(was, Down) and was.reason != NOT_PROBED
