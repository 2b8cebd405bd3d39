"""ClusterView: all nodes at one moment.

Published by the monitor, read by the relay and the console.
"""

from __future__ import annotations

import attrs

from rwsplit.cluster.doubt import NoWrites
from rwsplit.cluster.node import NEVER, NodeView


@attrs.frozen(kw_only=True, eq=False)
class ClusterView:
    """A frozen picture of the cluster. Readers keep the reference for as long as they decide."""

    nodes: tuple[NodeView, ...]
    """Every configured node, in the configuration's order."""
    primary: NodeView | None
    """The node to write to; None while there is none that is attached and up."""
    replicas: tuple[NodeView, ...]
    """Nodes whose *refusal* is None, backups excluded unless nothing else is left."""
    freshest: float = attrs.field(init=False)
    """The latest *fresh_until* of any replica: who has read later can only go on reading at home."""
    no_writes: NoWrites | None = None
    """Why no node is known to be the primary and up; None also while that node is draining or detached."""
    no_primary_since: float | None = None
    """Since when *primary* is None (monotonic seconds); None while there is one."""
    unsaved: str | None = None
    """Why what is known of the cluster could not be saved for after a restart."""
    generation: int = 0
    """Counts publications."""
    stopped_at: float | None = None
    """None while a primary is up. Else the moment of its last sample, up to which staleness is
    counted: nobody can be fresher than the last thing known, and the reads must go on
    (docs/decisions, number 6)."""

    @freshest.default
    def _freshest(self) -> float:
        return max((node.fresh_until for node in self.replicas), default=NEVER)

    def node(self, name: str) -> NodeView | None:
        """Return the node called *name*, if it is configured."""
        return next((node for node in self.nodes if node.name == name), None)

    def lag_seconds(self, node: NodeView, now: float) -> float | None:
        """Return the age of the last commit that *node* has replayed, if it is behind; None if unknown.

        The age counts from the commit, so after a quiet hour a replica that is a moment behind would seem to be an hour
        behind: never more than `staleness`, which is proven.
        """
        if node.lag_seconds is None:
            return None
        return min(node.lag_seconds, self.staleness(node, now))

    def staleness(self, node: NodeView, now: float) -> float:
        """Return how many seconds old an answer of *node* may be at most; infinite if unknown.

        While no primary is up this counts to the primary's last sample. It is what `max_lag`
        limits; what a session has written is compared with `NodeView.fresh_until` itself.
        """
        return max(
            0.0, (now if self.stopped_at is None else self.stopped_at) - node.fresh_until
        )
