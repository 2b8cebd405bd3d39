"""Startup: the untyped packets a client may begin with.

A startup packet is a four-byte length that counts itself, a four-byte code and what belongs to it. The code is
a protocol version or one of three numbers no version will ever be: SSLRequest, GSSENCRequest, CancelRequest
(PostgreSQL manual, "Message Formats"). Nothing here has proved who it is, so every length is checked first.

Versions: 3.0 and 3.2 are spoken. 3.1 was never used by any PostgreSQL and means what 3.0 means. A newer minor
version (3.9999 is sent on purpose, as grease) and `_pq_.` options, of which none is known, are answered with
one NegotiateProtocolVersion.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Final

import attrs

from rwsplit.errors import FeatureNotSupported, NotAStartup, ProtocolViolation
from rwsplit.protocol.fields import text_of
from rwsplit.protocol.frontend import CANCEL_REQUEST, GSSENC_REQUEST, SSL_REQUEST

#: MAX_STARTUP_PACKET_LENGTH (src/include/libpq/pqcomm.h).
MAX_PACKET_SIZE: Final = 10_000
MIN_PACKET_SIZE: Final = 8
#: Parameters of one startup packet; a session may ask for half as many (`app.welcome`).
MAX_PARAMETERS: Final = 200
LENGTH_SIZE: Final = 4
MAX_CANCEL_KEY_SIZE: Final = 256
#: The newest minor version of protocol 3 spoken here.
NEWEST_MINOR: Final = 2
#: What a TLS ClientHello begins with: the record type "handshake".
TLS_HANDSHAKE: Final = 0x16

PROTOCOL_OPTION: Final = "_pq_."

_uint32 = Struct("!I").unpack_from
_cancel = Struct("!i").unpack_from


@attrs.frozen
class SSLRequest:
    """The client asks for TLS; answered by one byte."""


@attrs.frozen
class GSSENCRequest:
    """The client asks for GSSAPI encryption; answered by one byte."""


@attrs.frozen
class CancelRequest:
    """The client asks that what backend *pid* executes be cancelled; not answered at all."""

    pid: int
    key: bytes


@attrs.frozen
class StartupMessage:
    """The client asks for a session."""

    minor: int
    """The minor version to go on with: 0 or 2."""
    parameters: Mapping[str, str]
    """What it sent, `user` and `database` included, `_pq_.` options not."""
    unknown_options: tuple[str, ...] = ()
    """Its `_pq_.` options."""
    newer: bool = False
    """It asked for a newer minor version than is spoken here."""

    @property
    def must_negotiate(self) -> bool:
        """Whether a NegotiateProtocolVersion is due before authentication begins."""
        return self.newer or bool(self.unknown_options)


StartupPacket = SSLRequest | GSSENCRequest | CancelRequest | StartupMessage


def packet_size(prefix: bytes) -> int:
    """Return the size of the packet that begins with the four bytes *prefix*, these included.

    Raises:
        NotAStartup: no PostgreSQL client begins like this.
    """
    size: int = _uint32(prefix)[0]
    if not MIN_PACKET_SIZE <= size <= MAX_PACKET_SIZE:
        raise NotAStartup("invalid length of startup packet")
    return size


def parse_startup_packet(packet: bytes) -> StartupPacket:
    """Return what a complete *packet*, length included, asks for.

    Raises:
        NotAStartup: it has an impossible length.
        ProtocolViolation: it is malformed otherwise.
        FeatureNotSupported: it speaks another protocol than 3.
    """
    if packet_size(packet) != len(packet):
        raise NotAStartup("invalid length of startup packet")
    code: int = _uint32(packet, LENGTH_SIZE)[0]
    body = packet[MIN_PACKET_SIZE:]
    if code == CANCEL_REQUEST:
        return _parse_cancel(body)
    if code in (SSL_REQUEST, GSSENC_REQUEST):
        if body:
            raise NotAStartup("invalid length of startup packet")
        return SSLRequest() if code == SSL_REQUEST else GSSENCRequest()
    major, minor = code >> 16, code & 0xFFFF
    if major != 3:
        raise FeatureNotSupported(
            f"unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.{NEWEST_MINOR}"
        )
    return _parse_session(body, minor)


def _parse_cancel(body: bytes) -> CancelRequest:
    key = body[LENGTH_SIZE:]
    if not 1 <= len(key) <= MAX_CANCEL_KEY_SIZE:
        raise NotAStartup("invalid length of cancel request")
    pid: int = _cancel(body)[0]
    return CancelRequest(pid, key)


def _parse_session(body: bytes, minor: int) -> StartupMessage:
    parameters: dict[str, str] = {}
    unknown_options: list[str] = []
    # Every string ends in a zero byte and the list in one more, so an exact packet splits into
    # name, value, ..., "", "".
    *strings, terminator, rest = body.split(b"\0") if body.endswith(b"\0") else (b"?", b"")
    if len(strings) > 2 * MAX_PARAMETERS:
        raise ProtocolViolation(
            f"a startup packet may have {MAX_PARAMETERS} parameters, not {len(strings) // 2}"
        )
    if terminator or rest or len(strings) % 2 or b"" in strings[::2]:
        raise ProtocolViolation(
            "invalid startup packet layout: expected terminator as last byte"
        )
    for name, value in zip(map(text_of, strings[::2]), strings[1::2], strict=True):
        if name.startswith(PROTOCOL_OPTION):
            unknown_options.append(name)
        else:
            parameters[name] = text_of(value)
    return StartupMessage(
        minor=NEWEST_MINOR if minor >= NEWEST_MINOR else 0,
        parameters=parameters,
        unknown_options=tuple(unknown_options),
        newer=minor > NEWEST_MINOR,
    )
