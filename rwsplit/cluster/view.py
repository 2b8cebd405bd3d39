"""ClusterView: all nodes at one moment, published by the monitor, read by the relay and the console."""

from __future__ import annotations

import attrs

from rwsplit.cluster.node import NodeView


@attrs.frozen(kw_only=True, eq=False)
class ClusterView:
    """A frozen picture of the cluster. Readers keep the reference for as long as they decide."""

    nodes: tuple[NodeView, ...]
    """Every configured node, in the configuration's order."""
    primary: NodeView | None
    """The node to write to; None while there is none that is attached and up."""
    replicas: tuple[NodeView, ...]
    """Nodes whose *refusal* is None, backups excluded unless nothing else is left."""
    generation: int = 0
    """Counts publications."""

    def node(self, name: str) -> NodeView | None:
        """Return the node called *name*, if it is configured."""
        return next((node for node in self.nodes if node.name == name), None)
