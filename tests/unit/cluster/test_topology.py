"""Who the primary is, among all that say so."""

from __future__ import annotations

from rwsplit.cluster.doubt import Doubt
from rwsplit.cluster.node import Role
from rwsplit.cluster.observation import Observation
from rwsplit.cluster.topology import Topology
from rwsplit.lsn import LSN


def look(role: Role, timeline: int = 1, *, system: str = "7") -> Observation:
    return Observation(
        role=role,
        timeline=timeline,
        lsn=LSN(1000),
        system_identifier=system,
        server_version="16.4",
    )


def primary(timeline: int = 1, *, system: str = "7") -> Observation:
    return look(Role.PRIMARY, timeline, system=system)


def replica(timeline: int = 1, *, system: str = "7") -> Observation:
    return look(Role.REPLICA, timeline, system=system)


def settled_on(name: str, timeline: int = 1) -> Topology:
    topology = Topology()
    assert topology.consider({name: primary(timeline)}, settled=True)
    others = {"a", "b", "c"} - {name}
    assert not topology.consider(
        {name: primary(timeline), **dict.fromkeys(others, replica(timeline))}, settled=True
    )
    return topology


def test_nobody_leads_at_first():
    topology = Topology()

    assert not topology.consider({}, settled=True)
    assert topology.primary is None
    assert topology.timeline is None


def test_the_only_claim_leads():
    topology = Topology()

    assert topology.consider({"a": primary(3), "b": replica(3)}, settled=True)

    assert (topology.primary, topology.timeline) == ("a", 3)


def test_nobody_is_chosen_before_everybody_was_looked_at():
    topology = Topology()

    assert not topology.consider({"a": primary()}, settled=False)
    assert topology.primary is None

    assert topology.consider({"a": primary(), "b": replica()}, settled=True)
    assert topology.primary == "a"


def test_seeing_the_same_again_changes_nothing():
    topology = settled_on("a")

    assert not topology.consider({"a": primary(), "b": replica()}, settled=True)
    assert topology.primary == "a"


def test_a_primary_that_is_down_stays_the_primary_by_name():
    topology = settled_on("a")

    assert not topology.consider({"b": replica()}, settled=True)
    assert topology.primary == "a"


def test_a_promotion_is_followed():
    topology = settled_on("a")

    assert topology.consider({"b": primary(2)}, settled=True)

    assert (topology.primary, topology.timeline) == ("b", 2)


def test_a_promotion_is_followed_while_the_old_primary_still_answers():
    topology = settled_on("a")

    assert topology.consider({"a": primary(1), "b": primary(2)}, settled=True)

    assert topology.primary == "b"
    assert not topology.rivals


def test_an_old_primary_that_comes_back_is_not_the_primary():
    topology = settled_on("a")
    topology.consider({"b": primary(2)}, settled=True)

    assert not topology.consider({"a": primary(1), "b": primary(2)}, settled=True)
    assert topology.primary == "b"
    assert not topology.follows(primary(1))


def test_an_old_primary_is_not_chosen_either_while_the_new_one_is_down():
    topology = settled_on("a")
    topology.consider({"b": primary(2)}, settled=True)

    assert not topology.consider({"a": primary(1)}, settled=True)
    assert topology.primary == "b"


def test_a_replica_on_a_newer_timeline_proves_the_primary_obsolete():
    topology = settled_on("a")

    assert not topology.consider({"a": primary(1), "c": replica(2)}, settled=True)
    assert topology.primary is None

    assert topology.consider({"a": primary(1), "b": primary(2)}, settled=True)
    assert topology.primary == "b"


def test_a_demoted_primary_leads_no_more():
    topology = settled_on("a")

    assert not topology.consider({"a": replica()}, settled=True)
    assert topology.primary is None


def test_of_two_on_one_timeline_the_one_known_first_keeps_the_writes():
    topology = settled_on("a")

    assert not topology.consider({"a": primary(), "b": primary()}, settled=True)

    assert topology.primary == "a"
    assert topology.rivals == {"b"}


def test_a_rival_is_not_chosen_when_the_first_goes_down():
    topology = settled_on("a")
    topology.consider({"a": primary(), "b": primary()}, settled=True)

    assert not topology.consider({"b": primary()}, settled=True)

    assert topology.primary == "a"
    assert topology.rivals == {"b"}


def test_a_rival_that_became_a_replica_is_forgiven():
    topology = settled_on("a")
    topology.consider({"a": primary(), "b": primary()}, settled=True)

    topology.consider({"a": primary(), "b": replica()}, settled=True)

    assert not topology.rivals


def test_a_rival_that_followed_and_was_promoted_leads():
    topology = settled_on("a")
    topology.consider({"a": primary(), "b": primary()}, settled=True)
    topology.consider({"a": primary(), "b": replica()}, settled=True)

    assert topology.consider({"a": primary(), "b": primary(2)}, settled=True)
    assert topology.primary == "b"


def test_a_rival_leads_when_the_first_was_demoted():
    topology = settled_on("a")
    topology.consider({"a": primary(), "b": primary()}, settled=True)

    assert topology.consider({"a": replica(), "b": primary()}, settled=True)
    assert topology.primary == "b"


def test_of_two_at_the_start_none_is_chosen_until_one_is_gone():
    topology = Topology()

    assert not topology.consider({"a": primary(), "b": primary()}, settled=True)
    assert topology.primary is None
    assert topology.rivals == {"a", "b"}

    assert topology.consider({"b": primary()}, settled=True)
    assert topology.primary == "b"
    assert not topology.rivals


def test_two_new_claims_while_the_primary_is_down_get_nothing():
    topology = settled_on("a")

    assert not topology.consider({"b": primary(), "c": primary()}, settled=True)

    assert topology.primary == "a"
    assert topology.rivals == {"b", "c"}


def test_one_new_claim_on_the_same_timeline_does_not_lead_while_the_primary_is_down():
    """Two promotions of two replicas both begin timeline 2: what was written to the first is not on the second."""
    topology = settled_on("a", 2)

    assert not topology.consider({"b": primary(2)}, settled=True)

    assert topology.primary == "a"
    assert topology.doubts == {"b": Doubt.RIVAL}
    assert str(topology.no_writes) == (
        "node a, the primary of timeline 2, is not up; rwsplit waits for it; node b says it is the primary; "
        "if another node is to be the primary: rwsplit node accept NAME"
    )


def test_a_node_of_another_cluster_counts_for_nothing():
    topology = settled_on("a")
    stranger = primary(9, system="8")

    assert not topology.consider({"a": primary(), "b": stranger}, settled=True)

    assert topology.primary == "a"
    assert not topology.is_ours(stranger)
    assert not topology.follows(replica(1, system="8"))
    assert topology.follows(replica(1))


def test_removing_the_primary_frees_its_place_for_the_rival():
    topology = settled_on("a")
    topology.consider({"a": primary(), "b": primary()}, settled=True)

    topology.forget("a")

    assert topology.primary is None
    assert topology.consider({"b": primary()}, settled=True)
    assert topology.primary == "b"


def test_removing_a_rival_ends_the_quarrel():
    topology = settled_on("a")
    topology.consider({"a": primary(), "b": primary()}, settled=True)

    topology.forget("b")

    assert topology.primary == "a"
    assert not topology.rivals
