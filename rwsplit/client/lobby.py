"""Lobby: what the rest of rwsplit is to a client that comes in.

The client package conducts the startup; whether a client may log in, and where it goes then, it asks here.
`app` is the lobby.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Protocol

import attrs

from rwsplit.client.half_open import HalfOpen
from rwsplit.config.model import Config
from rwsplit.server.credentials import Keyring
from rwsplit.server.stream import WireStream
from rwsplit.server.wire import Wire


@attrs.frozen(kw_only=True)
class Login:
    """A client that has proved who it is, and what it asked for."""

    user: str
    database: str
    application_name: str
    parameters: Mapping[str, str]
    """Everything in the startup packet but user, database, replication and `_pq_.` options."""
    minor: int
    """The minor version of protocol 3: 0 or 2."""
    peer: str
    tls: bool


@attrs.frozen(kw_only=True)
class Admission:
    """What a welcomed client is told at the end of its startup."""

    parameters: tuple[tuple[str, str], ...]
    """What it hears by ParameterStatus."""
    pid: int
    cancel_key: bytes = attrs.field(repr=False)
    """4 bytes for protocol 3.0, up to 256 for 3.2."""
    session: object
    """The lobby's own, given back to it by `establish` or `abandon`."""


class Lobby(Protocol):
    """What decides which clients are let in."""

    @property
    def config(self) -> Config:
        """Return the configuration in force now; it may be another one at the next look."""

    @property
    def keyring(self) -> Keyring:
        """Return the users known now."""

    @property
    def tls_context(self) -> ssl.SSLContext | None:
        """Return what `make_client_context` made, None where TLS is not offered."""

    @property
    def half_open(self) -> HalfOpen:
        """Return the clients that have not logged in yet."""

    def cancel(self, pid: int, key: bytes) -> None:
        """Cancel what the session with this *pid* and *key* executes; anything else is ignored."""

    async def welcome(self, login: Login) -> Admission:
        """Admit an authenticated client.

        Raises:
            RwsplitError: it may not stay; a `ServerRefused` is passed on as the server said it.
        """

    def establish(self, admission: Admission, wire: Wire, unread: bytes) -> None:
        """Take over the client behind *wire*; *unread* is what it sent already. Its startup is over."""

    def abandon(self, admission: Admission) -> None:
        """Forget *admission*: its client went away before it could be established."""

    async def console(self, login: Login, stream: WireStream) -> None:
        """Converse with an authenticated client of the console, until it leaves."""
