"""Invariants: what holds of sessions and servers between two turns.

Every step of the relay keeps them. After a fault of rwsplit's own they may not hold (`faults`): a session waits for what no server
owes, a server is kept by a session that has ended. Then those are found here, whatever the fault was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rwsplit.exchange.lease import CLOSED, COOLING, IDLE, LANE
from rwsplit.protocol import codes
from rwsplit.protocol.responses import Owed
from rwsplit.relay.restoration import Restoration
from rwsplit.session.pin import PinState
from rwsplit.session.unit import Unit

if TYPE_CHECKING:
    from rwsplit.relay.client import Client
    from rwsplit.relay.relay import Relay
    from rwsplit.server.server import Server


def broken_sessions(relay: Relay) -> Iterator[tuple[Client, str]]:
    """Yield the sessions that wait for what will never come, and why."""
    owed = list(_owed(relay))
    in_flight = Counter(unit.session for unit in owed if isinstance(unit, Unit))
    for client in list(relay.clients.values()):
        reason = _broken(client, owed, in_flight[client])
        if reason and not client.closed:
            yield client, reason


def _broken(client: Client, owed: list[Owed], in_flight: int) -> str:
    if client.in_flight != in_flight:
        return f"{client.in_flight} units in flight, {in_flight} owed"
    settling = client.settling
    awaited = settling.unit if isinstance(settling, Restoration) else None
    if settling is not None and settling not in owed and awaited not in owed:
        return f"nobody owes what it waits for: {settling.purpose.value}"
    if client.server is not None and client.server.lease == CLOSED:
        return "its server is closed"
    if client.skipped is None:
        reason = _unjoined(client)
        if reason:
            return reason
    line = client.line
    if line is not None and client not in line.waiters:
        return "it stands in no queue"
    return ""


def _unjoined(client: Client) -> str:  # noqa: PLR0911 - one line a statement
    """Return which states of *client* cannot be at the same time, of tables that do not know of each other."""
    if (client.pin is None) != (client.pin_state is PinState.FREE):
        return f"its pin is {client.pin_state.value}, and its reason {client.pin}"
    if client.in_flight or client.settling is not None:
        return ""  # what is on its way may change all that follows
    if client.tx == codes.IDLE and client.transaction is not None:
        return "it has a transaction, and is in none"
    if client.tx != codes.IDLE and client.transaction is None and client.server is None:
        return "its transaction is on no server"
    if client.pin_state not in (PinState.FREE, PinState.FOR_GOOD) and client.server is None:
        return f"it is {client.pin_state.value} to no server"
    if client.server is not None and client.server.holder is not client:
        return "another has its server"
    if (
        client.server is not None
        and client.tx == codes.IDLE
        and client.pin is None
        and client.wait is None
    ):
        return "it keeps its server for nothing"
    return ""


def broken_servers(relay: Relay) -> Iterator[tuple[Server, str]]:
    """Yield the servers that nobody will ever use again, and why."""
    for server in list(relay.servers.values()):
        holder: Client | None = server.holder  # type: ignore[assignment]  # the relay's are all Clients
        if holder is not None:
            if holder.closed:
                yield server, "its session has ended"
            elif holder.server is not server:
                yield server, "its session does not know of it"
        elif server.lease == IDLE:
            if server not in server.pool.idle:
                yield server, "it is not in its pool"
        elif (server.lease == LANE) != (server in server.pool.lanes):
            yield server, "it is a lane its pool does not know, or none it does"
        elif not server.responses.owed and not (server.lease == COOLING and server.cancels):
            yield server, "it is nobody's, and owes nothing"


def load(relay: Relay) -> list[int]:
    """Return how many units are in flight or queued, by node index: what `counters.load` should be but for its last place."""
    found = [0] * len(relay.counters.load)
    for owed in _owed(relay):
        if isinstance(owed, Unit):
            found[owed.node] += 1
    for client in relay.clients.values():
        if client.line is not None:
            found[client.line.node_index] += 1
    return found[:-1]  # the last place is of nodes that are gone


def _owed(relay: Relay) -> Iterator[Owed]:
    for server in relay.servers.values():
        yield from server.responses.owed
