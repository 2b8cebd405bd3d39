"""Looks: rwsplit describes a statement among a client's messages, to know what its sessions are told of it.

The answers to such a Describe are swallowed. What counts of them is the **shape** of the statement: the types of its
parameters, and the names and types of its columns. That is what PostgreSQL compares, too, before it says that a cached
plan must not change its result type. Where a column comes from does not count: a table dropped and made again is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from struct import Struct, error
from typing import Final, NamedTuple

from rwsplit.protocol import codes
from rwsplit.protocol.framing import HEADER_SIZE

#: Behind a column's name: table, attribute, type, size of the type, type modifier, format.
_column = Struct("!IhIhih")
_count = Struct("!H").unpack_from
_facts = Struct("!Ii").pack
#: Bytes of the hash that stands for a result's columns.
_SIZE: Final = 16


class Shape(NamedTuple):
    """What a statement takes and returns."""

    types: bytes
    """The payload of its ParameterDescription: their number, then their OIDs, as in a Parse."""
    columns: bytes
    """A hash of the names and types of its columns; empty if it returns no rows."""


class Look:
    """The step of a Describe of rwsplit's own; *on_seen* is called with it once *shape* is known."""

    __slots__ = ("_types", "on_seen", "shape")

    def __init__(self, on_seen: Callable[[Look], None]) -> None:
        self.on_seen = on_seen
        self._types = b"\0\0"
        self.shape: Shape | None = None
        """What was answered; None: nothing yet, or an error."""

    def take(self, code: int, frame: bytes) -> None:
        """Take one *frame* of the answer, of type *code*; the last is NoData or a RowDescription."""
        if code == codes.PARAMETER_DESCRIPTION:
            self._types = frame[HEADER_SIZE:]
            return
        self.shape = Shape(
            self._types, hash_columns(frame) if code == codes.ROW_DESCRIPTION else b""
        )
        self.on_seen(self)


class Overheard(Look):
    """The step of a Describe of the client's, which is told the answer, too."""

    __slots__ = ()


def hash_columns(frame: bytes) -> bytes:
    """Return a hash of the names and types of columns in the RowDescription *frame*, 16 bytes."""
    seen = blake2b(digest_size=_SIZE)
    at = HEADER_SIZE + 2
    try:
        for _ in range(_count(frame, HEADER_SIZE)[0]):
            end = frame.index(0, at) + 1
            _, _, oid, _, modifier, _ = _column.unpack_from(frame, end)
            seen.update(frame[at:end] + _facts(oid, modifier))
            at = end + _column.size
    except (error, ValueError):
        seen.update(frame)  # what is no RowDescription is equal to itself only
    return seen.digest()
