"""The freshness clock: fresh_until(replica) = max { s : P <= R }."""

from __future__ import annotations

from rwsplit.cluster.freshness import LIMIT, FreshnessClock
from rwsplit.cluster.node import NEVER
from rwsplit.lsn import LSN


def clock(*samples: tuple[float, int]) -> FreshnessClock:
    made = FreshnessClock()
    for at, lsn in samples:
        made.sampled(at, LSN(lsn))
    return made


def test_unknown_is_never_fresh():
    assert clock().fresh_until("r") == NEVER
    assert clock((1.0, 100)).fresh_until("r") == NEVER


def test_a_replica_before_the_first_sample_is_not_fresh():
    time = clock((1.0, 100))

    time.probed("r", LSN(99))

    assert time.fresh_until("r") == NEVER


def test_a_replica_is_fresh_until_the_last_sample_it_has_reached():
    time = clock((1.0, 100), (2.0, 200), (3.0, 300))

    time.probed("r", LSN(200))
    assert time.fresh_until("r") == 2.0

    time.probed("r", LSN(299))
    assert time.fresh_until("r") == 2.0

    time.probed("r", LSN(300))
    assert time.fresh_until("r") == 3.0


def test_on_an_idle_primary_a_sample_alone_is_proof():
    time = clock((1.0, 100))
    time.probed("r", LSN(100))

    time.sampled(2.0, LSN(100))

    assert time.fresh_until("r") == 2.0
    assert len(time) == 1


def test_freshness_goes_back_with_the_replay_position():
    time = clock((1.0, 100))
    time.probed("slow", LSN(100))
    time.sampled(2.0, LSN(200))
    time.probed("r", LSN(200))

    time.probed("r", LSN(150))

    assert time.fresh_until("r") == 1.0


def test_a_late_sample_is_ignored():
    time = clock((2.0, 200))

    time.sampled(1.0, LSN(100))
    time.sampled(2.0, LSN(100))

    assert time.last_sample == (2.0, 200)


def test_a_primary_that_lost_its_tail_demands_less_from_then_on():
    time = clock((1.0, 100), (2.0, 200), (3.0, 300))
    time.probed("r", LSN(150))

    time.sampled(4.0, LSN(150))

    assert time.fresh_until("r") == 4.0
    assert time.last_sample == (4.0, 150)


def test_a_forgotten_node_is_not_fresh():
    time = clock((1.0, 100))
    time.probed("r", LSN(100))

    time.forget("r")
    time.forget("never seen")

    assert time.fresh_until("r") == NEVER


def test_a_reset_forgets_samples_and_positions():
    time = clock((1.0, 100))
    time.probed("r", LSN(100))

    time.reset()

    assert time.last_sample is None
    assert len(time) == 0
    time.sampled(2.0, LSN(50))
    assert time.fresh_until("r") == NEVER


def test_samples_that_everybody_has_passed_are_dropped():
    time = clock((1.0, 100), (2.0, 200), (3.0, 300))
    time.probed("a", LSN(250))
    time.probed("b", LSN(300))

    time.sampled(4.0, LSN(400))

    assert len(time) == 3
    assert time.fresh_until("a") == 2.0
    assert time.fresh_until("b") == 3.0


def test_a_replica_that_is_stuck_for_hours_costs_bounded_memory():
    time = clock((0.0, 0))
    time.probed("stuck", LSN(0))
    end = 40 * LIMIT
    for moment in range(1, end + 1):
        time.sampled(float(moment), LSN(moment * 10))

    assert len(time) <= LIMIT
    assert time.fresh_until("stuck") == 0.0
    for reached in (end // 100, end // 10, end // 2, end - LIMIT, end - 1, end):
        time.probed("stuck", LSN(reached * 10))
        age = end - reached
        assert reached - age / 8 - 1 <= time.fresh_until("stuck") <= reached
    assert time.fresh_until("stuck") == end
