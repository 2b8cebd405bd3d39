"""What the trees of one text may cost."""

from __future__ import annotations

from rwsplit.sql.parse_budget import (
    BUDGET,
    INLINE_BUDGET,
    PATIENT_BUDGET,
    TREE,
    ParseBudget,
)
from rwsplit.sql.parse_cost import parse_cost

CHEAP = ["select", "x"]


def nested(levels: int) -> list[str]:
    return ["select", *["x", "notnull", ",", "("] * levels, "1", *[")"] * levels]


def test_what_is_read_is_spent():
    budget = ParseBudget(TREE * 2 + 5)
    assert budget.affords(CHEAP)
    assert budget.left == TREE + 5 - len(CHEAP)
    assert budget.affords(CHEAP)
    assert not budget.affords(CHEAP)
    assert budget.is_too_small


def test_what_is_too_much_for_any_budget_is_not_for_the_parser_process():
    for wary in (False, True):
        budget = ParseBudget(INLINE_BUDGET, wary=wary)
        assert not budget.affords(["select", "x", "("])
        assert not budget.is_too_small


def test_what_only_the_wary_cannot_afford_is_for_the_parser_process():
    words = nested(40)
    assert parse_cost(words, PATIENT_BUDGET, wary=True) > PATIENT_BUDGET
    assert ParseBudget(BUDGET).affords(words)
    budget = ParseBudget(BUDGET, wary=True)
    assert not budget.affords(words)
    assert budget.is_too_small


def test_a_renewed_budget_is_whole_and_as_wary():
    budget = ParseBudget(INLINE_BUDGET, wary=True)
    assert budget.affords(CHEAP)
    renewed = budget.renewed()
    assert (renewed.left, renewed.whole, renewed.wary) == (INLINE_BUDGET, INLINE_BUDGET, True)
