"""Framing: where frames begin and end, from five header bytes each.

A frame is one type byte, a four-byte length that counts itself but not the type byte, and the payload
(PostgreSQL manual, "Message Formats"). Lengths are checked before they are used: a length below four or
above PostgreSQL's own limit of 1 GB ends the connection (08P01).
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

from rwsplit.errors import ProtocolViolation

#: Type byte and length.
HEADER: Final = Struct("!BI")
HEADER_SIZE: Final = 5
LENGTH_SIZE: Final = 4

#: PQ_LARGE_MESSAGE_LIMIT (src/include/libpq/libpq.h): MaxAllocSize - 1.
MAX_LENGTH: Final = 0x3FFFFFFE

_header = HEADER.unpack_from


def frame(code: int, payload: bytes) -> bytes:
    """Return *payload* as one frame of type *code*."""
    return HEADER.pack(code, len(payload) + LENGTH_SIZE) + payload


def split(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield `(code, start, end)` of every complete frame in *data*, which begins at a frame's start.

    *start* is the type byte's offset, *end* the offset behind the frame. An incomplete last frame is
    not yielded.

    Raises:
        ProtocolViolation: a frame announces an impossible length.
    """
    size = len(data)
    start = 0
    while size - start >= HEADER_SIZE:
        code, length = _header(data, start)
        check_length(code, length)
        end = start + 1 + length
        if end > size:
            return
        yield code, start, end
        start = end


def check_length(code: int, length: int) -> None:
    """Refuse a *length* no PostgreSQL peer would announce.

    Raises:
        ProtocolViolation: it is below four or above 1 GB.
    """
    if not LENGTH_SIZE <= length <= MAX_LENGTH:
        raise ProtocolViolation(
            f"invalid message length {length} in a message of type {code:#04x}"
        )


#: Bytes of the longest name of a statement or portal: sessions keep thousands. PostgreSQL tells names apart by 63.
MOST_NAME: Final = 1024


def find_zero(data: bytes, start: int, end: int) -> int:
    """Return where the zero byte is that ends the name at *start* of `data[:end]`.

    Raises:
        ProtocolViolation: there is none, or the name is longer than MOST_NAME.
    """
    at = data.find(b"\0", start, end)
    if at < 0:
        raise ProtocolViolation("a message has no zero byte behind a name")
    if at - start > MOST_NAME:
        raise ProtocolViolation(
            f"a statement or portal has a name of more than {MOST_NAME} bytes"
        )
    return at
