"""Bodies: what the texts of one database - of functions, views, policies, checks - may do, remembered from look to look.

What is remembered of a text are the names in it, and who may create functions may create any number of them. So the texts of a
database have MOST_NAMES together; what is beyond counts as unreadable. Texts come in batches, so that a look that is given up
has got somewhere. To deparse a view takes a lock on what it reads: a text that is locked is unreadable until the next look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import psycopg
from psycopg import errors

from rwsplit.sql.body import UNREADABLE, Body, read_body

#: Texts fetched at once, and characters read at once.
BATCH: Final = 50
PIECE: Final = 1 << 20
#: Names in all texts of a database together that are remembered, some 100 bytes each at most.
MOST_NAMES: Final = 500_000
#: Seconds a look spends on texts that are locked, a second each, or that PostgreSQL has an error for, BRIEF each; then it fetches no more.
PATIENCE: Final = 3.0
BRIEF: Final = 0.03

Connection = psycopg.Connection[tuple[Any, ...]]
ReadBodies = Callable[[Sequence[str]], Sequence[Body | None]]


class Bodies:
    """The texts of one database; *read_bodies* returns what texts may do, None for a text that cannot be parsed now."""

    def __init__(self, read_bodies: ReadBodies | None = None) -> None:
        self._read_bodies = read_bodies or _read_here
        self._known: dict[int, tuple[str, Body]] = {}
        """By OID, a relation's negated: the version of the row, and what its text may do."""
        self._clauses: dict[str, Body] = {}
        """By its text: what a policy or check may do."""
        self._left = MOST_NAMES
        self._patience = PATIENCE

    def begin(self) -> None:
        """Begin a look."""
        bodies = (*(body for _, body in self._known.values()), *self._clauses.values())
        self._left = MOST_NAMES - sum(map(_size, bodies))
        self._patience = PATIENCE

    def inherit(self, other: Bodies) -> None:
        """Know what *other*, which another thread may be at, has read so far."""
        self._known = dict(other._known)
        self._clauses = dict(other._clauses)

    def forget(self) -> None:
        """Read all texts again: what they mention may have another name."""
        self._known.clear()

    def known(self) -> Mapping[int, Body]:
        """Return what is known, by the OID of a function or view."""
        return {abs(key): body for key, (_, body) in self._known.items()}

    def keep(self, keys: Iterable[int]) -> None:
        """Forget all texts but those of *keys*."""
        self._known = {key: self._known[key] for key in keys}

    def update(self, connection: Connection, query: str, versions: Mapping[int, str]) -> None:
        """Read by *query* the texts whose version is not the one known."""
        unread = [
            key
            for key, version in versions.items()
            if self._known.get(key, _NOT_READ)[0] != version
        ]
        for key in unread:
            self._known[key] = _NOT_READ
        for batch in _batches(unread):
            if self._left <= 0 or self._patience <= 0:
                return
            found = self._fetch(connection, query, batch)
            there = {key: found[abs(key)] for key in batch if abs(key) in found}
            texts = {key: text for key, text in there.items() if text is not None}
            read = dict(zip(texts, self._read([*texts.values()]), strict=True))
            for key in there:
                body = read.get(key, UNREADABLE)  # it is too long to be deparsed
                if body is not None:
                    self._known[key] = versions[key], body

    def texts(
        self, connection: Connection, query: str, keys: Iterable[int]
    ) -> dict[int, str | None]:
        """Return the texts that *query* gives for *keys*, as far as they are to be had."""
        found: dict[int, str | None] = {}
        for batch in _batches(keys):
            if self._patience > 0:
                found |= self._fetch(connection, query, batch)
        return found

    def clauses(self, texts: set[str]) -> Mapping[str, Body]:
        """Return what each of *texts* may do, as far as that can be said now; those of the last look are remembered."""
        known = {text: body for text, body in self._clauses.items() if text in texts}
        unread = sorted(texts - known.keys())
        read = zip(unread, self._read(unread), strict=True)
        self._clauses = known | {text: body for text, body in read if body is not None}
        return self._clauses

    def _read(self, texts: Sequence[str]) -> Iterator[Body | None]:
        """Yield what each of *texts* may do, None if it cannot be parsed now or nothing more may be remembered."""
        piece: list[str] = []
        size = 0
        for text in texts:
            piece.append(text)
            size += len(text)
            if size > PIECE:
                yield from self._read_piece(piece)
                piece, size = [], 0
        yield from self._read_piece(piece)

    def _read_piece(self, texts: Sequence[str]) -> Sequence[Body | None]:
        if not texts:
            return ()
        if self._left <= 0:
            return [None] * len(texts)
        bodies = self._read_bodies(texts)
        self._left -= sum(_size(body) for body in bodies if body is not None)
        return bodies

    def _fetch(
        self, connection: Connection, query: str, keys: Sequence[int]
    ) -> dict[int, str | None]:
        """Return the texts of *keys*; if PostgreSQL does not give one of them, all others."""
        try:
            rows = connection.execute(query.encode(), ([abs(key) for key in keys],))
            return {row[0]: row[1] for row in rows}
        except psycopg.DatabaseError as error:
            if connection.broken:
                raise
            if len(keys) == 1:
                # A text of which PostgreSQL runs out of stack costs nobody a second.
                waited = isinstance(error, errors.LockNotAvailable | errors.QueryCanceled)
                self._patience -= 1.0 if waited else BRIEF
                return {}
        if self._patience <= 0:
            return {}
        half = len(keys) // 2
        found = self._fetch(connection, query, keys[:half])
        return found | self._fetch(connection, query, keys[half:])


def _size(body: Body) -> int:
    return len(body.calls) + len(body.names)


def _batches(keys: Iterable[int]) -> Iterator[list[int]]:
    left = iter(keys)
    while batch := list(islice(left, BATCH)):
        yield batch


def _read_here(texts: Sequence[str]) -> list[Body | None]:
    return [read_body(text) for text in texts]


_NOT_READ: Final = ("", UNREADABLE)
