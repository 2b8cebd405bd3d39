"""Parse cost: how much work sqlglot will have with a text, estimated before it is given it.

Its time is not bounded by the length of a text. Behind the name of a type an opening bracket is tried as the type's own, and
then once more as something else: twice the time for each level, so that 30 levels of `int(`, 158 bytes, take for ever. So it is
behind LIMIT and LATERAL, and with all that follows a JOIN without its condition. A subscript copies what it is a subscript of.

Behind which words of its own sqlglot reads once is listed, not behind which it reads twice: what another version of it knows
besides is dear until it is known to be cheap.

The unit is what an ordinary word costs, 5 to 10 microseconds; `tests/property/test_parse_cost.py` counts the parser's steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlglot.dialects.postgres import Postgres

BUDGET: Final = 6000
"""What the trees of one text may cost together: some 50 ms."""

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
    (
        frozenset(word.lower().rpartition(" ")[2] for word in Postgres.Tokenizer.KEYWORDS)
        | frozenset(word.lower() for word in Postgres.Parser.FUNCTION_PARSERS)
        | {"if"}
    )
    - _READ_ONCE
    - _SIGNS
)
"""Behind these it is, or may be, read twice."""
_JOIN: Final = frozenset({"join", "straight_join"})
_CONDITION: Final = frozenset({"on", "using"})
_UNCONDITIONAL: Final = frozenset({"cross", "natural"})
_LAST: Final = frozenset({"limit", "offset", "fetch"})
"""What follows these is, or may be, read twice."""
_CLAUSES: Final = _JOIN | _CONDITION | _UNCONDITIONAL | _LAST


class Budget:
    """What the trees of one text may still cost."""

    __slots__ = ("left",)

    def __init__(self, left: float = BUDGET) -> None:
        self.left = left

    def affords(self, words: Sequence[str]) -> bool:
        """Return whether sqlglot may read *words*; if so, what that costs is spent."""
        cost = parse_cost(words, self.left)
        if cost > self.left:
            return False
        self.left -= cost
        return True


def parse_cost(words: Sequence[str], limit: float = BUDGET) -> float:
    """Return what sqlglot's parser costs for *words* (of `rendering.render`), in words; if over *limit*, at least that."""
    estimate, before = _Estimate(), ""
    for index, word in enumerate(words):
        estimate.cost += estimate.times << max(0, estimate.joins - 1)
        if estimate.cost > limit:
            break
        if word in _OPENING:
            estimate.open(word, before, index)
        elif word in _CLOSING:
            if not estimate.close(word, index):
                return limit + 1  # it is no SQL
        elif word in _CLAUSES:
            estimate.clause(word)
        before = word
    return estimate.cost


class _Estimate:
    """The cost so far, and what the next word will cost."""

    __slots__ = ("_belongs", "_conditional", "_outside", "cost", "joins", "times")

    def __init__(self) -> None:
        self.cost = 0.0
        self.times = 1
        """How often a word here is read."""
        self.joins = 0
        """JOINs whose condition has not come yet."""
        self._conditional = True
        """Such a condition belongs to the next JOIN."""
        self._belongs = 0
        """Where that begins what the brackets closed last belong to."""
        self._outside: list[tuple[str, int, int, int]] = []
        """For each open bracket what closes it, *times* and *joins* outside, and where what it belongs to begins."""

    def open(self, bracket: str, before: str, index: int) -> None:
        belongs = self._belongs if before in _CLOSING else index
        self._outside.append((_OPENING[bracket], self.times, self.joins, belongs))
        self.times <<= (before in _READ_TWICE) + max(0, self.joins - 1)
        self.joins = 0

    def close(self, bracket: str, index: int) -> bool:
        """Note that *bracket* closes the last one; return whether it does."""
        if not self._outside or self._outside[-1][0] != bracket:
            return False
        _, self.times, self.joins, self._belongs = self._outside.pop()
        if bracket == "]":
            self.cost += self.times * (_SUBSCRIPT + _COPIED * (index - self._belongs))
        return True

    def clause(self, word: str) -> None:
        if word in _JOIN:
            self.joins += self._conditional
            self._conditional = True
        elif word in _CONDITION:
            self.joins = max(0, self.joins - 1)
        elif word in _UNCONDITIONAL:
            self._conditional = False
        else:
            self.times *= 2
