"""Probes and failures go in, ClusterViews come out."""

from __future__ import annotations

import attrs
import pytest

from rwsplit.cluster.doubt import Doubt, NoWrites
from rwsplit.cluster.node import (
    NEVER,
    AdminState,
    Banned,
    Down,
    Frozen,
    NodeView,
    Refusal,
    Role,
    Suspect,
    Up,
)
from rwsplit.cluster.observation import Observation, Source
from rwsplit.cluster.picture import Picture
from rwsplit.config.model import Config, ConsistencyConfig, MonitorConfig, NodeConfig
from rwsplit.lsn import LSN


def configure(*nodes: NodeConfig, **consistency: float) -> Config:
    return Config(
        nodes=nodes or tuple(node(f"pg{number}") for number in range(3)),
        monitor=MonitorConfig(rise=2, fall=2),
        consistency=ConsistencyConfig(**consistency),  # type: ignore[arg-type]
    )


def node(name: str, **settings: object) -> NodeConfig:
    values: dict[str, object] = {"host": "10.0.0.1", "port": 5000 + int(name[2:]), **settings}
    return NodeConfig(name=name, **values)  # type: ignore[arg-type]


def look(
    role: Role = Role.REPLICA,
    lsn: int = 1000,
    *,
    timeline: int = 1,
    age: float | None = None,
    system: str = "7",
) -> Observation:
    return Observation(
        role=role,
        timeline=timeline,
        lsn=LSN(lsn),
        system_identifier=system,
        server_version="16.4",
        replay_age=age,
    )


def primary(lsn: int = 1000, *, timeline: int = 1) -> Observation:
    return look(Role.PRIMARY, lsn, timeline=timeline)


def running(config: Config | None = None) -> Picture:
    """pg0 leads, the others have replayed everything; the last sample was sent at 100.0."""
    picture = Picture(config or configure(), 99.0)
    names = list(picture._nodes)
    for name in names:
        picture.observed(name, primary() if name == "pg0" else look(), 99.5, 99.6)
    picture.observed("pg0", primary(), 100.0, 100.1)
    for name in names[1:]:
        picture.observed(name, look(), 100.1, 100.2)
    return picture


def refusals(picture: Picture, now: float) -> dict[str, Refusal | None]:
    return {view.name: view.refusal for view in picture.compose(now).nodes}


def names(nodes: tuple[NodeView, ...]) -> list[str]:
    return [view.name for view in nodes]


def test_before_any_probe_nobody_is_eligible():
    view = Picture(configure(), 99.0).compose(99.0)

    assert view.primary is None
    assert view.replicas == ()
    assert {n.refusal for n in view.nodes} == {Refusal.DOWN}
    assert [n.index for n in view.nodes] == [0, 1, 2]


def test_a_running_cluster_has_a_primary_and_readers():
    view = running().compose(100.5)

    assert view.primary is not None
    assert view.primary.name == "pg0"
    assert view.primary.refusal is Refusal.NOT_A_REPLICA
    assert names(view.replicas) == ["pg1", "pg2"]
    assert view.stopped_at is None
    replica = view.replicas[0]
    assert (replica.role, replica.health, replica.timeline) == (Role.REPLICA, Up(), 1)
    assert (replica.lsn, replica.lag_bytes, replica.lag_seconds) == (1000, 0, 0.0)
    assert (replica.fresh_until, replica.server_version) == (100.0, "16.4")


def test_views_count_up_and_reuse_what_did_not_change():
    picture = running()

    first, second = picture.compose(100.5), picture.compose(100.6)

    assert second.generation == first.generation + 1
    assert all(a is b for a, b in zip(first.nodes, second.nodes, strict=True))


def test_a_replica_that_falls_behind_lags_by_time():
    picture = running(configure(max_lag=10.0))
    picture.observed("pg0", primary(5000), 111.0, 111.1)
    picture.observed("pg1", look(lsn=5000), 111.2, 111.3)
    picture.observed("pg2", look(lsn=4000, age=10.9), 111.2, 111.3)

    view = picture.compose(111.4)

    assert names(view.replicas) == ["pg1"]
    lagging = view.nodes[2]
    assert lagging.refusal is Refusal.LAGGING
    assert (lagging.lag_bytes, lagging.lag_seconds, lagging.fresh_until) == (1000, 10.9, 100.0)


def test_a_replica_that_falls_behind_lags_by_bytes():
    picture = running(configure(max_lag_bytes=500))

    picture.observed("pg0", primary(5000), 101.0, 101.1)
    picture.observed("pg1", look(lsn=4500), 101.2, 101.3)
    picture.observed("pg2", look(lsn=4499), 101.2, 101.3)

    assert refusals(picture, 101.4)["pg1"] is None
    assert refusals(picture, 101.4)["pg2"] is Refusal.LAGGING


def test_a_replica_ahead_of_the_last_sample_has_no_negative_lag():
    picture = running()
    picture.observed("pg1", look(lsn=9000), 100.3, 100.4)

    assert picture.compose(100.5).nodes[1].lag_bytes == 0


def test_lag_is_unknown_before_the_first_sample():
    picture = Picture(configure(), 99.0)
    picture.observed("pg1", look(age=3.0), 99.1, 99.2)

    view = picture.compose(99.3)

    assert (view.nodes[1].lag_bytes, view.nodes[1].lag_seconds) == (None, 3.0)
    assert view.nodes[1].refusal is Refusal.UNKNOWN_FRESHNESS


def test_a_replica_that_has_not_reached_a_sample_is_of_unknown_freshness():
    picture = running(configure())
    picture.failed("pg1", "lost", 100.3, lost=True)
    picture.observed("pg1", look(lsn=1), 100.4, 100.5)

    assert refusals(picture, 100.6)["pg1"] is Refusal.UNKNOWN_FRESHNESS


def test_reads_go_on_when_the_primary_is_gone_for_hours():
    picture = running(configure(max_lag=10.0))
    for _ in range(2):
        picture.failed("pg0", "refused", 101.0, lost=True)

    view = picture.compose(9999.0)

    assert view.primary is None
    assert view.stopped_at == 100.0
    assert names(view.replicas) == ["pg1", "pg2"]
    assert view.staleness(view.replicas[0], 9999.0) == 0.0
    assert view.replicas[0].fresh_until == 100.0


def test_a_replica_that_was_behind_when_the_primary_died_must_catch_up_first():
    picture = running(configure(max_lag=10.0))
    picture.observed("pg0", primary(5000), 120.0, 120.1)
    picture.observed("pg1", look(lsn=5000), 120.2, 120.3)
    for _ in range(2):
        picture.failed("pg0", "refused", 121.0, lost=True)

    assert refusals(picture, 121.5)["pg2"] is Refusal.LAGGING

    picture.observed("pg2", look(lsn=5000), 130.0, 130.1)
    assert refusals(picture, 130.2)["pg2"] is None


def test_a_primary_that_is_detached_gets_no_writes_but_time_goes_on():
    picture = running(configure(max_lag=10.0))

    picture.set_admin("pg0", AdminState.DETACHED)

    view = picture.compose(200.0)
    assert view.primary is None
    assert view.stopped_at is None
    assert view.nodes[0].refusal is Refusal.DETACHED
    assert view.nodes[1].refusal is Refusal.LAGGING


def test_since_when_there_is_no_primary_is_known_until_there_is_one():
    picture = running()
    assert picture.compose(100.0).no_primary_since is None

    picture.set_admin("pg0", AdminState.DETACHED)
    assert picture.compose(200.0).no_primary_since == 200.0
    assert picture.compose(210.0).no_primary_since == 200.0

    picture.set_admin("pg0", AdminState.ATTACHED)
    assert picture.compose(220.0).no_primary_since is None


@pytest.mark.parametrize(
    ("state", "refusal"),
    [(AdminState.DRAINING, Refusal.DRAINING), (AdminState.DETACHED, Refusal.DETACHED)],
)
def test_a_replica_the_operator_wants_out_is_out(state: AdminState, refusal: Refusal):
    picture = running()

    picture.set_admin("pg1", state)

    assert picture.admin("pg1") is state
    assert refusals(picture, 100.5)["pg1"] is refusal
    picture.set_admin("pg1", AdminState.ATTACHED)
    assert refusals(picture, 100.5)["pg1"] is None


def test_an_unknown_node_cannot_be_steered():
    picture = running()

    with pytest.raises(KeyError):
        picture.set_admin("pg9", AdminState.DETACHED)
    with pytest.raises(KeyError):
        picture.admin("pg9")


def test_what_the_operator_wanted_is_remembered_across_a_restart():
    remembered = {"pg1": AdminState.DETACHED, "gone": AdminState.DETACHED}

    picture = Picture(configure(), 99.0, remembered)

    assert picture.compose(99.0).nodes[1].admin is AdminState.DETACHED


def test_a_failure_met_by_a_session_bans_a_replica_and_voids_its_freshness():
    picture = running()

    picture.struck("pg1", "connection lost", 100.4)

    view = picture.compose(100.5)
    assert view.nodes[1].health == Banned(reason="connection lost", until=101.4, strikes=1)
    assert view.nodes[1].refusal is Refusal.BANNED
    assert view.nodes[1].fresh_until == NEVER


def test_a_probe_sent_before_a_connection_was_lost_proves_nothing():
    picture = running()
    picture.struck("pg1", "connection lost", 100.4)

    picture.observed("pg1", look(), 100.3, 100.5)
    assert picture.compose(100.6).nodes[1].fresh_until == NEVER

    picture.observed("pg1", look(), 100.5, 100.6)
    assert picture.compose(100.6).nodes[1].fresh_until == 100.0


def test_a_failure_met_on_the_primary_counts_as_one_failed_probe():
    picture = running()

    picture.struck("pg0", "refused", 100.4)
    assert picture.compose(100.5).primary is not None

    picture.struck("pg0", "refused", 100.5)
    assert picture.compose(100.6).primary is None
    assert picture.compose(100.6).nodes[0].health == Down(since=100.5, reason="refused")


def test_a_slow_replica_keeps_its_freshness_until_it_is_down():
    picture = running()

    picture.failed("pg1", "no answer", 100.4, lost=False)
    assert picture.compose(100.5).nodes[1].refusal is None

    picture.failed("pg1", "no answer", 100.6, lost=False)
    view = picture.compose(100.7)
    assert view.nodes[1].refusal is Refusal.DOWN
    assert (view.nodes[1].lag_bytes, view.nodes[1].lag_seconds) == (None, None)


def test_with_nobody_left_automatic_bans_are_lifted():
    picture = running()
    picture.set_admin("pg0", AdminState.DETACHED)
    for name in ("pg1", "pg2"):
        picture.struck(name, "connection lost", 100.4)
    picture.observed("pg1", look(), 100.5, 100.6)

    view = picture.compose(100.7)

    assert names(view.replicas) == ["pg1"]
    assert isinstance(view.replicas[0].health, Banned)
    assert view.nodes[2].refusal is Refusal.BANNED  # nothing is known of it since


def test_bans_hold_while_the_primary_can_answer():
    picture = running()
    for name in ("pg1", "pg2"):
        picture.struck(name, "connection lost", 100.4)
        picture.observed(name, look(), 100.5, 100.6)

    view = picture.compose(100.7)

    assert view.primary is not None
    assert view.replicas == ()


def test_a_promotion_voids_all_freshness_until_it_is_proven_anew():
    picture = running()
    for _ in range(2):
        picture.failed("pg0", "refused", 101.0, lost=True)

    picture.observed("pg1", primary(1500, timeline=2), 102.0, 102.1)

    view = picture.compose(102.2)
    assert view.primary is not None
    assert view.primary.name == "pg1"
    assert view.nodes[2].refusal is Refusal.OTHER_TIMELINE
    assert view.nodes[2].fresh_until == NEVER

    picture.observed("pg2", look(lsn=1500, timeline=2), 102.3, 102.4)
    view = picture.compose(102.5)
    assert view.nodes[2].refusal is None
    assert view.nodes[2].fresh_until == 102.0


def test_the_old_primary_comes_back_as_nothing_at_all():
    picture = running()
    picture.observed("pg1", primary(1500, timeline=2), 102.0, 102.1)
    picture.observed("pg0", primary(9000, timeline=1), 102.2, 102.3)

    view = picture.compose(102.4)

    assert view.primary is not None
    assert view.primary.name == "pg1"
    assert view.nodes[0].role is Role.PRIMARY
    assert view.nodes[0].refusal is Refusal.OTHER_TIMELINE


def test_a_rival_on_the_same_timeline_is_neither_primary_nor_replica():
    picture = running()
    picture.observed("pg1", primary(99_000), 100.3, 100.4)

    view = picture.compose(100.5)

    assert view.primary is not None
    assert view.primary.name == "pg0"
    assert view.nodes[1].refusal is Refusal.NOT_THE_PRIMARY
    assert view.nodes[1].doubt is Doubt.RIVAL
    assert picture.topology.rivals == {"pg1"}
    assert picture.clock.last_sample == (100.0, 1000)


def test_a_banned_replica_that_was_promoted_leads_at_once():
    picture = running()
    picture.struck("pg1", "connection lost", 100.4)

    picture.observed("pg1", primary(1500, timeline=2), 100.5, 100.6)

    view = picture.compose(100.7)
    assert view.primary is not None
    assert view.primary.name == "pg1"


def test_a_node_of_another_cluster_is_refused():
    picture = running()
    picture.observed("pg1", look(system="8"), 100.3, 100.4)

    assert refusals(picture, 100.5)["pg1"] is Refusal.OTHER_CLUSTER


def test_backups_read_only_when_nobody_else_can():
    config = configure(node("pg0"), node("pg1"), node("pg2", backup=True))
    picture = running(config)

    assert names(picture.compose(100.5).replicas) == ["pg1"]

    picture.set_admin("pg1", AdminState.DETACHED)
    assert names(picture.compose(100.5).replicas) == ["pg2"]


def test_a_replica_of_weight_zero_takes_no_reads():
    picture = running(configure(node("pg0"), node("pg1", weight=0), node("pg2")))

    view = picture.compose(100.5)

    assert names(view.replicas) == ["pg2"]
    assert view.nodes[1].refusal is None


def test_behind_are_those_that_have_not_proven_the_last_sample():
    picture = running()
    assert list(picture.behind()) == []

    picture.observed("pg0", primary(2000), 101.0, 101.1)
    assert list(picture.behind()) == ["pg1", "pg2"]

    picture.observed("pg1", look(lsn=2000), 101.2, 101.3)
    assert list(picture.behind()) == ["pg2"]

    for _ in range(2):
        picture.failed("pg2", "refused", 101.4, lost=True)
    assert list(picture.behind()) == []


def test_behind_is_everybody_up_before_the_first_sample():
    picture = Picture(configure(), 99.0)
    picture.observed("pg1", look(), 99.1, 99.2)

    assert list(picture.behind()) == ["pg1"]


def test_a_new_configuration_keeps_what_is_known_of_unchanged_nodes():
    picture = running()
    picture.set_admin("pg1", AdminState.DETACHED)
    before = picture.compose(100.5)
    config = configure(node("pg3"), node("pg0"), node("pg1", weight=5), max_lag=1.0)

    picture.reconfigure(config, 100.6)

    view = picture.compose(100.7)
    assert names(view.nodes) == ["pg3", "pg0", "pg1"]
    assert [n.index for n in view.nodes] == [0, 1, 2]
    assert view.primary is view.nodes[1]
    assert view.nodes[0].refusal is Refusal.DOWN
    assert (view.nodes[2].weight, view.nodes[2].admin) == (5, AdminState.DETACHED)
    assert view.nodes[2].fresh_until == before.nodes[1].fresh_until


def test_a_node_with_a_new_address_is_a_new_node_with_the_old_orders():
    picture = running()
    picture.set_admin("pg1", AdminState.DETACHED)

    picture.reconfigure(configure(node("pg0"), node("pg1", host="10.9.9.9")), 100.6)

    view = picture.compose(100.7)
    assert view.nodes[1].role is Role.UNKNOWN
    assert view.nodes[1].health == Down(since=100.6, reason="not probed yet")
    assert view.nodes[1].admin is AdminState.DETACHED


def test_removing_the_primary_leaves_none():
    picture = running()

    picture.reconfigure(configure(node("pg1"), node("pg2")), 100.6)

    view = picture.compose(100.7)
    assert view.primary is None
    assert names(view.replicas) == ["pg1", "pg2"]
    assert view.stopped_at == 100.0


def test_thresholds_are_reloaded():
    picture = running()
    config = attrs.evolve(configure(), monitor=MonitorConfig(rise=1, fall=1))

    picture.reconfigure(config, 100.6)
    picture.failed("pg1", "refused", 100.7, lost=True)

    assert refusals(picture, 100.8)["pg1"] is Refusal.DOWN


# -- who is the primary, across restarts ------------------------------------------------------------


def followed(name: str, source: Source = Source.STREAM, *, timeline: int = 1) -> Observation:
    """A replica that follows the node at *name*'s place."""
    upstream = ("10.0.0.1", 5000 + int(name[2:])) if source is Source.STREAM else None
    return attrs.evolve(
        look(timeline=timeline), source=source, upstream=upstream, received=LSN(7)
    )


def at_home(name: str, seen: Observation) -> Observation:
    return attrs.evolve(seen, places=frozenset({("10.0.0.1", 5000 + int(name[2:]))}))


def test_what_is_known_is_remembered():
    picture = running()
    picture.observed("pg0", primary(2000), 101.0, 101.1)

    known = picture.remember()

    assert (known.identity, known.timeline, known.highest, known.primary) == ("7", 1, 1, "pg0")
    assert known.lsn == 2000
    assert known.members["pg1"] == ("10.0.0.1", 5001)
    assert set(known.members) == {"pg0", "pg1", "pg2"}

    again = Picture(configure(), 0.0, None, known)
    assert again.topology.primary == "pg0"
    assert again.last_lsn == 2000
    assert again.compose(0.0).no_writes is not None
    again.observed("pg1", primary(9000, timeline=1), 0.1, 0.2)
    again.observed("pg0", primary(3000), 0.3, 0.4)
    assert again.last_lsn == 3000
    assert again.topology.primary == "pg0"


def test_a_node_that_was_moved_or_removed_is_not_the_one_that_is_remembered():
    known = running().remember()

    moved = Picture(configure(node("pg0", port=1), node("pg1")), 0.0, None, known)

    assert moved.topology.primary is None
    assert moved.topology.members == {"pg1"}
    assert moved.topology.timeline == 1


def test_an_accepted_node_leads_and_nothing_is_known_of_freshness():
    picture = running()
    picture.observed("pg1", primary(99_000), 100.3, 100.4)

    picture.accept("pg1", 100.45)

    view = picture.compose(100.5)
    assert view.primary is not None
    assert view.primary.name == "pg1"
    assert view.no_writes is None
    assert view.nodes[0].doubt is Doubt.ABANDONED
    assert picture.last_lsn is None


def test_why_nobody_takes_writes_is_in_the_view():
    picture = running()
    picture.unsaved = "the disk is full"
    for _ in range(2):
        picture.failed("pg0", "refused", 101.0, lost=True)

    view = picture.compose(101.5)

    assert view.no_writes == NoWrites(Doubt.AWAITS_PRIMARY, "pg0", 1)
    assert view.unsaved == "the disk is full"


def test_a_replica_of_another_primary_is_not_read_nor_its_position_compared():
    picture = running(configure(*(node(f"pg{number}") for number in range(4))))
    picture.observed("pg0", at_home("pg0", primary()), 100.3, 100.4)
    picture.observed("pg3", followed("pg0"), 100.3, 100.4)
    picture.observed("pg1", at_home("pg1", primary()), 100.5, 100.6)
    picture.observed("pg2", followed("pg1"), 100.7, 100.8)
    assert picture.topology.primary == "pg0"

    view = picture.compose(100.9)

    assert view.nodes[2].refusal is Refusal.OTHER_SOURCE
    assert view.nodes[2].fresh_until == NEVER
    assert view.nodes[2].received == 7


def test_a_replica_without_a_source_is_not_read_for_long():
    picture = running(configure(max_lag=5.0))

    picture.observed("pg1", followed("pg0", Source.NONE), 101.0, 101.0)
    assert refusals(picture, 101.1)["pg1"] is None
    picture.observed("pg0", primary(), 107.0, 107.1)
    picture.observed("pg1", followed("pg0", Source.NONE), 107.2, 107.2)
    assert refusals(picture, 107.3)["pg1"] is Refusal.NO_SOURCE

    picture.observed("pg1", followed("pg0"), 107.4, 107.4)
    assert refusals(picture, 107.5)["pg1"] is None


def test_a_replica_that_never_had_a_source_is_not_read_at_all():
    picture = Picture(configure(), 99.0)
    for _ in range(2):
        picture.observed("pg1", followed("pg0", Source.NONE), 99.1, 99.2)
        picture.observed("pg2", look(), 99.1, 99.2)
        picture.observed("pg0", primary(), 99.3, 99.4)
    picture.observed("pg1", followed("pg0", Source.NONE), 99.5, 99.6)

    assert refusals(picture, 99.7)["pg1"] is Refusal.NO_SOURCE


def test_while_the_primary_is_away_nobody_has_a_source():
    picture = running()
    for _ in range(2):
        picture.failed("pg0", "refused", 101.0, lost=True)
    picture.observed("pg1", followed("pg0", Source.NONE), 101.1, 101.2)
    picture.observed("pg1", followed("pg0", Source.NONE), 150.0, 150.0)
    assert refusals(picture, 150.1)["pg1"] is None

    for _ in range(2):
        picture.observed("pg0", primary(), 151.0, 151.1)
    picture.observed("pg1", followed("pg0", Source.NONE), 151.2, 151.2)
    assert refusals(picture, 151.3)["pg1"] is None
    picture.observed("pg0", primary(), 162.0, 162.1)
    picture.observed("pg1", followed("pg0", Source.NONE), 162.2, 162.2)
    assert refusals(picture, 162.3)["pg1"] is Refusal.NO_SOURCE


def test_a_node_of_another_cluster_is_refused_also_when_it_is_all_there_is():
    picture = running()
    picture.set_admin("pg0", AdminState.DETACHED)
    picture.set_admin("pg2", AdminState.DETACHED)
    picture.observed("pg1", look(system="8"), 100.3, 100.4)
    picture.struck("pg1", "connection lost", 100.5)

    assert refusals(picture, 100.6)["pg1"] is Refusal.BANNED


def test_at_a_first_start_a_stranger_that_is_up_alone_does_not_lead_at_once():
    picture = Picture(configure(), 99.0)
    for name in ("pg1", "pg2"):
        picture.failed(name, "the database system is starting up", 99.1, lost=True)
    picture.observed("pg0", look(Role.PRIMARY, system="8"), 99.2, 99.3)
    assert picture.compose(99.4).primary is None

    for name in ("pg1", "pg2"):
        picture.observed(name, primary() if name == "pg1" else look(), 100.0, 100.1)
    view = picture.compose(100.2)
    assert view.primary is not None
    assert view.primary.name == "pg1"
    assert view.nodes[0].refusal is Refusal.OTHER_CLUSTER


def test_at_a_first_start_nodes_that_stay_away_are_not_waited_for():
    picture = Picture(configure(), 99.0)
    for name in ("pg1", "pg2"):
        picture.failed(name, "refused", 99.1, lost=True)
    picture.observed("pg0", primary(), 99.2, 99.3)
    picture.observed("pg0", primary(), 102.1, 102.2)

    view = picture.compose(102.3)
    assert view.primary is not None
    assert view.primary.name == "pg0"


def owe(picture: Picture, name: str, seconds: float) -> float:
    """Let *name* owe an answer for so long from 100.2 on; return when that is."""
    moment = 100.2
    while moment < 100.2 + seconds:
        moment += 0.05
        picture.owes(name, moment, heard=100.2, asked=100.2)
    return moment


def test_a_frozen_replica_reads_nothing_and_is_banned_for_a_while_when_it_answers():
    picture = running()

    now = owe(picture, "pg1", 0.6)
    assert refusals(picture, now)["pg1"] is Refusal.FROZEN
    assert names(picture.compose(now).replicas) == ["pg2"]

    picture.observed("pg1", look(), now, now + 0.1)
    assert isinstance(picture.health("pg1"), Banned)


def test_a_frozen_primary_is_still_the_primary_and_back_at_once():
    picture = running()

    now = owe(picture, "pg0", 0.6)
    view = picture.compose(now)
    assert view.primary is not None
    assert view.primary.name == "pg0"
    assert isinstance(view.primary.health, Frozen)
    assert view.stopped_at is None

    picture.observed("pg0", primary(), now, now + 0.1)
    assert picture.health("pg0") == Up()


def test_a_frozen_replica_is_not_pardoned_when_there_is_nobody_else():
    picture = running(configure(node("pg0"), node("pg1")))
    now = owe(picture, "pg1", 0.6)
    for _ in range(2):
        picture.failed("pg0", "refused", now, lost=True)

    assert picture.compose(now).replicas == ()


def test_a_stall_of_rwsplits_own_is_told_to_every_node():
    picture = running()
    for name in picture._nodes:
        picture._nodes[name].health.health = Suspect(100.0)

    picture.held_up(107.0)

    assert {view.health for view in picture.compose(107.0).nodes} == {Suspect(107.0)}
