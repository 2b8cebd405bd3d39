"""Replies: what happens to sessions and servers when answers come or fail to come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from rwsplit.config.choices import PoolMode
from rwsplit.exchange.chores import ROLLBACK, Chore
from rwsplit.exchange.lease import (
    CLOSED,
    COOLING,
    IDLE,
    LANE,
    UNCLAIMED,
    Fate,
    Next,
    next_after_free,
)
from rwsplit.protocol import codes
from rwsplit.protocol.backend import error_response
from rwsplit.protocol.responses import (
    Event,
    Owed,
    What,
    is_fatal,
    is_stale_plan,
    ran_nothing,
    sqlstate,
)
from rwsplit.relay import lanes, tidying
from rwsplit.relay.client import Client
from rwsplit.relay.resetting import Cleaning
from rwsplit.relay.restoration import Restoration
from rwsplit.relay.trials import is_wanted
from rwsplit.routing.route import RouteReason
from rwsplit.server.pool import Pool
from rwsplit.server.server import Server
from rwsplit.session.autocommit import HINT, REFUSAL
from rwsplit.session.boundaries import ends_one
from rwsplit.session.parameters import NONE
from rwsplit.session.pinning import leaves_state
from rwsplit.session.teaching import unlearn
from rwsplit.session.unit import EXTENDED, Unit
from rwsplit.sql.script import Script
from rwsplit.sql.statement import TRANSACTION_CONTROL

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

_log = structlog.get_logger("rwsplit.relay")

#: Events of one read that are not worth counting as work.
FEW_EVENTS: Final = 4


class Replies:
    """Turns what servers send into answers, and keeps both sides' books."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def received(self, server: Server, data: bytes, now: float) -> None:  # noqa: C901, PLR0912, PLR0915 - one branch an event
        """Sort what *server* sent at *now*."""
        relay = self._relay
        waits = server.responses.owed
        owed = waits[0] if waits else None
        try:
            if len(waits) == 1 and owed.guarded:  # type: ignore[union-attr]  # there is one
                assert isinstance(owed, Unit)  # nothing else is guarded
                if relay.plain.answered(server, owed, data, now):
                    return
            events = server.responses.receive(data)
            if events and events[-1][0] in _ENDS:
                self._will_end(server, events[-1])
            if len(events) > FEW_EVENTS:
                relay.effort.words += len(events)
            goes_on: Client | None = None
            for what, owed, value in events:
                if what is _DONE:
                    if isinstance(owed, Unit) and owed.is_open:
                        self._ended_early(server, owed)
                        return
                    self._done(server, owed, value, now)  # type: ignore[arg-type]
                elif what is What.PARTIAL:
                    client = _client_of(owed) if isinstance(owed, Unit) else None
                    if client is not None:
                        relay.moments.told(client, server, owed, now)  # type: ignore[arg-type]  # it is a Unit
                        relay.outboxes.touch_client(client)
                        if client.pending and owed.is_open:  # type: ignore[union-attr]  # it is a Unit
                            goes_on = (
                                client  # once: its statements are looked through each time
                            )
                elif what is What.FAILED:
                    assert isinstance(value, bytes)
                    self._failed(server, owed, value, now)
                elif what is What.COPY_IN:
                    self._copy_in(server, owed, now)
                elif what is What.ASYNC:
                    reader = server.holder if owed is None else getattr(owed, "client", None)
                    if owed is None and not server.is_replica:
                        relay.last_write = now  # a notification tells of a commit
                    if reader is not None:
                        relay.outboxes.touch_client(reader)  # type: ignore[arg-type]  # all are Clients
                else:
                    message = value if what is What.FATAL else None
                    relay.lose_server(server, message)  # type: ignore[arg-type]  # it is bytes
                    return
                if server.lease == CLOSED:
                    return
            if goes_on is not None and goes_on.pending and not goes_on.closed:
                relay.dispatcher.pump(goes_on)
            # Only now: while events are worked off, what is owed may be empty before its last event.
            if not server.responses.owed and server.holder is None and server.lease != IDLE:
                if server.lease == LANE:
                    lanes.close_lane(server)
                self.settle(server)
        except Exception as failure:  # noqa: BLE001 - one session's failure must not end the others
            relay.faults.in_answers(server, owed, failure)

    def _ended_early(self, server: Server, unit: Unit) -> None:
        """Do without *server*, which has ended *unit* before its Sync: nobody would know what its next answer is to."""
        error = "a ReadyForQuery came before the Sync"
        _log.warning("server_violation", server=repr(server), error=error)
        server.responses.owed.appendleft(unit)
        self._relay.lose_server(server, None)

    def _will_end(self, server: Server, event: Event) -> None:
        """Note that *event*, behind others, is the last of *server*: what comes in front of it frees it for nobody."""
        what, _, value = event
        assert isinstance(value, bytes)
        if what is What.VIOLATION:
            _log.warning("server_violation", server=repr(server), error=value.decode())
            self._relay.loss.report(server, None)
        else:
            self._relay.loss.report(server, value)
        server.expire(Fate.LOST)

    # One method an event...

    def _done(self, server: Server, owed: Owed, status: int, now: float) -> None:  # noqa: C901, PLR0912, PLR0915 - the end of every statement
        server.tx = status
        if not isinstance(owed, Unit):
            self._chore_done(server, owed)
            return
        relay = self._relay
        counters = relay.counters
        index = owed.node
        counters.load[index] -= 1
        client = _client_of(owed)
        if client is None:
            relay.moments.lost(server, owed)
            return
        client.in_flight -= 1
        if owed.guarded and not (
            owed.failed
            or owed.error
            or owed.renaming is not None
            or owed.lessons
            or client.in_flight
            or client.pending
            or status != _IDLE
            or client.tx != _IDLE
            or client.transaction is not None
            or client.is_mid_frame
        ):
            relay.plain.note(client, server, owed, now)
            self.leave(server)
            return
        if owed.error is not None:
            if relay.healing.heals(client, server, owed):
                return
            owed.deliver()  # nobody can do better
        counters.statements[index] += 1
        server.pool.answered += 1
        client.statements += 1
        if not client.dirty:
            client.dirty = True
            relay.outboxes.clients.append(client)
        self._remember(client, server, owed, status, now)
        settling = client.settling
        if settling is not None and isinstance(settling, Restoration) and settling.unit is owed:
            relay.sender.restore(client, server, settling)
        in_doubt = client.doubts or client.is_unsure or client.opaque
        if in_doubt and status == codes.IDLE and client.is_idle:
            if client.doubts:
                client.knowledge.settle(client.database, client.doubts, now)
            if not client.journal.touched:
                client.be_sure()
        if server.copying and not client.in_flight:
            server.copying = 0
        if status != _IDLE and client.mode is PoolMode.STATEMENT:
            relay.fail_client(client, error_response("FATAL", "0A000", REFUSAL, hint=HINT))
            return
        if (
            client.in_flight
            or status != codes.IDLE
            or owed.is_open
            or relay.readback.keeps(client, server)
        ):
            if client.pending:
                relay.dispatcher.pump(client)
            return
        if client.is_mid_frame and server.lease != LANE:
            server.expire(
                Fate.HALF_A_FRAME
            )  # it got half a frame, and nobody will send the rest
        self.release(client, server)
        if client.pending:
            relay.dispatcher.pump(client)
        elif client.paused:
            relay.outboxes.resume_when_sent(client)

    def _remember(
        self, client: Client, server: Server, unit: Unit, status: int, now: float
    ) -> None:
        """Note what the session has written and read, for its later reads."""
        relay = self._relay
        script = unit.script
        route = unit.route
        assert script is not None
        if unit.renaming is not None or unit.failed or unit.lessons:
            self._relay.trials.settle(client, server, unit)
            self._settle_names(server, unit)
            if unit.failed and unit.is_untold:
                client.skipped = unit
        relay.moments.done(client, server, unit, status, now)
        if status != codes.IDLE and (client.tx == codes.IDLE or _begins_anew(unit, script)):
            client.begun = max(unit.sent, server.last_done)
        client.tx = status
        controls = script.controls_transaction and _only_controls(script)
        if route is not None and unit.executes and not controls:
            client.last = (server.pool.node, route)
        relay.late.note(client, unit, script, status)
        self._note_read(client, server, unit, now)
        server.last_done = now
        if unit.discards and not unit.failed and status == codes.IDLE:
            self._discarded(client, server, unit)

    def _settle_names(self, server: Server, unit: Unit) -> None:
        unit.settle_names()
        if unit.litter:  # it was open, so nothing could be said behind it
            tidying.close(self._relay, server, unit.litter)

    def _discarded(self, client: Client, server: Server, unit: Unit) -> None:
        """Forget what a DISCARD ALL has put an end to."""
        client.discard_settings()
        if client.in_flight:
            return  # what is behind it relies on the pin
        client.unpin()
        if client.pin is None:
            server.responses.owner = None
            server.wiped()
        client.journal.forget()
        client.adopt_parameters(client.journal.base)
        # An open unit cannot be followed by what brings them back.
        server.parameters = NONE if unit.planned else client.parameters

    def _note_read(self, client: Client, server: Server, unit: Unit, now: float) -> None:
        """Count a read that was answered; a session that reads is led back to the replicas, and from one to another."""
        relay = self._relay
        script, route = unit.script, unit.route
        assert script is not None
        if unit.guarded and not script.controls_transaction:
            relay.note_read(client, unit.node)
            if relay.config.pool.lane_depth and not unit.failed:
                lanes.observe(script.cost, now - max(unit.sent, server.last_done), unit.size)
        elif server.is_replica:  # in a transaction
            relay.note_read(client, unit.node)
        elif route is not None and route.reason is RouteReason.NO_FRESH_REPLICA:
            relay.note_read(client, unit.node)  # it began a transaction on the primary

    def _failed(  # noqa: C901 - one branch a kind
        self, server: Server, owed: Owed | None, error: bytes, now: float
    ) -> None:
        """An ErrorResponse came: take back what the server was not taught after all."""
        relay = self._relay
        if isinstance(owed, Chore):
            owed.failed_on(server, error)
            return
        if not isinstance(owed, Unit):
            return
        server.unnamed = None
        server.copying = min(server.copying, 0)
        client = _client_of(owed)
        unlearn(server, owed.lessons, owed.done)
        if owed.piece.drops:
            server.unsure = True  # its DEALLOCATE may have been skipped
        if owed.script is not None and owed.script.vacates is not None:
            relay.sender.vacated_in_vain(owed.script.vacates)
        if sqlstate(error) == b"26000":
            tidying.forget_missing(relay, server, owed, error)
        if is_stale_plan(error):
            relay.trials.forget_stale(client, server, owed)
        if client is None:
            return
        relay.moments.told(client, server, owed, now)
        relay.late.refused(client, error)
        relay.healing.failed_again(server, owed, error)
        alone = client.in_flight == 1  # nothing behind it can have relied on the pin
        if owed.with_pin and alone and not _leaves_state(owed, error):
            # The server stays soiled all the same: it is wiped before anyone else comes.
            client.unpin()
            server.responses.owner = None
        elif owed.with_pin:
            client.doubt_pin()
        if owed.error is None:
            relay.outboxes.touch_client(client)
            server.farewell = is_fatal(error)
        if owed.is_open and client.pending:
            relay.dispatcher.pump(client)

    def _copy_in(self, server: Server, owed: Owed | None, now: float) -> None:
        """COPY FROM through the extended protocol: a Sync sent before the data is ignored.

        (PostgreSQL manual, "COPY Operations": Flush and Sync are ignored in copy-in mode.) So the unit's
        ReadyForQuery will answer the Sync that follows the data.
        """
        if not isinstance(owed, Unit):
            return
        client = _client_of(owed)
        if client is None:
            self._relay.lose_server(server, None)  # nobody will send the data
            return
        self._relay.moments.told(client, server, owed, now)
        self._relay.outboxes.touch_client(client)
        server.copying += 1
        if owed.kind is EXTENDED and not (owed.is_open or owed.copy_ended):
            self._sync_lost(client, server, owed)
        if client.pending:
            self._relay.dispatcher.pump(client)

    def _sync_lost(self, client: Client, server: Server, unit: Unit) -> None:
        """The end of *unit* was ignored, so it ends with the session's next Sync."""
        owed = server.responses.owed
        if len(owed) > 1 and isinstance(owed[1], Unit) and owed[1].session is client:
            merged = owed[1]
            del owed[1]
            client.in_flight -= 1
            self._relay.counters.load[merged.node] -= 1
            if merged.is_open:
                unit.is_open = True
        else:
            client.sync_lost = True

    # Servers that are free...

    def release(self, client: Client, server: Server) -> None:
        """Give back the server *client* had, which its units need no more."""
        client.server = None
        self.leave(server)

    def leave(self, server: Server) -> None:
        """Take *server* from its session; a lane stays with the others."""
        server.leave()
        if server.lease == UNCLAIMED:
            self.settle(server)

    def settle(self, server: Server) -> None:  # noqa: C901 - one line a need
        """Give a server that is nobody's to the next session, clean, once it owes nothing."""
        if server.lease == CLOSED or server.responses.owed:
            return
        if server.lease == COOLING:
            if server.cancels:
                return
            server.cooled()
        relay, pool = self._relay, server.pool
        match next_after_free(server, has_too_many=pool.has_too_many):
            case Next.CLOSE:
                relay.close_server(server)
            case Next.TIDY:
                tidying.tell(relay, server)
            case Next.ROLL_BACK:
                self._clean(server, ROLLBACK, Cleaning(relay))
                server.roll_back()
            case Next.RESET:
                reset = relay.reset.for_server(server)
                self._clean(server, reset.frame, Cleaning(relay, reset))
                server.reset()
            case Next.COOL:
                server.cool()
            case Next.HAND_ON if pool.waiters:
                self._hand_on(server, pool)
            case Next.HAND_ON:
                pool.release(server, relay.now)

    def _hand_on(self, server: Server, pool: Pool[Server]) -> None:
        """Give *server* to the session that has waited longest."""
        waiter: Client = pool.waiters[0]  # type: ignore[assignment]  # all are Clients
        self._relay.rebasing.catch_up(waiter)
        server.take(waiter)
        if waiter.wait is not None and waiter.wait.shares:
            lanes.open_lane(pool, server)
        self._relay.dispatcher.start(waiter, server)
        if server.lease == LANE:
            self._fill(pool, server)

    def _fill(self, pool: Pool[Server], lane: Server) -> None:
        """Let the waiters behind the first share the lane that was opened for it."""
        depth = self._relay.config.pool.lane_depth
        while pool.waiters and lane.lease == LANE and len(lane.responses.owed) < depth:
            waiter: Client = pool.waiters[0]  # type: ignore[assignment]
            self._relay.rebasing.catch_up(waiter)
            assert waiter.wait is not None
            if not waiter.wait.shares or waiter.parameters is not lane.parameters:
                return
            if is_wanted(lane, waiter.pending[0]):  # type: ignore[arg-type]  # it waits with a Unit
                return
            self._relay.counters.shared += 1
            self._relay.dispatcher.start(waiter, lane)

    def _clean(self, server: Server, query: bytes, cleaning: Cleaning) -> None:
        server.unnamed = None
        server.out.append(query)
        server.owe(cleaning)
        self._relay.outboxes.touch_server(server)

    def _chore_done(self, server: Server, owed: Owed) -> None:
        assert isinstance(owed, Chore)
        owed.answered_by(server)
        if owed.cancels is not None:
            self._relay.canceller.chore_done(server, owed.cancels)


def _client_of(unit: Unit) -> Client | None:
    """Return whose *unit* is; None if that client is gone, even if only since the bytes came that are worked off now."""
    client: Client | None = unit.session  # type: ignore[assignment]  # the relay's are all Clients
    return None if client is None or client.closed else client


def _leaves_state(unit: Unit, error: bytes) -> bool:
    """Return whether *unit*, which failed with *error*, may have left session state all the same."""
    single = unit.script is not None and unit.script.single is not None
    return leaves_state(unit.script, sqlstate(error)) and not (single and ran_nothing(error))


def _only_controls(script: Script) -> bool:
    """Return whether *script* begins, ends or marks a transaction and does nothing else: `last_route` does not tell of it."""
    return all(statement.verb in TRANSACTION_CONTROL for statement in script.statements)


def _begins_anew(unit: Unit, script: Script) -> bool:
    """Return whether *unit*, behind which a transaction is open, has ended the one before: AND CHAIN, or `COMMIT; BEGIN`."""
    return (
        script.controls_transaction
        and not unit.failed
        and any(map(ends_one, script.statements))
    )


_DONE: Final = What.DONE
#: Events that nothing follows.
_ENDS: Final = (What.FATAL, What.VIOLATION)
_IDLE: Final = codes.IDLE
