"""Effort: how much work has been done for clients, in words.

A word is what sqlglot takes for one (`parse_cost`), 5 to 10 microseconds. What is done for clients is counted in them, so that it
can be said how much of it one may have at a time without looking at a clock.
"""

from __future__ import annotations

from typing import Final

#: What it takes to classify a statement besides its words.
PARSE: Final = 12


class Effort:
    """What has been done so far; it only grows."""

    __slots__ = ("parses", "words")

    def __init__(self) -> None:
        self.words = 0
        self.parses = 0

    def parsed(self, words: int, statements: int) -> None:
        """Take note that a text of so many *words* in so many *statements* was classified."""
        self.words += PARSE * statements + words
        self.parses += 1
