"""Loss: what becomes of the other side when a client, a server or a node goes away.

A unit of which nothing was answered, and that can only have read, runs again elsewhere. Everything else is an
error the client sees: a statement that may have taken effect is never sent twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rwsplit.cluster.node import Frozen
from rwsplit.exchange.chores import Chore
from rwsplit.exchange.healing import LOST, may_run_again
from rwsplit.exchange.lease import CLOSED, IDLE, Fate
from rwsplit.exchange.waits import Waiting
from rwsplit.protocol import codes
from rwsplit.protocol.backend import error_response
from rwsplit.protocol.responses import sqlstate
from rwsplit.relay.client import Client
from rwsplit.relay.outboxes import IN
from rwsplit.routing.route import RouteReason, Target
from rwsplit.server.server import Server
from rwsplit.session.unit import CancelReason, Unit

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

#: Why a read is on the primary although a replica could answer it: it runs there again.
_ASKED_FOR: Final = frozenset({RouteReason.HINT, RouteReason.RULE, RouteReason.SESSION_ROUTE})
#: Timeouts of a session that strike it where it holds a server: idle, idle in a transaction, too long in one.
_STRUCK: Final = frozenset({b"57P05", b"25P03", b"25P04"})
_MESSAGE: Final = "server closed the connection unexpectedly"


class Loss:
    """Takes sessions and servers apart."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def client_gone(self, client: Client) -> None:
        """The client's connection ended: give back, or end, what it used."""
        if client.closed:
            return
        relay = self._relay
        relay.waits.end(client)
        relay.drop_client(client)
        client.pending.clear()
        client.settling = None
        server = client.server
        if server is None:
            return
        client.server = None
        units = [
            unit
            for unit in server.responses.owed
            if isinstance(unit, Unit) and unit.session is client
        ]
        for unit in units:
            unit.session = None
            unit.sink = None
        if server.holder is not client:
            return  # it is shared, or closed
        server.leave()
        if client.in_flight:
            self._leave_running(client, server, units)
        else:
            relay.replies.settle(server)
        if server.paused and server.lease != CLOSED:
            relay.outboxes.resume_server(server)

    def _leave_running(self, client: Client, server: Server, units: list[Unit]) -> None:
        """Cancel *units*, which a client that is gone has in flight on *server*, unless one may have an effect."""
        relay = self._relay
        late = any(unit.cancelled is CancelReason.TRANSACTION_TIMEOUT for unit in units)
        streaming = any(unit.is_open or unit.row_limit or _copies_in(unit) for unit in units)
        if streaming or client.sync_lost or server.copying > 0:
            if late:
                relay.canceller.cancel_server(server)
            relay.close_server(server)  # the rest will never be sent
        elif not units:
            return  # its answers have come, and are being worked off: then the server is free
        elif late or server.tx != codes.IDLE or all(unit.guarded for unit in units):
            for unit in units:
                unit.cancelled = unit.cancelled or CancelReason.ABANDONED
            relay.canceller.cancel_server(server)

    def server_lost(self, server: Server, message: bytes | None) -> None:
        """The connection to a node ended."""
        if server.lease == CLOSED:
            return
        if server.fate is not Fate.LOST:  # else that was said before
            self.report(server, message)
        head = server.responses.owed[0] if server.responses.owed else None
        if message is None and isinstance(head, Chore):
            message = head.error
        parties = _parties(server)
        if message is None and parties:
            self._look_at_idle(server.pool.node)
        self._take_apart(server, parties, message)

    def abandon(self, server: Server) -> None:
        """Close *server*, whose node is frozen, if all it owes can run elsewhere; else leave it as it is."""
        parties = _parties(server)
        is_primary = server.pool.node_index == self._primary_index()
        for client, units in parties.items():
            if not self._may_move(client, units):
                return
            if is_primary and not self._relay.choice.may_move_to_replica(client, units):
                return
        if parties or not is_primary:
            self._take_apart(server, parties, None)

    def _primary_index(self) -> int:
        primary = self._relay.view.primary
        return -1 if primary is None else primary.index

    def _take_apart(
        self, server: Server, parties: dict[Client, list[Unit]], message: bytes | None
    ) -> None:
        relay = self._relay
        for owed in server.responses.owed:
            if isinstance(owed, Unit):
                relay.counters.load[owed.node] -= 1
                relay.moments.lost(server, owed)
        server.responses.owed.clear()
        server.expire(Fate.LOST)
        relay.close_server(server)
        for client, units in parties.items():
            try:
                self._session_lost(client, server, units, message)
            except Exception as failure:  # noqa: BLE001 - one session's failure must not end the others
                relay.faults.in_session(client, failure)

    def _look_at_idle(self, node: str) -> None:
        """See which idle servers of *node* are gone as well, before one of them is given what was lost."""
        relay = self._relay
        for pool in relay.pools:
            if pool.node == node:
                for server in list(pool.idle):
                    if server.lease == IDLE:
                        relay.reading.serve_server(server, IN)

    def report(self, server: Server, message: bytes | None) -> None:
        """Tell the monitor what the loss of *server* says of its node.

        That it ended without a word says nothing yet: a session can see to that, too (tcp_user_timeout, and a client that does not read). So the
        node is probed at once, and if it is gone, the next connection to it is refused.
        """
        relay, node = self._relay, server.pool.node
        if message is None and server.fate is None:
            relay.hurry()
        elif message is not None and sqlstate(message) == b"57P02":
            relay.report_failure(node, "the node crashed (57P02)")

    def _session_lost(
        self, client: Client, server: Server, units: list[Unit], message: bytes | None
    ) -> None:
        """Run what *client* had in flight on a lost server again, or tell it."""
        relay = self._relay
        through = not units and _is_through(client)
        client.in_flight -= len(units)
        client.server = None
        held = client.tx != codes.IDLE or client.pin is not None
        if message is not None and held and sqlstate(message) in _STRUCK:
            relay.fail_client(client, message)  # the timeout is the session's own
            return
        if client.settling is not None and (
            relay.trials.lost(client, server, units) or relay.bringing.lost(client, server)
        ):
            return
        may_move = through or self._may_move(client, units)
        if may_move and not units:  # its transaction is nowhere again, or it had nothing there
            relay.outboxes.resume_when_sent(client)
            return
        if may_move:
            relay.counters.retries += 1
            for unit in units:
                unit.refused_by |= self.blame(server, message or unit.error)
            route = units[0].route
            stays = (
                route is not None
                and route.target is Target.PRIMARY
                and route.reason in _ASKED_FOR
            )
            relay.healing.run_again(client, units, route if stays else LOST)
            return
        if server.farewell:
            relay.counters.errors += 1
            relay.close_client(client)
            return
        kept = next((unit.error for unit in units if unit.error is not None), None)
        if message is None:
            message = kept or error_response(
                "FATAL", "08006", f"{_MESSAGE} ({server.pool.node})"
            )
        relay.fail_client(client, message)

    def _may_move(self, client: Client, units: list[Unit]) -> bool:
        """Return whether what *client* has on a server, *units* in flight among it, can go on elsewhere."""
        relay = self._relay
        if client.settling is not None:
            return relay.bringing.may_be_lost(client) or relay.trials.may_be_lost(client, units)
        if not units:
            return relay.late.lost(client, units)
        return (
            (client.tx == codes.IDLE or relay.late.lost(client, units))
            and client.pin is None
            and all(
                unit.guarded and not unit.forwarded and may_run_again(unit.restarts)
                for unit in units
            )
            and len(units) == len({id(unit) for unit in units})
        )

    def blame(self, server: Server, message: bytes | None) -> int:
        """Return the bit of the node *server* was on, if it is not to be given again what was lost with it.

        A replica gets it once. A frozen node will not until it answers again. A primary that says why it leaves
        would do so whatever ran there.
        """
        index = server.pool.node_index
        node = self._relay.view.node(server.pool.node)
        is_frozen = node is not None and isinstance(node.health, Frozen)
        is_primary = index == self._primary_index()
        return 0 if is_frozen or (is_primary and message is not None) else 1 << index

    def requeue(self, client: Client) -> None:
        """Let a waiting session look for a node again."""
        if client.waits_for not in (None, Waiting.PARSING):
            self._relay.waits.end(client)
            self._relay.dispatcher.pump(client)


def _is_through(client: Client) -> bool:
    """Return whether *client* had nothing on the server it is losing, not even a question about itself."""
    return client.tx == codes.IDLE and client.pin is None and client.settling is None


def _parties(server: Server) -> dict[Client, list[Unit]]:
    """Return whose business *server* is, and what each has in flight there."""
    parties: dict[Client, list[Unit]] = {}
    holder: Client | None = server.holder  # type: ignore[assignment]  # the relay's are all Clients
    if holder is not None:
        parties[holder] = []
    for owed in server.responses.owed:
        if isinstance(owed, Unit) and owed.session is not None:
            parties.setdefault(owed.session, []).append(owed)  # type: ignore[arg-type]
    return parties


def _copies_in(unit: Unit) -> bool:
    return unit.script is not None and unit.script.copies_in
