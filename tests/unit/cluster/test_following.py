"""Which primary a replica follows."""

from __future__ import annotations

from rwsplit.cluster.following import leaders
from rwsplit.cluster.node import Role
from rwsplit.cluster.observation import Observation, Source
from rwsplit.lsn import LSN


def node(number: int, above: int | None = None) -> Observation:
    """The node at port *number*; it follows the one at port *above*, 0 for a stranger's, None for nobody."""
    return Observation(
        role=Role.PRIMARY if above is None else Role.REPLICA,
        timeline=1,
        lsn=LSN(1000),
        system_identifier="7",
        server_version="16.4",
        source=Source.STREAM,
        upstream=None if above is None else ("h", above),
        places=frozenset({("h", number), ("10.0.0.1", number)}),
    )


def test_followers_are_found_through_cascades():
    looks = {"a": node(1), "b": node(2, 1), "c": node(3, 2), "d": node(4, 0), "e": node(5)}

    assert leaders(looks) == {"b": "a", "c": "a"}


def test_those_that_follow_each_other_follow_nobody():
    assert leaders({"a": node(1, 2), "b": node(2, 1), "c": node(3, 2)}) == {}


def test_the_end_of_a_cascade_may_be_unknown():
    assert leaders({"a": node(1), "c": node(3, 2), "b": node(2, 0)}) == {}
