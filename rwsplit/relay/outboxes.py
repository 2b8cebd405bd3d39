"""Outboxes: what waits to be sent, and who must not be read until it is.

Every outbox that was written to in a turn leaves with one `send` at its end. What a socket does not take stays
and is sent when epoll says so; an outbox above its high-water mark stops the reading of whatever fills it: a
client that does not read stops its server, a server that does not read stops its client.
"""

from __future__ import annotations

import contextlib
import select
from typing import TYPE_CHECKING, Final

from rwsplit.exchange.lease import CLOSED, LANE
from rwsplit.relay.client import Client
from rwsplit.server.server import Server
from rwsplit.server.wire import Wire

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

#: Bytes that may wait for one side before the other is not read any more.
HIGH_WATER: Final = 256 * 1024


#: Parts of an outbox beyond which they are joined.
MANY_PARTS: Final = 64


class Outboxes:
    """The epoll set, and the outboxes that were written to."""

    def __init__(self, relay: Relay, epoll: select.epoll) -> None:
        self.epoll = epoll
        self.clients: list[Client] = []
        self.servers: list[Server] = []
        self._relay = relay

    def touch_client(self, client: Client) -> None:
        """Have the client's outbox sent at the end of the turn."""
        if not client.dirty:
            client.dirty = True
            self.clients.append(client)

    def touch_server(self, server: Server) -> None:
        """Have the server's outbox sent at the end of the turn."""
        if not server.dirty:
            server.dirty = True
            self.servers.append(server)

    def flush(self) -> None:
        """Send every outbox that was written to."""
        while self.servers or self.clients:
            servers, self.servers = self.servers, []
            for server in servers:
                server.dirty = False
                if server.armed:
                    self._hold_back(server)
                elif server.out:
                    try:
                        self.send_server(server)
                    except OSError:
                        self._relay.lose_server(server, None)
            clients, self.clients = self.clients, []
            for client in clients:
                client.dirty = False
                if client.sink and not client.closed:
                    try:
                        self.send_client(client)
                    except OSError:
                        self._relay.loss.client_gone(client)

    def send_server(self, server: Server) -> None:
        if server.lease == CLOSED:
            return
        wire = server.wire
        left = send(wire, server.out)
        blocked = left > 0 or wire.wants_write
        if blocked is not server.armed:
            server.armed = blocked
            self._arm(server.fd, read=not server.paused, write=blocked)
        holder = server.holder
        if holder is not None:
            if left > HIGH_WATER:
                self.pause_client(holder)  # type: ignore[arg-type]
            elif holder.paused and not left:  # type: ignore[attr-defined]
                self.resume_client(holder)  # type: ignore[arg-type]

    def _hold_back(self, server: Server) -> None:
        """Stop reading the client that fills the outbox of a server that takes nothing now."""
        holder, out = server.holder, server.out
        if holder is None or holder.paused:  # type: ignore[attr-defined]
            return
        if len(out) > MANY_PARTS:  # else each look would take longer than the one before
            out[:] = [b"".join(out)]
        if sum(map(len, out)) > HIGH_WATER:
            self.pause_client(holder)  # type: ignore[arg-type]

    def send_client(self, client: Client) -> None:
        wire = client.wire
        assert wire is not None
        waited = sum(map(len, client.sink)) if client.blocked else 0
        left = send(wire, client.sink)
        blocked = left > 0 or wire.wants_write
        if blocked is not client.blocked:
            self._block(client, blocked=blocked)
        elif left < waited:
            self._relay.deadlines.unread.note(client)
        if left > HIGH_WATER:
            client.is_stuffed = True
            self.pause_client(client)
        elif client.is_stuffed and left < HIGH_WATER // 2:
            client.is_stuffed = False
            self.resume_when_sent(client)
        server = client.server
        if server is not None and server.lease != LANE:
            if left > HIGH_WATER and not server.paused:
                server.paused = True
                self._arm(server.fd, read=False, write=server.armed)
            elif server.paused and left < HIGH_WATER // 2:
                self.resume_server(server)
        if (
            not left
            and client.pending
            and client.wait is None
            and client.in_flight <= client.is_open
        ):
            # A goodbye waits until all that came before is told.
            self._relay.dispatcher.pump(client)

    def _block(self, client: Client, *, blocked: bool) -> None:
        """Note that the socket of *client* is full, or no longer full."""
        client.blocked = blocked
        self._arm(client.fd, read=not client.paused, write=blocked)
        if blocked:
            self._relay.deadlines.unread.note(client)
        else:
            self._relay.deadlines.unread.forget(client)

    # Who is not read...

    def pause_client(self, client: Client) -> None:
        """Stop reading a client whose server or queue does not keep up."""
        if not client.paused and not client.closed:
            client.paused = True
            self._arm(client.fd, read=False, write=client.blocked)

    def resume_server(self, server: Server) -> None:
        """Read a paused server again."""
        if server.paused and server.lease != CLOSED:
            server.paused = False
            self._arm(server.fd, read=True, write=server.armed)
            if server.wire.has_pending:
                self._relay.slices.later(server)

    def resume_when_sent(self, client: Client) -> None:
        """Read a paused client again unless what it sent still waits for its server."""
        server = client.server
        # On a lane, what it sent was short, and sending it will not come back to this client.
        if server is None or server.holder is not client or not (server.armed or server.out):
            self.resume_client(client)

    def resume_client(self, client: Client) -> None:
        """Read a paused client again, unless enough of its input is pending already."""
        slices = self._relay.slices
        if (
            not client.paused
            or client.closed
            or client.pending_bytes > HIGH_WATER
            or not slices.may_go_on(client)
        ):
            return
        if client.is_behind:
            slices.later(client)
            return
        client.paused = False
        self._arm(client.fd, read=True, write=client.blocked)
        if client.wire is not None and client.wire.has_pending:
            slices.later(client)

    def _arm(self, fd: int, *, read: bool, write: bool) -> None:
        """Say what to wait for on *fd*. Without any wish it leaves the set: a hang-up would spin."""
        mask = (IN if read else 0) | (OUT if write else 0)
        try:
            if mask:
                self.epoll.modify(fd, mask)
            else:
                self.epoll.unregister(fd)
        except FileNotFoundError:
            if mask:
                self.epoll.register(fd, mask)

    def unregister(self, fd: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.epoll.unregister(fd)


def send(wire: Wire, out: list[bytes]) -> int:
    """Send the outbox *out* as far as it goes; return how many bytes are left."""
    if not out:
        if wire.wants_write:
            wire.flush()
        return 0
    data = out[0] if len(out) == 1 else b"".join(out)
    sent = wire.send(data)
    if sent == len(data):
        out.clear()
        return 0
    out[:] = [data[sent:]]
    return len(data) - sent


IN: Final = select.EPOLLIN | select.EPOLLRDHUP
OUT: Final = select.EPOLLOUT
