"""Wire: a socket that may or may not speak TLS, behind one non-blocking interface.

The relay, the dialer and the client startup read and write plaintext here and never learn which kind they
hold. Nothing waits: what cannot be done now is answered by None (read) or 0 (write), and the owner waits for
the file descriptor in its own way. A wire has one owner at a time; it is handed on, never shared.

TLS is sans-IO: an `ssl.SSLObject` between two memory buffers. Two things follow that a plain socket does not
have. Plaintext may be here although the descriptor is not readable (*has_pending*), so an owner reads until
None. Ciphertext may be left over although all plaintext was accepted (*wants_write*), so an owner flushes until
it is gone, also when it only reads: a peer may demand a new key at any time.
"""

from __future__ import annotations

import abc
import contextlib
import fcntl
import math
import socket
import ssl
import sys
import termios
from typing import ClassVar, Final

from rwsplit.config.model import TcpConfig

#: Most bytes taken from a socket at once. `recv(n)` costs no more for a large *n*: 1.6 µs for 50 bytes and 4.6 µs
#: for 60 kB with n = 64 kB and with 256 kB alike, against 1.7 and 5.8 µs of `recv_into` a shared buffer and a copy
#: out of it (socketpair, CPython 3.11). Above glibc's mmap threshold of 128 kB each could cost 14 µs more.
READ_SIZE: Final = 65_536
#: Most plaintext encrypted before the socket is asked to take it, and so the bound of *wants_write* data.
ENCRYPT_SIZE: Final = 65_536

#: The default settings of connections.
TCP: Final = TcpConfig()


class Wire(abc.ABC):
    """One connection, as non-blocking plaintext."""

    __slots__ = ("_socket", "peer")

    is_tls: ClassVar[bool]

    def __init__(self, sock: socket.socket, peer: str) -> None:
        self._socket = sock
        self.peer = peer

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.peer} fd={self.fileno()}>"

    def fileno(self) -> int:
        """Return the descriptor to poll, -1 when closed."""
        return self._socket.fileno()

    @property
    @abc.abstractmethod
    def wants_write(self) -> bool:
        """Whether bytes wait here for the descriptor to become writable."""

    @property
    @abc.abstractmethod
    def has_pending(self) -> bool:
        """Whether `recv` may return bytes although the descriptor is not readable."""

    @abc.abstractmethod
    def recv(self) -> bytes | None:
        """Return some bytes, `b""` at the end of the stream (a reset is one), None when there are none yet."""

    @abc.abstractmethod
    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Take as many bytes of *data* as can go now and return how many; 0 when none can.

        Raises:
            OSError: the connection is dead.
        """

    @abc.abstractmethod
    def flush(self) -> bool:
        """Push out what waits here; return whether nothing is left.

        Raises:
            OSError: the connection is dead.
        """

    def unacknowledged(self) -> int:
        """Return how many bytes sent the peer's machine has not acknowledged yet; 0 if the system does not tell."""
        count = bytearray(4)
        try:
            fcntl.ioctl(self._socket, termios.TIOCOUTQ, count)
        except (
            OSError,
            ValueError,
        ):  # the socket is closed, or a Unix socket on another system than Linux
            return 0
        return int.from_bytes(count, sys.byteorder)

    def shutdown(self) -> None:
        """Tell the peer that nothing more will be sent; it can still be read from."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def finish(self) -> None:
        """Tell the peer that nothing more will be sent. Only `discard` and `close` may follow.

        Raises:
            OSError: the connection is dead.
        """
        self._socket.shutdown(socket.SHUT_WR)

    def discard(self) -> bool:
        """Throw away what the peer has said; return True when it will say no more.

        Raises:
            OSError: the connection is dead.
        """
        try:
            while self._socket.recv(READ_SIZE):
                pass
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Close the descriptor; what waits here is lost. May be called again."""
        self._socket.close()


class PlainWire(Wire):
    """A socket as it is."""

    __slots__ = ("_recv", "_send")

    is_tls = False
    wants_write = False
    has_pending = False

    def __init__(
        self, sock: socket.socket, peer: str | None = None, tcp: TcpConfig = TCP
    ) -> None:
        super().__init__(sock, peer_of(sock) if peer is None else peer)
        prepare(sock, tcp)
        self._recv = sock.recv
        self._send = sock.send

    def recv(self) -> bytes | None:
        try:
            return self._recv(READ_SIZE)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def send(self, data: bytes | bytearray | memoryview) -> int:
        try:
            return self._send(data)
        except BlockingIOError:
            return 0

    def flush(self) -> bool:
        return True

    def detach(self) -> socket.socket:
        """Return the socket, for the TLS wire that takes this one's place."""
        return self._socket


class TlsWire(Wire):
    """A socket behind TLS, its handshake already done."""

    __slots__ = ("_ciphertext", "_incoming", "_outgoing", "tls")

    is_tls = True

    def __init__(
        self,
        sock: socket.socket,
        tls: ssl.SSLObject,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        peer: str,
    ) -> None:
        super().__init__(sock, peer)
        self.tls = tls
        self._incoming = incoming
        self._outgoing = outgoing
        self._ciphertext = b""

    @property
    def wants_write(self) -> bool:
        return bool(self._ciphertext) or self._outgoing.pending > 0

    @property
    def has_pending(self) -> bool:
        # After a `recv` that returned None both are empty: OpenSSL has taken even half a record to itself.
        return self._incoming.pending > 0 or self.tls.pending() > 0

    def recv(self) -> bytes | None:
        chunks: list[bytes] = []
        size = 0
        ended = False
        while size < READ_SIZE:
            chunk = self._read()
            if chunk:
                chunks.append(chunk)
                size += len(chunk)
                continue
            if chunk is not None:
                ended = True
                break
            if chunks or not self._fill():
                break
        if self._outgoing.pending:
            # The peer asked for an answer of TLS's own; it may also have gone, which the next read tells.
            with contextlib.suppress(OSError):
                self.flush()
        if chunks:
            return b"".join(chunks)
        return b"" if ended else None

    def _read(self) -> bytes | None:
        """Decrypt one record's worth: None when ciphertext is missing, `b""` at the end."""
        try:
            return self.tls.read(READ_SIZE)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except ssl.SSLError:
            # A close_notify, a stream cut off, or bytes that are not TLS: nothing can follow.
            return b""

    def _fill(self) -> bool:
        """Move ciphertext from the socket to OpenSSL; return whether something (or the end) arrived."""
        try:
            data = self._socket.recv(READ_SIZE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        return True

    def send(self, data: bytes | bytearray | memoryview) -> int:
        view = memoryview(data)
        accepted = 0
        while accepted < len(view) and self.flush():
            try:
                accepted += self.tls.write(view[accepted : accepted + ENCRYPT_SIZE])
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            except ssl.SSLError as exc:
                raise BrokenPipeError(f"TLS: {exc.reason or exc}") from exc
        self.flush()
        return accepted

    def flush(self) -> bool:
        while True:
            if not self._ciphertext:
                if not self._outgoing.pending:
                    return True
                self._ciphertext = self._outgoing.read()
            try:
                sent = self._socket.send(self._ciphertext)
            except BlockingIOError:
                return False
            self._ciphertext = self._ciphertext[sent:]

    def shutdown(self) -> None:
        self._say_goodbye()
        super().shutdown()

    def finish(self) -> None:
        self._say_goodbye()
        super().finish()

    def close(self) -> None:
        """Say goodbye in TLS where that needs no waiting, and close."""
        if self.fileno() >= 0:
            self._say_goodbye()
        super().close()

    def _say_goodbye(self) -> None:
        if not self._ciphertext:
            with contextlib.suppress(OSError, ValueError):
                self.tls.unwrap()
            with contextlib.suppress(OSError):
                self.flush()


def prepare(sock: socket.socket, tcp: TcpConfig = TCP) -> None:
    """Make *sock* non-blocking, turn off Nagle's delay, and set keepalives and timeouts by *tcp*.

    Keepalives detect a dead machine and nothing else. TCP_USER_TIMEOUT is off by default, since Linux also closes
    connections whose peer answers but reads nothing (its receive window is zero).
    """
    sock.settimeout(0)
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, tcp.keepalive)
    for option, value in (
        ("TCP_KEEPIDLE", math.ceil(tcp.keepidle)),
        ("TCP_KEEPINTVL", math.ceil(tcp.keepintvl)),
        ("TCP_KEEPCNT", tcp.keepcnt),
        ("TCP_USER_TIMEOUT", math.ceil(tcp.user_timeout * 1000)),
    ):
        if value and hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def peer_of(sock: socket.socket) -> str:
    """Return the address of *sock*'s peer, `host:port`, `[host]:port` or `unix`."""
    if sock.family == socket.AF_UNIX:
        return "unix"
    try:
        host, port = sock.getpeername()[:2]
    except OSError:
        return "gone"
    return format_address(host, port)


def format_address(host: str, port: int) -> str:
    """Return `host:port`, with the brackets an IPv6 address needs."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
