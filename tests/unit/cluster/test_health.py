"""Up, Banned and Down: what leads from one to another."""

from __future__ import annotations

import pytest

from rwsplit.cluster.health import LONGEST_BAN, SHORTEST_BAN, STRIKES_REMEMBERED, HealthTracker
from rwsplit.cluster.node import NEVER, Banned, Down, Up


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
