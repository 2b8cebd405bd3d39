"""Frontend messages of the extended protocol, one function each, for conversations with a RawClient.

Their encoding is written out once more, from the manual ("Message Formats"), so that a mistake in
rwsplit's would not hide in the tests'.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from tests.support.raw_client import message


def query(text: str | bytes) -> bytes:
    """Query: run *text* by the simple protocol."""
    return message(b"Q", _text(text))


def parse(text: str | bytes, name: str = "", types: Sequence[int] = ()) -> bytes:
    """Parse: prepare *text* as *name*; *types* are OIDs of its parameters."""
    oids = struct.pack(f"!h{len(types)}I", len(types), *types)
    return message(b"P", _text(name) + _text(text) + oids)


def bind(
    name: str = "",
    values: Sequence[str | bytes | None] = (),
    *,
    portal: str = "",
    formats: Sequence[int] = (),
    results: Sequence[int] = (),
) -> bytes:
    """Bind: make *portal* of the statement *name* with *values*; formats are 0 (text) or 1 (binary)."""
    parts = [
        _text(portal),
        _text(name),
        struct.pack(f"!h{len(formats)}h", len(formats), *formats),
    ]
    parts.append(struct.pack("!h", len(values)))
    for value in values:
        data = value.encode() if isinstance(value, str) else value
        parts.append(
            struct.pack("!i", -1) if data is None else struct.pack("!i", len(data)) + data
        )
    parts.append(struct.pack(f"!h{len(results)}h", len(results), *results))
    return message(b"B", b"".join(parts))


def describe_statement(name: str = "") -> bytes:
    """Describe a prepared statement."""
    return message(b"D", b"S" + _text(name))


def describe_portal(name: str = "") -> bytes:
    """Describe a portal."""
    return message(b"D", b"P" + _text(name))


def execute(portal: str = "", *, limit: int = 0) -> bytes:
    """Execute *portal*, at most *limit* rows (0: all)."""
    return message(b"E", _text(portal) + struct.pack("!i", limit))


def close_statement(name: str = "") -> bytes:
    """Close a prepared statement."""
    return message(b"C", b"S" + _text(name))


def close_portal(name: str = "") -> bytes:
    """Close a portal."""
    return message(b"C", b"P" + _text(name))


def copy_data(data: bytes) -> bytes:
    """CopyData: part of a COPY."""
    return message(b"d", data)


def copy_fail(reason: str) -> bytes:
    """CopyFail: give a COPY up."""
    return message(b"f", _text(reason))


def function_call(oid: int, *arguments: bytes) -> bytes:
    """FunctionCall with *arguments* in text format, the result in text, too."""
    body = struct.pack("!IhhH", oid, 1, 0, len(arguments))
    for argument in arguments:
        body += struct.pack("!i", len(argument)) + argument
    return message(b"F", body + struct.pack("!h", 0))


def statement(text: str, values: Sequence[str | bytes | None] = ()) -> bytes:
    """Parse, Bind, Describe, Execute of *text* under no name, without its Sync."""
    return parse(text) + bind(values=values) + describe_portal() + execute()


SYNC: Final = message(b"S")
FLUSH: Final = message(b"H")
COPY_DONE: Final = message(b"c")
TERMINATE: Final = message(b"X")


def _text(text: str | bytes) -> bytes:
    return (text.encode() if isinstance(text, str) else text) + b"\0"
