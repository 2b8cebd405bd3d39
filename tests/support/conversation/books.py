"""Books: what must hold of a relay at rest, whatever has happened to it before."""

from __future__ import annotations

from collections.abc import Iterator

from rwsplit.exchange.lease import HELD, IDLE, STATES
from rwsplit.protocol import codes
from rwsplit.relay.client import Client
from rwsplit.server.server import Server
from tests.support.conversation.stage import ClientEnd, ServerEnd, Stage


def check(stage: Stage) -> None:
    """Add to the problems of *stage* what is wrong."""
    problems = stage.world.problems
    problems += _counts(stage)
    for name, end in stage.servers.items():
        if end.server in stage.relay.servers.values():
            problems += (f"{name} {what}" for what in _of_server(end))
    for name, client in stage.ends.items():
        problems += (f"{name} {what}" for what in _of_client(stage, client))
        lost = [text for text in client.asker.acknowledged if not stage.world.committed[text]]
        problems += (f"{name} was told of {text!r}, which no primary has" for text in lost)


def _counts(stage: Stage) -> Iterator[str]:
    relay = stage.relay
    if any(relay.counters.load):
        yield f"the nodes' load is {relay.counters.load}"
    if relay.waits.homeless or relay.waits.parked:
        yield f"{[*relay.waits.homeless, *relay.waits.parked]} wait"
    leased = {server for pool in relay.pools for server in pool.servers}
    if leased != set(relay.servers.values()):
        yield f"pools have {leased}, the relay {relay.servers}"
    backends = {*relay._by_backend.values()}
    if backends != leased:
        yield f"by process id there are {backends}"
    for pool in relay.pools:
        idle = {server for server in pool.servers if server.lease == IDLE}
        if {*pool.idle} != idle or len(pool.idle) != len(idle):
            yield f"idle in {pool} are {pool.idle}"
        dialing = sum(dial.node == pool.node for dial in stage.dials)
        if pool.lanes or pool.waiters or pool.exclusive or pool.starting != dialing:
            yield f"{pool} has lanes {pool.lanes}, {pool.exclusive} exclusive waiters, {pool.starting} starting"


def _of_server(end: ServerEnd) -> Iterator[str]:
    server, backend = end.server, end.backend
    if server.responses.owed or server.out or backend.requests:
        yield f"owes {[*server.responses.owed]}, has to send {server.out}, is asked {backend.requests}"
    if end.ended:
        yield "has ended, and rwsplit keeps it"
    held_up = (server.copying, server.cancels, server.litter, server.paused)
    if any(held_up):
        yield f"is held up: {held_up}"
    if chr(server.tx) != backend.work.tx:
        yield f"is in {backend.work.tx}, not {chr(server.tx)}"
    unknown = [each.name for each in server.known if each.name.decode() not in backend.named]
    if unknown:
        yield f"is thought to know {unknown}"
    yield from _of_idle_server(end) if server.lease == IDLE else _of_lease(server)


def _of_lease(server: Server) -> Iterator[str]:
    holder = server.holder
    if server.lease != HELD:
        yield f"is {STATES[server.lease]}"
    elif not isinstance(holder, Client) or holder.closed or holder.server is not server:
        yield f"is held by {holder}"


def _of_idle_server(end: ServerEnd) -> Iterator[str]:
    server, values = end.server, end.backend.work.values
    if end.backend.work.tx != "I" or values.state or server.soiled or server.fate:
        yield f"is idle in {end.backend.work.tx} with {values.state}, soiled: {server.soiled}, {server.fate}"
    thought = {} if server.parameters is None else dict(server.parameters.values)
    for name in {*thought, *values.parameters}:
        if values.shown(name) != thought.get(name, values.default(name)):
            yield f"has {name} = {values.shown(name)!r}, and is thought to have {thought}"


def _of_client(stage: Stage, end: ClientEnd) -> Iterator[str]:
    if end.client.closed:
        yield from _of_who_is_gone(stage, end)
    else:
        yield from _of_what_was_told(end)
        yield from _of_session(end.client)


def _of_who_is_gone(stage: Stage, end: ClientEnd) -> Iterator[str]:
    client = end.client
    if not (end.asker.ending or end.asker.has_left):
        yield "is gone without a word"
    if client.fd in stage.relay.clients or client.pid in stage.relay.by_pid or client.wait:
        yield "is gone, and rwsplit keeps it"


def _of_what_was_told(end: ClientEnd) -> Iterator[str]:
    client, asker = end.client, end.asker
    if asker.ending:
        yield f"was told of its end by {asker.ending}, and is still there"
    if asker.has_left:
        yield "has left, and is still there"
    if asker.awaits:
        yield f"awaits {asker.asked}"
    if chr(client.tx) != asker.tx:
        yield f"is in {asker.tx}, not {chr(client.tx)}"


def _of_session(client: Client) -> Iterator[str]:
    busy = (client.in_flight, client.pending, client.wait, client.settling, client.skipped)
    if any(busy):
        yield f"is busy: {busy}"
    held_up = (client.sink, client.paused, client.pending_bytes, client.names.unsettled)
    if any(held_up):
        yield f"is held up: {held_up}"
    if client.tx == codes.IDLE and client.transaction is not None:
        yield "is in no transaction, and has one"
    if (client.server is not None) != (client.pin is not None or client.tx != codes.IDLE):
        yield f"has {client.server} for {client.pin}"
    if client.server is not None and client.server.holder is not client:
        yield f"has {client.server}, which is another's"
