"""Spill: why a read went to the primary though replicas answer reads, told afterwards.

What decided is kept as it was - a frozen view and a few moments - and put into words only when `SHOW rwsplit.last_route` asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rwsplit.cluster.node import NEVER, NodeView, Role
from rwsplit.cluster.view import ClusterView
from rwsplit.routing.consistency import keeps


class Spill(NamedTuple):
    """What `consistency.readers` was asked when no replica could answer a read."""

    view: ClusterView
    now: float
    oldest: float
    """The moment a replica's freshness must exceed for the lag that is allowed."""
    last_write: float
    """The last write that the read must see."""
    is_own: bool
    """That is a write of its session, not of any other."""
    last_read: float
    home: int


def describe(spill: Spill) -> str:
    """Return why no replica answered, with the nearest one and how far it was."""
    view = spill.view
    replicas: Sequence[NodeView] = view.replicas
    if not replicas:
        refused = [
            f"{node.name} is {node.refusal.value}"
            for node in view.nodes
            if node.role is not Role.PRIMARY and node.refusal is not None
        ]
        return f"no replica is eligible ({'; '.join(refused) or 'no node is a replica'})"
    whose = "this session's last write" if spill.is_own else "the last write through rwsplit"
    if fresh := _later(replicas, spill.last_write):
        replicas = fresh
    else:
        return f"no replica has replayed {whose} yet ({_nearest(replicas, spill.last_write)})"
    if fresh := _later(replicas, spill.oldest):
        replicas = fresh
    else:
        allowed = spill.now - spill.oldest
        old = spill.now - max(node.fresh_until for node in replicas)
        return f"no replica is within the lag allowed ({_nearest(replicas)}, {_shown(old)} > {allowed:g} s)"
    fresh = [
        node
        for node in replicas
        if keeps(node, floor=NEVER, last_read=spill.last_read, home=spill.home)
    ]
    if not fresh:
        return (
            "no replica has proved to be as fresh as what this session has read "
            f"({_nearest(replicas, spill.last_read)})"
        )
    names = ", ".join(node.name for node in fresh)
    return f"no replica that is fresh enough could take it ({names}: refused it, or has no server to give)"


def _later(replicas: Sequence[NodeView], moment: float) -> list[NodeView]:
    return [node for node in replicas if node.fresh_until > moment]


def _nearest(replicas: Sequence[NodeView], moment: float | None = None) -> str:
    """Return the freshest of *replicas*, and by how much it is behind *moment*."""
    nearest = max(replicas, key=lambda node: node.fresh_until)
    if moment is None:
        return f"nearest: {nearest.name}"
    return f"nearest: {nearest.name}, {_shown(moment - nearest.fresh_until)}"


def _shown(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.3f} s"
