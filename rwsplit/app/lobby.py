"""Lobby: what a client's startup needs from the rest of rwsplit, and where it ends in a session."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from rwsplit.app.welcome import Welcomes
from rwsplit.client.half_open import HalfOpen
from rwsplit.client.lobby import Admission, Login
from rwsplit.client.startup import InvalidParameter
from rwsplit.client.tls import ClientTlsContext
from rwsplit.config.choices import AuthType
from rwsplit.config.model import Config
from rwsplit.config.overrides import pool_config
from rwsplit.errors import CapacityError
from rwsplit.monitor.catalog import Catalogs
from rwsplit.relay.client import Client
from rwsplit.relay.relay import Relay
from rwsplit.routing.policy import Rules
from rwsplit.server.credentials import Keyring
from rwsplit.server.stream import WireStream
from rwsplit.server.wire import Wire
from rwsplit.session import inband
from rwsplit.session.knowledge import Knowledge

#: Length of a cancel key for clients that speak protocol 3.2; it is four bytes before.
LONG_KEY: Final = 32
#: Process ids told to clients: above any that Linux gives (PID_MAX_LIMIT), so that none is a backend's, too.
LEAST_PID: Final = 2**22 + 1
MOST_PID: Final = 2**31 - 1


class OurLobby:
    """Admits clients: limits, welcome, session, hand-over to the relay."""

    def __init__(
        self,
        config: Config,
        keyring: Keyring,
        *,
        relay: Relay,
        knowledge: Knowledge,
        catalogs: Catalogs,
        welcomes: Welcomes,
        tls_context: ClientTlsContext | None,
        console: Callable[[WireStream, Login], Awaitable[None]],
    ) -> None:
        self.config = config
        self.keyring = keyring
        self.tls_context = tls_context
        self.half_open = HalfOpen()
        self._relay = relay
        self._knowledge = knowledge
        self._catalogs = catalogs
        self._welcomes = welcomes
        self._console = console
        self._admitted: dict[int, Login] = {}
        """Clients between welcome and establish, by backend PID."""

    def prepare_logins(self) -> None:
        """Hash the passwords of the userlist if logins are checked by SCRAM."""
        keyring = self.keyring
        if self.config.auth.type is AuthType.SCRAM:
            self._relay.start_task(partial(keyring.derive, lambda: self.keyring is keyring))

    def cancel(self, pid: int, key: bytes) -> None:
        """Carry out a CancelRequest."""
        self._relay.canceller.cancel(pid, key)

    async def welcome(self, login: Login) -> Admission:
        """Make the session of a client that has proved who it is."""
        limit = self.config.limits.max_client_conn
        if len(self._relay.by_pid) + len(self._admitted) >= limit:
            raise CapacityError(f"sorry, too many clients already (max_client_conn = {limit})")
        count = self._relay.headcount
        refusal = count.refusal(self.config.pool, login.database, login.user)
        if refusal is not None:
            raise CapacityError(refusal)
        if self._relay.draining:
            raise CapacityError("rwsplit is shutting down")
        pid = self._new_pid()
        self._admitted[pid] = login
        count.enter(login.database, login.user)
        try:
            found = await self._welcomes.get(login)
            parameters = self._knowledge.parameters.intern(found.overrides)
            client = Client(
                self._knowledge,
                user=login.user,
                database=login.database,
                application_name=login.application_name,
                parameters=parameters,
                started_with={
                    **found.reported,
                    "default_transaction_isolation": found.isolation,
                },
                rules=Rules(
                    self.config.routing.rules,
                    user=login.user,
                    database=login.database,
                    application_name=login.application_name,
                ),
                settings=pool_config(self.config.pool, login.database, login.user),
                pid=pid,
                cancel_key=secrets.token_bytes(LONG_KEY if login.minor >= 2 else 4),
                host=login.peer,
                now=trio.current_time(),
            )
            client.defaults = found.defaults
            if found.defaults is not None:
                client.adopt_default_path(found.defaults.search_path)
            self._catalogs.want(login.database)
            client.default_level = self.config.consistency.level
            client.adopt_parameters(parameters)
            for name, value in found.in_band.items():
                try:
                    inband.apply(client, name, value)
                except inband.InBandRefused as error:
                    raise InvalidParameter(f"{error}. {error.hint}") from error
        except BaseException:
            self._leave(pid)
            raise
        return Admission(
            parameters=tuple(found.reported.items()),
            pid=pid,
            cancel_key=client.cancel_key,
            session=client,
        )

    def abandon(self, admission: Admission) -> None:
        """Forget a client that left before it was established."""
        self._leave(admission.pid)

    def _leave(self, pid: int) -> None:
        login = self._admitted.pop(pid, None)
        if login is not None:
            self._relay.headcount.leave(login.database, login.user)

    def establish(self, admission: Admission, wire: Wire, unread: bytes) -> None:
        """Hand a client over to the relay."""
        self._admitted.pop(admission.pid, None)
        client = admission.session
        assert isinstance(client, Client)
        # What was made for it a moment ago - its database, its tables - must be there.
        client.last_write = max(client.last_write, self._knowledge.last_definition)
        self._relay.adopt_client(client, wire, unread)

    async def console(self, login: Login, stream: WireStream) -> None:
        """Let an operator talk to rwsplit itself."""
        await self._console(stream, login)

    def _new_pid(self) -> int:
        while True:
            pid = secrets.randbelow(MOST_PID - LEAST_PID + 1) + LEAST_PID
            if pid not in self._relay.by_pid and pid not in self._admitted:
                return pid
