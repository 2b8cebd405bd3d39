"""ParseBudget: what the trees of one text may cost sqlglot's parser, in the words of `parse_cost`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rwsplit.sql.parse_cost import parse_cost

BUDGET: Final = 6000
"""What the trees of one text may cost together: some 50 ms."""
INLINE_BUDGET: Final = 1200
"""The same in the turn loop, where all clients wait: enough for an ordinary statement of some kilobytes."""
PATIENT_BUDGET: Final = 100_000
"""The same in the parser process, where only the asker waits."""
TREE: Final = 20
"""The least cost of a tree, in words."""


class ParseBudget:
    """What the trees of one text may still cost; *wary* if all clients wait for them."""

    __slots__ = ("is_too_small", "left", "wary", "whole")

    def __init__(self, whole: float = BUDGET, *, wary: bool = False) -> None:
        self.whole = self.left = whole
        self.wary = wary
        self.is_too_small = False
        """Whether something was left unparsed that PATIENT_BUDGET would have allowed."""

    def affords(self, words: Sequence[str]) -> bool:
        """Return whether sqlglot may read *words*; if so, what that costs is spent."""
        cost = TREE + parse_cost(words, PATIENT_BUDGET, wary=self.wary)
        if cost > self.left:
            if self.wary and cost > PATIENT_BUDGET:
                cost = TREE + parse_cost(words, PATIENT_BUDGET)
            self.is_too_small |= cost <= PATIENT_BUDGET
            return False
        self.left -= cost
        return True

    def renewed(self) -> ParseBudget:
        """Return the same budget before anything was spent."""
        return ParseBudget(self.whole, wary=self.wary)
