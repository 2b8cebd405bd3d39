"""Which replicas may answer a session's read."""

from __future__ import annotations

from rwsplit.cluster.node import NEVER, NodeView, Role, Up
from rwsplit.cluster.view import ClusterView
from rwsplit.routing.consistency import NO_HOME, NOWHERE, PRIMARY_HOME, all_but, readers


def replica(index: int, fresh_until: float, *, lost_at: float = NEVER) -> NodeView:
    return NodeView(
        name=f"r{index}",
        host="h",
        port=1,
        index=index,
        role=Role.REPLICA,
        health=Up(),
        fresh_until=fresh_until,
        lost_at=lost_at,
        refusal=None,
    )


def names(
    *nodes: NodeView, floor: float, last_read: float, home: int, refused_by: int = 0
) -> list[str]:
    view = ClusterView(nodes=nodes, primary=None, replicas=nodes, generation=1)
    found = readers(view, floor=floor, last_read=last_read, home=home, refused_by=refused_by)
    return [node.name for node in found]


def test_a_session_that_has_done_nothing_may_read_anywhere_within_the_lag():
    nodes = replica(1, 10.0), replica(2, 5.0)
    assert names(*nodes, floor=6.0, last_read=NEVER, home=NO_HOME) == ["r1"]
    assert names(*nodes, floor=1.0, last_read=NEVER, home=NO_HOME) == ["r1", "r2"]


def test_a_write_must_be_older_than_the_freshness_not_as_old():
    assert names(replica(1, 10.0), floor=10.0, last_read=NEVER, home=NO_HOME) == []


def test_a_session_stays_at_home_or_moves_to_one_as_new_as_its_last_read():
    nodes = replica(1, 10.0), replica(2, 10.0), replica(3, 13.0)
    assert names(*nodes, floor=5.0, last_read=12.0, home=1) == ["r1", "r3"]
    assert names(*nodes, floor=5.0, last_read=12.0, home=PRIMARY_HOME) == ["r3"]


def test_a_home_that_restarted_since_is_one_like_any_other():
    assert names(replica(1, 10.0, lost_at=12.5), floor=5.0, last_read=12.0, home=1) == []
    assert names(replica(1, 12.1, lost_at=12.5), floor=5.0, last_read=12.0, home=1) == ["r1"]
    assert names(replica(1, 10.0, lost_at=11.5), floor=5.0, last_read=12.0, home=1) == ["r1"]


def test_a_node_that_failed_the_read_is_not_asked_again():
    nodes = replica(1, 10.0), replica(2, 10.0)
    assert names(*nodes, floor=5.0, last_read=NEVER, home=NO_HOME, refused_by=1 << 1) == ["r2"]


def test_bound_for_one_node_means_none_but_it():
    nodes = replica(1, 10.0), replica(2, 10.0)
    only = all_but(2)
    assert names(*nodes, floor=5.0, last_read=NEVER, home=NO_HOME, refused_by=only) == ["r2"]
    assert all_but(NOWHERE) == 0
