"""A client that says exactly what a test tells it to, byte for byte, and never waits for ever.

A blocking socket with a deadline on every read. Its encoding is its own, not rwsplit's: a mistake in
one would not hide in the other.

    with RawClient(port) as client:
        client.log_in(user="app", database="app", password=secret)
        client.send(message(b"Q", b"select 1\\0"))
        assert client.codes_until(b"Z") == b"TDCZ"
"""

from __future__ import annotations

import socket
import ssl
import struct
from types import TracebackType
from typing import Final, NamedTuple

from scramp import ScramClient  # type: ignore[import-untyped]

PROTOCOL_3_0: Final = 196608
PROTOCOL_3_2: Final = 196610
SSL_REQUEST: Final = struct.pack("!ii", 8, 80877103)
GSSENC_REQUEST: Final = struct.pack("!ii", 8, 80877104)
AUTHENTICATION_OK, CLEARTEXT, MD5, SASL = 0, 3, 5, 10


class Frame(NamedTuple):
    """One message of the backend."""

    code: bytes
    payload: bytes


class RawClient:
    """One connection. *timeout*: seconds any single read may take."""

    def __init__(self, port: int, host: str = "127.0.0.1", *, timeout: float = 10.0) -> None:
        self.socket: socket.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.parameters: dict[str, str] = {}
        self.pid = 0
        self.cancel_key = b""
        self._buffer = b""

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket without a Terminate."""
        self.socket.close()

    # -- bytes -------------------------------------------------------------------------------------

    def send(self, *data: bytes) -> None:
        """Send *data* in one call of the kernel, as a pipelining driver would."""
        self.socket.sendall(b"".join(data))

    def receive_exactly(self, size: int) -> bytes:
        """Return the next *size* bytes.

        Raises: EOFError when the peer closes before; TimeoutError.
        """
        while len(self._buffer) < size:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(f"closed with {self._buffer!r} unread")
            self._buffer += data
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def is_closed(self) -> bool:
        """Block until the peer closes (True) or sends something (False)."""
        if self._buffer:
            return False
        try:
            self._buffer = self.socket.recv(65536)
        except ConnectionResetError:
            return True
        return not self._buffer

    # -- frames ------------------------------------------------------------------------------------

    def frame(self) -> Frame:
        """Return the next message."""
        code, length = struct.unpack("!ci", self.receive_exactly(5))
        assert length >= 4, f"{code!r} announces {length} bytes"
        return Frame(code, self.receive_exactly(length - 4))

    def frames_until(self, code: bytes) -> list[Frame]:
        """Return the messages up to and including the first with *code* (one byte)."""
        frames = [self.frame()]
        while frames[-1].code != code:
            frames.append(self.frame())
        return frames

    def codes_until(self, code: bytes) -> bytes:
        """Return the codes of `frames_until`, one byte each."""
        return b"".join(frame.code for frame in self.frames_until(code))

    def error(self) -> dict[str, str]:
        """Return the fields of the next message, which must be an ErrorResponse."""
        frame = self.frame()
        assert frame.code == b"E", frame
        return error_fields(frame.payload)

    def query(self, text: str) -> list[Frame]:
        """Run *text* by the simple protocol; return the messages up to ReadyForQuery."""
        self.send(message(b"Q", text.encode() + b"\0"))
        return self.frames_until(b"Z")

    # -- startup -----------------------------------------------------------------------------------

    def start_tls(self, context: ssl.SSLContext, server_hostname: str = "127.0.0.1") -> None:
        """Ask for TLS and expect to get it."""
        self.send(SSL_REQUEST)
        assert self.receive_exactly(1) == b"S"
        self.socket = context.wrap_socket(self.socket, server_hostname=server_hostname)

    def log_in(
        self,
        *,
        user: str,
        database: str,
        password: str = "",
        protocol: int = PROTOCOL_3_0,
        **parameters: str,
    ) -> list[Frame]:
        """Start up, by SCRAM-SHA-256 or cleartext or nothing as the peer asks.

        Return every message up to ReadyForQuery; `parameters`, `pid` and `cancel_key` are kept.
        Raises: AssertionError with the fields of an ErrorResponse.
        """
        self.send(startup({"user": user, "database": database, **parameters}, protocol))
        frames: list[Frame] = []
        while not frames or frames[-1].code != b"Z":
            frames.append(self.frame())
            self._answer(frames[-1], password)
        return frames

    def _answer(self, frame: Frame, password: str) -> None:
        match frame.code:
            case b"E":
                raise AssertionError(error_fields(frame.payload))
            case b"R":
                self._authenticate(frame.payload, password)
            case b"S":
                name, value, _ = frame.payload.split(b"\0")
                self.parameters[name.decode()] = value.decode()
            case b"K":
                self.pid = int.from_bytes(frame.payload[:4], "big")
                self.cancel_key = frame.payload[4:]
            case _:
                pass

    def _authenticate(self, payload: bytes, password: str) -> None:
        [kind] = struct.unpack_from("!i", payload)
        if kind == CLEARTEXT:
            self.send(message(b"p", password.encode() + b"\0"))
        elif kind == SASL:
            self._prove(password)
        else:
            assert kind == AUTHENTICATION_OK, f"authentication method {kind}"

    def _prove(self, password: str) -> None:
        """SCRAM-SHA-256 (RFC 7677), the whole exchange but the final AuthenticationOk."""
        client = ScramClient(["SCRAM-SHA-256"], "ignored", password)
        first = client.get_client_first().encode()
        mechanism = b"SCRAM-SHA-256\0" + struct.pack("!i", len(first))
        self.send(message(b"p", mechanism + first))
        client.set_server_first(self._sasl_data())
        self.send(message(b"p", client.get_client_final().encode()))
        client.set_server_final(self._sasl_data())

    def _sasl_data(self) -> str:
        frame = self.frame()
        if frame.code == b"E":
            raise AssertionError(error_fields(frame.payload))
        return frame.payload[4:].decode()


def message(code: bytes, payload: bytes = b"") -> bytes:
    """Return one frontend message."""
    return code + struct.pack("!i", len(payload) + 4) + payload


def startup(parameters: dict[str, str], protocol: int = PROTOCOL_3_0) -> bytes:
    """Return a startup packet."""
    pairs = b"".join(
        name.encode() + b"\0" + value.encode() + b"\0" for name, value in parameters.items()
    )
    return struct.pack("!ii", len(pairs) + 9, protocol) + pairs + b"\0"


def cancel_request(pid: int, key: bytes) -> bytes:
    """Return a cancel request; it goes on a connection of its own."""
    return struct.pack("!iii", 12 + len(key), 80877102, pid) + key


def error_fields(payload: bytes) -> dict[str, str]:
    """Return the fields of an ErrorResponse or NoticeResponse by their one-letter type."""
    fields = [field for field in payload.split(b"\0") if field]
    return {field[:1].decode(): field[1:].decode(errors="replace") for field in fields}


def rows(frames: list[Frame]) -> list[tuple[bytes | None, ...]]:
    """Return the values of the DataRows among *frames*."""
    return [_values(frame.payload) for frame in frames if frame.code == b"D"]


def _values(payload: bytes) -> tuple[bytes | None, ...]:
    [count] = struct.unpack_from("!h", payload)
    at, values = 2, list[bytes | None]()
    for _ in range(count):
        [size] = struct.unpack_from("!i", payload, at)
        at += 4
        values.append(None if size < 0 else payload[at : at + size])
        at += max(0, size)
    return tuple(values)
