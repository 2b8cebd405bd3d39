"""What readers can ask a view."""

from __future__ import annotations

import math

import attrs

from rwsplit.cluster.node import NodeView
from rwsplit.cluster.view import ClusterView

FRESH = NodeView(name="pg1", host="h", port=5432, index=0, fresh_until=100.0)
UNKNOWN = NodeView(name="pg2", host="h", port=5433, index=1)
VIEW = ClusterView(nodes=(FRESH, UNKNOWN), primary=None, replicas=(FRESH,))


def test_nodes_are_found_by_name():
    assert VIEW.node("pg2") is UNKNOWN
    assert VIEW.node("pg9") is None


def test_staleness_counts_from_the_moment_everything_is_known_to_be_visible():
    assert VIEW.staleness(FRESH, 103.5) == 3.5


def test_staleness_is_never_negative():
    assert VIEW.staleness(FRESH, 99.0) == 0.0


def test_unknown_is_infinitely_stale():
    assert VIEW.staleness(UNKNOWN, 103.5) == math.inf


def test_without_a_primary_staleness_counts_to_its_last_sample():
    view = attrs.evolve(VIEW, stopped_at=101.0)

    assert view.staleness(FRESH, 5000.0) == 1.0
