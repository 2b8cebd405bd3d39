"""Frontend: builders of the messages a client sends, for what rwsplit says to servers itself.

Each returns one complete frame, except the untyped packets of a connection's first moments. Names and texts
may be bytes as they came from a client, or `str`. Layouts: PostgreSQL manual, "Message Formats".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from struct import Struct
from typing import Final

from rwsplit.protocol import codes
from rwsplit.protocol.fields import cstring
from rwsplit.protocol.framing import frame

PROTOCOL_3_0: Final = 3 << 16
CANCEL_REQUEST: Final = 80877102
SSL_REQUEST: Final = 80877103
GSSENC_REQUEST: Final = 80877104

_int16 = Struct("!h").pack
_uint16 = Struct("!H").pack
_int32 = Struct("!i").pack
_uint32 = Struct("!I").pack

SYNC: Final = frame(codes.SYNC, b"")
FLUSH: Final = frame(codes.FLUSH, b"")
TERMINATE: Final = frame(codes.TERMINATE, b"")


def query(sql: bytes | str) -> bytes:
    """Return a simple Query."""
    return frame(codes.QUERY, cstring(sql))


def parse(name: bytes | str, sql: bytes | str, oids: Sequence[int] = ()) -> bytes:
    """Return a Parse of *sql* as prepared statement *name* with the given parameter types."""
    types = _uint16(len(oids)) + b"".join(map(_uint32, oids))
    return frame(codes.PARSE, cstring(name) + cstring(sql) + types)


def bind(
    portal: bytes | str,
    statement: bytes | str,
    values: Sequence[bytes | None] = (),
    *,
    formats: Sequence[int] = (),
    result_formats: Sequence[int] = (),
) -> bytes:
    """Return a Bind. *formats* and *result_formats* are none (text), one for all, or one each: 0 text, 1 binary."""
    packed = [
        b"\xff\xff\xff\xff" if value is None else _int32(len(value)) + value for value in values
    ]
    arguments = _formats(formats) + _uint16(len(values)) + b"".join(packed)
    names = cstring(portal) + cstring(statement)
    return frame(codes.BIND, names + arguments + _formats(result_formats))


def _formats(formats: Iterable[int]) -> bytes:
    packed = [_int16(code) for code in formats]
    return _uint16(len(packed)) + b"".join(packed)


def describe(kind: bytes, name: bytes | str) -> bytes:
    """Return a Describe of a statement (*kind* `b"S"`) or a portal (`b"P"`)."""
    return frame(codes.DESCRIBE, kind + cstring(name))


def execute(portal: bytes | str = b"", limit: int = 0) -> bytes:
    """Return an Execute of at most *limit* rows, 0 for all."""
    return frame(codes.EXECUTE, cstring(portal) + _int32(limit))


def close(kind: bytes, name: bytes | str) -> bytes:
    """Return a Close of a statement (*kind* `b"S"`) or a portal (`b"P"`)."""
    return frame(codes.CLOSE, kind + cstring(name))


def sync() -> bytes:
    """Return a Sync."""
    return SYNC


def flush() -> bytes:
    """Return a Flush."""
    return FLUSH


def terminate() -> bytes:
    """Return a Terminate."""
    return TERMINATE


def copy_fail(reason: str) -> bytes:
    """Return a CopyFail."""
    return frame(codes.COPY_FAIL, cstring(reason))


def password_message(password: bytes | str) -> bytes:
    """Return a PasswordMessage: the password in clear, or `md5` and a hash."""
    return frame(codes.PASSWORD, cstring(password))


def sasl_initial_response(mechanism: str, data: bytes) -> bytes:
    """Return the choice of a SASL *mechanism* with its first message."""
    return frame(codes.PASSWORD, cstring(mechanism) + _int32(len(data)) + data)


def sasl_response(data: bytes) -> bytes:
    """Return the answer to a SASL challenge."""
    return frame(codes.PASSWORD, data)


def startup_message(parameters: Mapping[str, str], *, version: int = PROTOCOL_3_0) -> bytes:
    """Return the startup packet of a session; *parameters* hold `user` and whatever else is wanted."""
    pairs = b"".join(cstring(name) + cstring(value) for name, value in parameters.items())
    return _packet(_int32(version) + pairs + b"\0")


def cancel_request(pid: int, key: bytes) -> bytes:
    """Return the packet that asks a server to cancel what backend *pid* executes."""
    return _packet(_int32(CANCEL_REQUEST) + _int32(pid) + key)


def ssl_request() -> bytes:
    """Return the packet that asks whether the server speaks TLS."""
    return _packet(_int32(SSL_REQUEST))


def gssenc_request() -> bytes:
    """Return the packet that asks whether the server speaks GSSAPI encryption."""
    return _packet(_int32(GSSENC_REQUEST))


def _packet(payload: bytes) -> bytes:
    return _int32(len(payload) + 4) + payload
