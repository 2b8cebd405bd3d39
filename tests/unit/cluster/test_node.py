"""What a node is before anybody has looked at it."""

from __future__ import annotations

from rwsplit.cluster.node import NEVER, AdminState, Down, NodeView, Refusal, Role


def test_a_node_nobody_has_looked_at_is_down_and_gets_no_reads():
    node = NodeView(name="pg0", host="h", port=5432, index=0)

    assert node.health == Down(since=0.0, reason="not probed yet")
    assert node.role is Role.UNKNOWN
    assert node.admin is AdminState.ATTACHED
    assert node.refusal is Refusal.DOWN
    assert node.fresh_until == NEVER
