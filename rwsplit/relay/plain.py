"""Plain reads: the common statement in one frame, out and back.

A read outside a transaction, of a session without rules or settings of its own that reads at its home: nothing has
to be decided about it that `Choice.home` does not say, and nothing to be written down that these two functions do
not. What they do is what `Dispatcher`, `Sender` and `Replies` would do, one call a question instead of one a
step (measured by `python -m tests.bench.turns`); whatever is out of the ordinary they leave to those, untouched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rwsplit.exchange.lease import HELD, LANE
from rwsplit.protocol import codes
from rwsplit.relay import lanes
from rwsplit.relay.client import Client
from rwsplit.routing import policy
from rwsplit.routing.consistency import PRIMARY_HOME
from rwsplit.server.pool import Pool
from rwsplit.server.server import Server
from rwsplit.session.unit import SIMPLE, Unit

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay


class PlainReads:
    """Sends plain reads and takes in their answers."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._read = policy.READ.reason.number

    def send(self, client: Client) -> bool:
        """Send all that the session has pending, if it is a plain read, to a server of its home.

        False, and nothing has happened: it is for `Dispatcher`.
        """
        unit = client.pending[0]
        if (
            not isinstance(unit, Unit)
            or not (unit.plain and client.plain)
            or client.wait is not None
            or client.skipped is not None
            or client.tx != _IDLE
            or client.closed
        ):
            return False
        script = unit.script
        if script is None or script.cost.writes:
            return False
        relay = self._relay
        piece = unit.piece
        home = relay.choice.home(client)
        if home is None:
            return False
        pool = client.pools.get(home.name)
        if pool is None or pool.is_discarded:
            return False
        unit.guarded = True
        server = self._take(client, pool, unit)
        if server is None:
            return False

        unit.sent = relay.now
        unit.route = policy.READ
        unit.node = index = pool.node_index
        client.sync_lost = False
        client.server = server
        client.in_flight = 1
        server.out += piece.parts  # type: ignore[arg-type]  # no plan: all are bytes
        server.responses.owed.append(unit)
        if unit.kind is SIMPLE:
            server.unnamed = None
        elif piece.unnamed_parse is not None:
            server.unnamed = piece.unnamed_parse
        counters = relay.counters
        counters.load[index] += 1
        counters.reasons[self._read] += 1
        if not server.dirty:
            server.dirty = True
            relay.outboxes.servers.append(server)
        client.pending.clear()
        client.pending_bytes = 0
        if client.paused:
            relay.outboxes.resume_when_sent(client)
        return True

    def _take(self, client: Client, pool: Pool[Server], unit: Unit) -> Server | None:
        """Return a server that can answer *unit* as it is, now its own or shared, None if there is none."""
        depth = self._relay.config.pool.lane_depth
        idle = pool.idle
        if idle:
            server = idle[-1]
            if not _is_ready(server, client, unit):
                return None
            idle.pop()
            server.take(client)
            if depth and lanes.may_share(unit, client):
                lanes.open_lane(pool, server)
            return server
        if not depth or pool.exclusive or not pool.is_full or not lanes.may_share(unit, client):
            return None
        lane = lanes.join(pool, client, depth)
        if lane is None or not _is_ready(lane, client, unit):
            return None
        self._relay.counters.shared += 1
        return lane

    def answered(self, server: Server, unit: Unit, data: bytes, now: float) -> bool:
        """Take in *data* if it is the whole answer to *unit*, all the server owes; False: see `Replies`."""
        client: Client | None = unit.session  # type: ignore[assignment]  # the relay's are all Clients
        if (
            client is None
            or client.in_flight != 1
            or client.pending
            or client.tx != _IDLE
            or client.transaction is not None  # begun by this very unit
            or client.input.missing  # it is in the midst of a frame
            or unit.failed  # its error came before
            or unit.renaming is not None
            or not server.responses.takes_whole(unit, data)
        ):
            return False
        relay = self._relay
        unit.sink.append(data)  # type: ignore[union-attr]  # a session's unit has a sink
        unit.size = len(data)
        server.tx = _IDLE
        relay.counters.load[unit.node] -= 1
        client.in_flight = 0
        self.note(client, server, unit, now)
        if unit.plain and unit.kind is SIMPLE and not (unit.was_parked or unit.cancelled):
            client.spare = unit
        if server.lease == LANE:
            lanes.close_lane(server)
        pool = server.pool
        if (
            pool.waiters
            or server.fate is not None
            or server.soiled
            or server.cancels
            or len(pool.servers) > pool.config.size
            or pool.quotas
        ):
            if server.lease == HELD:  # else it was shared, and is nobody's by now
                server.leave()
            relay.replies.settle(server)
        else:
            pool.release(server, now)
        return True

    def note(self, client: Client, server: Server, unit: Unit, now: float) -> None:
        """Keep the books of a read that was its session's only business."""
        relay = self._relay
        counters = relay.counters
        index = unit.node
        counters.statements[index] += 1
        counters.reads[index] += 1
        server.pool.answered += 1
        client.statements += 1
        if not client.dirty:
            client.dirty = True
            relay.outboxes.clients.append(client)
        client.last_answer = now
        if unit.relied_on:
            client.last_read = now
            client.home = index if server.is_replica else PRIMARY_HOME
        if unit.executes:
            client.last = (server.pool.node, unit.route)  # type: ignore[assignment]  # it was routed
        if client.tick != relay.homes.round:
            relay.homes.note_reader(client, index)
        if relay.config.pool.lane_depth:
            script = unit.script
            assert script is not None
            lanes.observe(script.cost, now - max(unit.sent, server.last_done), unit.size)
        server.last_done = now
        client.server = None
        if client.paused:
            relay.outboxes.resume_when_sent(client)


def _is_ready(server: Server, client: Client, unit: Unit) -> bool:
    """Return whether *server* has the session's parameters and the statement the unit uses, if any."""
    if server.parameters is not client.parameters:
        return False
    needs = unit.piece.needs
    if not needs:
        return True
    # A lane's knowledge hangs on units of strangers; only what was answered can be relied on.
    if len(needs) > 1 or needs[0] not in server.known or server.responses.owed:
        return False
    server.known[needs[0]] = server.known.pop(needs[0])  # used last, closed last
    return True


_IDLE: Final = codes.IDLE
