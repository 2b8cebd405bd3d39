"""WireStream: a wire for a trio task, while a connection is still being set up.

Startup, authentication and the console wait; they do it here. Bytes read too far stay in *unread* and are
handed on with the wire. Nothing is read ahead of a TLS handshake that was agreed on: plaintext that arrives
between the agreement and the handshake was put there by someone in the middle (CVE-2021-23214, -23222).

Many may wait here, and what they wait for may come for all of them at the same moment: so they go on at a `pace`.
"""

from __future__ import annotations

import ssl
from typing import Final

import trio

from rwsplit.errors import ProtocolViolation
from rwsplit.protocol.framing import HEADER, HEADER_SIZE, check_length
from rwsplit.server.pace import OF_CLIENTS, OF_NODES, Pace
from rwsplit.server.wire import PlainWire, TlsWire, Wire

#: Largest payload read by default; nothing said before a session is established comes near it.
MAX_PAYLOAD: Final = 65_536


class WireStream:
    """Async reads and writes on a wire."""

    __slots__ = ("_pace", "_unread", "wire")

    def __init__(self, wire: Wire, unread: bytes = b"", *, pace: Pace | None = None) -> None:
        """*pace* is that of all whose peers may speak at once; without one this stream waits for nobody else."""
        self.wire = wire
        self._unread = bytearray(unread)
        self._pace = pace

    def __repr__(self) -> str:
        return f"<WireStream {self.wire!r} unread={len(self._unread)}>"

    @property
    def unread(self) -> bytes:
        """What was received and not yet asked for."""
        return bytes(self._unread)

    def take_unread(self) -> bytes:
        """Return what was received and not yet asked for, and forget it: its reader is another now."""
        data = bytes(self._unread)
        self._unread.clear()
        return data

    async def receive_some(self) -> bytes:
        """Return at least one byte, `b""` at the end of the stream."""
        if self._unread:
            await trio.lowlevel.checkpoint()
            return self.take_unread()
        return await self._receive()

    async def _receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while True:
            data = self.wire.recv()
            if data is not None:
                return data
            await trio.lowlevel.wait_readable(self.wire.fileno())
            if self._pace is not None:
                await self._pace.step()

    async def receive_exactly(self, size: int) -> bytes:
        """Return *size* bytes.

        Raises:
            EOFError: the stream ended before.
        """
        while len(self._unread) < size:
            data = await self._receive()
            if not data:
                raise EOFError
            self._unread += data
        data = bytes(self._unread[:size])
        del self._unread[:size]
        return data

    async def read_frame(self, limit: int = MAX_PAYLOAD) -> tuple[int, bytes]:
        """Return `(code, payload)` of the next frame.

        Raises:
            EOFError: the stream ended before.
            ProtocolViolation: its length is impossible or its payload above *limit* bytes.
        """
        code, length = HEADER.unpack(await self.receive_exactly(HEADER_SIZE))
        check_length(code, length)
        size = length - 4
        if size > limit:
            raise ProtocolViolation(
                f"a message of type {code:#04x} announces {size} bytes where {limit} are allowed"
            )
        return code, await self.receive_exactly(size)

    async def send_all(self, data: bytes) -> None:
        """Send *data*, down to the last byte of ciphertext.

        Raises:
            OSError: the connection is dead.
        """
        await trio.lowlevel.checkpoint()
        view = memoryview(data)
        while view:
            sent = self.wire.send(view)
            view = view[sent:]
            if view:
                await trio.lowlevel.wait_writable(self.wire.fileno())
        while not self.wire.flush():
            await trio.lowlevel.wait_writable(self.wire.fileno())

    async def start_tls(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_hostname: str | None = None,
        received: bytes = b"",
    ) -> ssl.SSLObject:
        """Go on in TLS. *received* is the beginning of the handshake, if it was read already.

        Raises:
            ProtocolViolation: plaintext arrived before the handshake.
            ssl.SSLError: the handshake failed.
            EOFError, OSError: the connection ended in it.
        """
        if self._unread:
            raise ProtocolViolation("received unencrypted data after the request for TLS")
        plain = self.wire
        if not isinstance(plain, PlainWire):
            raise ProtocolViolation("TLS is already in use")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        incoming.write(received)
        tls = context.wrap_bio(
            incoming, outgoing, server_side=server_side, server_hostname=server_hostname
        )
        wire = TlsWire(plain.detach(), tls, incoming, outgoing, plain.peer)
        pace = OF_CLIENTS if server_side else OF_NODES
        if received:
            await pace.step()
        await self._shake_hands(plain, tls, incoming, outgoing, pace)
        self.wire = wire
        return tls

    async def _shake_hands(
        self,
        plain: PlainWire,
        tls: ssl.SSLObject,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        pace: Pace,
    ) -> None:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.send_all(outgoing.read())
            except ssl.SSLError:
                # What OpenSSL has to say about it is for the peer to hear.
                alert = outgoing.read()
                if alert:
                    plain.send(alert)
                raise
            else:
                await self.send_all(outgoing.read())
                return
            data = await _receive_flight(plain, pace)
            if not data:
                raise EOFError
            incoming.write(data)

    def close(self) -> None:
        """Close the wire; a task that waits on it is told."""
        fd = self.wire.fileno()
        if fd >= 0:
            trio.lowlevel.notify_closing(fd)
        self.wire.close()


async def _receive_flight(plain: PlainWire, pace: Pace) -> bytes:
    """Return what the other side of a handshake says next; it is read when there is time to answer it."""
    while True:
        await trio.lowlevel.wait_readable(plain.fileno())
        await pace.step()
        data = plain.recv()
        if data is not None:
            return data
