"""Dispatch: find the server for a session's next unit and put the unit's bytes into its outbox.

The order of the questions: does the session hold a server (a transaction, a pin, units in flight)? Then
there. Else the policy's verdict names a kind of node, consistency and balancing name the node, and its
pool gives an idle server, a lane, or a place in its queue. A unit that cannot go anywhere now waits
in one of four ways (`exchange.waits`), each with a deadline and each woken by an event.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from rwsplit.cluster.node import NodeView
from rwsplit.config.choices import PoolMode
from rwsplit.exchange.lease import LANE
from rwsplit.protocol import codes
from rwsplit.protocol.backend import error_response
from rwsplit.relay import lanes, skipping
from rwsplit.relay.bringing import Change
from rwsplit.relay.client import Client
from rwsplit.relay.slices import CHUNK, UNIT
from rwsplit.relay.trials import Trial, is_wanted
from rwsplit.routing.route import Route, RouteReason, Target
from rwsplit.server.pool import Pool
from rwsplit.server.server import Server
from rwsplit.session.autocommit import HINT, REFUSAL, leaves_open
from rwsplit.session.boundaries import ends
from rwsplit.session.chunk import AS_IT_IS, HOLDS, NOT_SENT, Chunk, ChunkKind
from rwsplit.session.journal import MOST_SET
from rwsplit.session.portals import keeps_portal
from rwsplit.session.prologue import is_prologue, is_savepoint
from rwsplit.session.stand_ins import NOTHING, OPAQUE
from rwsplit.session.unit import EXTENDED, Unit
from rwsplit.sql.script import Script

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

#: Units of one session that may be in flight at once.
PIPELINE_LIMIT: Final = 256

#: Most prepared statements of a session that lists them (pg_prepared_statements): all are prepared on its server for that.
MOST_LISTED: Final = 1000
TOO_MANY_TO_LIST: Final = f"a session with more than {MOST_LISTED} prepared statements cannot list them through rwsplit"
CLOSE_SOME: Final = "Close those it does not need any more (DEALLOCATE)."

TOO_MANY_SET: Final = f"a session may not set more than {MOST_SET} run-time parameters"
RESET_SOME: Final = "Those it does not need any more can be put back (RESET, DISCARD ALL)."

_SAME_TRANSACTION: Final = Route(Target.SAME, RouteReason.IN_TRANSACTION)
_SAME_PINNED: Final = Route(Target.SAME, RouteReason.PINNED)


class Dispatcher:
    """Sends the units of sessions to servers."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._outdated = relay.rebasing.outdated

    def pump(self, client: Client) -> None:  # noqa: C901, PLR0912 - one branch a case
        """Send as many of the session's pending units and chunks as can go now, in order."""
        if self._outdated:
            self._relay.rebasing.catch_up(client)
        try:
            if (
                client.server is None
                and len(client.pending) == 1
                and self._relay.plain.send(client)
            ):
                return
            if client.queued and client.allowance <= 0:
                return  # it has had its slice, however many of its answers have come since
            pending, slices = client.pending, self._relay.slices
            while pending and client.wait is None and not client.closed:
                words = UNIT
                item = pending[0]
                if client.skipped is not None and _is_for_a_server(item):
                    size = self._skip(client, item)
                elif isinstance(item, Unit):
                    if not self._unit(client, item):
                        break
                    size = item.size_in
                else:
                    if not self._chunk(client, item):
                        break
                    size = sum(len(part) for part in item.parts if isinstance(part, bytes))
                    words = CHUNK
                # Sending may have failed the client, or failed the unit back to the head of the queue.
                if pending and pending[0] is item:
                    pending.popleft()
                    client.pending_bytes = max(0, client.pending_bytes - size) if pending else 0
                if not pending:
                    break  # the common case: a single unit is not worth counting
                script = item.script
                if script is not None:
                    words += script.weight
                if not slices.goes_on(client, words):
                    break
            if client.is_behind or (client.paused and not pending):
                self._look_at_more(client)
        except Exception as failure:  # noqa: BLE001 - one session's failure must not end the others
            self._relay.faults.in_session(client, failure)

    def _look_at_more(self, client: Client) -> None:
        """Take more input of *client*, now that there is room: first the input that was read already."""
        outboxes = self._relay.outboxes
        if client.is_behind:
            outboxes.pause_client(client)
        outboxes.resume_when_sent(client)

    def _resume(self, client: Client, held: Chunk) -> bool:
        """Have the session look at what it held back, if the names that uses are settled; say whether it did."""
        server = client.server
        last = server.responses.owed[-1] if server and server.responses.owed else None
        if client.skipped is not None:
            client.skipped.settle_names()  # all that is left of it is its Sync
        elif client.sync_lost and isinstance(last, Unit):
            last.settle_names()  # it goes on with what is held
        elif client.in_flight > client.is_open:
            return False
        client.names.unsettled.clear()
        client.pending.popleft()
        client.resume()
        # While it is behind, the end is read again, behind the rest.
        if held.kind is ChunkKind.HELD_LAST and not client.is_behind:
            self._relay.reading.client_ended(client)
        return True

    def start(self, client: Client, server: Server) -> None:
        """Send the unit a session has been waiting with to *server*, which it now has."""
        try:
            self._start(client, server)
        except Exception as failure:  # noqa: BLE001 - as above
            self._relay.faults.in_session(client, failure, server)

    def _start(self, client: Client, server: Server) -> None:
        self._relay.waits.end(client)
        unit = client.pending[0]
        assert isinstance(unit, Unit)
        if client.server is None and self._must_wait(client, server, unit):
            return
        client.pending.popleft()
        client.pending_bytes = max(0, client.pending_bytes - unit.size_in)
        if client.server is not None:
            # It held a replica for a transaction, and moves.
            self._relay.late.move(client, client.server, server, unit)
        else:
            self._relay.sender.send(client, server, unit)
        if client.pending or client.paused:
            self.pump(client)

    # Where a unit goes...

    def _unit(self, client: Client, unit: Unit) -> bool:  # noqa: PLR0911 - one line a case
        """Send *unit* or make its session wait; return whether it is sent."""
        relay = self._relay
        script = unit.script or self._classify_later(client, unit)
        if script is None:
            return False
        if client.settling is not None:
            return False
        if not unit.arrived:
            unit.arrived = relay.now
            unit.deadline = relay.now + (relay.config.pool.query_wait_timeout or math.inf)
            if script.hints is not None:
                relay.hinting.note(client, script.hints)
        if client.mode is PoolMode.STATEMENT and unit.executes and leaves_open(script):
            return self._refuse(client, unit, "0A000", REFUSAL, HINT)
        if (script.lists_prepared or script.sets) and (over := _over_limit(client, script)):
            return self._refuse(client, unit, *over)
        server = client.server
        if server is not None:
            return self._follow(client, server, unit, script)
        if client.transaction is not None:
            return relay.late.first(client, unit, script)
        if script.controls_transaction and relay.late.begin(client, unit, script):
            return True
        return self._alone(client, unit, script)

    def _alone(self, client: Client, unit: Unit, script: Script) -> bool:
        """Send a unit of a session that is in no transaction and has no server."""
        relay = self._relay
        client.sync_lost = False
        unit.route = route = (
            script.controls_transaction and relay.late.route(client, unit, script)
        ) or relay.choice.route(client, unit, script)
        if route.target is Target.REPLICA:
            node = relay.choice.reader(client, unit, route)
            if client.wait is not None:
                return False
        elif route.target is Target.NODE:
            node = relay.choice.named(route)
            if node is None:
                return relay.hinting.await_node(client, unit, route)
        else:
            node = relay.view.primary
        if node is None:
            relay.waits.await_node(client)
            return False
        return self.to_node(client, unit, node)

    def _refuse(self, client: Client, unit: Unit, code: str, message: str, hint: str) -> bool:
        """Answer a unit that must not run with an error, once everything before it is answered; return whether it was."""
        if client.in_flight:
            return False
        self._relay.own_answers.refuse(client, unit, code, message, hint=hint)
        return True

    def to_node(self, client: Client, unit: Unit, node: NodeView) -> bool:
        """Take a server of *node* for the unit, share a lane, or stand in the queue."""
        relay = self._relay
        pool = client.pools.get(node.name)
        if pool is None or pool.is_discarded:
            pool = relay.pool_of(client, node)
        script = unit.script
        assert script is not None
        transaction = client.transaction
        is_taken_along = transaction is not None and transaction.takes_along(unit, script)
        unit.guarded = (is_taken_along or _only_reads(script)) and not (
            unit.is_open
            or (unit.row_limit and (unit.kind is not EXTENDED or keeps_portal(unit)))
            or script.cost.writes
            or client.mode is PoolMode.SESSION
            # A replica took it for a write, or the primary went away with it: it must not run twice.
            or (unit.restarts and _is_last_try(unit, node))
        )
        if script.needs_session:
            server = self._writer(client, pool)
        elif unit.piece.unnamed is not None:
            server = pool.acquire_that_parsed(unit.piece.unnamed, client)
        else:
            server = pool.acquire_alike(client)
        if server is not None and self._must_wait(client, server, unit):
            return False
        depth = relay.config.pool.lane_depth
        if server is None:
            shares = depth and pool.is_full and lanes.may_share(unit, client)
            if shares and not pool.exclusive:
                server = lanes.join(pool, client, depth)
            if server is None or is_wanted(server, unit):
                relay.waits.queue(client, pool, shares=bool(shares))
                if not pool.is_full:
                    pool.ask(relay.now)
                return False
            relay.counters.shared += 1
        elif depth and lanes.may_share(unit, client):
            lanes.open_lane(pool, server)
        self._relay.sender.send(client, server, unit)
        return True

    def _must_wait(self, client: Client, server: Server, unit: Unit) -> bool:
        """Have *server* prepared for *unit* if something may come of that which the unit must wait for."""
        relay = self._relay
        return relay.bringing.starts(client, server, unit) or relay.trials.starts(
            client, server, unit
        )

    def _writer(self, client: Client, pool: Pool[Server]) -> Server | None:
        """Return the idle server on which the session wrote last (currval), else any."""
        for server in pool.idle:
            if server.last_writer is client:
                pool.acquire_this(server, client)
                return server
        return pool.acquire(client)

    def _follow(  # noqa: PLR0911 - one line a case
        self, client: Client, server: Server, unit: Unit, script: Script
    ) -> bool:
        """Send a unit of a session that has a server already, or let it wait for what is in flight."""
        if server.copying > 0 and script is NOTHING:
            return (
                True  # a Sync is ignored in copy-in mode (PostgreSQL manual, "COPY Operations")
            )
        if client.sync_lost:
            return self._replace_sync(client, server, unit)
        held = client.tx != codes.IDLE or client.pin is not None
        if client.in_flight:
            if not self._may_pipeline(client, server, unit, script, held=held):
                return False
            if unit.is_open and client.transaction is not None:
                return False  # it may have to leave
        elif client.transaction is not None and self._relay.late.must_leave(
            client, unit, script
        ):
            return self._relay.late.leave(client, server, unit)
        if client.pin is not None:
            unit.route = _SAME_PINNED
        elif held or client.in_flight:
            unit.route = _SAME_TRANSACTION
        # A read on a replica, or a SET LOCAL, can still run elsewhere, if its transaction can; and so can its end,
        # which has done nothing.
        unit.guarded = (
            self._relay.late.is_free(client)
            and not client.in_flight
            and (ends(script) or _only_reads(script) or _is_repeatable(unit, script))
            and not (unit.follows or unit.is_open)
        )
        if self._relay.trials.starts(client, server, unit):
            return False
        self._relay.sender.send(client, server, unit)
        return True

    def _replace_sync(self, client: Client, server: Server, unit: Unit) -> bool:
        """Send a unit whose Sync answers for the one before it, too, as a COPY swallowed that one's."""
        piece = unit.piece
        client.sync_lost = False
        unit.settle_names()
        last = server.responses.owed[-1] if server.responses.owed else None
        if piece.plan is None and not piece.needs and piece.unnamed is None:
            server.out.extend(piece.parts)  # type: ignore[arg-type]  # no plan: all are bytes
            self._relay.outboxes.touch_server(server)
        elif unit.kind is EXTENDED and not unit.is_open and isinstance(last, Unit):
            chunk = Chunk.of(ChunkKind.SYNC, piece)
            chunk.script = unit.script
            last.planned = last.planned or last.done + len(last.steps or ())
            self._relay.sender.go_on(client, server, last, chunk)
        else:
            message = "a COPY must be followed by its own Sync"
            self._relay.fail_client(client, error_response("FATAL", "0A000", message))
        return True

    def _may_pipeline(  # noqa: PLR0911 - one line a reason
        self, client: Client, server: Server, unit: Unit, script: Script, *, held: bool
    ) -> bool:
        """Return whether *unit* may be sent behind others of its session that are in flight."""
        if server.lease == LANE or client.in_flight >= PIPELINE_LIMIT or script.lists_prepared:
            return False
        # While the answers to several units are worked off, the last may be owed no more. Behind it may be what
        # rwsplit asks for itself.
        last = next((o for o in reversed(server.responses.owed) if isinstance(o, Unit)), None)
        if last is None or last.guarded or last.is_untold:
            return False  # it may have to run elsewhere, or *unit* is skipped if it fails
        if last.script is not None and last.script.copies_in:
            # Whether the server takes it in, or data, is known when COPY has begun: then anything but
            # data makes PostgreSQL end the session.
            return server.copying > 0
        primary = self._relay.view.primary
        if primary is not None and server.pool.node == primary.name:
            return True
        # On a replica: only reads, and only while it is sure that the session stays there.
        if script.primary_only is not None or script.controls_transaction or script.cost.writes:
            return False
        if script.hints is not None or client.in_band.route != "auto":
            return False
        controls = last.script is not None and last.script.controls_transaction
        if client.transaction is None:
            return held or not controls
        # Behind a SET LOCAL, say: what would leave if it came alone leaves. What AND CHAIN begins is not known yet.
        return not (controls or self._relay.late.must_leave(client, unit, script))

    # What waits...

    def _classify_later(self, client: Client, unit: Unit) -> Script | None:
        """Send expensive statements to the parser process while the session waits."""
        if unit.piece.script is not None:
            unit.script = unit.piece.script
            return unit.script
        self._relay.parsing.begin(client, unit)
        return None

    def _chunk(  # noqa: C901, PLR0911, PLR0912 - one line a case
        self, client: Client, chunk: Chunk
    ) -> bool:
        """Pass on what continues an open unit or a COPY."""
        if chunk.kind in HOLDS:
            return self._resume(client, chunk)
        if isinstance(client.settling, Change | Trial):
            return False  # the unit it continues waits
        if chunk.kind is ChunkKind.TERMINATE:
            # An open unit never ends, nor does a COPY: what it did so far is undone, as PostgreSQL does.
            copies = client.server is not None and client.server.copying > 0
            if (
                not copies
                and client.skipped is None
                and (client.in_flight > client.is_open or client.sink)
            ):
                return False
            self._relay.close_client(client)
            return True
        server = client.server
        if server is None or server.lease == LANE:
            return True  # what it belongs to has ended; the server would discard it too
        if chunk.kind in AS_IT_IS:
            self._pass_on(client, server, chunk)
            return True
        if chunk.script is None:
            chunk.script = OPAQUE
        if chunk.script.lists_prepared and len(client.names) > MOST_LISTED:
            error = error_response("FATAL", "54000", TOO_MANY_TO_LIST, hint=CLOSE_SOME)
            self._relay.fail_client(client, error)
            return True
        unit = next(
            (u for u in reversed(server.responses.owed) if isinstance(u, Unit) and u.is_open),
            None,
        )
        if unit is None or unit.session is not client:
            return True
        if chunk.kind is ChunkKind.QUERY and not self._may_end(client, server, unit):
            return client.skipped is not None
        if self._relay.trials.holds(client, server, unit, chunk):
            return False
        if server.copying > 0 and chunk.kind is ChunkKind.SYNC and chunk.script is NOTHING:
            unit.is_open = False
            client.sync_lost = True
        else:
            self._relay.sender.go_on(client, server, unit, chunk)
        return True

    def _may_end(self, client: Client, server: Server, unit: Unit) -> bool:
        """Return whether a Query may end the open *unit*: not if it failed, nor before that is known."""
        if unit.failed:
            client.skipped = unit
            return False
        if skipping.is_undecided(server, unit):
            self._relay.outboxes.touch_server(server)
            return False
        return True

    def _skip(self, client: Client, item: Unit | Chunk) -> int:
        """Drop what a server would skip; return the size of it."""
        skipping.skip(client, item)
        self._relay.outboxes.touch_client(client)
        if client.server is not None:
            self._relay.outboxes.touch_server(client.server)
        if isinstance(item, Unit):
            return item.size_in
        return sum(len(part) for part in item.parts if isinstance(part, bytes))

    def _pass_on(self, client: Client, server: Server, chunk: Chunk) -> None:
        """Send what needs no understanding: data of a COPY, the rest of a long frame."""
        last = server.responses.owed[-1] if server.responses.owed else None
        if chunk.kind is ChunkKind.COPY_END:
            if client.in_flight:
                server.copying -= 1
            if isinstance(last, Unit) and last.is_open:
                last.copy_ended = True
        server.out.extend(part for part in chunk.parts if isinstance(part, bytes))
        self._relay.outboxes.touch_server(server)


def _over_limit(client: Client, script: Script) -> tuple[str, str, str] | None:
    """Return with which SQLSTATE, message and hint *script* is refused because its session has too much; None: it is not."""
    if script.lists_prepared and len(client.names) > MOST_LISTED:
        return "54000", TOO_MANY_TO_LIST, CLOSE_SOME
    if script.sets and client.journal.has_too_many(script, client.parameters):
        return "53400", TOO_MANY_SET, RESET_SOME
    return None


def _is_last_try(unit: Unit, node: NodeView) -> bool:
    """Return whether *unit*, which is run again, must not be run once more after *node*."""
    route = unit.route
    if route is None or route.target is not Target.PRIMARY:
        return False
    refused = (RouteReason.RETRIED_READ_ONLY, RouteReason.RETRIED_NOT_REPLAYED)
    return route.reason in refused or bool(unit.refused_by >> node.index & 1)


def _is_repeatable(unit: Unit, script: Script) -> bool:
    return is_prologue(unit, script) or is_savepoint(unit, script)


def _only_reads(script: Script) -> bool:
    return script.primary_only is None and not script.controls_transaction


def _is_for_a_server(item: Unit | Chunk) -> bool:
    return isinstance(item, Unit) or item.kind not in NOT_SENT
