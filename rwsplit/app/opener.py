"""Opener: turns "this pool needs a server" and "cancel what that server does" into dialing."""

from __future__ import annotations

from typing import Protocol

import attrs
import structlog
import trio

from rwsplit.app.inquiry import ask_defaults
from rwsplit.config.model import Config
from rwsplit.errors import NodeError, NodeUnreachable, OutOfFiles, ServerRefused
from rwsplit.server.credentials import Keyring
from rwsplit.server.dialer import Dialed, Endpoint, dial, send_cancel
from rwsplit.server.pool import Pool
from rwsplit.server.server import Server
from rwsplit.session.defaults import Defaults

#: Seconds a cancel request may take.
CANCEL_TIMEOUT = 5.0

_log = structlog.get_logger("rwsplit.server")


class Book(Protocol):
    """What an opener needs of `relay.rebasing.Rebasing`."""

    def startup(self, pool: Pool[Server]) -> dict[str, str]:
        """Return the startup parameters that servers of *pool* need."""

    def learn_from(self, pool: Pool[Server], found: Defaults) -> Defaults | None:
        """Take note that a server of *pool* has the defaults *found*; return those it should have."""

    def note_differences(self, pool: Pool[Server], wanted: Defaults, found: Defaults) -> bool:
        """Have servers of *pool* given what they lack of *wanted*; return whether one with *found* lacks any."""


class Opener:
    """Dials the nodes of the configuration in force as users of the userlist."""

    def __init__(self, config: Config, keyring: Keyring, book: Book) -> None:
        self.config = config
        self.keyring = keyring
        self.book = book
        """What defaults servers are to have."""

    def endpoint(self, node: str) -> Endpoint:
        """Return where *node* is.

        Raises:
            NodeUnreachable: it is not configured (any more).
        """
        for known in self.config.nodes:
            if known.name == node:
                return Endpoint.from_config(
                    known, self.config.tls, self.config.auth, self.config.tcp
                )
        raise NodeUnreachable(f"node {node} is not configured")

    async def open(self, pool: Pool[Server]) -> Server:
        """Return a new server for *pool*, with the defaults of the primary's.

        Raises:
            NodeUnreachable, ServerRefused, OutOfFiles: as `dial`.
        """
        dialed, defaults = await self._dial_alike(pool)
        server = Server(
            pool,
            dialed.wire,
            pid=dialed.pid,
            cancel_key=dialed.cancel_key,
            now=trio.current_time(),
        )
        server.unread = dialed.unread
        server.defaults = defaults
        return server

    async def _dial_alike(self, pool: Pool[Server]) -> tuple[Dialed, Defaults | None]:
        """Dial for *pool*, again if that node has other defaults; return also which ones it has been made alike to."""
        book = self.book
        dialed = await self._dial_with(pool, book.startup(pool))
        found, unread = await ask_defaults(dialed)
        dialed = attrs.evolve(dialed, unread=unread)
        if found is None:
            return dialed, None
        wanted = book.learn_from(pool, found)
        if wanted is None or not book.note_differences(pool, wanted, found):
            return dialed, wanted
        dialed.wire.close()
        return await self._dial_with(pool, book.startup(pool)), wanted

    async def _dial_with(self, pool: Pool[Server], startup: dict[str, str]) -> Dialed:
        try:
            return await self.dial(pool.node, pool.database, pool.user, startup)
        except ServerRefused as error:
            if not startup:
                raise
            refusal = error
        # Perhaps it is what it has been asked for beyond the login: that can be done without.
        dialed = await self.dial(pool.node, pool.database, pool.user, {})
        _log.warning("defaults_refused", node=pool.node, error=str(refusal))
        return dialed

    async def dial(
        self, node: str, database: str, user: str, parameters: dict[str, str]
    ) -> Dialed:
        """Log in to *node* with startup *parameters*."""
        return await dial(
            self.endpoint(node),
            database=database,
            user=user,
            parameters=parameters,
            credentials=self.keyring.get(user),
            timeout=self.config.pool.server_connect_timeout,
        )

    async def cancel(self, server: Server) -> None:
        """Ask the node to cancel what *server* is doing; failures are logged."""
        try:
            endpoint = self.endpoint(server.pool.node)
            await send_cancel(endpoint, server.pid, server.cancel_key, timeout=CANCEL_TIMEOUT)
        except (NodeError, OutOfFiles) as error:
            _log.info("cancel_failed", node=server.pool.node, error=str(error))
