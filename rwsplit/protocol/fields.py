"""Fields: the zero-terminated strings inside payloads, above all those of errors and notices.

An ErrorResponse or NoticeResponse is a list of fields, each one code byte and a string, closed by a zero
byte (PostgreSQL manual, "Error and Notice Message Fields"). Text is UTF-8 here; bytes that are not survive a
round trip as surrogate escapes, because a session's encoding may be another one.
"""

from __future__ import annotations

from rwsplit.errors import ProtocolViolation


def cstring(text: str | bytes) -> bytes:
    """Return *text* with the zero byte that ends it on the wire.

    A zero byte inside would end it early and shift whatever follows, so it is cut there.
    """
    if isinstance(text, str):
        text = text.encode("utf-8", "surrogateescape")
    return text.partition(b"\0")[0] + b"\0"


def text_of(value: bytes) -> str:
    """Decode the bytes of a name or a message; never fails, and `cstring` restores the very bytes."""
    return value.decode("utf-8", "surrogateescape")


def printable(text: str) -> str:
    """Return *text* fit for a log or a terminal: what was not UTF-8 is spelled `\\udcNN`."""
    return text.encode("utf-8", "backslashreplace").decode()


def parse_error_fields(payload: bytes) -> dict[str, str]:
    """Return the fields of an ErrorResponse's or NoticeResponse's *payload* by their code.

    `S` severity, `V` severity never localised, `C` SQLSTATE, `M` message, `D` detail, `H` hint ...

    Raises:
        ProtocolViolation: a field has no end.
    """
    fields: dict[str, str] = {}
    start, size = 0, len(payload)
    while start < size and payload[start]:
        end = payload.find(b"\0", start + 1)
        if end < 0:
            raise ProtocolViolation("an error field has no terminating zero byte")
        fields[chr(payload[start])] = text_of(payload[start + 1 : end])
        start = end + 1
    return fields


def sqlstate_of(frame: bytes | bytearray | memoryview) -> str:
    """Return the SQLSTATE of an ErrorResponse *frame* (type byte and length included), `""` without one.

    Walks from field to field: PostgreSQL sends the code third, behind the two short severities.
    """
    data = bytes(frame)
    start, size = 5, len(data)
    while start < size and data[start]:
        end = data.find(b"\0", start + 1)
        if end < 0:
            break
        if data[start] == 0x43:  # "C"
            return data[start + 1 : end].decode("ascii", "replace")
        start = end + 1
    return ""
