"""Backend: builders of the messages a server sends, for what rwsplit says itself.

Each returns one complete frame. Layouts: PostgreSQL manual, "Message Formats".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Final, NamedTuple

from rwsplit.protocol import codes
from rwsplit.protocol.fields import cstring
from rwsplit.protocol.framing import frame

TEXT_OID: Final = 25

_int16 = Struct("!h").pack
_int32 = Struct("!i").pack
_uint32 = Struct("!I").pack
_column = Struct("!IhIhih").pack

# The codes inside an Authentication message.
AUTHENTICATION_OK: Final = 0
AUTHENTICATION_CLEARTEXT: Final = 3
AUTHENTICATION_MD5: Final = 5
AUTHENTICATION_SASL: Final = 10
AUTHENTICATION_SASL_CONTINUE: Final = 11
AUTHENTICATION_SASL_FINAL: Final = 12


class Column(NamedTuple):
    """One column of a result rwsplit makes itself, of no table; by default text in text format."""

    name: str
    type_oid: int = TEXT_OID
    type_size: int = -1
    type_modifier: int = -1
    format: int = 0
    """0 text, 1 binary."""


def _report(
    code: int, severity: str, sqlstate: str, message: str, detail: str | None, hint: str | None
) -> bytes:
    fields = [("S", severity), ("V", severity), ("C", sqlstate), ("M", message)]
    if detail is not None:
        fields.append(("D", detail))
    if hint is not None:
        fields.append(("H", hint))
    payload = b"".join(name.encode() + cstring(value) for name, value in fields)
    return frame(code, payload + b"\0")


def error_response(
    severity: str,
    sqlstate: str,
    message: str,
    *,
    detail: str | None = None,
    hint: str | None = None,
) -> bytes:
    """Return an ErrorResponse. *severity* is `ERROR`, `FATAL` or `PANIC`."""
    return _report(codes.ERROR, severity, sqlstate, message, detail, hint)


def notice_response(
    severity: str,
    sqlstate: str,
    message: str,
    *,
    detail: str | None = None,
    hint: str | None = None,
) -> bytes:
    """Return a NoticeResponse. *severity* is `WARNING`, `NOTICE`, `INFO`, `LOG` or `DEBUG`."""
    return _report(codes.NOTICE, severity, sqlstate, message, detail, hint)


def ready_for_query(status: bytes) -> bytes:
    """Return a ReadyForQuery with transaction *status* `b"I"`, `b"T"` or `b"E"`."""
    return frame(codes.READY, status)


def command_complete(tag: str) -> bytes:
    """Return a CommandComplete with its *tag*, such as `SELECT 3`."""
    return frame(codes.COMMAND_COMPLETE, cstring(tag))


def empty_query_response() -> bytes:
    """Return the answer to a query without a statement."""
    return frame(codes.EMPTY_QUERY, b"")


def parse_complete() -> bytes:
    """Return a ParseComplete."""
    return frame(codes.PARSE_COMPLETE, b"")


def bind_complete() -> bytes:
    """Return a BindComplete."""
    return frame(codes.BIND_COMPLETE, b"")


def close_complete() -> bytes:
    """Return a CloseComplete."""
    return frame(codes.CLOSE_COMPLETE, b"")


def portal_suspended() -> bytes:
    """Return a PortalSuspended: an Execute's row limit was reached."""
    return frame(codes.PORTAL_SUSPENDED, b"")


def no_data() -> bytes:
    """Return a NoData."""
    return frame(codes.NO_DATA, b"")


def parameter_description(oids: Sequence[int]) -> bytes:
    """Return a ParameterDescription of a statement's parameter types."""
    payload = _int16(len(oids)) + b"".join(map(_uint32, oids))
    return frame(codes.PARAMETER_DESCRIPTION, payload)


def parameter_status(name: str, value: str) -> bytes:
    """Return a ParameterStatus: the session's *name* is now *value*."""
    return frame(codes.PARAMETER_STATUS, cstring(name) + cstring(value))


def backend_key_data(pid: int, key: bytes) -> bytes:
    """Return the BackendKeyData; *key* is 4 bytes in protocol 3.0, up to 256 in 3.2."""
    return frame(codes.BACKEND_KEY_DATA, _int32(pid) + key)


def row_description(columns: Iterable[Column]) -> bytes:
    """Return the RowDescription of *columns*."""
    described = [
        cstring(name) + _column(0, 0, oid, size, modifier, code)
        for name, oid, size, modifier, code in columns
    ]
    return frame(codes.ROW_DESCRIPTION, _int16(len(described)) + b"".join(described))


def data_row(values: Sequence[bytes | None]) -> bytes:
    """Return one DataRow; None is NULL."""
    packed = [
        b"\xff\xff\xff\xff" if value is None else _int32(len(value)) + value for value in values
    ]
    return frame(codes.DATA_ROW, _int16(len(values)) + b"".join(packed))


def authentication_ok() -> bytes:
    """Return an AuthenticationOk."""
    return frame(codes.AUTHENTICATION, _int32(AUTHENTICATION_OK))


def authentication_cleartext_password() -> bytes:
    """Return the demand for a password in clear."""
    return frame(codes.AUTHENTICATION, _int32(AUTHENTICATION_CLEARTEXT))


def authentication_md5_password(salt: bytes) -> bytes:
    """Return the demand for a password hashed with a *salt* of four bytes."""
    return frame(codes.AUTHENTICATION, _int32(AUTHENTICATION_MD5) + salt)


def authentication_sasl(mechanisms: Iterable[str]) -> bytes:
    """Return the SASL *mechanisms* to choose from, the preferred first."""
    payload = b"".join(map(cstring, mechanisms)) + b"\0"
    return frame(codes.AUTHENTICATION, _int32(AUTHENTICATION_SASL) + payload)


def authentication_sasl_continue(data: bytes) -> bytes:
    """Return a SASL challenge."""
    return frame(codes.AUTHENTICATION, _int32(AUTHENTICATION_SASL_CONTINUE) + data)


def authentication_sasl_final(data: bytes) -> bytes:
    """Return the outcome of a SASL exchange."""
    return frame(codes.AUTHENTICATION, _int32(AUTHENTICATION_SASL_FINAL) + data)


def negotiate_protocol_version(minor: int, options: Sequence[str]) -> bytes:
    """Return the one NegotiateProtocolVersion of a startup.

    *minor* is the version rwsplit goes on with, *options* the `_pq_.` options it does not know. On the wire
    the version is whole (3.2 is 196610), as every released PostgreSQL sends it and libpq reads it.
    """
    payload = _int32(3 << 16 | minor) + _int32(len(options)) + b"".join(map(cstring, options))
    return frame(codes.NEGOTIATE_PROTOCOL, payload)
