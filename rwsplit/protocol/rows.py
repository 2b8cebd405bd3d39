"""Rows: the values inside a DataRow, for the questions rwsplit asks itself."""

from __future__ import annotations

from struct import Struct, error
from typing import Final

from rwsplit.errors import ProtocolViolation

_count: Final = Struct("!H").unpack_from
_size: Final = Struct("!i").unpack_from


def parse_row(payload: bytes) -> list[bytes | None]:
    """Return the values in a DataRow's *payload*, as they are on the wire; None is NULL.

    Raises:
        ProtocolViolation: their lengths do not add up.
    """
    values: list[bytes | None] = []
    start = 2
    try:
        for _ in range(_count(payload)[0]):
            size = _size(payload, start)[0]
            start += 4
            if size < 0:
                values.append(None)
            else:
                values.append(payload[start : start + size])
                start += size
    except error as exc:
        raise ProtocolViolation("a row ends before its last value") from exc
    if start != len(payload):
        raise ProtocolViolation("the values of a row do not add up to its length")
    return values
