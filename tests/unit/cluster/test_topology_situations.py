"""Who leads in the situations of docs/decisions, number 16: at the start, after a restart, while rwsplit runs."""

from __future__ import annotations

import attrs
import pytest

from rwsplit.cluster.descent import Fork
from rwsplit.cluster.doubt import Doubt
from rwsplit.cluster.node import Role
from rwsplit.cluster.observation import Observation, Source
from rwsplit.cluster.remembered import Remembered
from rwsplit.cluster.topology import Topology
from rwsplit.lsn import LSN

ORIGIN = Fork(1, LSN(500))
ELSEWHERE = Fork(1, LSN(400))


def primary(name: str, timeline: int = 1, system: str = "7", **more: object) -> Observation:
    return Observation(
        role=Role.PRIMARY,
        timeline=timeline,
        lsn=LSN(1000),
        system_identifier=system,
        server_version="16.4",
        places=frozenset({(name, 5432)}),
        **more,  # type: ignore[arg-type]
    )


def replica(
    name: str, of: str | None = None, timeline: int = 1, system: str = "7"
) -> Observation:
    return attrs.evolve(
        primary(name, timeline, system),
        role=Role.REPLICA,
        source=Source.NONE if of is None else Source.STREAM,
        upstream=None if of is None else (of, 5432),
    )


def cluster(leader: str = "a", timeline: int = 1) -> dict[str, Observation]:
    """Three nodes, the replicas following the primary."""
    return {
        name: primary(name, timeline) if name == leader else replica(name, leader, timeline)
        for name in "abc"
    }


def running(leader: str = "a", timeline: int = 1, **more: object) -> Topology:
    topology = Topology()
    seen = cluster(leader, timeline)
    seen[leader] = primary(leader, timeline, **more)  # type: ignore[arg-type]
    for _ in range(2):
        topology.consider(seen, settled=True)
    assert topology.primary == leader
    return topology


def restarted(topology: Topology) -> Topology:
    """Return what is known after a restart."""
    members = {name: (name, 5432) for name in topology.members}
    return Topology(
        Remembered(
            identity=topology.identity,
            timeline=topology.timeline,
            highest=topology.highest,
            history=topology.history,
            primary=topology.primary,
            members=members,
            rivals=topology.rivals,
            abandoned=topology.abandoned,
        )
    )


def leads(topology: Topology, seen: dict[str, Observation]) -> str | None:
    """Return who leads among *seen* and is up; see them twice, for nothing may depend on how often."""
    for _ in range(2):
        topology.consider(seen, settled=True)
    return topology.primary if topology.no_writes is None else None


def doubt(topology: Topology) -> Doubt | None:
    return None if topology.no_writes is None else topology.no_writes.doubt


BOTH = pytest.mark.parametrize("again", [lambda topology: topology, restarted])
"""While it runs, and after a restart."""


# -- an old primary up, the new one down ------------------------------------------------------------


@BOTH
def test_the_new_primary_is_awaited(again):
    topology = again(running("b", 2))

    assert leads(topology, {"a": primary("a"), "c": replica("c", "a")}) is None
    assert doubt(topology) is Doubt.AWAITS_PRIMARY
    assert topology.doubts == {"a": Doubt.OBSOLETE}

    seen = {"a": primary("a"), "b": primary("b", 2), "c": replica("c", "a")}
    assert leads(topology, seen) == "b"


@BOTH
def test_an_operator_may_accept_the_old_one(again):
    topology = again(running("b", 2))
    seen = {"a": primary("a"), "c": replica("c", "b", 2)}
    leads(topology, seen)

    topology.accept("a", seen)

    assert leads(topology, seen) == "a"
    assert topology.timeline == 1
    back = {**seen, "b": primary("b", 2)}
    assert leads(topology, back) == "a"
    assert leads(restarted(topology), back) == "a"
    # A promotion of what follows it begins timeline 2 as well, and is its successor.
    following = {"a": primary("a"), "b": primary("b", 2), "c": replica("c", "a")}
    assert leads(topology, following) == "a"
    assert leads(topology, {"b": primary("b", 2), "c": primary("c", 2)}) == "c"


def test_the_newest_timeline_is_awaited_when_its_primary_was_removed():
    topology = restarted(running("b", 2))
    topology.forget("b")

    assert leads(topology, {"a": primary("a"), "c": replica("c")}) is None
    assert doubt(topology) is Doubt.AWAITS_TIMELINE
    assert leads(topology, {"c": replica("c")}) is None
    assert doubt(topology) is Doubt.AWAITS_TIMELINE


# -- two primaries, one timeline higher -------------------------------------------------------------


@BOTH
def test_a_replica_that_was_promoted_leads(again):
    topology = again(running())

    assert leads(topology, {"b": primary("b", 2), "c": replica("c")}) == "b"


@BOTH
def test_a_newer_one_that_more_follow_leads_though_the_old_one_is_up(again):
    topology = again(running())
    seen = {"a": primary("a"), "b": primary("b", 2), "c": replica("c", "b", 2)}

    assert leads(topology, seen) == "b"
    assert topology.doubts == {"a": Doubt.OBSOLETE}


@BOTH
def test_one_whose_history_left_ours_never_leads(again):
    topology = again(running(timeline=2, history=(ORIGIN,)))
    other = primary("b", 3, history=(ELSEWHERE, Fork(2, LSN(900))))

    assert leads(topology, {"b": other, "c": replica("c", "b", 3)}) is None
    assert topology.doubts == {"b": Doubt.DIVERGED}


@BOTH
def test_one_never_seen_before_leads_if_its_history_shows_that_it_may(again):
    topology = again(running())

    assert leads(topology, {"n": primary("n", 2)}) is None
    assert topology.doubts == {"n": Doubt.UNPROVEN}

    topology = again(running())
    assert leads(topology, {"n": primary("n", 2, history=(ORIGIN,))}) == "n"


def test_two_that_were_promoted_have_the_same_right():
    topology = running()

    assert leads(topology, {"b": primary("b", 2), "c": primary("c", 2)}) is None
    assert doubt(topology) is Doubt.SPLIT_BRAIN


def test_a_promotion_is_looked_into_before_it_counts():
    topology = running()
    new = primary("b", 2, examined=False)

    assert leads(topology, {"b": new, "c": replica("c")}) is None
    assert leads(topology, {"a": primary("a"), "b": new}) == "a"
    assert not topology.doubts

    topology = Topology()
    assert leads(topology, {"b": new}) is None
    assert doubt(topology) is Doubt.NOT_ALL_SEEN


# -- two primaries on one timeline ------------------------------------------------------------------


def test_at_the_start_the_one_that_more_follow_leads():
    seen = {"a": primary("a"), "b": primary("b"), "c": replica("c", "b")}
    topology = Topology()

    assert leads(topology, seen) == "b"
    assert topology.doubts == {"a": Doubt.RIVAL}
    assert leads(restarted(topology), seen) == "b"


def test_at_the_start_none_leads_if_none_is_followed():
    topology = Topology()

    assert leads(topology, {"a": primary("a"), "b": primary("b"), "c": replica("c")}) is None
    assert doubt(topology) is Doubt.SPLIT_BRAIN


def test_one_that_most_replicas_follow_now_leads():
    topology = running(timeline=2)
    seen = {"a": primary("a", 2), "b": primary("b", 2), "c": replica("c", "b", 2)}

    assert leads(topology, seen) == "b"


@BOTH
def test_a_leader_that_comes_back_to_a_rival_must_be_followed(again):
    topology = again(running("a", 2))
    assert leads(topology, {"b": primary("b", 2), "c": replica("c", None, 2)}) is None
    assert doubt(topology) is Doubt.AWAITS_PRIMARY

    both = {"a": primary("a", 2), "b": primary("b", 2)}
    assert leads(topology, {**both, "c": replica("c", None, 2)}) is None
    assert doubt(topology) is Doubt.SPLIT_BRAIN
    assert leads(topology, {"b": primary("b", 2), "c": replica("c", None, 2)}) is None
    assert leads(topology, {**both, "c": replica("c", "a", 2)}) == "a"


def test_the_same_number_reached_by_another_way_is_no_rival_but_diverged():
    topology = running("a", 2, history=(ORIGIN,))
    other = primary("b", 2, history=(ELSEWHERE,))

    assert leads(topology, {"b": other, "c": replica("c", "b", 2)}) is None
    assert topology.doubts == {"b": Doubt.DIVERGED}


# -- another cluster --------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("timeline", [1, 9])
def test_a_primary_of_another_cluster_is_never_used(again, timeline: int):
    topology = again(running())
    stranger = primary("x", timeline, "8")

    assert leads(topology, {**cluster(), "x": stranger}) == "a"
    assert topology.doubts == {"x": Doubt.OTHER_CLUSTER}
    assert leads(topology, {"x": stranger, "c": replica("c")}) is None
    assert doubt(topology) is Doubt.AWAITS_PRIMARY
    assert leads(topology, {"x": stranger}) is None
    assert doubt(topology) is Doubt.OTHER_CLUSTER
    assert leads(topology, {}) is None
    assert doubt(topology) is Doubt.AWAITS_PRIMARY


def test_at_the_start_the_majority_says_whose_cluster_it_is():
    strangers = {"x": primary("x", 9, "8"), "y": replica("y", "x", 9, "8")}

    assert leads(Topology(), {**cluster(), **strangers}) == "a"


def test_at_the_start_without_a_majority_none_leads():
    topology = Topology()

    assert leads(topology, {"a": primary("a"), "x": primary("x", 9, "8")}) is None
    assert doubt(topology) is Doubt.UNKNOWN_CLUSTER


def test_an_operator_may_accept_another_cluster_after_an_upgrade():
    topology = running(timeline=4)
    upgraded = {"a": primary("a", 1, "8"), "b": replica("b", "a", 1, "8")}
    assert leads(topology, upgraded) is None

    topology.accept("a", upgraded)

    assert leads(topology, upgraded) == "a"
    assert (topology.identity, topology.timeline, topology.doubts) == ("8", 1, {})


# -- a promoted copy --------------------------------------------------------------------------------

COPY = primary("copy", 2)


@BOTH
def test_a_copy_is_not_used_while_the_primary_is_up_nor_when_it_goes(again):
    topology = again(running())

    assert leads(topology, {**cluster(), "copy": COPY}) == "a"
    topology = again(topology)
    assert leads(topology, {"b": replica("b"), "c": replica("c"), "copy": COPY}) is None
    assert leads(topology, {"b": primary("b", 2), "c": replica("c"), "copy": COPY}) == "b"
    assert topology.doubts == {"copy": Doubt.RIVAL}


def test_replicas_of_a_copy_do_not_elect_it():
    topology = running()
    copies = {"copy": COPY, **{name: replica(name, "copy", 2) for name in ("d", "e", "f")}}

    assert leads(topology, {"a": primary("a"), **copies}) == "a"
    followers = {name: copies[name] for name in ("d", "e", "f")}
    assert leads(topology, {"a": primary("a"), **followers}) == "a"
    assert leads(topology, copies) is None
    assert doubt(topology) is Doubt.AWAITS_PRIMARY


def test_at_the_start_a_copy_is_not_used_while_the_primary_is_followed():
    topology = Topology()
    copy = attrs.evolve(COPY, promoted_at=50.0)
    seen = {**cluster(), "a": primary("a", started_at=10.0), "copy": copy}

    assert leads(topology, seen) == "a"
    assert topology.doubts == {"copy": Doubt.NOT_FOLLOWED}


def test_at_the_start_a_primary_that_was_away_during_a_promotion_is_obsolete():
    seen = {**cluster(), "a": primary("a", started_at=60.0)}
    seen["b"] = primary("b", 2, promoted_at=50.0)

    assert leads(Topology(), seen) == "b"


@BOTH
def test_a_replica_that_was_promoted_beside_the_primary_leads_though_that_is_still_followed(
    again,
):
    topology = again(running())

    assert (
        leads(topology, {"a": primary("a"), "b": primary("b", 2), "c": replica("c", "a")})
        == "b"
    )
    assert topology.doubts == {"a": Doubt.OBSOLETE}


# -- others -----------------------------------------------------------------------------------------


@BOTH
def test_when_all_restart_the_primary_is_awaited(again):
    topology = again(running())

    assert leads(topology, {}) is None
    assert leads(topology, {"b": replica("b"), "c": replica("c")}) is None
    assert doubt(topology) is Doubt.AWAITS_PRIMARY
    assert leads(topology, cluster()) == "a"


def test_at_the_start_without_a_primary_none_leads():
    topology = Topology()

    assert leads(topology, {"b": replica("b")}) is None
    assert doubt(topology) is Doubt.NO_PRIMARY


def test_replicas_of_a_newer_timeline_prove_the_primary_obsolete_unless_more_follow_it():
    ahead = replica("c", "elsewhere", 2)

    topology = running()
    seen = {"a": primary("a"), "b": replica("b", "a"), "c": ahead, "d": replica("d", "a")}
    assert leads(topology, seen) == "a"

    seen["d"] = replica("d", "elsewhere", 2)
    assert leads(topology, seen) is None
    assert doubt(topology) is Doubt.AWAITS_TIMELINE
    assert topology.doubts == {"a": Doubt.OBSOLETE}
    assert leads(topology, {**seen, "n": primary("n", 2)}) == "n"

    at_the_start = Topology()
    assert leads(at_the_start, {"a": primary("a"), "c": ahead}) is None


def test_a_primary_of_another_name_leads_on():
    topology = running()
    topology.forget("a")

    seen = {"renamed": primary("a"), "b": replica("b", "a"), "c": replica("c", "a")}
    topology = running()
    topology.forget("a")
    assert leads(topology, seen) == "renamed"


def test_a_primary_that_was_demoted_and_promoted_again_leads():
    topology = running()
    assert leads(topology, {**cluster(), "a": replica("a")}) is None

    assert leads(topology, {**cluster(), "a": primary("a", 2)}) == "a"


def test_replicas_stray_that_follow_another_primary():
    topology = running()
    leads(topology, {**cluster(), "copy": COPY, "d": replica("d", "copy", 2)})

    assert topology.strays("d")
    assert not topology.strays("b")
    assert "d" not in topology.members


@pytest.mark.parametrize("promoted_at", [None, 50.0])
def test_at_the_start_followers_decide_where_nothing_shows_that_a_primary_was_away(promoted_at):
    seen = {**cluster(), "d": primary("d", 2, promoted_at=promoted_at)}

    assert leads(Topology(), seen) == "a"


def test_a_rival_that_was_seen_before_the_leader_was_looked_at_is_no_more_than_before():
    topology = restarted(running())

    topology.consider({"b": primary("b")}, settled=False)

    assert leads(topology, {"a": primary("a"), "b": primary("b")}) == "a"
