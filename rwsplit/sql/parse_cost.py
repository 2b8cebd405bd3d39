"""Parse cost: how much work sqlglot will have with a text, estimated before it is given it.

Its time is not bounded by the length of a text. Behind the name of a type an opening bracket is tried as the type's own, and
then once more as something else: twice the time for each level, so that 30 levels of `int(`, 158 bytes, take for ever. So it is
behind LIMIT and LATERAL, with all that follows a JOIN without its condition, and with a LATERAL or an APPLY behind a comma in
which an error is found. A subscript copies what it is a subscript of.

The list has the words behind which sqlglot parses a bracket once, not those behind which it parses it twice. So a word that
another version of sqlglot adds counts as expensive until it is known to be cheap.

The unit is what an ordinary word costs, 5 to 10 microseconds; `tests/property/test_parse_cost.py` counts the parser's steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlglot.dialects.postgres import Postgres

BUDGET: Final = 6000
"""What the trees of one text may cost together: some 50 ms."""
INLINE_BUDGET: Final = 1200
"""The same in the turn loop, where all clients wait: enough for an ordinary statement of some kilobytes."""
PATIENT_BUDGET: Final = 100_000
"""The same in the parser process, where only the asker waits."""
TREE: Final = 20
"""The least cost of a tree, in words."""

_SUBSCRIPT: Final = 12
"""A subscript, in words."""
_COPIED: Final = 0.5
"""A word that a subscript copies, in words."""
_SIGNS: Final = frozenset({*"()[]{},.;:=<>+-*/%&|^~#!?@$", "::", "<=", ">=", "<>", "!=", "=>"})
_OPENING: Final = {"(": ")", "[": "]"}
_CLOSING: Final = frozenset(_OPENING.values())
_READ_ONCE: Final = frozenset(
    {
        *("select", "from", "where", "having", "as", "values", "distinct", "all", "by"),
        *("and", "or", "not", "in", "any", "some", "exists", "case", "when", "then", "else"),
        *("cast", "row", "join", "on", "using", "over", "filter"),
    }
)
"""Words of sqlglot's behind which a bracket is known to be read once."""
_READ_TWICE: Final = (
    frozenset(word.lower().rpartition(" ")[2] for word in Postgres.Tokenizer.KEYWORDS)
    - _READ_ONCE
    - _SIGNS
)
"""Behind these it is, or may be, read twice."""
_QUERIES: Final = ["select"], ["with"], ["values"]
"""What LATERAL ( is read once before."""
MOST_JOINS: Final = 60
"""JOINs without a condition beyond which it does not matter how many there are."""
_JOIN: Final = frozenset({"join", "straight_join"})
_CONDITION: Final = frozenset({"on", "using"})
_UNCONDITIONAL: Final = frozenset({"cross", "natural"})
_TRIED: Final = frozenset({"lateral", "cross", "outer"})
"""What begins with these behind a comma is tried, and read once more if that fails further on: LATERAL, and another dialect's CROSS APPLY."""
_LAST: Final = frozenset({"limit", "offset", "fetch"})
"""What follows these is, or may be, read twice."""
_CLAUSES: Final = _JOIN | _CONDITION | _UNCONDITIONAL | _LAST


class Budget:
    """What the trees of one text may still cost."""

    __slots__ = ("is_too_small", "left", "whole")

    def __init__(self, whole: float = BUDGET) -> None:
        self.whole = self.left = whole
        self.is_too_small = False
        """Whether something was left unparsed that PATIENT_BUDGET would have allowed."""

    def affords(self, words: Sequence[str]) -> bool:
        """Return whether sqlglot may read *words*; if so, what that costs is spent."""
        cost = TREE + parse_cost(words, PATIENT_BUDGET)
        if cost > self.left:
            self.is_too_small |= cost <= PATIENT_BUDGET
            return False
        self.left -= cost
        return True


def parse_cost(words: Sequence[str], limit: float = BUDGET) -> float:
    """Return what sqlglot's parser costs for *words* (of `rendering.render`), in words; if over *limit*, at least that."""
    estimate, before = _Estimate(), ""
    for index, word in enumerate(words):
        estimate.cost += estimate.times
        if estimate.cost > limit:
            break
        if word in _TRIED and before == ",":
            estimate.times *= 2
        if word in _OPENING:
            once = before == "lateral" and words[index + 1 : index + 2] in _QUERIES
            estimate.open(word, "" if once else before, index)
        elif word in _CLOSING:
            if not estimate.close(word, index):
                return limit + 1  # it is no SQL
        elif word in _CLAUSES:
            estimate.clause(word)
        before = word
    else:
        estimate.end_joins()
    return estimate.cost


class _Level(NamedTuple):
    """What is outside of an open bracket."""

    closing: str
    times: int
    joins: int
    """JOINs whose condition has not come yet."""
    began: float
    """The cost before the first of them."""
    belongs: int
    """Where that begins what the bracket belongs to."""


class _Estimate:
    """The cost so far, and what the next word will cost."""

    __slots__ = ("_began", "_belongs", "_conditional", "_joins", "_outside", "cost", "times")

    def __init__(self) -> None:
        self.cost = 0.0
        self.times = 1
        """How often a word here is read."""
        self._joins = self._belongs = 0
        self._began = 0.0
        self._conditional = True
        """Such a condition belongs to the next JOIN."""
        self._outside: list[_Level] = []

    def open(self, bracket: str, before: str, index: int) -> None:
        belongs = self._belongs if before in _CLOSING else index
        level = _Level(_OPENING[bracket], self.times, self._joins, self._began, belongs)
        self._outside.append(level)
        self.times <<= before in _READ_TWICE
        self._joins, self._began = 0, self.cost

    def close(self, bracket: str, index: int) -> bool:
        """Note that *bracket* closes the last one; return whether it does."""
        if not self._outside or self._outside[-1].closing != bracket:
            return False
        self.end_joins()
        _, self.times, self._joins, self._began, self._belongs = self._outside.pop()
        if bracket == "]":
            self.cost += self.times * (_SUBSCRIPT + _COPIED * (index - self._belongs))
        return True

    def clause(self, word: str) -> None:
        if word in _JOIN:
            if not self._joins:
                self._began = self.cost
            self._joins += self._conditional
            self._conditional = True
        elif word in _CONDITION:
            self._joins = max(0, self._joins - 1)
        elif word in _UNCONDITIONAL:
            self._conditional = False
        else:
            self.times *= 2

    def end_joins(self) -> None:
        """Add what it costs that JOINs are left without a condition: what follows each of them is read twice."""
        again = (1 << min(self._joins, MOST_JOINS)) - 1
        self.cost += (self.cost - self._began) * again
