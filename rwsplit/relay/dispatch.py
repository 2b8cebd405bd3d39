"""Dispatch: find the server for a session's next unit and put the unit's bytes into its outbox.

The order of the questions: does the session hold a server (a transaction, a pin, units in flight)? Then
there. Else the policy's verdict names a kind of node, consistency and balancing name the node, and its
pool gives an idle server, a lane, or a place in its queue. A unit that cannot go anywhere now waits
in one of four ways (`Waiting`), each with a deadline and each woken by an event.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from rwsplit.cluster.node import NEVER, AdminState, NodeView, Up
from rwsplit.config.model import ConsistencyLevel, ReadsOnPrimary
from rwsplit.protocol import codes
from rwsplit.protocol.backend import error_response
from rwsplit.protocol.framing import frame
from rwsplit.relay import lanes
from rwsplit.relay.client import Client, Waiting
from rwsplit.relay.injected import DISCARD_SEQUENCES, ROLLBACK, Injected, Purpose, query
from rwsplit.routing import policy
from rwsplit.routing.consistency import NOWHERE, all_but, readers
from rwsplit.routing.route import Route, RouteReason, Target
from rwsplit.server.pool import Pool
from rwsplit.server.server import Server, Use
from rwsplit.session.assembly import OPAQUE
from rwsplit.session.pinning import forgets_prepared, pin_reason, reset_parameters
from rwsplit.session.prepared import SYNC, Lesson, compose, unlearn, unname
from rwsplit.session.unit import Chunk, Kind, Piece, Unit
from rwsplit.sql.statement import Script

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

#: How long the next read of a session bound for another replica may wait for it (seconds).
MOVE_WAIT: Final = 0.05
#: Units of one session that may be in flight at once.
PIPELINE_LIMIT: Final = 256

_SAME_TRANSACTION: Final = Route(Target.SAME, RouteReason.IN_TRANSACTION)
_SAME_PINNED: Final = Route(Target.SAME, RouteReason.PINNED)
_OPEN: Final = Route(Target.PRIMARY, RouteReason.OPEN_UNIT)
_SHARED: Final = Route(Target.PRIMARY, RouteReason.SHARED_READ)
_FALLBACK: Final = Route(Target.PRIMARY, RouteReason.NO_FRESH_REPLICA)


class Dispatcher:
    """Sends the units of sessions to servers."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def pump(self, client: Client) -> None:
        """Send as many of the session's pending units and chunks as can go now, in order."""
        pending = client.pending
        while pending and client.waiting is None and not client.closed:
            item = pending[0]
            if isinstance(item, Unit):
                if not self._unit(client, item):
                    return
                size = item.size_in
            else:
                if not self._chunk(client, item):
                    return
                size = sum(len(part) for part in item.parts if isinstance(part, bytes))
            # Sending may have failed the client, or failed the unit back to the head of the queue.
            if pending and pending[0] is item:
                pending.popleft()
                client.pending_bytes = max(0, client.pending_bytes - size) if pending else 0

    def start(self, client: Client, server: Server) -> None:
        """Send the unit a session has been waiting with to *server*, which it now has."""
        pool = server.pool
        pool.exclusive -= not client.shares
        client.waiting = None
        client.waits_for = None
        unit = client.pending.popleft()
        assert isinstance(unit, Unit)
        client.pending_bytes = max(0, client.pending_bytes - unit.size_in)
        self._relay.counters.load[pool.node_index] -= 1  # it was counted while it waited
        self._send(client, server, unit)
        if client.pending:
            self.pump(client)

    # Where a unit goes...

    def _unit(self, client: Client, unit: Unit) -> bool:
        """Send *unit* or make its session wait; return whether it is sent."""
        relay = self._relay
        script = unit.script
        if script is None:
            script = self._classify_later(client, unit)
            if script is None:
                return False
        if not unit.arrived:
            unit.arrived = relay.now
            unit.deadline = relay.now + relay.config.pool.query_wait_timeout
        server = client.server
        if server is not None:
            return self._follow(client, server, unit, script)
        if client.sync_lost:
            client.sync_lost = False
        unit.route = route = self._route(client, unit, script)
        if route.target is Target.REPLICA:
            node = self._reader(client, unit, route)
            if client.waiting is not None:
                return False
        elif route.target is Target.NODE:
            node = self._named(route)
        else:
            node = relay.view.primary
        if node is None:
            self._wait_for_node(client)
            return False
        return self._to_node(client, unit, node)

    def _to_node(self, client: Client, unit: Unit, node: NodeView) -> bool:
        """Take a server of *node* for the unit, share a lane, or stand in the queue."""
        relay = self._relay
        pool = client.pools.get(node.name)
        if pool is None or pool.is_discarded:
            pool = relay.pool_of(client, node)
        script = unit.script
        assert script is not None
        unit.guarded = script.primary_only is None and not (
            script.controls_transaction or unit.is_open or unit.row_limit
        )
        server = self._writer(client, pool) if script.needs_session else pool.acquire()
        depth = relay.config.pool.lane_depth
        if server is None:
            shares = depth and pool.is_full and lanes.may_share(unit, client)
            if shares and not pool.exclusive:
                server = lanes.join(pool, client, depth)
            if server is None:
                client.waiting = Waiting.SERVER
                client.waits_for = pool
                client.shares = bool(shares)
                pool.exclusive += not shares
                pool.waiters.append(client)
                relay.counters.load[pool.node_index] += 1
                if not pool.is_full:
                    pool.ask(relay.now)
                return False
            relay.counters.shared += 1
        elif depth and lanes.may_share(unit, client):
            lanes.open_lane(pool, server)
        self._send(client, server, unit)
        return True

    def _writer(self, client: Client, pool: Pool) -> Server | None:
        """Return the idle server on which the session wrote last (currval), else any."""
        for server in pool.idle:
            if server.last_writer is client:
                pool.acquire_this(server)
                return server
        return pool.acquire()

    def _follow(self, client: Client, server: Server, unit: Unit, script: Script) -> bool:
        """Send a unit of a session that has a server already, or let it wait for what is in flight."""
        if client.sync_lost:
            return self._replace_sync(client, server, unit)
        held = client.tx != codes.IDLE or client.pin is not None
        if client.in_flight:
            if not self._may_pipeline(client, server, script, held=held):
                return False
        elif client.replica_transaction is not None and self._must_leave(script):
            return self._leave_replica(client, server, unit)
        if client.pin is not None:
            unit.route = _SAME_PINNED
        elif held or client.in_flight:
            unit.route = _SAME_TRANSACTION
        unit.guarded = False
        self._send(client, server, unit)
        return True

    def _replace_sync(self, client: Client, server: Server, unit: Unit) -> bool:
        """Send a unit whose Sync answers for the one before it, too, as a COPY swallowed that one's."""
        piece = unit.piece
        client.sync_lost = False
        if piece.plan is not None or piece.needs or piece.unnamed is not None:
            message = "a COPY must be followed by its own Sync"
            self._relay.fail_client(client, error_response("FATAL", "0A000", message))
            return True
        server.out.extend(piece.parts)  # type: ignore[arg-type]  # no plan: all are bytes
        self._relay.touch_server(server)
        return True

    def _may_pipeline(
        self, client: Client, server: Server, script: Script, *, held: bool
    ) -> bool:
        """Return whether a unit may be sent behind others of its session that are in flight."""
        if server.use is Use.LANE or client.in_flight >= PIPELINE_LIMIT:
            return False
        primary = self._relay.view.primary
        if primary is not None and server.pool.node == primary.name:
            return True
        # On a replica: only reads, and only while it is sure that the session stays there.
        if script.primary_only is not None or script.controls_transaction or script.cost.writes:
            return False
        if script.hints is not None or client.route_setting != "auto":
            return False
        last = server.responses.owed[-1]
        settled = isinstance(last, Unit) and not (
            last.script and last.script.controls_transaction
        )
        return held or settled

    def _must_leave(self, script: Script) -> bool:
        """Return whether a READ ONLY transaction on a replica meets a statement for the primary."""
        if script.controls_transaction:
            return False
        return script.primary_only is not None or script.state is not None

    def _leave_replica(self, client: Client, server: Server, unit: Unit) -> bool:
        """Move a READ ONLY transaction to the primary, where it goes on with *unit*.

        It has only read there, and the primary is at least as new as any replica. A transaction with one
        snapshot for all its statements cannot be moved once it has one: PostgreSQL on the replica judges
        the statement then.
        """
        begin = client.replica_transaction
        assert begin is not None
        assert begin.script is not None
        relay = self._relay
        snapshot = (begin.script.statements[0].isolation or "").lower() == "repeatable read"
        if (
            client.tx != codes.IN_TRANSACTION
            or len(begin.script.statements) > 1
            or (snapshot and client.reads_in_transaction)
        ):
            if client.tx == codes.IN_TRANSACTION and pin_reason(unit.script or begin.script):
                self._refuse_state(client, server)
                return True
            unit.route = _SAME_TRANSACTION
            self._send(client, server, unit)
            return True
        primary = relay.view.primary
        pool = None if primary is None else relay.pool_of(client, primary)
        target = None if pool is None else pool.acquire()
        if target is None:
            if pool is not None:
                pool.wanted = True
                pool.ask(relay.now)
            client.waiting = Waiting.NODE
            relay.homeless[client] = None
            return False
        client.replica_transaction = None
        server.out.append(ROLLBACK)
        server.owe(Injected(Purpose.ROLLBACK))
        server.holder = None
        relay.touch_server(server)
        client.server = None
        self._bring_parameters(client, target)
        target.out.extend(part for part in begin.piece.parts if isinstance(part, bytes))
        if begin.kind is Kind.SIMPLE:
            target.unnamed = None
        target.owe(Injected(Purpose.BEGIN, client))
        unit.route = Route(
            Target.PRIMARY, policy.route_facts(unit.script or begin.script).reason
        )
        self._send(client, target, unit)
        return True

    def _refuse_state(self, client: Client, server: Server) -> None:
        """Fail a transaction whose snapshot is on a replica for wanting state on the primary."""
        server.out.append(query(b"ROLLBACK TO SAVEPOINT rwsplit_refuses"))
        server.owe(Injected(Purpose.REFUSE))
        self._relay.touch_server(server)
        message = (
            "a READ ONLY REPEATABLE READ transaction that has read cannot change its session"
        )
        hint = "Begin it with /* rwsplit: primary */, or change the session outside of it."
        client.sink.append(error_response("ERROR", "0A000", message, hint=hint))
        client.sink.append(frame(codes.READY, b"E"))
        client.tx = codes.FAILED
        self._relay.touch_client(client)

    def _route(self, client: Client, unit: Unit, script: Script) -> Route:
        if unit.route is not None and unit.restarts:
            return unit.route  # where it is to be run again was decided by what failed
        if unit.is_open:
            return _OPEN
        if script.hints is not None:
            hinted = policy.route_hints(script, script.hints)
            if hinted is not None and (
                hinted.target is not Target.NODE or pin_reason(script) is None
            ):
                return hinted
        if client.route_setting != "auto":
            return policy.route_setting(script, client.route_setting)
        if client.rules:
            ruled = client.rules.route(script)
            if ruled is not None and pin_reason(script) is None:
                return ruled
        return policy.route_facts(script)

    def _reader(self, client: Client, unit: Unit, route: Route) -> NodeView | None:
        """Return the node to read from; None after making the session wait, or if there is none."""
        relay = self._relay
        view = relay.view
        settings = relay.config.consistency
        level = (
            client.level if route.consistency is None else ConsistencyLevel(route.consistency)
        )
        floor = relay.oldest(
            settings.max_lag
            if client.max_lag is None and route.max_lag is None
            else min(lag for lag in (client.max_lag, route.max_lag) if lag is not None)
        )
        last_read, home, refused_by = NEVER, client.home, unit.refused_by
        if level is not ConsistencyLevel.EVENTUAL:
            floor = max(floor, client.last_write)
            last_read = client.last_read
            refused_by |= all_but(client.bound_for)
        candidates = readers(
            view, floor=floor, last_read=last_read, home=home, refused_by=refused_by
        )
        if relay.config.routing.reads_on_primary is ReadsOnPrimary.SHARE and view.primary:
            candidates = [*candidates, view.primary]
        if candidates:
            client.bound_for = NOWHERE
            node = relay.chooser.choose(candidates, relay.counters.load, relay.now)
            if node is view.primary:
                unit.route = _SHARED
            elif unit.was_parked:
                unit.route = route._replace(reason=RouteReason.WAITED_FOR_REPLICA)
            return node
        wait = settings.wait if client.bound_for == NOWHERE else MOVE_WAIT
        may_wait = wait and not unit.restarts and relay.now < unit.arrived + wait
        if may_wait and view.replicas:
            unit.was_parked = True
            relay.park(client, unit.arrived + wait)
            return None
        if client.bound_for != NOWHERE:
            client.bound_for = NOWHERE
            return self._reader(client, unit, route)
        if relay.config.routing.reads_on_primary is ReadsOnPrimary.NEVER:
            return None
        unit.route = _FALLBACK
        return view.primary

    def _named(self, route: Route) -> NodeView | None:
        node = None if route.node is None else self._relay.view.node(route.node)
        if node is None or not isinstance(node.health, Up):
            return None
        return node if node.admin is AdminState.ATTACHED else None

    def _wait_for_node(self, client: Client) -> None:
        client.waiting = Waiting.NODE
        self._relay.homeless[client] = None

    def _classify_later(self, client: Client, unit: Unit) -> Script | None:
        """Have long statements parsed by a worker thread while the session waits."""
        if unit.piece.script is not None:
            unit.script = unit.piece.script
            return unit.script
        client.waiting = Waiting.PARSING
        self._relay.parse_later(client, unit)
        return None

    # Sending...

    def _send(self, client: Client, server: Server, unit: Unit) -> None:  # noqa: C901 - the hot path, in one frame
        """Queue the bytes of *unit* on *server*, behind what the server must know for it."""
        relay = self._relay
        script = unit.script
        piece = unit.piece
        assert script is not None
        if client.server is not server:
            client.server = server
            if server.use is Use.HELD:
                server.holder = client
            if server.parameters is not client.parameters:
                self._bring_parameters(client, server)
            if script.needs_session and server.last_writer is not client:
                server.out.append(DISCARD_SEQUENCES)
                server.owe(Injected(Purpose.RESET))
        if (
            piece.plan is None
            and not piece.needs
            and piece.unnamed is None
            and not unit.is_open
        ):
            server.out.extend(piece.parts)  # type: ignore[arg-type]  # no plan: all are bytes
        else:
            self._compose(server, unit, piece)
        if unit.kind is Kind.SIMPLE:
            server.unnamed = None
        elif piece.unnamed_parse is not None:
            server.unnamed = piece.unnamed_parse
        index = server.pool.node_index
        unit.node = index
        unit.sent = relay.now
        counters = relay.counters
        counters.load[index] += 1
        if unit.route is not None:
            counters.reasons[unit.route.reason.number] += 1
        server.responses.owed.append(unit)
        client.in_flight += 1
        if script.notable:
            self._note_state(client, server, unit, script)
        if piece.litter is not None:
            server.out.append(frame(codes.CLOSE, b"S" + piece.litter + b"\0") + SYNC)
            server.owe(Injected(Purpose.TIDY))
        if not server.dirty:
            server.dirty = True
            relay.dirty_servers.append(server)

    def _compose(self, server: Server, unit: Unit, piece: Piece) -> None:
        limit = self._relay.config.limits.max_prepared_statements
        if piece.script is not None and forgets_prepared(piece.script):
            server.forget()  # what follows within the piece cannot rely on anything
        if server.use is Use.LANE:
            server.unnamed = None  # it hangs on units of strangers, which may still fail
        lessons: list[Lesson] = []
        if unit.kind is Kind.SIMPLE:
            # Were the Parse to fail in front of a Query, the server would skip the Query: it is a unit by itself.
            if any(prepared not in server.known for prepared in piece.needs):
                injected = Injected(Purpose.TEACH)
                injected.steps = compose(
                    server,
                    [SYNC],
                    piece.needs,
                    None,
                    injected.lessons,
                    unnamed=None,
                    limit=limit,
                )
                server.owe(injected)
            server.out.extend(part for part in piece.parts if isinstance(part, bytes))
            steps = None
        else:
            steps = compose(
                server,
                piece.parts,
                piece.needs,
                piece.plan,
                lessons,
                unnamed=piece.unnamed,
                limit=limit,
                names=[name for _, name, _ in piece.taught],
                first=unit.planned,
                may_omit=not unit.is_open and not unit.planned,
            )
        if unit.planned or unit.is_open:
            unit.planned += len(steps or ())
            if unit.failed:  # the server skips it all, up to the Sync
                unlearn(server, lessons, 0)
                if unit.session is not None:
                    unname(unit.session.names, lessons, 0)
                return
            if unit.steps is None:
                unit.steps = deque()
            unit.steps.extend(steps or ())
            unit.lessons = [*unit.lessons, *lessons]
        else:
            unit.steps = steps
            unit.lessons = lessons
        if piece.drops is not None:
            server.known.pop(piece.drops, None)

    def _bring_parameters(self, client: Client, server: Server) -> None:
        assert server.parameters is not None
        if server.parameters is client.parameters:
            return
        server.out.append(client.parameters.change_from(server.parameters))
        server.parameters = client.parameters
        server.unnamed = None
        server.owe(Injected(Purpose.PARAMETERS, client))

    def _note_state(self, client: Client, server: Server, unit: Unit, script: Script) -> None:
        """Record what the statements queued will do to the server and the session."""
        if client.pin is None:
            reason = pin_reason(script)
            if reason is not None:
                server.soiled = True
                # State on a replica could never be used by what must go to the primary.
                if not server.is_replica:
                    client.pin = reason
                    server.responses.owner = client.sink
        if client.parameters.values and not unit.is_open:
            self._restore(client, server, script)
        if forgets_prepared(script):
            server.forget()
        if unit.route is not None and unit.route.reason is RouteReason.READ_ONLY_TRANSACTION:
            client.replica_transaction = unit

    def _restore(self, client: Client, server: Server, script: Script) -> None:
        """Bring back what the session asked for at startup, to which PostgreSQL's RESET would lead."""
        names = reset_parameters(script)
        restored = client.parameters.restored(names) if names else None
        if restored is not None:
            server.out.append(restored)
            server.unnamed = None
            injected = Injected(Purpose.RESTORE, client)
            injected.reports = client.sink
            server.owe(injected)

    def _chunk(self, client: Client, chunk: Chunk) -> bool:
        """Pass on what continues an open unit or a COPY."""
        if chunk.terminates:
            # An open unit never ends: what it did so far is undone, as PostgreSQL does.
            if client.in_flight > client.is_open or client.sink:
                return False
            self._relay.close_client(client)
            return True
        server = client.server
        if server is None or server.use is Use.LANE:
            return True  # what it belongs to has ended; the server would discard it too
        if chunk.is_copy or chunk.is_rest:
            server.out.extend(part for part in chunk.parts if isinstance(part, bytes))
            self._relay.touch_server(server)
            return True
        if chunk.script is None:
            chunk.script = OPAQUE
        unit = next(
            (u for u in reversed(server.responses.owed) if isinstance(u, Unit) and u.is_open),
            None,
        )
        if unit is None or unit.session is not client:
            return True
        self._continue(client, server, unit, chunk)
        return True

    def _continue(self, client: Client, server: Server, unit: Unit, chunk: Chunk) -> None:
        script = chunk.script
        assert script is not None
        if chunk.plan is None and chunk.by_query:
            server.out.extend(part for part in chunk.parts if isinstance(part, bytes))
            server.unnamed = None
        else:
            self._compose(server, unit, chunk)
            if chunk.unnamed_parse is not None:
                server.unnamed = chunk.unnamed_parse
        if script.may_write:
            client.wrote = True
        if script.notable:
            self._note_state(client, server, unit, script)
        if chunk.completes:
            unit.is_open = False
            unit.by_query = chunk.by_query
            if chunk.by_query and unit.failed:
                client.sync_lost = True  # the server skips the Query, up to the Sync
        self._relay.touch_server(server)
