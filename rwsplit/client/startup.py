"""Startup: from a client's first byte to its first ReadyForQuery.

    first byte 0x16 -> TLS at once, by ALPN `postgresql`
    SSLRequest      -> `S` and TLS, or `N`; once
    GSSENCRequest   -> `N`; once
    CancelRequest   -> done, never answered
    startup packet  -> NegotiateProtocolVersion if due, authentication, then the lobby or the console

Until it has authenticated a client is worth nothing: it may take `client_login_timeout` and a few kB, and
whatever it does ends in a log line and a closed socket, never in an exception that others would feel.
What is refused is refused with a clear error: a FATAL ErrorResponse, and the socket is closed only when the client had
a moment to read it (a close with unread data would be a reset, and swallow the sentence). What no startup packet
can be is answered by silence, as PostgreSQL does: there are drivers that say goodbye (`X\0\0\0\4`) before they begin.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Final

import structlog
import trio

from rwsplit.client.authentication import LoginRefused, authenticate
from rwsplit.client.half_open import Entry
from rwsplit.client.lobby import Lobby, Login
from rwsplit.client.tls import ALPN, DEMANDING
from rwsplit.errors import (
    CapacityError,
    FeatureNotSupported,
    NotAStartup,
    ProtocolViolation,
    RwsplitError,
    ServerRefused,
)
from rwsplit.protocol import backend
from rwsplit.protocol.fields import printable
from rwsplit.protocol.startup import (
    TLS_HANDSHAKE,
    CancelRequest,
    GSSENCRequest,
    SSLRequest,
    StartupMessage,
    packet_size,
    parse_startup_packet,
)
from rwsplit.server.files import Purpose, is_short, out_of_files
from rwsplit.server.stream import WireStream
from rwsplit.server.wire import PlainWire

#: Databases that are the console.
CONSOLE: Final = frozenset({"rwsplit", "pgbouncer"})
#: Seconds and bytes a refused client gets to read what it is told.
GOODBYE_SECONDS: Final = 1.0
GOODBYE_BYTES: Final = 65_536
#: SQLSTATE of a node that has no such database.
NO_SUCH_DATABASE: Final = "3D000"
#: Characters of what a stranger has sent that an error quotes.
MOST_QUOTED: Final = 100

log = structlog.get_logger("rwsplit.client")


class InvalidAuthorization(RwsplitError):
    """A client that cannot be let in as it came: without a user, or without TLS."""

    sqlstate = "28000"


class LoginTimeout(RwsplitError):
    """A client that took longer than `client_login_timeout`."""

    sqlstate = "57014"


class InvalidParameter(RwsplitError):
    """A startup parameter with an impossible value."""

    sqlstate = "22023"


async def start_client(sock: socket.socket, lobby: Lobby, entry: Entry | None = None) -> None:
    """Talk the client behind *sock* through its startup; at the end the relay or the console owns the socket, or it is closed.

    *entry* counts it as half-open, until it has logged in. Raises nothing but trio's cancellation.
    """
    try:
        wire = PlainWire(sock, tcp=lobby.config.tcp)
    except OSError:
        sock.close()
        return
    stream = WireStream(wire, pace=lobby.half_open.pace)
    startup = _Startup(stream, lobby, entry or Entry(sock.fileno(), trio.current_time()))
    try:
        await startup.run()
    except RwsplitError as exc:
        startup.log_refusal(exc)
        if not startup.encrypting:
            await _say_goodbye(stream, _response_to(exc))
    except (EOFError, OSError) as exc:
        log.debug("client_left_during_startup", peer=stream.wire.peer, reason=_describe(exc))
    except trio.Cancelled:
        startup.say_why_it_ends()
        raise
    except Exception:
        # Whatever it was, it is one client's trouble; the others must not hear of it.
        log.exception("client_startup_crashed", peer=stream.wire.peer)
    finally:
        if not startup.handed_over:
            stream.close()


class _Startup:
    """One client's startup."""

    def __init__(self, stream: WireStream, lobby: Lobby, entry: Entry) -> None:
        self.stream = stream
        self._entry = entry
        self.handed_over = False
        self.encrypting = False
        """In a TLS handshake, in the middle of which nothing can be said."""
        self._lobby = lobby
        self._user = ""
        self._database = ""

    async def run(self) -> None:
        timeout = self._lobby.config.limits.client_login_timeout
        login = None
        with trio.move_on_after(timeout) as scope:
            login = await self._log_in()
            if login is not None and login.database not in CONSOLE:
                self._log_login(login)
                await self._establish(login)
        if scope.cancelled_caught:
            raise LoginTimeout(
                f"canceling authentication due to timeout (client_login_timeout = {timeout:g} s)"
            )
        if login is not None and login.database in CONSOLE:
            self._log_login(login)
            await self._lobby.console(login, self.stream)

    def _log_login(self, login: Login) -> None:
        log.debug(
            "client_logged_in",
            user=self._user,
            database=self._database,
            peer=login.peer,
            tls=login.tls,
        )

    async def _log_in(self) -> Login | None:
        """Come to an authenticated login; None when the client wanted something else, and got it."""
        request = await self._read_request()
        if isinstance(request, CancelRequest):
            self._lobby.cancel(request.pid, request.key)
            return None
        stream, config = self.stream, self._lobby.config
        if request.must_negotiate:
            await stream.send_all(
                backend.negotiate_protocol_version(request.minor, request.unknown_options)
            )
        login = _read_login(request, stream)
        self._user, self._database = printable(login.user), printable(login.database)
        if not login.tls and config.tls.client_tls_sslmode in DEMANDING:
            raise InvalidAuthorization(
                "TLS is required here: connect with sslmode=require or stricter"
            )
        binding = getattr(self._lobby.tls_context, "binding", None) if login.tls else None
        await authenticate(stream, login.user, config.auth.type, self._lobby.keyring, binding)
        self._lobby.half_open.leave(self._entry)
        is_scarce = self._entry.for_console and is_short(Purpose.CLIENT)
        if is_scarce and login.database not in CONSOLE:
            raise out_of_files()
        return login

    async def _read_request(self) -> CancelRequest | StartupMessage:
        """Read packets until one says what the client wants, encrypting on the way if it asks."""
        stream = self.stream
        asked: set[type] = set()
        while True:
            prefix = await stream.receive_exactly(1)
            self._lobby.half_open.spoke(self._entry)
            if prefix[0] == TLS_HANDSHAKE and not asked:
                asked = {SSLRequest, GSSENCRequest}
                await self._encrypt_at_once(prefix)
                continue
            prefix += await stream.receive_exactly(3)
            rest = await stream.receive_exactly(packet_size(prefix) - 4)
            request = parse_startup_packet(prefix + rest)
            if isinstance(request, CancelRequest | StartupMessage):
                return request
            if type(request) in asked:
                raise ProtocolViolation("encryption was already negotiated")
            asked.add(type(request))
            context = self._lobby.tls_context if isinstance(request, SSLRequest) else None
            if context is None:
                await stream.send_all(b"N")
                continue
            asked = {SSLRequest, GSSENCRequest}
            if stream.unread:
                raise ProtocolViolation("received unencrypted data after SSL request")
            await stream.send_all(b"S")
            await self._encrypt(context)

    async def _encrypt(self, context: ssl.SSLContext, received: bytes = b"") -> ssl.SSLObject:
        self.encrypting = True
        tls = await self.stream.start_tls(context, server_side=True, received=received)
        self.encrypting = False
        return tls

    async def _encrypt_at_once(self, first: bytes) -> None:
        context = self._lobby.tls_context
        if context is None:
            raise ConnectionAbortedError("TLS is not configured")
        tls = await self._encrypt(context, first + self.stream.take_unread())
        if tls.selected_alpn_protocol() != ALPN:
            raise ProtocolViolation(
                "received direct SSL connection request without ALPN protocol"
            )

    async def _establish(self, login: Login) -> None:
        """Have the client admitted, tell it so, and hand it over."""
        admission = await self._lobby.welcome(login)
        try:
            told = [
                backend.parameter_status(name, value) for name, value in admission.parameters
            ]
            told.append(backend.backend_key_data(admission.pid, admission.cancel_key))
            told.append(backend.ready_for_query(b"I"))
            await self.stream.send_all(b"".join(told))
        except BaseException:
            self._lobby.abandon(admission)
            raise
        self._lobby.establish(admission, self.stream.wire, self.stream.take_unread())
        self.handed_over = True

    def log_refusal(self, exc: RwsplitError) -> None:
        """Log why the client did not get in.

        It is a warning if rwsplit let it in and a node does not: their users differ, or the node is full. A database
        that does not exist is the client's own mistake.
        """
        match exc:
            case ProtocolViolation():
                write = log.debug
            case ServerRefused(server_sqlstate=sqlstate) if sqlstate != NO_SUCH_DATABASE:
                write = log.warning
            case _:
                write = log.info
        write(
            "client_refused",
            user=self._user,
            database=self._database,
            peer=self.stream.wire.peer,
            sqlstate=exc.server_sqlstate if isinstance(exc, ServerRefused) else exc.sqlstate,
            reason=printable(exc.reason if isinstance(exc, LoginRefused) else str(exc)),
        )

    def say_why_it_ends(self) -> None:
        """Tell the client, if that can be done without waiting and it could understand it."""
        if self.handed_over or self.encrypting:
            return
        sqlstate, message = "57P01", "terminating connection due to administrator command"
        if self._entry.is_dropped:
            limit = self._lobby.config.limits.max_login_conn
            sqlstate = CapacityError.sqlstate
            message = f"too many clients that have not logged in (max_login_conn = {limit})"
            log.debug("client_dropped", peer=self.stream.wire.peer)
        with contextlib.suppress(OSError):
            self.stream.wire.send(backend.error_response("FATAL", sqlstate, message))


def _read_login(message: StartupMessage, stream: WireStream) -> Login:
    """Check what a startup packet asks for."""
    parameters = dict(message.parameters)
    user = parameters.pop("user", "")
    if not user:
        raise InvalidAuthorization("no PostgreSQL user name specified in startup packet")
    replication = parameters.pop("replication", "off")
    if replication == "database" or _is_one_of(replication, "true", "yes", "on", "1"):
        raise FeatureNotSupported(
            "replication connections are not supported by rwsplit: connect to the node itself"
        )
    if not _is_one_of(replication, "false", "no", "off", "0"):
        raise InvalidParameter(
            f'invalid value for parameter "replication": "{printable(replication[:MOST_QUOTED])}"'
        )
    return Login(
        user=user,
        database=parameters.pop("database", "") or user,
        application_name=parameters.get("application_name", ""),
        parameters=parameters,
        minor=message.minor,
        peer=stream.wire.peer,
        tls=stream.wire.is_tls,
    )


def _is_one_of(text: str, *words: str) -> bool:
    """Whether *text* is one of *words* as PostgreSQL reads booleans: in any case, and cut short."""
    given = text.lower()
    # `o` alone could be either of on and off.
    return given not in ("", "o") and any(word.startswith(given) for word in words)


def _response_to(exc: RwsplitError) -> bytes:
    if isinstance(exc, NotAStartup):
        return b""
    if isinstance(exc, ServerRefused):
        return exc.response
    return backend.error_response("FATAL", exc.sqlstate, str(exc))


def _describe(exc: BaseException) -> str:
    if isinstance(exc, ssl.SSLError):
        return f"TLS: {exc.reason or exc}"
    return str(exc) or "closed"


async def _say_goodbye(stream: WireStream, response: bytes) -> None:
    """Send *response*, and read on until the client has closed or had its moment."""
    with trio.move_on_after(GOODBYE_SECONDS), contextlib.suppress(OSError):
        if response:
            await stream.send_all(response)
        stream.wire.shutdown()
        left = GOODBYE_BYTES
        while left > 0 and (data := await stream.receive_some()):
            left -= len(data)
