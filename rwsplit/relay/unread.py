"""Unread: clients that do not read what is sent to them.

A client that does not read its result blocks its server, and keeps that server, its transaction and its locks. The time for
that is limited by `pool.client_write_timeout`. It counts from the last byte the client's machine has acknowledged, not from
the last byte the kernel took from rwsplit: the kernel buffers megabytes, and even a slow reader takes some of these in time.

A client is noted here when its socket takes no more, and forgotten when everything has been sent.
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
    """The clients that read nothing, and since when; ends their sessions after `client_write_timeout`."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._awake = 0.0
        """Seconds for which rwsplit had run at the last look."""
        self._noted: dict[Client, tuple[int, float]] = {}
        """By client: the lowest number of unacknowledged bytes seen, and when it was reached."""

    def note(self, client: Client) -> None:
        """Note that the socket of *client* is full, perhaps again after it took some bytes."""
        assert client.wire is not None
        self._noted[client] = client.wire.unacknowledged(), self._awake

    def forget(self, client: Client) -> None:
        """Note that everything for *client* has been sent."""
        self._noted.pop(client, None)

    def look(self, awake: float) -> None:
        """End the sessions of clients that have read nothing for too long; rwsplit has run for *awake* seconds."""
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
