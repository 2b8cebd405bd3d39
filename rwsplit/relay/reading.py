"""Reading: what is ready on the sockets of clients and servers becomes pending units and answers.

Each ready socket is read once a turn, and worked off only up to its client's slice (`slices`).
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Final

from rwsplit.exchange.lease import CLOSED
from rwsplit.relay.client import Client
from rwsplit.relay.outboxes import HIGH_WATER, OUT
from rwsplit.relay.slices import MOST_PENDING, READABLE
from rwsplit.server.server import Server
from rwsplit.session.chunk import Chunk
from rwsplit.session.input import BEHIND

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

#: Bytes of one read of a server that are not worth counting.
FEW_BYTES: Final = 4096
#: Bytes from a server that count as one word, as a power of two.
WORD_SHIFT: Final = 9


class Reading:
    """Reads clients and servers."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._outdated = relay.rebasing.outdated

    # Clients...

    def serve_client(self, client: Client, mask: int) -> None:
        """Do what epoll's *mask* says can be done."""
        relay = self._relay
        wire = client.wire
        assert wire is not None
        try:
            if (mask != READABLE or client.paused) and not self._may_read_client(client, mask):
                return
            data = wire.recv()
            if data:
                relay.counters.bytes_in += len(data)
                if self._outdated:
                    relay.rebasing.catch_up(client)
                client.receive(data)
                if client.pending and client.wait is None:
                    relay.dispatcher.pump(client)
                taken = client.input
                if taken.unit_state and taken.is_unended:
                    relay.unended[client] = relay.now
                if client.pending or taken.frame_state == BEHIND:
                    self._keep_back(client)
                if wire.has_pending and not client.closed:
                    relay.slices.later(client)
            elif data is not None:
                self.client_ended(client)
        except Exception as failure:  # noqa: BLE001 - one session's failure must not end the others
            self._relay.faults.in_session(client, failure)

    def take(self, client: Client, data: bytes) -> None:
        """Take *data*, which was read before the relay took over *client*."""
        try:
            client.receive(data)
            self._advance(client)
        except Exception as failure:  # noqa: BLE001 - as above
            self._relay.faults.in_session(client, failure)

    def go_on(self, client: Client) -> None:
        """Work off a slice of the input of *client*."""
        try:
            self._relay.rebasing.catch_up(client)
            if client.pending and client.wait is None:
                self._relay.dispatcher.pump(client)
            if client.is_behind and not client.closed and self._relay.slices.may_go_on(client):
                client.go_on()
            self._advance(client)
        except Exception as failure:  # noqa: BLE001 - as above
            self._relay.faults.in_session(client, failure)

    def _advance(self, client: Client) -> None:
        """Send on the units of *client* that can go now."""
        relay = self._relay
        if client.closed:
            return
        if client.pending and client.wait is None:
            relay.dispatcher.pump(client)
        if client.input.is_unended:
            relay.unended[client] = relay.now
        self._keep_back(client)
        if client.paused and not client.is_behind:
            relay.outboxes.resume_when_sent(
                client
            )  # it was paused for input that has been worked off

    def _keep_back(self, client: Client) -> None:
        """Stop reading *client* while enough of its input is pending; go on once the others have had their turn."""
        relay = self._relay
        if client.closed:
            return
        relay.slices.weigh(client)
        if client.is_behind:
            relay.outboxes.pause_client(client)
            relay.outboxes.resume_when_sent(client)  # `slices` gives it more, then
        elif client.pending_bytes > HIGH_WATER or len(client.pending) >= MOST_PENDING:
            relay.outboxes.pause_client(client)
        if client.allowance <= 0 and not (client.is_behind or client.pending):
            client.allowance = relay.slices.size

    def _may_read_client(self, client: Client, mask: int) -> bool:
        """Do what *mask* says besides that there is something to read; return whether to read it."""
        relay = self._relay
        if mask & OUT:
            relay.outboxes.send_client(client)
            if client.closed:
                return False
        if mask & ~OUT and not (client.paused or client.queued):
            return True
        if mask & (_HUP | _ERR):
            relay.loss.client_gone(client)
        return False

    def client_ended(self, client: Client) -> None:
        """Handle that the client closed its sending side: units sent before a Terminate still run."""
        last = client.pending[-1] if client.pending else None
        if isinstance(last, Chunk) and last.end_input():
            self._relay.outboxes.pause_client(client)
        else:
            self._relay.loss.client_gone(client)

    # Servers...

    def serve_server(self, server: Server, mask: int) -> None:
        """Do what epoll's *mask* says can be done."""
        relay = self._relay
        wire = server.wire
        try:
            if (mask != READABLE or server.paused) and not self._may_read_server(server, mask):
                return
            data = wire.recv()
        except OSError:
            self._server_ended(server)
            return
        if data:
            size = len(data)
            relay.counters.bytes_out += size
            if size > FEW_BYTES:
                relay.effort.words += size >> WORD_SHIFT
            relay.replies.received(server, data, relay.clock())
            if wire.has_pending and server.lease != CLOSED:
                relay.slices.later(server)
        elif data is not None:
            self._server_ended(server)

    def _server_ended(self, server: Server) -> None:
        try:
            self._relay.lose_server(server, None)
        except Exception as failure:  # noqa: BLE001 - as above
            self._relay.faults.in_answers(server, None, failure)

    def _may_read_server(self, server: Server, mask: int) -> bool:
        """Do what *mask* says besides that there is something to read; return whether to read it."""
        if mask & OUT:
            self._relay.outboxes.send_server(server)
        if mask & ~OUT and not server.paused:
            return True
        if mask & (_HUP | _ERR) and server.lease != CLOSED:
            self._relay.lose_server(server, None)
        return False


_HUP: Final = select.EPOLLHUP
_ERR: Final = select.EPOLLERR
