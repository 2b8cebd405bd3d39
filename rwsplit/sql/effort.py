"""Effort: how much work has been done for clients, in words.

A word is the cost of one token in sqlglot (`parse_budget`), 5 to 10 microseconds. Work for clients is counted in words, so that
each client's share can be limited without looking at a clock.
"""

from __future__ import annotations

from typing import Final

from rwsplit.sql.parse_meter import Clock

#: The cost of classifying a statement besides its tokens, in words.
PARSE: Final = 12


class Effort:
    """The work done so far; it only grows. By *clock*, in seconds, a single text is stopped that takes longer than it should."""

    __slots__ = ("clock", "parses", "words")

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock
        self.words = 0
        self.parses = 0

    def parsed(self, words: int, statements: int) -> None:
        """Count a classified text of so many *words* and *statements*."""
        self.words += PARSE * statements + words
        self.parses += 1
