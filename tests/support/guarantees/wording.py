"""Bursts of statements as messages of the protocol."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from tests.support.guarantees.programs import Burst, Style
from tests.support.guarantees.statements import NAMED, Reading, Statement, Writing
from tests.support.raw_client import message

SYNC: Final = message(b"S")
FLUSH: Final = message(b"H")
_EXECUTE: Final = message(b"E", b"\0\0\0\0\0")
_BIND_UNNAMED: Final = message(b"B", b"\0\0\0\0\0\0\0\0")


def encoded(burst: Burst) -> bytes:
    """Return *burst* as the client sends it."""
    return b"".join(_messages(burst))


def named() -> bytes:
    """Return the messages that parse the named statements."""
    parses = (
        message(b"P", name.encode() + b"\0" + text.encode() + b"\0\0\0")
        for name, text in NAMED.items()
    )
    return b"".join((*parses, SYNC))


def query(text: str) -> bytes:
    """Return a Query."""
    return message(b"Q", text.encode() + b"\0")


def _messages(burst: Burst) -> Iterator[bytes]:
    match burst.style:
        case Style.STRING:
            yield query("; ".join(statement.sql for statement in burst.statements))
        case Style.QUERIES:
            for statement in burst.statements:
                yield query(statement.sql)
        case Style.SYNCS:
            for statement in burst.statements:
                yield _extended(statement)
                yield SYNC
        case Style.PIPELINE | Style.FLUSH:
            for statement in burst.statements:
                yield _extended(statement)
            yield SYNC if burst.style is Style.PIPELINE else FLUSH


def _extended(statement: Statement) -> bytes:
    if isinstance(statement, Reading | Writing) and statement.name is not None:
        return _bind(statement.name, statement.arguments) + _EXECUTE
    parse = message(b"P", b"\0" + statement.sql.encode() + b"\0\0\0")
    return parse + _BIND_UNNAMED + _EXECUTE


def _bind(name: str, arguments: tuple[int, ...]) -> bytes:
    texts = [str(argument).encode() for argument in arguments]
    values = b"".join(struct.pack("!i", len(text)) + text for text in texts)
    count = struct.pack("!h", len(arguments))
    return message(b"B", b"\0" + name.encode() + b"\0" + b"\0\0" + count + values + b"\0\0")
