"""Whoever asks for much waits for those who ask for little, and nobody for ever."""

from __future__ import annotations

import pytest

from rwsplit.parser.fair_queue import FairQueue


def taken(queue: FairQueue[str], count: int | None = None) -> list[str]:
    return [queue.take() for _ in range(len(queue) if count is None else count)]


def test_texts_of_one_length_come_in_the_order_they_were_put():
    queue = FairQueue[str]()
    for name in "abc":
        queue.put(name, name, 5000)
    assert taken(queue) == ["a", "b", "c"]
    with pytest.raises(IndexError):
        queue.take()


def test_short_texts_overtake_long_ones():
    queue = FairQueue[str]()
    queue.put("long", 1, 1_000_000)
    queue.put("short", 2, 5000)
    assert taken(queue) == ["short", "long"]


def test_who_asks_all_the_time_lets_others_pass():
    queue = FairQueue[str]()
    for number in range(20):
        queue.put(f"many {number}", "greedy", 5000)
    queue.put("one", "modest", 5000)
    assert taken(queue, 2) == ["many 0", "one"]


def test_who_has_taken_much_time_lets_others_pass():
    queue = FairQueue[str]()
    queue.put("dear", "greedy", 200)
    assert queue.take() == "dear"
    queue.charge("greedy", 1.0)
    queue.put("dear again", "greedy", 200)
    for number in range(10):
        queue.put(f"{number}", number, 5000)
    assert taken(queue)[-1] == "dear again"


def test_a_long_text_is_not_overtaken_for_ever():
    queue = FairQueue[str]()
    queue.put("long", "patient", 100_000)
    for number in range(1000):
        queue.put("short", number, 5000)
        if queue.take() == "long":
            break
        queue.charge(number, 0.001)
    else:
        pytest.fail("it never came")
    assert number < 100


def test_it_forgets_those_who_have_been_served():
    queue = FairQueue[str]()
    for number in range(10_000):
        queue.put("x", number, 5000)
        queue.take()
        queue.charge(number, 0.001)
    assert len(queue._tags) < 500
