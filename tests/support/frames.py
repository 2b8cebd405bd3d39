"""Messages as tests write them down; an encoding of their own, so that a mistake in rwsplit's shows.

client_sends(parse("s1", "select 1") + bind("s1") + execute() + SYNC)
server_sends(PARSE_COMPLETE + BIND_COMPLETE + row("1") + complete("SELECT 1") + ready())
"""

from __future__ import annotations

import struct
from typing import Final


def message(code: str, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return code.encode() + struct.pack("!i", len(payload) + 4) + payload


def text(*words: str) -> bytes:
    """Return *words* as the protocol's strings, each with its zero byte."""
    return b"".join(word.encode() + b"\0" for word in words)


# What a client sends...


def query(sql: str) -> bytes:
    return message("Q", text(sql))


def parse(name: str, sql: str, *oids: int) -> bytes:
    types = struct.pack(f"!h{len(oids)}i", len(oids), *oids)
    return message("P", text(name, sql) + types)


def bind(statement: str = "", *, portal: str = "", value: bytes | None = None) -> bytes:
    if value is None:
        return message("B", text(portal, statement) + struct.pack("!hhh", 0, 0, 0))
    values = struct.pack("!hhi", 0, 1, len(value)) + value
    return message("B", text(portal, statement) + values + struct.pack("!h", 0))


def execute(portal: str = "", *, rows: int = 0) -> bytes:
    return message("E", text(portal) + struct.pack("!i", rows))


def describe(statement: str) -> bytes:
    return message("D", b"S" + text(statement))


def describe_portal(portal: str = "") -> bytes:
    return message("D", b"P" + text(portal))


def close(statement: str) -> bytes:
    return message("C", b"S" + text(statement))


def close_portal(portal: str) -> bytes:
    return message("C", b"P" + text(portal))


def call(oid: int) -> bytes:
    return message("F", struct.pack("!ihhh", oid, 0, 0, 0))


def copy_data(data: bytes) -> bytes:
    return message("d", data)


SYNC: Final = message("S")
FLUSH: Final = message("H")
TERMINATE: Final = message("X")
COPY_DONE: Final = message("c")


# What a server sends...


def ready(status: str = "I") -> bytes:
    return message("Z", status.encode())


def row(*values: str) -> bytes:
    """Return a DataRow of *values*; of one column, 1, if there are none."""
    data = b""
    for value in values or ("1",):
        data += struct.pack("!i", len(value.encode())) + value.encode()
    return message("D", struct.pack("!h", len(values) or 1) + data)


def complete(tag: str = "SELECT 1") -> bytes:
    return message("C", text(tag))


def error(
    state: str = "42601", said: str = "no", severity: str = "ERROR", routine: str = "somewhere"
) -> bytes:
    fields = ("S" + severity, "V" + severity, "C" + state, "M" + said, "R" + routine)
    return message("E", text(*fields) + b"\0")


def notice(said: str = "mind you") -> bytes:
    return message("N", text("SNOTICE", "C00000", "M" + said) + b"\0")


def parameter(name: str, value: str) -> bytes:
    return message("S", text(name, value))


def notification(channel: str, payload: str = "") -> bytes:
    return message("A", struct.pack("!i", 7) + text(channel, payload))


PARSE_COMPLETE: Final = message("1")
BIND_COMPLETE: Final = message("2")
CLOSE_COMPLETE: Final = message("3")
NO_DATA: Final = message("n")
SUSPENDED: Final = message("s")
EMPTY: Final = message("I")
COLUMNS: Final = message("T", struct.pack("!h", 1) + text("?column?") + bytes(18))
PARAMETERS: Final = message("t", struct.pack("!h", 0))
COPY_IN: Final = message("G", b"\0\0\0")
COPY_OUT: Final = message("H", b"\0\0\0")
