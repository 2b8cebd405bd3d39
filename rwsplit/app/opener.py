"""Opener: turns "this pool needs a server" and "cancel what that server does" into dialing."""

from __future__ import annotations

import structlog
import trio

from rwsplit.config.model import Config
from rwsplit.errors import NodeError, NodeUnreachable
from rwsplit.server.credentials import Keyring
from rwsplit.server.dialer import Dialed, Endpoint, dial, send_cancel
from rwsplit.server.pool import Pool
from rwsplit.server.server import Server

#: Seconds a cancel request may take.
CANCEL_TIMEOUT = 5.0

_log = structlog.get_logger("rwsplit.server")


class Opener:
    """Dials the nodes of the configuration in force as users of the userlist."""

    def __init__(self, config: Config, keyring: Keyring) -> None:
        self.config = config
        self.keyring = keyring

    def endpoint(self, node: str) -> Endpoint:
        """Return where *node* is.

        Raises:
            NodeUnreachable: it is not configured (any more).
        """
        for known in self.config.nodes:
            if known.name == node:
                return Endpoint.from_config(known, self.config.tls)
        raise NodeUnreachable(f"node {node} is not configured")

    async def open(self, pool: Pool) -> Server:
        """Return a new server for *pool*.

        Raises:
            NodeUnreachable, ServerRefused: as `dial`.
        """
        dialed = await self.dial(pool.node, pool.database, pool.user, {})
        server = Server(
            pool,
            dialed.wire,
            pid=dialed.pid,
            cancel_key=dialed.cancel_key,
            now=trio.current_time(),
        )
        server.unread = dialed.unread
        return server

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
        except NodeError as error:
            _log.info("cancel_failed", node=server.pool.node, error=str(error))
