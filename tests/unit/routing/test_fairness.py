"""Fairness: sessions move until every replica has answered its share."""

import random
from collections import Counter

import pytest

from rwsplit.routing.fairness import NEWEST, Costs, Ledger, Move

EQUAL = {"a": 1, "b": 1, "c": 1}


def run(sessions, weights, looks, rates=None):
    """Let *looks* go by; return the reads each node has answered and the moves made.

    Every session brings 100 reads a look, unless *rates* gives another number for a node's sessions.
    """
    ledger = Ledger()
    total = Counter()
    moves = []
    for _ in range(looks):
        reads = {name: count * 100 for name, count in sessions.items()}
        total.update(reads)
        move = ledger.plan(reads, sessions, weights, sessions)
        if move is not None:
            assert 0 < move.sessions <= sessions[move.source]
            sessions[move.source] -= move.sessions
            sessions[move.target] += move.sessions
            moves.append(move)
    return total, moves


def test_even_reads_need_no_moves():
    five = {"a": 5, "b": 5, "c": 5}
    assert Ledger().plan({"a": 101, "b": 100, "c": 99}, five, EQUAL, five) is None


@pytest.mark.parametrize("count", [1, 2, 4, 5, 7, 16, 17, 32, 100])
def test_any_number_of_sessions_comes_out_even_on_three_replicas(count):
    total, _ = run({"a": count, "b": 0, "c": 0}, EQUAL, 200)

    assert max(total.values()) / min(total.values()) < 1.1


def test_shares_follow_the_weights():
    total, _ = run({"a": 4, "b": 4}, {"a": 3, "b": 1}, 200)

    assert total["a"] / total["b"] == pytest.approx(3, rel=0.1)


def test_even_sessions_stay_where_they_are():
    _, moves = run({"a": 5, "b": 5, "c": 5}, EQUAL, 50)

    assert moves == []


def test_most_of_a_pile_of_sessions_leaves_within_a_second():
    sessions = {"a": 16, "b": 0, "c": 0}

    run(sessions, EQUAL, 6)

    assert sessions["a"] <= 8


def test_a_node_of_weight_zero_gives_everything_away():
    sessions = {"a": 5, "b": 5}

    run(sessions, {"a": 0, "b": 1}, 60)

    assert sessions["b"] >= 9


def test_reads_of_nobody_known_cannot_be_moved():
    assert Ledger().plan({"a": 500, "b": 0}, {"a": 5}, {"a": 1, "b": 1}, {}) is None


def test_sessions_are_not_moved_to_and_fro_for_a_difference_less_than_one_of_them_makes():
    ledger = Ledger()
    ones = dict.fromkeys("abc", 1)
    for _ in range(3):
        assert ledger.plan({"a": 110, "b": 100, "c": 90}, ones, EQUAL, ones) is None


def test_a_session_that_was_just_moved_is_not_followed_by_another():
    ledger = Ledger()
    three, two, even = {"a": 3, "b": 1}, {"a": 2, "b": 2}, {"a": 1, "b": 1}
    move = ledger.plan({"a": 110, "b": 90}, three, even, three)
    assert move == Move("a", "b", 1)

    # It has done nothing there yet.
    assert ledger.plan({"a": 110, "b": 90}, two, even, two) is None


def test_looks_with_more_reads_count_for_more():
    sessions = {"a": 2, "b": 1, "c": 1}
    ledger, totals = Ledger(), Counter()
    dice = random.Random(1)
    for _ in range(200):
        pace = dice.choice([30, 300])
        reads = {name: count * pace for name, count in sessions.items()}
        totals.update(reads)
        if move := ledger.plan(reads, sessions, EQUAL, sessions):
            sessions[move.source] -= move.sessions
            sessions[move.target] += move.sessions

    assert max(totals.values()) / min(totals.values()) < 1.05


def test_a_debt_has_a_limit():
    ledger = Ledger()
    for _ in range(50):
        ledger.plan({"a": 100, "b": 0}, {"a": 1}, {"a": 1, "b": 1}, {})

    assert ledger.debts == {"a": 100, "b": -100}


def test_a_session_that_brought_no_reads_may_move():
    ledger = Ledger()
    ledger.debts = {"a": 20.0, "b": -20.0, "gone": 1.0}

    move = ledger.plan({"a": 0, "b": 10}, {"a": 1}, {"a": 1, "b": 1}, {"a": 1})
    assert move == Move("a", "b", 1)


@pytest.mark.parametrize(
    ("reads", "weights"),
    [
        ({}, {"a": 1, "b": 1}),
        ({"a": 5}, {"a": 1}),
        ({"a": 5, "b": 1}, {"a": 0, "b": 0}),
        ({"b": 1, "c": 1}, {"b": 1, "c": 1}),
    ],
)
def test_without_reads_weights_or_a_choice_there_is_nothing_to_move(reads, weights):
    ledger = Ledger()
    ledger.debts = {"a": 5.0}

    assert ledger.plan(reads, {"a": 1}, weights, {"a": 1}) is None
    assert ledger.debts == {}


def settle(costs, reads, load, looks=30):
    for _ in range(looks):
        found = costs.update(reads, load)
    return found


def test_a_read_costs_the_same_where_reads_take_about_as_long():
    found = settle(Costs(), {"a": 100, "b": 60, "c": 100}, {"a": 4, "b": 4.5, "c": 4})

    assert found == {"a": 1.0, "b": 1.0, "c": 1.0}


def test_a_read_of_a_slow_node_costs_as_much_more_as_it_takes_longer():
    found = settle(Costs(), {"a": 400, "b": 400, "c": 2}, {"a": 4, "b": 4, "c": 4})

    assert found == {"a": 1.0, "b": 1.0, "c": pytest.approx(200)}


def test_a_node_that_answers_nothing_is_very_slow():
    assert settle(Costs(), {"a": 400, "b": 0}, {"a": 4, "b": 4})["b"] == pytest.approx(4000)


@pytest.mark.parametrize(
    ("reads", "load"),
    [
        ({"a": 400, "b": 2}, {"a": 4, "b": 0.3}),  # hardly anything is in flight there
        ({"a": 0, "b": 2}, {"a": 0, "b": 4}),  # with nobody to compare
    ],
)
def test_nobody_is_called_slow_by_chance(reads, load):
    assert settle(Costs(), reads, load)["b"] == 1.0


def test_a_node_is_slow_even_if_nothing_was_seen_in_flight_on_the_others():
    found = settle(Costs(), {"a": 10, "b": 10}, {"a": 0, "b": 2})

    assert found["b"] == pytest.approx(20)


def test_one_look_does_not_make_a_node_slow_and_one_that_is_new_counts_from_its_first():
    costs = Costs()
    even = {"a": 100, "b": 100}
    costs.update(even, {"a": 4, "b": 4})
    assert costs.update(even, {"a": 4, "b": 4 / NEWEST})["b"] == 1.0
    assert costs.update({**even, "c": 1}, {"a": 4, "b": 4, "c": 4})["c"] > 10
    assert set(costs.update({"a": 1, "c": 1}, {"a": 1, "c": 1})) == {"a", "c"}


def closed_loop(sessions, seconds_a_read, looks=400):
    """Let tight sessions read for so many looks of 0.1 s, and be moved; return the reads of each node, at the end."""
    ledger, costs = Ledger(), Costs()
    owed = dict.fromkeys(sessions, 0.0)
    totals = Counter()
    for look in range(looks):
        reads = {}
        for name, count in sessions.items():
            owed[name] += count * 0.1 / seconds_a_read[name]
            reads[name] = int(owed[name])
            owed[name] -= reads[name]
        totals.update(reads if look > looks / 4 else {})
        cost = costs.update(reads, sessions)
        work = {name: count * cost[name] for name, count in reads.items()}
        move = ledger.plan(work, sessions, EQUAL, sessions)
        if move is not None:
            sessions[move.source] -= move.sessions
            sessions[move.target] += move.sessions
    return totals


@pytest.mark.parametrize("start", [{"a": 4, "b": 4, "c": 4}, {"a": 1, "b": 1, "c": 10}])
def test_a_slow_replica_has_its_share_of_what_is_in_flight_and_no_more(start):
    sessions = dict(start)

    totals = closed_loop(sessions, {"a": 0.001, "b": 0.001, "c": 0.2})

    assert 2 <= sessions["c"] <= 6
    assert totals["c"] / totals.total() < 0.01
    assert totals["a"] / totals["b"] == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("count", [3, 4, 8, 16, 50])
def test_tight_sessions_come_out_even(count):
    totals = closed_loop({"a": count, "b": 0, "c": 0}, dict.fromkeys("abc", 0.002))

    assert max(totals.values()) / min(totals.values()) < 1.05
