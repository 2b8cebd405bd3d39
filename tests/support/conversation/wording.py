"""Wording: messages of the protocol as lines to read. A line leaves nothing out, so equal lines are equal messages."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import attrs

Reader = Callable[[bytes], str]


@attrs.frozen
class Like:
    """Any message whose line begins with *start* and has all of *parts* in it: one whose wording is rwsplit's own."""

    start: str
    parts: tuple[str, ...] = ()

    def matches(self, line: str) -> bool:
        """Return whether *line* is such a message."""
        return line.startswith(self.start) and all(part in line for part in self.parts)

    def __str__(self) -> str:
        return " ... ".join((self.start, *self.parts)) + " ..."


def frames(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield code and payload of each frame in *data*; of an unfinished one at the end code "" and what there is."""
    at = 0
    while at < len(data):
        if len(data) - at < 5:
            yield "", data[at:]
            return
        end = at + 1 + struct.unpack_from("!i", data, at + 1)[0]
        if end > len(data):
            yield "", data[at:]
            return
        yield chr(data[at]), data[at + 5 : end]
        at = end


def lines(data: bytes, *, from_client: bool) -> list[str]:
    """Return a line for each message in *data*."""
    readers = _CLIENT if from_client else _SERVER
    return [_line(readers, code, payload) for code, payload in frames(data)]


def _line(readers: Mapping[str, Reader], code: str, payload: bytes) -> str:
    if not code:
        return f"(unfinished) {payload!r}"
    reader = readers.get(code)
    return f"{code} {payload!r}" if reader is None else reader(payload)


def strings(payload: bytes, count: int) -> tuple[list[str], bytes]:
    """Return the first *count* strings of *payload*, and what follows."""
    *found, rest = payload.split(b"\0", count)
    return [each.decode("utf-8", "replace") for each in found], rest


def values(payload: bytes) -> list[str | None]:
    """Return the values of a DataRow."""
    [count], at = struct.unpack_from("!h", payload), 2
    found: list[str | None] = []
    for _ in range(count):
        [size] = struct.unpack_from("!i", payload, at)
        at += 4
        found.append(None if size < 0 else payload[at : at + size].decode("utf-8", "replace"))
        at += max(size, 0)
    return found


def fields(payload: bytes) -> dict[str, str]:
    """Return the fields of an ErrorResponse or NoticeResponse."""
    parts = [part for part in payload.split(b"\0") if part]
    return {chr(part[0]): part[1:].decode("utf-8", "replace") for part in parts}


def _named(name: str) -> Reader:
    return lambda payload: f"{name} {payload!r}" if payload else name


def _text(name: str) -> Reader:
    def read(payload: bytes) -> str:
        [text], rest = strings(payload, 1)
        return f"{name} {text!r}" + (f" {rest!r}" if rest else "")

    return read


def _parse(payload: bytes) -> str:
    (name, text), rest = strings(payload, 2)
    types = "" if rest == b"\0\0" else f" types {rest[2:].hex()}"
    return f"Parse {name!r}: {text!r}{types}"


def _bind(payload: bytes) -> str:
    (portal, name), rest = strings(payload, 2)
    given = "" if rest == bytes(6) else f" with {rest!r}"
    return f"Bind {portal!r} of {name!r}{given}"


def _execute(payload: bytes) -> str:
    [portal], rest = strings(payload, 1)
    [limit] = struct.unpack("!i", rest)
    return f"Execute {portal!r}" + (f" up to {limit}" if limit else "")


def _target(verb: str) -> Reader:
    def read(payload: bytes) -> str:
        kind = {b"S": "statement", b"P": "portal"}.get(payload[:1], repr(payload[:1]))
        return f"{verb} {kind} {strings(payload[1:], 1)[0][0]!r}"

    return read


def _report(name: str) -> Reader:
    def read(payload: bytes) -> str:
        found = fields(payload)
        first = " ".join(found.pop(key, "-") for key in "VC")
        found.pop("S", None)
        said = found.pop("M", "")
        return f"{name} {first} {said!r}" + (f" {found}" if found else "")

    return read


def _columns(payload: bytes) -> str:
    [count], rest = struct.unpack_from("!h", payload), payload[2:]
    names = []
    for _ in range(count):
        [name], rest = strings(rest, 1)
        more, rest = rest[:18], rest[18:]
        names.append(name if not any(more) else f"{name} {more.hex()}")
    return f"RowDescription {names}"


_CLIENT: Final[Mapping[str, Reader]] = {
    "Q": _text("Query"),
    "P": _parse,
    "B": _bind,
    "D": _target("Describe"),
    "E": _execute,
    "C": _target("Close"),
    "F": _named("FunctionCall"),
    "H": _named("Flush"),
    "S": _named("Sync"),
    "d": _named("CopyData"),
    "c": _named("CopyDone"),
    "f": _text("CopyFail"),
    "X": _named("Terminate"),
}
_SERVER: Final[Mapping[str, Reader]] = {
    "1": _named("ParseComplete"),
    "2": _named("BindComplete"),
    "3": _named("CloseComplete"),
    "n": _named("NoData"),
    "s": _named("PortalSuspended"),
    "I": _named("EmptyQueryResponse"),
    "Z": lambda payload: f"ReadyForQuery {payload.decode()}",
    "C": _text("CommandComplete"),
    "E": _report("ErrorResponse"),
    "N": _report("NoticeResponse"),
    "T": _columns,
    "t": lambda payload: f"ParameterDescription {payload[2:].hex()}",
    "D": lambda payload: f"DataRow {values(payload)}",
    "S": lambda payload: "ParameterStatus {} = {!r}".format(*strings(payload, 2)[0]),
    "A": lambda payload: (
        f"NotificationResponse {payload[:4].hex()} {strings(payload[4:], 2)[0]}"
    ),
    "G": _named("CopyInResponse"),
    "H": _named("CopyOutResponse"),
    "d": _named("CopyData"),
    "c": _named("CopyDone"),
    "V": _named("FunctionCallResponse"),
}
