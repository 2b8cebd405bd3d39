"""Up, Banned and Down: what leads from one to another."""

from __future__ import annotations

import pytest

from rwsplit.cluster.health import (
    LONGEST_BAN,
    PATIENCE,
    SHORTEST_BAN,
    STRIKES_REMEMBERED,
    HealthTracker,
)
from rwsplit.cluster.node import NEVER, Banned, Down, Frozen, Suspect, Up


def tracker(*, up_at: float | None = 0.0, rise: int = 2, fall: int = 3) -> HealthTracker:
    made = HealthTracker(rise=rise, fall=fall, now=0.0)
    if up_at is not None:
        made.succeeded(up_at)
    return made


def ban(node: HealthTracker) -> Banned:
    assert isinstance(node.health, Banned)
    return node.health


def test_a_node_starts_down_and_unseen():
    node = tracker(up_at=None)

    assert node.health == Down(since=0.0, reason="not probed yet")
    assert not node.seen
    assert node.up_since == NEVER


def test_the_very_first_success_brings_it_up_at_once():
    node = tracker(up_at=5.0)

    assert node.health == Up()
    assert node.seen
    assert node.up_since == 5.0


def test_a_failure_counts_as_seen_and_says_why():
    node = tracker(up_at=None)

    node.failed(1.0, "refused")

    assert node.seen
    assert node.health == Down(since=0.0, reason="refused")


def test_the_first_success_after_failures_at_the_start_is_enough():
    node = tracker(up_at=None)
    node.failed(1.0, "refused")

    node.succeeded(2.0)

    assert node.health == Up()


def test_fall_failures_in_a_row_take_it_down():
    node = tracker()

    node.failed(1.0, "slow")
    node.failed(2.0, "slow")
    assert node.health == Up()

    node.failed(3.0, "slow")
    assert node.health == Down(since=3.0, reason="slow")


def test_a_success_in_between_starts_the_count_again():
    node = tracker()
    node.failed(1.0, "slow")
    node.failed(2.0, "slow")

    node.succeeded(3.0)
    node.failed(4.0, "slow")
    node.failed(5.0, "slow")

    assert node.health == Up()
    assert node.up_since == 0.0


def test_rise_successes_in_a_row_bring_it_back():
    node = tracker(fall=1)
    node.failed(1.0, "refused")

    node.succeeded(2.0)
    assert node.health == Down(since=1.0, reason="refused")

    node.failed(3.0, "starting up")
    node.succeeded(4.0)
    assert node.health == Down(since=1.0, reason="starting up")

    node.succeeded(5.0)
    assert node.health == Up()
    assert node.up_since == 5.0


def test_the_same_reason_again_keeps_the_same_value():
    node = tracker(fall=1)
    node.failed(1.0, "refused")
    before = node.health

    node.failed(2.0, "refused")

    assert node.health is before


def test_a_node_that_is_down_may_be_silent_or_not():
    node = tracker(fall=1)
    node.failed(1.0, "no answer in 2 s", silent=True)
    assert node.health == Down(since=1.0, reason="no answer in 2 s", silent=True)

    node.failed(2.0, "wrong password")
    assert node.health == Down(since=1.0, reason="wrong password")

    node.failed(3.0, "wrong password", silent=True)
    assert node.health == Down(since=1.0, reason="wrong password", silent=True)


def test_a_strike_bans_it_at_once():
    node = tracker()

    node.struck(10.0, "connection lost")

    assert node.health == Banned(reason="connection lost", until=10.0 + SHORTEST_BAN, strikes=1)


def test_many_reports_of_one_outage_are_one_strike():
    node = tracker()
    node.struck(10.0, "connection lost")
    before = node.health

    node.struck(10.1, "connection refused")

    assert node.health is before


def test_a_ban_ends_with_the_first_success_after_its_time():
    node = tracker()
    node.struck(10.0, "connection lost")

    node.succeeded(10.5)
    assert isinstance(node.health, Banned)

    node.succeeded(10.0 + SHORTEST_BAN)
    assert node.health == Up()
    assert node.up_since == 10.0 + SHORTEST_BAN


def test_bans_double_while_strikes_keep_coming():
    node = tracker()
    lengths = []
    now = 10.0
    for _ in range(7):
        node.struck(now, "too many clients")
        lengths.append(ban(node).until - now)
        now = ban(node).until
        node.succeeded(now)

    assert lengths == [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_BAN, LONGEST_BAN]


def test_strikes_are_forgotten_after_a_good_while():
    node = tracker()
    node.struck(10.0, "connection lost")
    end = ban(node).until
    node.succeeded(end)

    node.struck(end + STRIKES_REMEMBERED, "connection lost")

    assert ban(node).strikes == 1


def test_a_failed_probe_turns_a_ban_into_an_outage_with_a_clean_slate():
    node = tracker()
    node.struck(10.0, "connection lost")

    node.failed(10.1, "connection refused")
    assert node.health == Down(since=10.1, reason="connection refused")

    node.succeeded(10.2)
    node.succeeded(10.3)
    assert node.health == Up()

    node.struck(10.4, "connection lost")
    assert ban(node).strikes == 1


def test_a_strike_on_a_node_that_is_down_changes_nothing():
    node = tracker(fall=1)
    node.failed(1.0, "refused")
    before = node.health

    node.struck(2.0, "connection lost")

    assert node.health is before


@pytest.mark.parametrize("bannable", [True, False])
def test_a_banned_node_that_turns_out_to_be_the_primary_is_pardoned(*, bannable: bool):
    node = tracker()
    node.struck(10.0, "connection lost")

    node.succeeded(10.1, bannable=bannable)

    assert isinstance(node.health, Banned) is bannable


# Nodes that owe answers and keep silent...


def silence(
    node: HealthTracker, since: float, until: float, *, asked: float | None = None
) -> None:
    """Report every 50 ms that it owes an answer and has not been heard of since *since*."""
    moment = since
    while moment < until - 1e-9:
        moment += 0.05
        node.owes(moment, heard=since, asked=since if asked is None else asked)


def test_a_node_that_owes_an_answer_for_long_is_probed_and_then_suspect():
    node = tracker(up_at=10.0)

    assert not node.owes(10.1, heard=10.0, asked=10.0)
    assert node.owes(10.21, heard=10.0, asked=10.0)
    assert node.health == Up()
    assert not node.owes(10.26, heard=10.0, asked=10.0)

    assert node.health == Suspect(10.0)


def test_an_answered_probe_or_an_answer_to_somebody_else_clears_it():
    node = tracker(up_at=10.0)
    silence(node, 10.0, 10.3)
    assert isinstance(node.health, Suspect)

    node.succeeded(10.31)
    assert node.health == Up()

    silence(node, 10.31, 10.6)
    assert isinstance(node.health, Suspect)
    node.owes(10.65, heard=10.62, asked=10.31)
    assert node.health == Up()


def test_a_long_statement_on_a_node_that_answers_its_probes_proves_nothing():
    node = tracker(up_at=10.0)
    for tick in range(200):
        moment = 10.0 + tick * 0.05
        if tick % 2:
            node.succeeded(moment, took=0.001)
        assert not node.owes(moment, heard=9.0, asked=9.5)
    assert node.health == Up()


def test_what_was_asked_a_moment_ago_is_not_late_however_long_nobody_asked():
    node = tracker(up_at=10.0)

    assert not node.owes(99.0, heard=10.0, asked=98.9)
    assert node.health == Up()


def test_a_node_silent_for_half_a_second_is_frozen():
    node = tracker(up_at=10.0)
    silence(node, 10.0, 10.45)
    assert isinstance(node.health, Suspect)

    silence(node, 10.0, 10.55)

    assert node.health == Frozen(10.0, until=pytest.approx(11.5, abs=0.1), strikes=1)


def test_nobody_is_frozen_whom_we_have_not_looked_at_for_a_while():
    node = tracker(up_at=10.0)
    silence(node, 10.0, 10.3)

    node.owes(15.0, heard=10.0, asked=10.0)

    assert isinstance(node.health, Suspect)


def test_a_node_whose_probes_take_long_is_given_longer():
    node = tracker(up_at=10.0)
    assert node.patience == PATIENCE[0]
    for _ in range(50):
        node.succeeded(10.0, took=0.15)
    assert node.patience == pytest.approx(0.3, abs=0.01)
    for _ in range(50):
        node.succeeded(10.0, took=5.0)
    assert node.patience == PATIENCE[1]


def frozen(at: float = 10.0) -> HealthTracker:
    node = tracker(up_at=at)
    silence(node, at, at + 0.6)
    assert isinstance(node.health, Frozen)
    return node


@pytest.mark.parametrize("answers", ["a probe", "a session"])
def test_a_thawed_node_sits_out_its_ban_and_flapping_doubles_it(answers: str):
    node = frozen()
    until = node.health.until  # type: ignore[union-attr]

    node.owes(10.7, heard=10.0, asked=10.65)
    assert isinstance(node.health, Frozen)
    if answers == "a probe":
        node.succeeded(10.8)
    else:
        node.owes(10.8, heard=10.79, asked=10.65)
    assert node.health == Banned("was frozen", until=until, strikes=1)
    node.succeeded(until + 0.01)
    assert node.health == Up()

    silence(node, until + 0.01, until + 0.7)
    assert node.health.until - until == pytest.approx(2.5, abs=0.2)  # type: ignore[union-attr]


def test_a_node_that_thaws_late_is_up_at_once():
    node = frozen()
    node.succeeded(12.0)
    assert node.health == Up()


def test_a_primary_that_thaws_is_up_at_once():
    node = frozen()
    node.succeeded(10.7, bannable=False)
    assert node.health == Up()

    node = frozen()
    node.owes(10.7, heard=10.69, asked=10.0, bannable=False)
    assert node.health == Up()


def test_failed_probes_take_a_frozen_node_down_and_a_lost_connection_bans_a_suspect():
    node = frozen()
    node.struck(10.7, "connection lost")
    assert isinstance(node.health, Frozen)
    for _ in range(3):
        node.failed(12.7, "no answer in 2 s")
    assert node.health == Down(since=12.7, reason="no answer in 2 s")
    node.owes(12.8, heard=10.0, asked=10.0)
    assert isinstance(node.health, Down)

    node = tracker(up_at=10.0)
    silence(node, 10.0, 10.3)
    node.struck(10.3, "connection lost")
    assert ban(node).strikes == 1


def test_while_rwsplit_itself_did_not_run_nobody_was_silent():
    node = tracker(up_at=10.0)
    node.held_up(10.2)
    assert node.health == Up()

    silence(node, 10.0, 10.3)
    assert isinstance(node.health, Suspect)
    node.held_up(15.0)
    assert node.health == Suspect(15.0)
