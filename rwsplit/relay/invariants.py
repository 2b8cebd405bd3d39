"""Invariants: what holds of sessions and servers between two turns.

Every step of the relay keeps them. After a fault of rwsplit's own they may not hold (`faults`): a session waits for what no server
owes, a server is kept by a session that has ended. Then those are found here, whatever the fault was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rwsplit.exchange.lease import CLOSED, COOLING, IDLE
from rwsplit.protocol.responses import Owed
from rwsplit.relay.restoration import Restoration
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
    line = client.line
    if line is not None and client not in line.waiters:
        return "it stands in no queue"
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
