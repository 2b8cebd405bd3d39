"""Who answers the next read, and which sessions should move."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Iterable
from itertools import cycle

import pytest

from rwsplit.cluster.node import NodeView
from rwsplit.config.choices import Balance
from rwsplit.routing.balancing import (
    LEAD,
    Chooser,
    LeastConnections,
    Random,
    RoundRobin,
    effective_weight,
    make_chooser,
)

IDLE = [0, 0, 0, 0]


def nodes(*weights: int, up_since: float = 0.0) -> list[NodeView]:
    return [
        NodeView(name=f"pg{i}", host="h", port=5432, index=i, weight=weight, up_since=up_since)
        for i, weight in enumerate(weights)
    ]


def series(chosen: Iterable[NodeView]) -> str:
    return " ".join(node.name[2:] for node in chosen)


def test_the_least_loaded_answers():
    chooser = LeastConnections()

    assert chooser.choose(nodes(1, 1, 1), [3, 1, 2]).name == "pg1"


def test_load_counts_per_weight():
    chooser = LeastConnections()

    assert chooser.choose(nodes(4, 1), [7, 2]).name == "pg0"
    assert chooser.choose(nodes(4, 1), [9, 2]).name == "pg1"


def test_ties_rotate():
    chooser = LeastConnections()
    three = nodes(1, 1, 1)

    assert series(chooser.choose(three, IDLE) for _ in range(6)) == "0 1 2 0 1 2"


def test_ties_among_some_rotate_among_those_until_they_are_far_ahead():
    chooser = LeastConnections()
    three = nodes(1, 1, 1)

    chosen = [chooser.choose(three, [1, 0, 0]).name for _ in range(2 * LEAD)]
    assert Counter(chosen) == {"pg1": LEAD, "pg2": LEAD}

    chosen = [chooser.choose(three, [2, 0, 0]).name for _ in range(100)]
    assert Counter(chosen) == {"pg1": 50, "pg2": 50}


@pytest.mark.parametrize("count", [3, 4, 5, 8])
def test_a_few_sessions_without_a_pause_do_not_stay_on_the_fastest_node(count: int):
    """What has just answered has the fewest in flight, so without a memory it would be chosen again."""
    chosen = tight(LeastConnections(), count, [1.0, 1.4, 0.8])

    assert max(chosen.values()) / min(chosen.values()) < 1.02


@pytest.mark.parametrize("count", [3, 12])
@pytest.mark.parametrize("balance", list(Balance))
def test_a_slow_node_gets_few_reads(balance: Balance, count: int):
    chooser = make_chooser(balance, random=random.Random(1).random)
    chooser.costs = {2: 200.0}

    chosen = tight(chooser, count, [1.0, 1.0, 200.0])

    assert chosen["pg2"] / chosen.total() < 0.02
    assert chosen["pg0"] / chosen["pg1"] == pytest.approx(1, rel=0.2)


def tight(chooser: Chooser, count: int, seconds: list[float]) -> Counter[str]:
    """Have *count* sessions read without a pause, each read as long as its node takes; return who answered."""
    three = nodes(1, 1, 1)
    load = [0, 0, 0]
    chosen: Counter[str] = Counter()
    running = [(0.0, number, -1) for number in range(count)]
    for number in range(count, 6000):
        now, _, index = heapq.heappop(running)
        if index >= 0:
            load[index] -= 1
        node = chooser.choose(three, load)
        load[node.index] += 1
        chosen[node.name] += 1
        heapq.heappush(running, (now + seconds[node.index], number, node.index))
    return chosen


def test_shares_follow_the_weights_even_when_everybody_is_idle():
    chooser = LeastConnections()
    three = nodes(3, 2, 1)

    chosen = Counter(chooser.choose(three, IDLE).name for _ in range(600))

    assert chosen == {"pg0": 300, "pg1": 200, "pg2": 100}


def test_shares_are_even_when_statements_are_in_flight():
    chooser = LeastConnections()
    three = nodes(1, 1, 1)
    load = [0, 0, 0]
    running: list[NodeView] = []
    chosen: Counter[str] = Counter()
    for _ in range(3000):
        node = chooser.choose(three, load)
        load[node.index] += 1
        chosen[node.name] += 1
        running.append(node)
        if len(running) > 5:
            load[running.pop(0).index] -= 1

    assert all(abs(count - 1000) < 20 for count in chosen.values())


def test_a_node_that_was_away_does_not_catch_up_what_it_missed():
    chooser = LeastConnections()
    three = nodes(1, 1, 1)
    for _ in range(1000):
        chooser.choose(three[:2], IDLE)

    chosen = Counter(chooser.choose(three, IDLE).name for _ in range(30))

    assert chosen["pg2"] <= 10 + LEAD


def test_a_node_added_later_is_served_too():
    chooser = LeastConnections()
    for _ in range(10):
        chooser.choose(nodes(1, 1), [0, 0])

    chosen = Counter(chooser.choose(nodes(1, 1, 1), IDLE).name for _ in range(30))

    assert set(chosen) == {"pg0", "pg1", "pg2"}


@pytest.mark.parametrize("balance", list(Balance))
def test_weight_zero_takes_nothing_while_anybody_else_can(balance: Balance):
    chooser = make_chooser(balance, random=cycle([0.0, 0.5, 0.99]).__next__)
    three = nodes(0, 1, 0)

    assert {chooser.choose(three, IDLE).name for _ in range(10)} == {"pg1"}


@pytest.mark.parametrize("balance", list(Balance))
def test_with_weight_zero_everywhere_all_take_part(balance: Balance):
    chooser = make_chooser(balance, random=cycle([0.0, 0.5, 0.99]).__next__)
    three = nodes(0, 0, 0)

    chosen = {chooser.choose(three, IDLE).name for _ in range(9)}

    assert chosen == {"pg0", "pg1", "pg2"}


@pytest.mark.parametrize("balance", list(Balance))
def test_one_candidate_is_always_chosen(balance: Balance):
    chooser = make_chooser(balance, random=lambda: 0.999)
    last = nodes(1, 1, 1)[2:]

    assert [chooser.choose(last, [9, 9, 9]).name for _ in range(3)] == ["pg2"] * 3


def test_round_robin_is_smooth():
    chooser = RoundRobin()
    three = nodes(5, 1, 1)

    assert series(chooser.choose(three, IDLE) for _ in range(7)) == "0 0 1 0 2 0 0"


def test_round_robin_does_not_look_at_load():
    chooser = RoundRobin()

    assert series(chooser.choose(nodes(1, 1), [50, 0]) for _ in range(4)) == "0 1 0 1"


@pytest.mark.parametrize(
    ("point", "name"), [(0.0, "pg0"), (0.49, "pg0"), (0.5, "pg1"), (0.9, "pg2")]
)
def test_chance_respects_weights(point: float, name: str):
    chooser = Random(lambda: point)

    assert chooser.choose(nodes(5, 3, 2), IDLE).name == name


def test_chance_that_rounds_up_takes_the_last_that_takes_part():
    chooser = Random(lambda: 1.0)

    assert chooser.choose(nodes(5, 3, 0), IDLE).name == "pg1"


@pytest.mark.parametrize(
    ("balance", "kind"),
    [
        (Balance.LEAST_CONNECTIONS, LeastConnections),
        (Balance.ROUND_ROBIN, RoundRobin),
        (Balance.RANDOM, Random),
    ],
)
def test_the_setting_names_the_chooser(balance: Balance, kind: type):
    chooser = make_chooser(balance, random=lambda: 0.0, slow_start=3.0)

    assert type(chooser) is kind
    assert chooser.slow_start == 3.0


@pytest.mark.parametrize(
    ("age", "weight"), [(0.0, 1.0), (-1.0, 1.0), (5.0, 5.5), (10.0, 10.0), (99.0, 10.0)]
)
def test_a_node_that_came_back_grows_to_its_weight(age: float, weight: float):
    (node,) = nodes(10, up_since=100.0)

    assert effective_weight(node, 100.0 + age, 10.0) == pytest.approx(weight)


def test_a_node_that_came_back_gets_less_at_first():
    chooser = LeastConnections(slow_start=10.0)
    old, new = nodes(1, up_since=0.0)[0], nodes(1, 1, up_since=100.0)[1]

    at_first = Counter(chooser.choose([old, new], IDLE, 100.0).name for _ in range(110))
    later = Counter(chooser.choose([old, new], IDLE, 110.0).name for _ in range(100))

    assert at_first["pg1"] == pytest.approx(10, abs=1)
    assert later["pg1"] == pytest.approx(50, abs=6)


@pytest.mark.parametrize("balance", list(Balance))
def test_every_way_of_choosing_ramps_up(balance: Balance):
    points = cycle([i / 110 for i in range(110)])
    chooser = make_chooser(balance, random=points.__next__, slow_start=10.0)
    old, new = nodes(1, up_since=0.0)[0], nodes(1, 1, up_since=100.0)[1]

    chosen = Counter(chooser.choose([old, new], IDLE, 100.0).name for _ in range(110))

    assert chosen["pg1"] == pytest.approx(10, abs=1)
