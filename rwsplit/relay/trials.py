"""Trials: a statement parsed behind its client's back must return what the client was told.

A client that binds a statement without describing it again decodes rows as it was told before (pgjdbc, asyncpg). On the server where
the statement was parsed PostgreSQL sees to that: if DDL or another search path has changed the result, it answers 0A000, "cached
plan must not change result type". On a server that never had the statement rwsplit must. So there it is parsed and described first,
with the types of parameters the client was told, and the unit waits for the answer: it might write. If the result differs, the unit is sent
with a statement in its place that no server has. That fails where it would have been bound, for the transaction, too, and the error is
reworded. Where a replica may only be late, the primary is tried next.

A server is tried once for each statement. A unit that describes its portal need not wait: its client is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rwsplit.exchange.chores import Chore, Purpose
from rwsplit.exchange.healing import NOT_REPLAYED
from rwsplit.exchange.lease import LANE
from rwsplit.protocol import codes
from rwsplit.protocol.backend import error_response
from rwsplit.protocol.responses import Step, sqlstate
from rwsplit.relay import lanes, skipping, tidying
from rwsplit.relay.client import Client
from rwsplit.server.server import Server
from rwsplit.session.chunk import Chunk
from rwsplit.session.exchanging import refuse
from rwsplit.session.piece import Piece
from rwsplit.session.prepared import SYNC, Prepared
from rwsplit.session.teaching import Lesson, compose
from rwsplit.session.unit import Unit

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay


class Trial(Chore[Server, Client]):
    """The answers to the Parse and Describe of what *unit*, which waits, uses; *then* sends it."""

    __slots__ = ("is_held", "refusal", "then", "trials", "unit")

    def __init__(
        self,
        trials: Trials,
        client: Client,
        unit: Unit,
        then: Callable[[], None] | None,
        *,
        is_held: bool,
    ) -> None:
        super().__init__(Purpose.TRIAL, client)
        self.trials = trials
        self.unit = unit
        self.then = then
        """None: the unit is the first that is pending."""
        self.is_held = is_held
        """The session had the server before."""
        self.refusal = b""
        """The error it failed with."""

    def refused_by(self, server: Server, error: bytes) -> None:
        """Keep what *server* says: it is the answer to the unit, or the unit's own concern."""
        server.unnamed = None
        self.refusal = error

    def answered_by(self, server: Server) -> None:
        """Go on with the unit that waits."""
        self.trials.answered(server, self)


class Trials:
    """Tries statements on servers."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def starts(
        self, client: Client, server: Server, unit: Unit, then: Callable[[], None] | None = None
    ) -> bool:
        """Try on *server*, which is the session's or was just taken for *unit*, what that uses; False if it need not wait."""
        if not is_wanted(server, unit) or client.tx == codes.FAILED:
            return False
        relay = self._relay
        if server.lease == LANE:
            lanes.close_lane(server)
            server.take(client)
        is_held = client.server is server
        if not is_held:
            relay.sender.bring_parameters(client, server)
            client.server = server
        tidying.tell(relay, server)
        trial = Trial(self, client, unit, then, is_held=is_held)
        trial.steps = self._compose(client, server, unit.piece, SYNC, trial.lessons)
        server.owe(trial)
        unit.sent = relay.now
        client.settling = trial
        relay.outboxes.touch_server(server)
        return True

    def _compose(
        self,
        client: Client,
        server: Server,
        piece: Piece,
        end: bytes,
        lessons: list[Lesson],
        first: int = 0,
    ) -> deque[Step]:
        """Queue what teaches *server* the statements that *piece* uses, and *end*; return the steps of the answers."""
        steps = compose(
            server,
            [end],
            piece.needs,
            None,
            lessons,
            unnamed=piece.unnamed,
            limit=self._relay.config.limits.max_prepared_statements,
            first=first,
            age=client.knowledge.age(client.database),
        )
        assert steps is not None  # something was lacking
        return steps

    def answered(self, server: Server, trial: Trial) -> None:
        """Go on now that it is known what the statements return."""
        client = trial.client
        assert client is not None
        changed = [lesson.prepared for lesson in trial.lessons if lesson.differs]
        self._close(server, changed)
        if client.settling is not trial:
            return  # the session is gone
        client.settling = None
        unit = trial.unit
        if trial.refusal:
            if self._is_cancelled(client, server, trial):
                return
            if client.tx != codes.IDLE:
                unit.refusal = trial.refusal  # its transaction has failed, of this
        if changed and server.is_replica and not trial.is_held and trial.then is None:
            self._elsewhere(client, server, unit)
            return
        for prepared in changed:
            client.scope.prepared.retire(prepared)
            refuse(unit.piece, prepared)
        if not trial.is_held:
            client.server = None  # to be taken by what is sent
        if trial.then is not None:
            trial.then()
        else:
            client.pending.popleft()
            client.pending_bytes = max(0, client.pending_bytes - unit.size_in)
            self._relay.sender.send(client, server, unit)
        if client.pending or client.paused:
            self._relay.dispatcher.pump(client)

    def _is_cancelled(self, client: Client, server: Server, trial: Trial) -> bool:
        """Answer the unit outside a transaction that waits for *trial* if that was cancelled in its place."""
        unit = trial.unit
        is_meant = trial.cancels is client or unit.cancelled is not None
        if client.tx != codes.IDLE or trial.then or not is_meant:
            return False
        if sqlstate(trial.refusal) != b"57014":
            return False
        trial.cancels = None
        relay = self._relay
        if client.pin is None:
            relay.replies.release(client, server)
        client.pending.popleft()
        client.pending_bytes = max(0, client.pending_bytes - unit.size_in)
        error = unit.reword(trial.refusal)
        relay.own_answers.answer(client, unit, error, error)
        if not client.closed:
            relay.dispatcher.pump(client)
        return True

    def _elsewhere(self, client: Client, server: Server, unit: Unit) -> None:
        """Have the primary say whether the result of a statement has changed: a replica may only be late."""
        relay = self._relay
        relay.replies.release(client, server)
        unit.refused_by |= 1 << server.pool.node_index
        unit.restart()
        unit.route = NOT_REPLAYED
        relay.counters.retries += 1
        relay.dispatcher.pump(client)

    def may_be_lost(self, client: Client, units: list[Unit]) -> bool:
        """Return whether the unit of *client* that waits can look for another server, with none of *units* in flight."""
        trial = client.settling
        if not isinstance(trial, Trial) or units or trial.then is not None:
            return False
        if client.tx == codes.IDLE and client.pin is None:
            return True
        return self._relay.late.lost(client, units)

    def lost(self, client: Client, server: Server, units: list[Unit]) -> bool:
        """*server* is gone, with *units* of the session's: if it was being tried, the unit that waits looks for another; return whether."""
        trial = client.settling
        if not isinstance(trial, Trial) or units:
            return False
        client.settling = None
        if trial.then is not None:
            message = f"server closed the connection unexpectedly ({server.pool.node})"
            self._relay.fail_client(client, error_response("FATAL", "08006", message))
            return True
        if (client.tx != codes.IDLE or client.pin is not None) and not self._relay.late.lost(
            client, units
        ):
            return False
        trial.unit.refused_by |= self._relay.loss.blame(server, None)
        self._relay.dispatcher.pump(client)
        return True

    # Open units...

    def holds(self, client: Client, server: Server, unit: Unit, chunk: Chunk) -> bool:
        """Return whether *chunk*, which continues *unit*, must wait for what the statements it uses return on *server*."""
        if unit.failed:
            return False
        for prepared in _relied_on(chunk):
            lesson = unit.lesson_about(prepared)
            if lesson is not None and lesson.look.shape is None:
                skipping.is_undecided(server, unit)  # nobody may have asked for the answer
                self._relay.outboxes.touch_server(server)
                return True
            if _has(server, prepared, chunk):
                continue
            if lesson is None or not lesson.differs:
                self._ask(client, server, unit, chunk)
                return True
            refuse(chunk, prepared)
        return False

    def _ask(self, client: Client, server: Server, unit: Unit, chunk: Chunk) -> None:
        lessons: list[Lesson] = []
        steps = self._compose(client, server, chunk, skipping.FLUSH, lessons, unit.planned)
        unit.planned += len(steps)
        unit.flushed = unit.planned
        if unit.steps is None:
            unit.steps = steps
        else:
            unit.steps.extend(steps)
        unit.learn(lessons)
        self._relay.outboxes.touch_server(server)

    # Afterwards...

    def settle(self, client: Client, server: Server, unit: Unit) -> None:
        """Give statements that *unit* has parsed or described, and that turned out to be something else, another identity."""
        changed = [lesson for lesson in unit.lessons if lesson.differs]
        for lesson in changed:
            old, look = lesson.prepared, lesson.look
            assert look.shape is not None
            new = client.scope.prepared.fork(old, look.shape, lesson.age)
            if unit.renaming is not None:
                unit.renaming.exchange(old, new)
            if unit.describes:
                for name, called in unit.piece.called:
                    if called is old and client.names.get(name) is old:
                        client.names[name] = new
        self._close(server, [lesson.prepared for lesson in changed])

    def forget_stale(self, client: Client | None, server: Server, unit: Unit) -> None:
        """Have statements parsed anew of which *server* says that DDL has changed their result."""
        used = {*unit.piece.needs, *(prepared for _, prepared in unit.piece.taught)}
        self._close(server, [*used])
        if client is not None:
            for prepared in used:
                client.scope.prepared.retire(prepared)

    def _close(self, server: Server, statements: Sequence[Prepared]) -> None:
        for prepared in statements:
            server.known.pop(prepared, None)
            if server.unnamed is prepared:
                server.unnamed = None
        tidying.close(self._relay, server, [each.name for each in statements])


def is_wanted(server: Server, unit: Unit) -> bool:
    """Return whether *server* must be tried before *unit* may be sent to it."""
    piece = unit.piece
    if unit.describes or (not piece.needs and piece.unnamed is None):
        return False
    return not all(_has(server, each, piece) for each in _relied_on(piece))


def _relied_on(piece: Piece) -> list[Prepared]:
    """Return the statements *piece* uses without parsing them, as far as its client may rely on what it was told of them."""
    used = piece.needs if piece.unnamed is None else [*piece.needs, piece.unnamed]
    return [each for each in used if each.is_relied_on]


def _has(server: Server, prepared: Prepared, piece: Piece) -> bool:
    return server.unnamed is prepared if prepared is piece.unnamed else server.has(prepared)
