"""Dialer: opens a server: TCP, TLS, startup packet, authentication, up to the first ReadyForQuery.

The name is resolved anew at every dial and every address is tried, each with its share of the time left. TLS
follows libpq's sslmode, including its second attempts: `prefer` tries again without TLS where TLS fails or
pg_hba.conf refuses it, `allow` tries again with TLS where pg_hba.conf refuses a plain connection; and `require`
checks the certificate when a CA file is given.

It fails in four ways, which the caller must tell apart: `NodeUnreachable` (no connection comes about), `LoginUnfinished` (the
node took the connection, and did not come to an end with the login), `ServerRefused` (the node refused the login; its ErrorResponse
goes to the client), all with a message that begins with the node's address; and `OutOfFiles`, which is not the node's fault.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Generator, Mapping
from struct import Struct
from typing import Final

import attrs
import trio

from rwsplit.config.choices import SslMode
from rwsplit.errors import (
    LoginUnfinished,
    NodeUnreachable,
    ProtocolViolation,
    ServerRefused,
)
from rwsplit.protocol import codes, frontend
from rwsplit.protocol.fields import parse_error_fields, printable, text_of
from rwsplit.protocol.framing import frame
from rwsplit.server.authentication import Authentication
from rwsplit.server.credentials import Credentials
from rwsplit.server.endpoint import Endpoint as Endpoint, server_tls_context
from rwsplit.server.files import EXHAUSTED, Purpose, is_short, is_spent, out_of_files
from rwsplit.server.patience import HELD_UP
from rwsplit.server.stream import WireStream
from rwsplit.server.wire import PlainWire, Wire

#: Largest message of a startup; PostgreSQL's own are below 10 kB.
MAX_PAYLOAD: Final = 262_144
#: Messages of a startup after which a node is taken for something else.
MAX_MESSAGES: Final = 1_000
#: SQLSTATE with which pg_hba.conf turns away a connection of the wrong kind.
INVALID_AUTHORIZATION: Final = "28000"

_int32 = Struct("!i").unpack_from


@attrs.frozen(kw_only=True)
class Dialed:
    """An open server, idle, as it introduced itself."""

    wire: Wire
    pid: int
    cancel_key: bytes = attrs.field(repr=False)
    parameters: dict[str, str]
    """What it reported by ParameterStatus."""
    notices: tuple[bytes, ...] = ()
    """NoticeResponse frames it sent meanwhile."""
    unread: bytes = b""
    """Bytes that the server sent behind its first ReadyForQuery and that were read with that."""


async def dial(
    endpoint: Endpoint,
    *,
    database: str,
    user: str,
    parameters: Mapping[str, str],
    credentials: Credentials | None,
    timeout: float,  # noqa: ASYNC109 - the message says how long it was
    purpose: Purpose = Purpose.SERVER,
) -> Dialed:
    """Open a server for *user* in *database* with the startup *parameters*.

    Raises:
        NodeUnreachable: nobody answers there, or not within *timeout* seconds.
        LoginUnfinished: there is a connection, but the server is not ready within *timeout* seconds, or no PostgreSQL.
        ServerRefused: the node said no.
        OutOfFiles: this process may open no connection for *purpose*.

    If the deadline passed while rwsplit itself was held up, it tries once more.
    """
    login = _Login(endpoint, database, user, parameters, credentials, purpose)
    deadline = trio.current_time() + timeout
    try:
        return await _dial_within(login, timeout)
    except NodeUnreachable:
        if trio.current_time() - deadline <= HELD_UP:
            raise
    return await _dial_within(login, timeout)


async def _dial_within(login: _Login, seconds: float) -> Dialed:
    try:
        with _one_sentence(login.endpoint, seconds), trio.fail_after(seconds):
            return await _dial_as_libpq(login)
    except NodeUnreachable as error:
        if login.is_connected:
            raise LoginUnfinished(str(error)) from error
        raise


async def send_cancel(
    endpoint: Endpoint,
    pid: int,
    key: bytes,
    *,
    timeout: float,  # noqa: ASYNC109 - as above
) -> None:
    """Ask the node to cancel what backend *pid* executes; returns when it has closed the connection.

    PostgreSQL closes it after the signal was sent, so a statement sent from then on is not hit by it.

    Raises:
        NodeUnreachable: it did not get there.
        OutOfFiles: as `dial`.
    """
    with _one_sentence(endpoint, timeout), trio.fail_after(timeout):
        plain = endpoint.is_local or endpoint.sslmode in (SslMode.DISABLE, SslMode.ALLOW)
        stream = await _open(endpoint, Purpose.OURS, tls=not plain)
        try:
            await stream.send_all(frontend.cancel_request(pid, key))
            with contextlib.suppress(OSError):
                while await stream.receive_some():
                    pass
        finally:
            stream.close()


@contextlib.contextmanager
def _one_sentence(endpoint: Endpoint, seconds: float) -> Generator[None]:
    """Turn errors on the way to *endpoint* into `NodeUnreachable`, except a shortage of our own."""
    try:
        with _our_own():
            yield
    except trio.TooSlowError as exc:
        raise NodeUnreachable(f"{endpoint}: no answer within {seconds:g} s") from exc
    except EOFError as exc:
        raise NodeUnreachable(f"{endpoint}: it closed the connection during startup") from exc
    except ssl.SSLCertVerificationError as exc:
        raise NodeUnreachable(
            f"{endpoint}: its certificate is refused: {exc.verify_message}"
        ) from exc
    except ssl.SSLError as exc:
        raise NodeUnreachable(f"{endpoint}: TLS failed: {exc.reason or exc}") from exc
    except socket.gaierror as exc:
        raise NodeUnreachable(f"{endpoint}: {exc.strerror}") from exc
    except OSError as exc:
        raise NodeUnreachable(f"{endpoint}: {_reason(exc)}") from exc
    except ValueError as exc:
        # What Python's resolver and TLS say of names that cannot be names.
        raise NodeUnreachable(f"{endpoint}: not a usable host name") from exc
    except ProtocolViolation as exc:
        raise NodeUnreachable(
            f"{endpoint}: it does not speak as PostgreSQL does: {exc}"
        ) from exc


@contextlib.contextmanager
def _our_own() -> Generator[None]:
    """Raise `OutOfFiles` if a lack of descriptors is the cause, also in the resolver or in reading a TLS file."""
    try:
        yield
    except (OSError, NodeUnreachable) as exc:
        is_named = isinstance(exc, OSError) and exc.errno in EXHAUSTED
        if is_named or is_short(Purpose.OURS):
            raise out_of_files() from exc
        raise


def _reason(exc: OSError) -> str:
    return os.strerror(exc.errno).lower() if exc.errno else str(exc)


@attrs.define
class _Login:
    """What is wanted of a node."""

    endpoint: Endpoint
    database: str
    user: str
    parameters: Mapping[str, str]
    credentials: Credentials | None
    purpose: Purpose
    is_connected: bool = False
    """There is a connection, encrypted if it is to be."""

    def packet(self) -> bytes:
        names = {"user": self.user, "database": self.database}
        return frontend.startup_message({**self.parameters, **names})


async def _dial_as_libpq(login: _Login) -> Dialed:
    """Attempt what sslmode says, and its second attempt where it has one."""
    mode = SslMode.DISABLE if login.endpoint.is_local else login.endpoint.sslmode
    if mode is SslMode.DISABLE:
        return await _attempt(login, tls=False)
    if mode is SslMode.ALLOW:
        try:
            return await _attempt(login, tls=False)
        except ServerRefused as exc:
            if exc.server_sqlstate != INVALID_AUTHORIZATION:
                raise
            refusal = exc
        return await _second_attempt(login, refusal, tls=True)
    try:
        return await _attempt(login, tls=True)
    except ServerRefused as exc:
        if mode is not SslMode.PREFER or exc.server_sqlstate != INVALID_AUTHORIZATION:
            raise
        refusal = exc
    return await _second_attempt(login, refusal, tls=False)


async def _second_attempt(login: _Login, refusal: ServerRefused, *, tls: bool) -> Dialed:
    """Try the other way; where that fails as well, what was said first is the better reason."""
    try:
        return await _attempt(login, tls=tls)
    except (ServerRefused, ProtocolViolation, OSError, EOFError):
        raise refusal from None


async def _attempt(login: _Login, *, tls: bool) -> Dialed:
    stream = await _open(login.endpoint, login.purpose, tls=tls)
    try:
        return await _start(login, stream)
    except BaseException:
        stream.close()
        raise


async def _open(endpoint: Endpoint, purpose: Purpose, *, tls: bool) -> WireStream:
    """Connect; with *tls* ask for it, and where `prefer` cannot have it go on without."""
    stream = await _connect(endpoint, purpose)
    if not tls:
        return stream
    try:
        await _encrypt(endpoint, stream)
    except ssl.SSLError:
        stream.close()
        if endpoint.sslmode is not SslMode.PREFER:
            raise
        return await _connect(endpoint, purpose)
    except BaseException:
        stream.close()
        raise
    return stream


async def _connect(endpoint: Endpoint, purpose: Purpose) -> WireStream:
    """Connect to the first address that answers; the error is the last one's."""
    if endpoint.is_local:
        path = f"{endpoint.host}/.s.PGSQL.{endpoint.port}"
        return await _connect_address(socket.AF_UNIX, path, endpoint, purpose)
    found = await trio.socket.getaddrinfo(
        endpoint.host, endpoint.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )
    failure: OSError = OSError(errno.EADDRNOTAVAIL, "no address")
    for position, (family, _, _, _, address) in enumerate(found):
        left = trio.current_effective_deadline() - trio.current_time()
        try:
            with trio.fail_after(max(left, 0) / (len(found) - position)):
                return await _connect_address(family, address, endpoint, purpose)
        except trio.TooSlowError:
            if position == len(found) - 1:
                raise
            failure = TimeoutError(errno.ETIMEDOUT, "connection timed out")
        except OSError as exc:
            failure = exc
    raise failure


async def _connect_address(
    family: int, address: str | tuple[object, ...], endpoint: Endpoint, purpose: Purpose
) -> WireStream:
    sock = _make_socket(family, purpose)
    try:
        sock.settimeout(0)
        # A Unix socket answers at once; when its backlog is full with EAGAIN.
        code = sock.connect_ex(address)
        if code == errno.EINPROGRESS:
            await trio.lowlevel.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        _check_connected(sock, code)
    except BaseException:
        sock.close()
        raise
    return WireStream(PlainWire(sock, str(endpoint), endpoint.tcp))


def _make_socket(family: int, purpose: Purpose) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    if is_spent(sock.fileno(), purpose):
        sock.close()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return sock


def _check_connected(sock: socket.socket, code: int) -> None:
    # On loopback a connection to a port nobody listens on can, by chance, meet itself.
    if not code and sock.family != socket.AF_UNIX and sock.getsockname() == sock.getpeername():
        code = errno.ECONNREFUSED
    if code:
        raise OSError(code, os.strerror(code))


async def _encrypt(endpoint: Endpoint, stream: WireStream) -> None:
    """Ask for TLS and take it; go on without where sslmode lets us."""
    context = server_tls_context(endpoint)
    await stream.send_all(frontend.ssl_request())
    answer = await stream.receive_exactly(1)
    if answer == b"S":
        await stream.start_tls(context, server_side=False, server_hostname=endpoint.host)
    elif answer != b"N":
        # A server from before TLS, or none at all, begins an ErrorResponse.
        raise ProtocolViolation(f"it answered the request for TLS with {answer!r}")
    elif endpoint.sslmode is not SslMode.PREFER:
        raise OSError(f"it does not support TLS, and sslmode is {endpoint.sslmode.value}")


async def _start(login: _Login, stream: WireStream) -> Dialed:
    """Log in and collect what the node says about itself."""
    node = str(login.endpoint)
    login.is_connected = True
    await stream.send_all(login.packet())
    tls = getattr(stream.wire, "tls", None)
    authentication = Authentication(
        node,
        login.user,
        login.credentials,
        tls,
        demands=login.endpoint.demands,
        is_local=login.endpoint.is_local,
    )
    parameters: dict[str, str] = {}
    notices: list[bytes] = []
    pid, key = 0, b""
    for _ in range(MAX_MESSAGES):
        code, payload = await stream.read_frame(MAX_PAYLOAD)
        if code == codes.AUTHENTICATION and not authentication.finished:
            answer = await authentication.answer(payload)
            if answer is not None:
                await stream.send_all(answer)
        elif code == codes.ERROR:
            raise _refused(node, payload)
        elif code == codes.NOTICE:
            notices.append(frame(code, payload))
        elif not authentication.finished:
            raise ProtocolViolation(f"a message of type {code:#04x} before authentication")
        elif code == codes.PARAMETER_STATUS:
            name, _, value = payload.partition(b"\0")
            parameters[text_of(name)] = text_of(value.rstrip(b"\0"))
        elif code == codes.BACKEND_KEY_DATA and len(payload) > 4:
            pid, key = _int32(payload)[0], payload[4:]
        elif code == codes.READY:
            return Dialed(
                wire=stream.wire,
                pid=pid,
                cancel_key=key,
                parameters=parameters,
                notices=tuple(notices),
                unread=stream.take_unread(),
            )
        else:
            raise ProtocolViolation(f"a message of type {code:#04x} during startup")
    raise ProtocolViolation("a startup without an end")


def _refused(node: str, payload: bytes) -> ServerRefused:
    fields = parse_error_fields(payload)
    message = printable(fields.get("M", "no reason given"))
    return ServerRefused(
        f"{node}: {message}",
        response=frame(codes.ERROR, payload),
        server_sqlstate=fields.get("C", ""),
    )
