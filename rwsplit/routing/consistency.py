"""Consistency: which replicas may answer a session's read.

A replica's `fresh_until` is the moment up to which every acknowledged commit is visible on it. At level
`session` a read must see the session's own writes and nothing older than the session has already read:

- `fresh_until > last_write`;
- and either the replica is the session's *home*, where its last read was answered (a replica's replay
  only moves forward, unless it restarts: then what was read there before proves nothing), or `fresh_until > last_read`: all that could be seen by then is visible there.

Level `cluster` differs in one thing: *last_write* is that of the whole process, of any session.

At level `eventual` only the lag counts, which `ClusterView.replicas` has already judged; staleness is judged
again here, since time has passed since the view was published.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rwsplit.cluster.node import NodeView
from rwsplit.cluster.view import ClusterView

#: Home of a session whose last read was answered by the primary.
PRIMARY_HOME: Final = -1
#: What a session is bound for: nowhere, whichever replica, else the index of one.
NOWHERE: Final = -1
ANY_REPLICA: Final = -2

#: Home of a session that has not read yet.
NO_HOME: Final = -2


def all_but(bound_for: int) -> int:
    """Return the bit set of nodes that a session bound for one of them must not use."""
    return ~(1 << bound_for) if bound_for >= 0 else 0


def readers(
    view: ClusterView,
    *,
    floor: float,
    last_read: float,
    home: int,
    refused_by: int = 0,
) -> Sequence[NodeView]:
    """Return the replicas of *view* that may answer a read.

    *floor* is the moment their freshness must exceed, *home* the index of the replica the session last
    read from, *refused_by* a bit set of node indexes that failed this read already.
    """
    return [
        node
        for node in view.replicas
        if keeps(node, floor=floor, last_read=last_read, home=home)
        and not refused_by >> node.index & 1
    ]


def keeps(node: NodeView, *, floor: float, last_read: float, home: int) -> bool:
    """Return whether a read on the replica *node* sees all that a session must see by these moments."""
    return node.fresh_until > floor and (
        (node.index == home and node.lost_at < last_read) or node.fresh_until > last_read
    )
