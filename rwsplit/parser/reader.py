"""Reader: the interface of what parses expensive texts (`parser.Parser`, `inline.Inline`), and its results."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple, Protocol

from rwsplit.sql.body import Body
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.script import Script


class Reading(NamedTuple):
    """The result of classifying a statement."""

    script: Script | None
    """Its facts; None if it could not be parsed, so that it may do anything."""
    book: FunctionBook | None = None
    """The book of functions that was used."""
    is_final: bool = False
    """Whether a statement that could not be parsed must not be tried again."""


class Reader(Protocol):
    """Parses texts that are too expensive for the turn loop."""

    async def classify(
        self,
        text: bytes,
        book: Callable[[], FunctionBook],
        *,
        asker: Hashable,
        is_wanted: Callable[[], bool],
    ) -> Reading:
        """Return the facts of *text*, by *book* as it is when its turn comes; give up if *is_wanted* is false then."""

    async def read_bodies(self, texts: Sequence[str], *, asker: Hashable) -> list[Body | None]:
        """Return what each of *texts* may do; None for a text that could not be parsed now."""
