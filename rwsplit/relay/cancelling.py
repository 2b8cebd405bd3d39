"""Cancelling: carry out a client's CancelRequest without ever hitting a stranger.

A cancel request names a backend, and PostgreSQL cancels whatever that backend is doing when the signal
arrives. So while one is under way its server is not given to another session; on a lane it is sent only if the
unit to be cancelled is the one being executed, otherwise the unit is answered 57014 without the node's help.
A stranger's read that is cancelled all the same runs again.

Each request takes a connection to the node, so one at a time is sent for a server. All requests that come meanwhile, one or a
thousand, become one more, if there is still something to cancel.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from rwsplit.exchange.chores import Chore
from rwsplit.exchange.lease import COOLING, LANE
from rwsplit.relay.bringing import Change
from rwsplit.relay.client import Client
from rwsplit.relay.trials import Trial
from rwsplit.server.server import Server
from rwsplit.session.unit import CancelReason, Unit

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay


class Canceller:
    """Finds what a cancel request is about."""

    def __init__(self, relay: Relay, send: Callable[[Server], Awaitable[None]]) -> None:
        self._relay = relay
        self._send = send

    def cancel(self, pid: int, key: bytes) -> None:
        """Cancel what the session with backend PID *pid* is doing, if *key* is its cancel key."""
        relay = self._relay
        client = relay.by_pid.get(pid)
        if client is None or not hmac.compare_digest(client.cancel_key, key):
            return
        self.cancel_client(client)

    def cancel_client(self, client: Client) -> None:
        """Cancel what *client* is doing."""
        relay = self._relay
        relay.counters.cancels += 1
        server = client.server
        if client.in_flight and server is not None:
            self._in_flight(client, server)
        elif isinstance(client.settling, Trial) and server is not None:
            client.settling.cancels = client
            if server.responses.owed and server.responses.owed[0] is client.settling:
                self.cancel_server(server)
        elif client.pending and (client.wait is not None or _waits(client)):
            relay.own_answers.fail_unit(client, "57014", CancelReason.REQUEST.value)
            relay.outboxes.flush()

    def _in_flight(self, client: Client, server: Server) -> None:
        head = server.responses.owed[0]
        if isinstance(head, Chore):
            # It must not fail; what the client means is cancelled as soon as it runs.
            head.cancels = client
            return
        if server.lease != LANE:
            self.cancel_server(server)
            return
        if isinstance(head, Unit) and head.session is client and head.cancelled is None:
            head.cancelled = CancelReason.REQUEST
            server.stray_cancels += 1
            self.cancel_server(server)
        # Otherwise its read has not begun and is known to be short: it is answered in a moment.

    def chore_done(self, server: Server, client: Client) -> None:
        """Something of rwsplit's own is through during which *client* asked for its unit to be cancelled."""
        # What it meant may have been answered in the very bytes that are worked off now.
        if client.in_flight and client.server is server and server.responses.owed:
            self._in_flight(client, server)

    def time_out(self, server: Server, unit: Unit) -> None:
        """Cancel *unit*, which *server* has been executing for longer than query_timeout."""
        unit.cancelled = CancelReason.QUERY_TIMEOUT
        if server.lease == LANE:
            server.stray_cancels += 1
        if not server.cancels:
            self.cancel_server(server)

    def cancel_server(self, server: Server) -> None:
        """Have the node cancel what *server* is doing."""
        if server.cancels and server.lease != LANE:
            server.cancels_again = True
            return
        server.cancels += 1
        self._relay.start_task(self._carry_out, server)

    async def _carry_out(self, server: Server) -> None:
        try:
            await self._send(server)
            while server.cancels_again and server.responses.owed:
                server.cancels_again = False
                await self._send(server)
        finally:
            server.cancels -= 1
            server.cancels_again = False
        relay = self._relay
        relay.now = relay.clock()
        if server.lease == COOLING and not server.cancels:
            relay.replies.settle(server)
            relay.outboxes.flush()


def _waits(client: Client) -> bool:
    """Return whether the session's next unit waits for its server to be brought to its parameters."""
    change = client.settling
    return isinstance(change, Change) and client.pending[0] is change.unit
