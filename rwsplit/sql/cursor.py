"""Cursor: reading tokens of a utility statement from left to right.

The grammar of a utility statement is a row of optional words; `take` skips one if it is there and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rwsplit.sql.tokens import MARK, NAME, STRING, WORD, Token, string_value

_END: Final[Token] = (MARK, "")


class Cursor:
    """A position in *tokens*."""

    __slots__ = ("position", "tokens")

    def __init__(self, tokens: Sequence[Token], position: int = 0) -> None:
        self.tokens = tokens
        self.position = position

    @property
    def token(self) -> Token:
        """The next token; an empty mark at the end."""
        return self.tokens[self.position] if self.position < len(self.tokens) else _END

    @property
    def word(self) -> str:
        """The next token's text if it is a key word or unquoted name, else nothing."""
        kind, text = self.token
        return text if kind == WORD else ""

    @property
    def rest(self) -> Sequence[Token]:
        """The tokens not read yet."""
        return self.tokens[self.position :]

    @property
    def at_end(self) -> bool:
        """Whether all tokens have been read."""
        return self.position >= len(self.tokens)

    def take(self, *words: str) -> bool:
        """Skip *words* if they come next, in this order; say whether they did."""
        end = self.position + len(words)
        if tuple(self.tokens[self.position : end]) != tuple((WORD, word) for word in words):
            return False
        self.position = end
        return True

    def take_any(self, *words: str) -> str:
        """Skip the next word if it is one of *words* and return it, else nothing."""
        word = self.word
        if word not in words:
            return ""
        self.position += 1
        return word

    def mark(self, text: str) -> bool:
        """Skip the mark *text* if it comes next; say whether it did."""
        if self.token != (MARK, text) or not text:
            return False
        self.position += 1
        return True

    def name(self) -> str | None:
        """Skip a name, or a literal that stands for one, and return it; None if there is none."""
        kind, text = self.token
        if kind not in {WORD, NAME, STRING}:
            return None
        self.position += 1
        return string_value(text) if kind == STRING else text

    def dotted_name(self) -> str | None:
        """Skip `a.b.c` and return it; None if there is no name."""
        name = self.name()
        while name is not None and self.mark("."):
            name = f"{name}.{self.name()}"
        return name

    def skip_parentheses(self) -> bool:
        """Skip `( ... )` if it comes next; say whether it did."""
        if self.token != (MARK, "("):
            return False
        depth = 0
        while self.position < len(self.tokens):
            kind, text = self.token
            self.position += 1
            if kind == MARK:
                depth += (text == "(") - (text == ")")
            if depth == 0:
                break
        return True

    def find(self, *words: str) -> bool:
        """Move to the first of *words* outside parentheses; say whether there is one."""
        while self.position < len(self.tokens):
            if self.word in words:
                return True
            if not self.skip_parentheses():
                self.position += 1
        return False
