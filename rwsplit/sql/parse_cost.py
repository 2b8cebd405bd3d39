"""Parse cost: how much work sqlglot will have with a text, estimated before it is given it.

Its time is not bounded by the length of a text. Where it reads the words within a bracket twice (`sql.backtracking`), it takes twice
the time for each level, so that 30 levels of `int(`, 158 bytes, take for ever. A subscript copies what it is a subscript of.

Nobody can know all that sqlglot tries. So where all clients would wait, a *wary* estimate decides: it assumes that each word which is not
known to be harmless makes sqlglot read once more every bracket that is opened behind it at its level. What this has sent to the parser
process without need is read there all the same, by the other estimate; there the kernel has the last word.

The unit is what an ordinary word costs, 5 to 10 microseconds; `tests/property/test_parse_cost.py` counts the parser's steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from rwsplit.sql.backtracking import (
    CLOSING,
    CONDITIONS,
    JOINS,
    LIMITS,
    OPENING,
    QUERY_STARTS,
    READ_TWICE,
    UNCONDITIONAL,
    is_misplaced,
    is_read_twice,
    is_tried,
    needs_condition,
)

MOST_JOINS: Final = 60
"""JOINs without a condition beyond which it does not matter how many there are."""
_SUBSCRIPT: Final = 12
"""A subscript, in words."""
_COPIED: Final = 0.5
"""A word that a subscript copies, in words."""


def parse_cost(words: Sequence[str], limit: float, *, wary: bool = False) -> float:
    """Return what sqlglot's parser costs for *words* (of `rendering.render`), in words; if over *limit*, at least that.

    It is over *limit* for what is no SQL: a bracket that is not closed or not open, a query where only another dialect has one.
    """
    estimate, before = _Estimate(wary=wary), ""
    for index, word in enumerate(words):
        following = words[index + 1 : index + 2]
        estimate.cost += estimate.times
        if estimate.cost > limit:
            return estimate.cost
        if word in OPENING:
            twice = is_read_twice(word, words[max(0, index - 2) : index], following)
            estimate.open(word, before, index, twice=twice)
        elif word in CLOSING:
            if not estimate.close(word, index):
                return limit + 1
        elif word in QUERY_STARTS:
            if is_misplaced(word, before, words[max(0, index - 2) : index]):
                return limit + 1
        elif is_tried(word, before, following):
            estimate.tries += 1
        elif word in UNCONDITIONAL:
            estimate.conditional = needs_condition(index, before, words)
        else:
            estimate.clause(word)
        estimate.note(word)
        before = word
    return estimate.cost if estimate.end() else limit + 1


class _Level(NamedTuple):
    """What is outside of an open bracket."""

    closing: str
    base: int
    tries: int
    doubts: int
    selects: bool
    joins: int
    """JOINs whose condition has not come yet."""
    began: float
    """The cost before the first of them."""
    belongs: int
    """Where that begins what the bracket belongs to."""


class _Estimate:
    """The cost so far, and what the next word will cost."""

    __slots__ = (
        "_base",
        "_began",
        "_belongs",
        "_doubts",
        "_joins",
        "_outside",
        "_selects",
        "_wary",
        "conditional",
        "cost",
        "tries",
    )

    def __init__(self, *, wary: bool) -> None:
        self._wary = wary
        self.cost = 0.0
        self._base = 1
        """How often the first word of this level is read."""
        self.tries = 0
        """Words of this level behind which everything is read once more."""
        self._doubts = 0
        """Words of this level of which it is not known that they are harmless."""
        self._selects = False
        """This level has a SELECT."""
        self._joins = self._belongs = 0
        self._began = 0.0
        self.conditional = True
        """A condition belongs to the next JOIN."""
        self._outside: list[_Level] = []

    @property
    def times(self) -> int:
        """How often a word here is read."""
        return self._base * (1 + self.tries)

    def note(self, word: str) -> None:
        """Note that *word* is part of this level."""
        if word == "select":
            self._selects = True
        elif word in READ_TWICE or (word == "from" and not self._selects):
            self._doubts += 1

    def open(self, bracket: str, before: str, index: int, *, twice: bool) -> None:
        """Begin the level within *bracket*, the word at *index*, behind the word *before*."""
        belongs = self._belongs if before in CLOSING else index
        self._outside.append(
            _Level(
                OPENING[bracket],
                self._base,
                self.tries,
                self._doubts,
                self._selects,
                self._joins,
                self._began,
                belongs,
            )
        )
        again = max(twice, self._doubts if self._wary else 0)
        self._base = self.times * (1 + again)
        self.tries = self._doubts = 0
        self._selects = False
        self._joins, self._began = 0, self.cost

    def close(self, bracket: str, index: int) -> bool:
        """Note that *bracket* closes the last one; return whether it does."""
        if not self._outside or self._outside[-1].closing != bracket:
            return False
        self._end_joins()
        level = self._outside.pop()
        self._base, self.tries = level.base, level.tries
        self._doubts, self._selects = level.doubts, level.selects
        self._joins, self._began, self._belongs = level.joins, level.began, level.belongs
        if bracket == "]":
            self.cost += self.times * (_SUBSCRIPT + _COPIED * (index - self._belongs))
        return True

    def end(self) -> bool:
        """Note that there are no more words; return whether every bracket is closed."""
        self._end_joins()
        return not self._outside

    def clause(self, word: str) -> None:
        """Note *word* if it is of a clause that is read twice."""
        if word in JOINS:
            if not self._joins:
                self._began = self.cost
            self._joins += self.conditional
            self.conditional = True
        elif word in CONDITIONS:
            self._joins = max(0, self._joins - 1)
        elif word in LIMITS:
            self._base *= 2

    def _end_joins(self) -> None:
        """Add what it costs that JOINs are left without a condition: what follows each of them is read twice."""
        again = (1 << min(self._joins, MOST_JOINS)) - 1
        self.cost += (self.cost - self._began) * again
