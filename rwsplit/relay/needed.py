"""Needed: chores that the unit behind them cannot do without; refused, they end its session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rwsplit.exchange.chores import Chore, Purpose
from rwsplit.exchange.lease import Fate
from rwsplit.protocol.backend import error_response
from rwsplit.protocol.responses import sqlstate
from rwsplit.relay.client import Client
from rwsplit.server.server import Server

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

_FAILED_ALREADY: Final = b"25P02"


class Needed(Chore[Server, Client]):
    """Begins a transaction again, or keeps sequences apart, ahead of a unit of *client*."""

    __slots__ = ("_relay",)

    def __init__(self, relay: Relay, purpose: Purpose, client: Client) -> None:
        super().__init__(purpose, client)
        self._relay = relay

    def refused_by(self, server: Server, error: bytes) -> None:
        """End the session, unless its transaction has failed, and so will the unit."""
        if self.purpose is Purpose.SEQUENCES:
            server.mingled = True
        if sqlstate(error) == _FAILED_ALREADY:
            return
        server.expire(Fate.NOT_READY)
        client = self.client
        if client is not None and not client.closed and client.server is server:
            message = f"rwsplit could not {self.purpose.value} on {server.pool.node}"
            self._relay.fail_client(client, error_response("FATAL", "08006", message))
