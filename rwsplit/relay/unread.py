"""Unread: what clients do not take of what is sent to them.

A client that does not read stops its server, and keeps it: a session's server, its transaction and its locks for as long as it
likes. `pool.client_write_timeout` bounds that. It counts from the last byte the client's machine has acknowledged, not from when
the system last took one from us: a system keeps megabytes for a client, and one that reads slowly empties those long before.

Clients are noted here when their sockets take no more, and forgotten when they do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from rwsplit.protocol.backend import error_response

if TYPE_CHECKING:
    from rwsplit.relay.client import Client
    from rwsplit.relay.relay import Relay

_log = structlog.get_logger("rwsplit.relay")


class Unread:
    """Knows which clients take nothing, and since when."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._awake = 0.0
        """Seconds in which rwsplit had run at the last look."""
        self._noted: dict[Client, tuple[int, float]] = {}
        """By client: the bytes its machine had not acknowledged when they were last fewer than before, and the
        time of that."""

    def note(self, client: Client) -> None:
        """Take note that the socket of *client* takes no more now, or has just taken something and takes no more again."""
        assert client.wire is not None
        self._noted[client] = client.wire.unacknowledged(), self._awake

    def forget(self, client: Client) -> None:
        """Take note that *client* has taken all that was sent to it."""
        self._noted.pop(client, None)

    def look(self, awake: float) -> None:
        """End the sessions of clients that have taken nothing for too long; rwsplit has run for *awake* seconds."""
        self._awake = awake
        for client, (before, since) in list(self._noted.items()):
            timeout = client.settings.client_write_timeout
            if client.closed or client.wire is None:
                del self._noted[client]
                continue
            level = client.wire.unacknowledged()
            if level < before:
                self._noted[client] = level, awake
            elif timeout and awake - since >= timeout:
                del self._noted[client]
                self._end(client, timeout)

    def _end(self, client: Client, timeout: float) -> None:
        _log.info(
            "client_write_timed_out", client=client.pid, user=client.user, peer=client.host
        )
        self._relay.counters.timeouts += 1
        message = "terminating connection because its client does not read what it is sent"
        detail = f"client_write_timeout is {timeout:g} s"
        self._relay.fail_client(
            client, error_response("FATAL", "08006", message, detail=detail)
        )
