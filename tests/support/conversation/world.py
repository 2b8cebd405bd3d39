"""World: what is true of a conversation whatever rwsplit makes of it: who said what, what was sent and committed, and what went wrong."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

_WRITES: Final = re.compile(
    r"(insert|update|delete|truncate|merge|create|drop|alter|copy \w+ from|call|select nextval)\b"
)
_COMMENTS: Final = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)


def without_comments(text: str) -> str:
    """Return *text* without comments."""
    return _COMMENTS.sub(" ", text).strip()


def plainly(text: str) -> str:
    """Return *text* in lower case without comments."""
    return without_comments(text).lower()


def writes(text: str) -> bool:
    """Return whether *text*, a statement, writes."""
    return _WRITES.match(plainly(text)) is not None


class World:
    """Of one conversation."""

    def __init__(self, primary: str) -> None:
        self.primary = primary
        self.said: dict[str, Counter[str]] = {}
        """By text: how often each client has asked for it to be run."""
        self.sent: Counter[str] = Counter()
        """How often each text was sent to any server to be run."""
        self.committed: Counter[str] = Counter()
        """How often each write was committed on a primary."""
        self.parameters: dict[str, dict[str, str]] = {}
        """By client: what its statements have set, as far as a server has run them."""
        self.bases: dict[str, dict[str, str]] = {}
        """By client: what it has asked for at startup."""
        self.misled: dict[str, str] = {}
        """By text: what is wrong with how a write was run, unless its client was never told that it was."""
        self.problems: list[str] = []

    def says(self, client: str, text: str) -> None:
        """Note that *client* asks for *text* to be run."""
        self.said.setdefault(text, Counter())[client] += 1

    def sends(self, text: str) -> None:
        """Note that *text* was sent to a server to be run."""
        self.sent[text] += 1
        asked = self.said.get(text)
        if asked is not None and writes(text) and self.sent[text] > asked.total():
            self.problems.append(f"sent {self.sent[text]} times: {text!r}")

    def author(self, text: str) -> str | None:
        """Return the client that has said *text*, None if none has or several have."""
        asked = self.said.get(text, ())
        return next(iter(asked)) if len(asked) == 1 else None
