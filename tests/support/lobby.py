"""A lobby of one's own: admits every client that authenticates, and remembers what it was asked.

    lobby = OpenLobby(users={"app": "secret"})
    async with served(lobby) as port: ...

`establish` keeps the wire, so that a client stays connected until `close`.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncGenerator, Mapping

import trio

from rwsplit.client.half_open import HalfOpen
from rwsplit.client.listener import serve_listener
from rwsplit.client.lobby import Admission, Login
from rwsplit.config.choices import AuthType
from rwsplit.config.model import (
    Address,
    AuthConfig,
    Config,
    LimitsConfig,
    TcpConfig,
    TlsConfig,
)
from rwsplit.errors import RwsplitError
from rwsplit.protocol import backend
from rwsplit.server.credentials import Keyring, parse_secret
from rwsplit.server.stream import WireStream
from rwsplit.server.wire import Wire

PARAMETERS = (
    ("server_version", "16.0"),
    ("client_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
    ("integer_datetimes", "on"),
)


class OpenLobby:
    """Implements `rwsplit.client.lobby.Lobby`."""

    def __init__(
        self,
        *,
        users: Mapping[str, str] | None = None,
        method: AuthType = AuthType.SCRAM,
        tls: TlsConfig | None = None,
        tls_context: ssl.SSLContext | None = None,
        client_login_timeout: float = 5.0,
        max_login_conn: int = 100,
        defer_accept: float = 0.0,
    ) -> None:
        self.config = Config(
            auth=AuthConfig(type=method),
            tls=tls or TlsConfig(),
            tcp=TcpConfig(defer_accept=defer_accept),
            limits=LimitsConfig(
                client_login_timeout=client_login_timeout, max_login_conn=max_login_conn
            ),
        )
        self.keyring = Keyring(
            {name: parse_secret(text) for name, text in (users or {}).items()}
        )
        self.tls_context = tls_context
        self.half_open = HalfOpen()
        self.refusal: RwsplitError | None = None
        """Raised by `welcome`, when set."""
        self.crash: Exception | None = None
        """Raised by `establish`, when set."""
        self.logins: list[Login] = []
        self.cancelled: list[tuple[int, bytes]] = []
        self.established: list[tuple[Admission, Wire, bytes]] = []
        self.abandoned: list[Admission] = []
        self.consoles: list[Login] = []

    def cancel(self, pid: int, key: bytes) -> None:
        self.cancelled.append((pid, key))

    async def welcome(self, login: Login) -> Admission:
        await trio.lowlevel.checkpoint()
        self.logins.append(login)
        if self.refusal is not None:
            raise self.refusal
        key = b"k" * (32 if login.minor >= 2 else 4)
        return Admission(parameters=PARAMETERS, pid=4711, cancel_key=key, session=login)

    def establish(self, admission: Admission, wire: Wire, unread: bytes) -> None:
        if self.crash is not None:
            raise self.crash
        self.established.append((admission, wire, unread))

    def abandon(self, admission: Admission) -> None:
        self.abandoned.append(admission)

    async def console(self, login: Login, stream: WireStream) -> None:
        """Be ready, and leave."""
        self.consoles.append(login)
        await stream.send_all(backend.ready_for_query(b"I"))
        while await stream.receive_some():
            pass

    def close(self) -> None:
        """Close whom it established."""
        for _, wire, _ in self.established:
            wire.close()


@contextlib.asynccontextmanager
async def served(lobby: OpenLobby, host: str = "127.0.0.1") -> AsyncGenerator[int]:
    """Serve *lobby* on a free port, which is the value."""
    address = Address(host=host, port=0)
    try:
        async with trio.open_nursery() as nursery:
            port: int = await nursery.start(serve_listener, address, lobby)
            yield port
            nursery.cancel_scope.cancel()
    finally:
        lobby.close()
