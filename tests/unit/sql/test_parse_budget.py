"""What the trees of one text may cost."""

from __future__ import annotations

import gc
from contextlib import suppress

import pytest
from sqlglot.errors import SqlglotError

from rwsplit.sql.parse_budget import BUDGET, INLINE_BUDGET, SECONDS, TREE, ParseBudget

CHEAP = "select x from t"
ENDLESS = "select " + "int(" * 30 + "1" + ")" * 30


def test_what_is_read_is_spent():
    budget = ParseBudget()
    [tree] = budget.parse(CHEAP)
    assert tree.sql() == "SELECT x FROM t"
    once = budget.spent
    assert once > TREE
    assert budget.left == BUDGET - once
    budget.parse(CHEAP)
    assert budget.spent == 2 * once
    assert not budget.is_spent


def test_a_tree_that_would_cost_too_much_is_given_up():
    budget = ParseBudget(INLINE_BUDGET)
    assert budget.parse(ENDLESS) == []
    assert budget.is_spent
    assert budget.left <= INLINE_BUDGET / 2
    assert budget.parse(CHEAP) == []


def test_time_is_spent_as_well_if_there_is_a_clock():
    now = iter(n * SECONDS * 50 for n in range(1000))
    budget = ParseBudget(INLINE_BUDGET, lambda: next(now))
    assert budget.parse(CHEAP)
    assert budget.spent > TREE + 50
    assert budget.parse(ENDLESS) == []
    assert budget.is_spent


def test_what_costs_more_than_is_left_is_not_begun():
    budget = ParseBudget(TREE)
    assert budget.parse(CHEAP) == []
    assert budget.is_spent


def test_subscripts_cost_what_other_words_do():
    few, many = ParseBudget(), ParseBudget()
    few.parse("select a" + "[b]" * 30)
    many.parse("select a" + "[b]" * 300)
    assert many.spent < 10 * few.spent


@pytest.mark.parametrize("text", [ENDLESS, "select " + "+".join(["a"] * 300) + " = ="])
def test_a_tree_that_is_given_up_leaves_no_garbage(text: str):
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(50):
        with suppress(SqlglotError):
            ParseBudget(INLINE_BUDGET).parse(text)
    assert len(gc.get_objects()) < before + 1000, "the oldest are not collected meanwhile"


@pytest.mark.parametrize("is_on", [True, False])
def test_the_collector_is_left_as_it_was(is_on: bool):
    was_on = gc.isenabled()
    try:
        (gc.enable if is_on else gc.disable)()
        for text in (CHEAP, ENDLESS):
            ParseBudget(INLINE_BUDGET).parse(text)
            assert gc.isenabled() == is_on
    finally:
        (gc.enable if was_on else gc.disable)()


def test_what_cannot_be_read_is_paid_for():
    budget = ParseBudget()
    with pytest.raises(SqlglotError):
        budget.parse("select x x x from t where y")
    assert budget.spent > TREE
    assert not budget.is_spent
    assert budget.parse(CHEAP)
