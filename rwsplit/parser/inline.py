"""Inline: parses texts in the calling task, for programs without a parser process: tests, and a relay embedded in another program."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import trio

from rwsplit.parser.reader import Reader, Reading
from rwsplit.sql.body import Body, read_body
from rwsplit.sql.classify import parse
from rwsplit.sql.functions import FunctionBook


class Inline(Reader):
    """Parses every text at once, while everything else waits."""

    async def classify(
        self,
        text: bytes,
        book: Callable[[], FunctionBook],
        *,
        asker: Hashable,  # noqa: ARG002
        is_wanted: Callable[[], bool],  # noqa: ARG002
    ) -> Reading:
        """Return the facts of *text*, by the current *book*."""
        await trio.lowlevel.checkpoint()
        current = book()
        return Reading(parse(text, current), current)

    async def read_bodies(
        self,
        texts: Sequence[str],
        *,
        asker: Hashable,  # noqa: ARG002
    ) -> list[Body | None]:
        """Return what each of *texts* may do."""
        await trio.lowlevel.checkpoint()
        return [read_body(text) for text in texts]
