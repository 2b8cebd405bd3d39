"""Fairness: sessions move until every replica has answered its share."""

from collections import Counter

import pytest

from rwsplit.routing.fairness import Ledger, Move

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
        move = ledger.plan(reads, sessions, weights)
        if move is not None:
            assert 0 < move.sessions <= sessions[move.source]
            sessions[move.source] -= move.sessions
            sessions[move.target] += move.sessions
            moves.append(move)
    return total, moves


def test_even_reads_need_no_moves():
    assert Ledger().plan({"a": 101, "b": 100, "c": 99}, {"a": 5, "b": 5, "c": 5}, EQUAL) is None


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
    assert Ledger().plan({"a": 500, "b": 0}, {}, {"a": 1, "b": 1}) is None


def test_a_session_that_brought_no_reads_may_move():
    ledger = Ledger()
    ledger.debts = {"a": 1.0, "b": -1.0}

    assert ledger.plan({"a": 0, "b": 10}, {"a": 1}, {"a": 1, "b": 1}) == Move("a", "b", 1)


@pytest.mark.parametrize(
    ("reads", "weights"),
    [({}, {"a": 1, "b": 1}), ({"a": 5}, {"a": 1}), ({"a": 5, "b": 1}, {"a": 0, "b": 0})],
)
def test_without_reads_weights_or_a_choice_there_is_nothing_to_move(reads, weights):
    ledger = Ledger()
    ledger.debts = {"a": 5.0}

    assert ledger.plan(reads, {"a": 1, "b": 1}, weights) is None
    assert ledger.debts == {}
