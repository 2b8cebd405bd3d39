"""Why a read went to the primary, told with the nearest replica."""

from __future__ import annotations

import attrs
import pytest

from rwsplit.cluster.node import NEVER, Down, NodeView, Refusal, Role, Up
from rwsplit.cluster.view import ClusterView
from rwsplit.routing.consistency import NO_HOME
from rwsplit.routing.spill import Spill, describe


def replica(name: str, fresh_until: float, refusal: Refusal | None = None) -> NodeView:
    return NodeView(
        name=name,
        host="h",
        port=1,
        index=int(name[-1]),
        role=Role.REPLICA,
        health=Up(),
        fresh_until=fresh_until,
        refusal=refusal,
    )


PRIMARY = attrs.evolve(replica("pg0", NEVER), role=Role.PRIMARY, refusal=Refusal.NOT_A_REPLICA)


def spill(*replicas: NodeView, **more: object) -> Spill:
    readers = tuple(node for node in replicas if node.refusal is None)
    view = ClusterView(nodes=(PRIMARY, *replicas), primary=PRIMARY, replicas=readers)
    known = Spill(view, 100.0, 90.0, NEVER, True, NEVER, NO_HOME)
    return known._replace(**more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("why", "sentence"),
    [
        (
            spill(replica("pg1", 99.0), replica("pg2", 98.0), last_write=99.1),
            "no replica has replayed this session's last write yet (nearest: pg1, 0.100 s)",
        ),
        (
            spill(replica("pg1", 97.0), last_write=99.5, is_own=False),
            "no replica has replayed the last write through rwsplit yet (nearest: pg1, 2.5 s)",
        ),
        (
            spill(replica("pg1", 97.0), replica("pg2", 98.5), oldest=99.0),
            "no replica is within the lag allowed (nearest: pg2, 1.5 s > 1 s)",
        ),
        (
            spill(replica("pg1", 99.0), last_read=99.25),
            "no replica has proved to be as fresh as what this session has read (nearest: pg1, 0.250 s)",
        ),
        (
            spill(replica("pg1", 99.0), replica("pg2", 99.0)),
            "no replica that is fresh enough could take it (pg1, pg2: refused it, or has no server to give)",
        ),
        (
            spill(
                replica("pg1", 97.0, Refusal.DETACHED),
                attrs.evolve(
                    replica("pg2", 97.0, Refusal.DOWN), health=Down(since=0, reason="x")
                ),
            ),
            "no replica is eligible (pg1 is detached by an operator; pg2 is down)",
        ),
        (spill(), "no replica is eligible (no node is a replica)"),
    ],
)
def test_it_says_what_was_missing_and_how_far_the_nearest_was(why: Spill, sentence: str):
    assert describe(why) == sentence
    assert "primary" not in sentence
