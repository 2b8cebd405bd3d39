"""ParseBudget: what the statements of one text may cost, in words; most of it their trees, which sqlglot's parser makes.

A word stands for what an ordinary one costs, some LOOKS into the parser's tables (`parse_meter`), 5 to 10 microseconds.
"""

from __future__ import annotations

import gc
from typing import Any, Final

from sqlglot.dialects.postgres import Postgres

from rwsplit.sql.parse_meter import Clock, Metered

BUDGET: Final = 6000
"""What the trees of one text may cost together: some 50 ms."""
INLINE_BUDGET: Final = 800
"""The same in the turn loop, where all clients wait: enough for an ordinary statement of some kilobytes."""
PATIENT_BUDGET: Final = 80_000
"""The same in the parser process, where only the asker waits."""
TREE: Final = 8
"""What a tree costs besides its words and its statement, in words."""
STATEMENT: Final = 2
"""What a statement costs besides its tree, in words."""
LOOKS: Final = 10
"""Looks that a word of the budget buys."""
SECONDS: Final = 15e-6
"""Time that a word of the budget buys; most need half of it."""


class _Dialect(Postgres):
    """PostgreSQL's, with subscripts left as they are: to count them from 0 sqlglot goes through all that each is a subscript of."""

    INDEX_OFFSET = 0


_DIALECT: Final = _Dialect()


class ParseBudget:
    """What the statements of one text may still cost; if there is a *clock*, of its time as well."""

    __slots__ = ("_clock", "is_spent", "left", "whole")

    def __init__(self, whole: float = BUDGET, clock: Clock | None = None) -> None:
        self.whole = self.left = whole
        self._clock = clock
        self.is_spent = False
        """Whether something was given up, or not begun, because it would have cost more than was left."""

    @property
    def spent(self) -> float:
        """What it has cost so far, in words."""
        return self.whole - self.left

    def begin(self) -> bool:
        """Begin a statement; return whether there is enough left to read it."""
        self.left -= STATEMENT
        self.is_spent = self.is_spent or self.left <= 0
        return not self.is_spent

    def parse(self, sql: str) -> list[Any]:
        """Return the trees of *sql*; none if the budget does not do.

        Raises: what sqlglot raises for what it cannot read: SqlglotError, RecursionError, KeyError.
        """
        self.left -= TREE
        if self.is_spent or self.left <= 0:
            self.is_spent = True
            return []
        clock, seconds = self._clock, self.left * SECONDS
        metered = Metered(int(self.left * LOOKS), clock=clock, seconds=seconds)
        before = clock() if clock else 0.0
        trees: list[Any] = []
        collects = gc.isenabled()
        gc.disable()  # so that a tree that is given up, which is full of cycles, is young, and cheap to collect
        try:
            with metered:
                trees = _DIALECT.parse(sql)
        finally:
            if collects:
                gc.enable()
            if not trees:
                gc.collect(0)
            lasted = clock() - before if clock else 0.0
            self.left -= max(metered.taken / LOOKS, lasted / SECONDS)
            self.is_spent = metered.stopped
        return trees
