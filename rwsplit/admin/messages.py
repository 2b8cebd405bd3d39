"""Messages: what a client says in the extended protocol, decoded for the console.

The relay looks at these only where it must and forwards the rest; the console is their last reader,
so here they are taken apart whole. Layouts: PostgreSQL manual, "Message Formats".
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from rwsplit.errors import ProtocolViolation
from rwsplit.protocol.fields import text_of

_int16 = Struct("!h")
_uint16 = Struct("!H")
_int32 = Struct("!i")


class Parse(NamedTuple):
    """A statement to prepare."""

    name: str
    text: str


class Bind(NamedTuple):
    """A statement with values."""

    portal: str
    statement: str
    values: tuple[str | None, ...]
    result_formats: tuple[int, ...]


class Execute(NamedTuple):
    """A portal to run; *limit* 0 means every row."""

    portal: str
    limit: int


class Named(NamedTuple):
    """Describe and Close: `S` a statement or `P` a portal."""

    kind: str
    name: str


def parse_query(payload: bytes) -> str:
    """Return the text of a Query. Raises ProtocolViolation, as all functions here."""
    reader = _Reader(payload)
    text = reader.string()
    reader.end()
    return text


def parse_parse(payload: bytes) -> Parse:
    """Return a Parse; the types it asks for do not matter, all values are text."""
    reader = _Reader(payload)
    name, text = reader.string(), reader.string()
    for _ in range(reader.number(_uint16)):
        reader.number(_int32)
    reader.end()
    return Parse(name, text)


def parse_bind(payload: bytes) -> Bind:
    """Return a Bind. The formats of values do not matter: text is the same in both."""
    reader = _Reader(payload)
    portal, statement = reader.string(), reader.string()
    reader.formats()
    values = tuple(reader.value() for _ in range(reader.number(_uint16)))
    formats = reader.formats()
    reader.end()
    return Bind(portal, statement, values, formats)


def parse_execute(payload: bytes) -> Execute:
    """Return an Execute."""
    reader = _Reader(payload)
    portal, limit = reader.string(), reader.number(_int32)
    reader.end()
    return Execute(portal, max(0, limit))


def parse_named(payload: bytes) -> Named:
    """Return a Describe or a Close."""
    reader = _Reader(payload)
    text = reader.string()
    reader.end()
    if text[:1] not in {"S", "P"}:
        raise ProtocolViolation(f"invalid subtype {text[:1]!r}")
    return Named(text[0], text[1:])


class _Reader:
    """Walks through one payload and never over its end."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._at = 0

    def string(self) -> str:
        end = self._payload.find(b"\0", self._at)
        if end < 0:
            raise ProtocolViolation("a text in a message has no terminating zero byte")
        text = text_of(self._payload[self._at : end])
        self._at = end + 1
        return text

    def number(self, kind: Struct) -> int:
        if self._at + kind.size > len(self._payload):
            raise ProtocolViolation("a message is shorter than it says")
        (value,) = kind.unpack_from(self._payload, self._at)
        self._at += kind.size
        return int(value)

    def formats(self) -> tuple[int, ...]:
        return tuple(self.number(_int16) for _ in range(self.number(_uint16)))

    def value(self) -> str | None:
        size = self.number(_int32)
        if size == -1:
            return None
        if not 0 <= size <= len(self._payload) - self._at:
            raise ProtocolViolation("a value in a Bind is longer than its message")
        self._at += size
        return text_of(self._payload[self._at - size : self._at])

    def end(self) -> None:
        if self._at != len(self._payload):
            raise ProtocolViolation("a message is longer than it says")
