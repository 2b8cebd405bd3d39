"""Eligibility: why a node may not answer a read, whatever the statement.

The first reason in the order below is the one shown: what the operator wants, then whether the
node answers, then whether it is the right kind of node, then how old its data may be. What a
single session or statement asks for on top is `routing.consistency`'s.
"""

from __future__ import annotations

from typing import assert_never

from rwsplit.cluster.node import (
    NEVER,
    AdminState,
    Banned,
    Down,
    Frozen,
    Health,
    Refusal,
    Role,
    Suspect,
    Up,
)
from rwsplit.cluster.observation import Source


def refuse_admin(admin: AdminState) -> Refusal | None:
    """Return why the operator's wish keeps a node from reads, or None."""
    match admin:
        case AdminState.ATTACHED:
            return None
        case AdminState.DRAINING:
            return Refusal.DRAINING
        case AdminState.DETACHED:
            return Refusal.DETACHED
        case _:
            assert_never(admin)


def refuse_health(health: Health) -> Refusal | None:
    """Return why the health of a node keeps it from reads, or None."""
    match health:
        case Up():
            return None
        case Suspect():
            return Refusal.SUSPECT
        case Frozen():
            return Refusal.FROZEN
        case Banned():
            return Refusal.BANNED
        case Down():
            return Refusal.DOWN
        case _:
            assert_never(health)


def refuse_role(
    role: Role, *, ours: bool = True, on_timeline: bool, rival: bool = False
) -> Refusal | None:
    """Return why what a node is keeps it from reads, or None.

    *ours* is False for a node of another cluster, *on_timeline* for one of another timeline. An obsolete primary is
    refused for that: it can become a replica again only by following the new timeline. A *rival* says it is the
    primary and is not taken for it.
    """
    if not ours:
        return Refusal.OTHER_CLUSTER
    if role is Role.UNKNOWN:
        return Refusal.NOT_A_REPLICA
    if not on_timeline:
        return Refusal.OTHER_TIMELINE
    if rival:
        return Refusal.NOT_THE_PRIMARY
    return None if role is Role.REPLICA else Refusal.NOT_A_REPLICA


def refuse_source(
    source: Source, *, strays: bool, sourceless_for: float, patience: float
) -> Refusal | None:
    """Return why where a replica takes its WAL from keeps it from reads, or None.

    It *strays* if it follows another primary. One that has had no source for longer than *patience* seconds proves
    nothing any more: its position may be one of another history.
    """
    if strays:
        return Refusal.OTHER_SOURCE
    if source is Source.NONE and sourceless_for > patience:
        return Refusal.NO_SOURCE
    return None


def refuse_lag(
    fresh_until: float,
    staleness: float,
    lag_bytes: int | None,
    *,
    max_lag: float,
    max_lag_bytes: int | None,
) -> Refusal | None:
    """Return why the age of a replica's data keeps it from reads, or None; times are seconds."""
    if fresh_until == NEVER:
        return Refusal.UNKNOWN_FRESHNESS
    if staleness > max_lag:
        return Refusal.LAGGING
    if max_lag_bytes is not None and (lag_bytes is None or lag_bytes > max_lag_bytes):
        return Refusal.LAGGING
    return None
