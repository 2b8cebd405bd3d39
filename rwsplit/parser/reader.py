"""Reader: whoever reads texts that others must not wait for, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple, Protocol

from rwsplit.sql.body import Body
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.statement import Script


class Reading(NamedTuple):
    """What has become of a statement that was to be classified."""

    script: Script | None
    """None: it was not read, and is to be taken for anything."""
    book: FunctionBook | None = None
    """By which it was judged."""
    is_final: bool = False
    """Not read, it is not to be tried again."""


class Reader(Protocol):
    """Whoever reads texts that others must not wait for."""

    async def classify(
        self,
        text: bytes,
        book: Callable[[], FunctionBook],
        *,
        asker: Hashable,
        is_wanted: Callable[[], bool],
    ) -> Reading:
        """Return the facts of *text*, by what *book* returns when it is read; it need not be if *is_wanted* says no then."""

    async def read_bodies(self, texts: Sequence[str], *, asker: Hashable) -> list[Body | None]:
        """Return what each of *texts* may do; None: it could not be read now."""
