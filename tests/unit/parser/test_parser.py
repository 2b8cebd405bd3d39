"""When the next parser process is started, and how bodies are put together."""

from __future__ import annotations

import math

import pytest

from rwsplit.parser.endings import Ending
from rwsplit.parser.parser import BATCH, PAUSE, STEADY, Parser, _batches


def test_a_text_that_is_to_blame_costs_no_pause():
    parser = Parser()
    for ending in (Ending.OVERRAN, Ending.NO_MEMORY, Ending.FULL):
        assert [parser._pause(ending, 1.0) for _ in range(10)] == [0.0] * 10


@pytest.mark.parametrize("ending", [Ending.DIED, Ending.SILENT, Ending.NOT_STARTED])
def test_pauses_grow_and_stay_bounded_for_ever(ending: Ending):
    parser = Parser()
    pauses = [parser._pause(ending, -math.inf) for _ in range(5000)]
    assert pauses[:3] == [PAUSE[0], 2 * PAUSE[0], 4 * PAUSE[0]]
    assert pauses[-1] == PAUSE[1]
    assert pauses == sorted(pauses)


def test_one_that_has_run_for_a_while_is_started_again_at_once():
    parser = Parser()
    for _ in range(20):
        parser._pause(Ending.DIED, 1.0)
    assert parser._pause(Ending.DIED, STEADY + 1) == PAUSE[0]


@pytest.mark.parametrize(
    ("texts", "batches"),
    [
        ([], []),
        (["a", "b"], [["a", "b"]]),
        (["a", "x" * BATCH, "b", "c"], [["a"], ["x" * BATCH], ["b", "c"]]),
        (["x" * (BATCH // 2)] * 3, [["x" * (BATCH // 2)] * 2, ["x" * (BATCH // 2)]]),
    ],
)
def test_bodies_are_read_in_short_portions(texts: list[str], batches: list[list[str]]):
    assert list(_batches(texts)) == batches
