"""Sending: put the bytes of a unit into a server's outbox, behind what the server must know for it.

Parameters and prepared statements the server lacks go ahead in the same write; what it knows is recorded as the
bytes are queued, so that the next unit behind them can rely on it. What the statements will do to the session
and the server - pins, parameters gone, statements forgotten - is recorded here too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sized
from typing import TYPE_CHECKING, Final

from rwsplit.config.choices import PoolMode
from rwsplit.exchange.chores import DEALLOCATE_ALL, Chore, Purpose, query
from rwsplit.exchange.lease import HELD, IDLE, LANE, Fate
from rwsplit.protocol import codes
from rwsplit.protocol.framing import frame
from rwsplit.relay import sequences, tidying
from rwsplit.relay.bringing import Ahead
from rwsplit.relay.client import Client
from rwsplit.relay.restoration import Restoration
from rwsplit.relay.slices import LESSON, LOOKS
from rwsplit.routing.route import RouteReason
from rwsplit.server.server import Server
from rwsplit.session import restoring
from rwsplit.session.chunk import ENDS, Chunk, ChunkKind
from rwsplit.session.piece import Piece
from rwsplit.session.pinning import (
    SURE,
    PinReason,
    forgets_prepared,
    leaves_seed,
    pin_reason,
)
from rwsplit.session.prepared import SYNC, Prepared
from rwsplit.session.stand_ins import Effects
from rwsplit.session.teaching import Lesson, compose, unlearn
from rwsplit.session.transaction import Transaction
from rwsplit.session.unit import SIMPLE, Unit
from rwsplit.sql.script import Script

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay


#: Seconds in which the servers of a database are not closed once more after they were in vain; PostgreSQL waits as long for others to leave.
VACATES: Final = 5.0


class Sender:
    """Queues units on servers."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._in_vain: dict[str, float] = {}
        """When servers were closed for a statement about their database that failed."""

    def send(  # noqa: C901, PLR0912, PLR0915 - one branch a need
        self, client: Client, server: Server, unit: Unit
    ) -> None:
        """Queue the bytes of *unit* on *server*, behind what the server must know for it."""
        relay = self._relay
        script = unit.script
        piece = unit.piece
        assert script is not None
        if server.litter:
            tidying.tell(relay, server)
        # Ahead of a BEGIN: it takes a snapshot, and SET TRANSACTION must come before any.
        if (
            script.uses_sequences
            or script.cost.writes
            or (script.controls_transaction and client.tx == codes.IDLE)
            or unit.is_open
        ) and (not server.is_replica and sequences.may_meet(client, server)):
            relay.sequences.part(client, server, unit, script)
        if client.server is not server:
            self._take(client, server, unit)
        if script.signals:
            piece = relay.signaller.carry_out(client, unit)
        restores = script.notable and not self._restores_itself(client, unit)
        if (
            piece.plan is None
            and not piece.needs
            and piece.unnamed is None
            and not unit.is_open
            and not script.lists_prepared
        ):
            server.out.extend(piece.parts)  # type: ignore[arg-type]  # no plan: all are bytes
        else:
            self._compose(client, server, unit, piece)
        if unit.kind is SIMPLE:
            server.unnamed = None
        elif piece.unnamed_parse is not None:
            server.unnamed = piece.unnamed_parse
        unit.node = index = server.pool.node_index
        # What reads nothing may bring its session to the primary; it need not stay there for its reads.
        stays = server.is_replica or script.reads_data or unit.follows or unit.is_open
        unit.relied_on = stays and relay.choice.keeps_level(client, server, script)
        unit.sent = relay.now
        counters = relay.counters
        counters.load[index] += 1
        if unit.route is not None:
            counters.reasons[unit.route.reason.number] += 1
        server.responses.owed.append(unit)
        client.in_flight += 1
        if script.notable:
            self._note_state(client, server, unit, script)
            if not (restores and self._restore_later(client, unit)):
                relay.readback.ask_behind(client, server, unit, script)
        if piece.litter is not None and not unit.is_open:  # a Sync of ours would end it
            server.out.append(frame(codes.CLOSE, b"S" + piece.litter + b"\0") + SYNC)
            server.owe(Chore(Purpose.TIDY))
        if not server.dirty:
            server.dirty = True
            relay.outboxes.servers.append(server)

    def _take(self, client: Client, server: Server, unit: Unit) -> None:
        """Make *server* the session's own, as *unit* must find it."""
        client.server = server
        if client.mode is PoolMode.SESSION:
            _keep(client, server)
        if server.parameters is not client.parameters:
            self.bring_parameters(client, server)
        if client.transaction is not None:
            self._relay.late.begin_on(client, server, unit)

    def _make_sure(self, client: Client, server: Server, unit: Unit, piece: Piece) -> None:
        """Have *server*, if it may have statements nobody knows of, drop them all before they are listed."""
        if piece.script is None or not (piece.script.lists_prepared and server.unsure):
            return
        if client.tx != codes.FAILED and not client.names.in_sql and not unit.planned:
            server.out.append(DEALLOCATE_ALL)
            server.owe(Chore(Purpose.TIDY))
            server.known.clear()
            server.unnamed = None

    def _listed(self, client: Client, piece: Piece) -> dict[Prepared, None] | None:
        """Return the statements the session has when *piece* runs, if that asks for them."""
        if piece.script is None or not piece.script.lists_prepared:
            return None
        pieces = [item.piece if isinstance(item, Unit) else item for item in client.pending]
        later = {prepared for each in (piece, *pieces) for _, prepared in each.taught}
        listed = [p for name, p in client.names.items() if name and p not in later]
        return dict.fromkeys(listed)

    def _compose(self, client: Client, server: Server, unit: Unit, piece: Piece) -> None:
        limit = self._relay.config.limits.max_prepared_statements
        self._make_sure(client, server, unit, piece)
        forgets = piece.script is not None and forgets_prepared(piece.script)
        if forgets:
            server.forget()  # what follows within the piece cannot rely on anything
        if server.lease == LANE:
            server.unnamed = None  # it hangs on units of strangers, which may still fail
        age = client.knowledge.age(client.database)
        listed = self._listed(client, piece)
        lessons: list[Lesson] = []
        if unit.kind is SIMPLE:
            # Were the Parse to fail in front of a Query, the server would skip the Query: it is a unit by itself.
            if listed is not None or any(p not in server.known for p in piece.needs):
                chore: Chore[Server, Client] = Chore(Purpose.TEACH)
                chore.steps = compose(
                    server,
                    [SYNC],
                    piece.needs,
                    None,
                    chore.lessons,
                    unnamed=None,
                    limit=limit,
                    age=age,
                    listed=listed,
                )
                server.owe(chore)
                self._count(client, chore.lessons, listed)
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
                first=unit.planned,
                may_omit=not (
                    unit.is_open or unit.planned or client.tx == codes.FAILED or forgets
                ),
                age=age,
                listed=listed,
            )
            self._count(client, lessons, listed)
        if unit.planned or unit.is_open:
            if piece.litter is not None:
                unit.leave_litter(piece.litter)
            unit.planned += len(steps or ())
            if unit.failed:  # the server skips it all, up to the Sync
                unlearn(server, lessons, 0)
                server.unnamed = None
                return
            if unit.steps is None:
                unit.steps = deque()
            unit.steps.extend(steps or ())
            unit.learn(lessons)
        else:
            unit.steps = steps
            unit.lessons = lessons
        for dropped in piece.drops:
            server.known.pop(dropped, None)

    def _count(self, client: Client, lessons: Sized, listed: Sized | None) -> None:
        """Count what it took to look at the statements *listed* and to teach a server so many *lessons*."""
        seen = 0 if listed is None else len(listed) // LOOKS
        if lessons or seen:
            self._relay.slices.spend(client, LESSON * len(lessons) + seen)

    def bring_parameters(self, client: Client, server: Server, *, tells: bool = False) -> None:
        """Have *server* take on the parameters of *client*, which *tells* has informed of those PostgreSQL reports."""
        assert server.parameters is not None
        if server.parameters is client.parameters:
            return
        change = client.parameters.change_from(server.parameters)
        self._relay.slices.spend(client, len(change) >> 7)
        server.out.append(change)
        server.parameters = client.parameters
        server.unnamed = None
        if client.parameters.idle_session:
            server.soil()  # idle in a pool it would end under the next one's feet
        ahead = Ahead(self._relay.bringing, client)
        if tells:
            ahead.reports = client.sink
        server.owe(ahead)
        self._relay.outboxes.touch_server(server)

    def _note_state(  # noqa: C901 - one branch a kind of state
        self, client: Client, server: Server, unit: Unit, script: Script
    ) -> None:
        """Record what the statements queued will do to the server and the session."""
        if leaves_seed(script):
            server.expire(Fate.SEEDED)
        reason = pin_reason(script)
        if reason is not None and client.would_pin(reason):
            server.soil()
            # State on a replica could never be used by what must go to the primary.
            if not server.is_replica:
                unit.with_pin = client.pin is None
                self._relay.pins.note(client, unit, script, reason)
                client.pin_for(reason)
                server.responses.owner = client.sink
        if script.ends_state or (reason is not None and not _is_sure(client, unit, reason)):
            client.doubt_pin()
        if script.changes_parameters:
            self._relay.slices.spend(client, len(client.parameters.values) >> 3)
            if client.journal.note(script, client.parameters):
                server.parameters = None
        if unit.waiting_for or unit.is_open:
            client.note_definitions(script)
        if script.vacates is not None:
            self._vacate(script.vacates)
        if forgets_prepared(script):
            server.forget()
        if unit.route is not None and server.is_replica:
            if unit.route.reason is RouteReason.READ_ONLY_TRANSACTION:
                client.transaction = Transaction.read_only(unit, client.isolation)
                unit.guarded = not unit.row_limit
            elif unit.route.reason is RouteReason.LATE_TRANSACTION:
                client.transaction = Transaction.may_write(script.statements[0])
                unit.guarded = True

    def _vacate(self, database: str) -> None:
        """Close the servers kept for *database*: PostgreSQL waits some seconds for others to leave it.

        Not so soon after that was in vain: who may not drop it may say so as often as it likes.
        """
        if self._relay.now - self._in_vain.get(database, -VACATES) < VACATES:
            return
        for pool in self._relay.pools:
            if pool.database == database:
                for server in list(pool.servers):
                    if server.lease == IDLE:
                        self._relay.close_server(server)
                    elif server.lease not in (HELD, LANE):
                        server.expire(Fate.DATABASE_GOES)

    def vacated_in_vain(self, database: str) -> None:
        """Take note that the statement has failed for which servers of *database* were closed."""
        now = self._relay.now
        if now - self._in_vain.get(database, -VACATES) >= VACATES and any(
            pool.database == database for pool in self._relay.pools
        ):
            self._in_vain[database] = now

    def _restores_itself(self, client: Client, unit: Unit) -> bool:
        """Return whether nothing must follow *unit* that brings back what it resets."""
        base = client.journal.base
        if not base.values:
            return True
        return not unit.is_open and client.tx != codes.FAILED and restoring.extend(unit, base)

    def _restore_later(self, client: Client, unit: Unit) -> bool:
        """Have what the session asked for at startup brought back behind *unit*, unless that fails; return whether."""
        names, kept = restoring.restored_names(unit), restoring.kept_names(unit)
        restored = client.journal.base.restored(names, kept, unless_set=True)
        if restored is None:
            return False
        client.settling = Restoration(client, unit, query(restored))
        return True

    def restore(self, client: Client, server: Server, restoration: Restoration) -> None:
        """Bring back what the unit that is through has reset, if it has."""
        client.settling = None
        unit = restoration.unit
        if unit.failed and unit.script is not None and not unit.script.controls_transaction:
            return  # the reset is undone
        if not client.journal.touched:
            server.parameters = client.parameters  # a DISCARD ALL is seen to have run
        server.out.append(restoration.query)
        server.unnamed = None
        server.owe(restoration)
        self._relay.outboxes.touch_server(server)

    def go_on(self, client: Client, server: Server, unit: Unit, chunk: Chunk) -> None:
        """Queue *chunk*, which continues the open *unit*, on its *server*."""
        script = chunk.script
        assert script is not None
        by_query = chunk.kind is ChunkKind.QUERY
        if chunk.plan is None and by_query and not chunk.needs:
            server.out.extend(part for part in chunk.parts if isinstance(part, bytes))
            server.unnamed = None
        else:
            self._compose(client, server, unit, chunk)
            if by_query:
                server.unnamed = None
            elif chunk.unnamed_parse is not None and not unit.failed:
                server.unnamed = chunk.unnamed_parse
        if chunk.needs or chunk.taught:
            unit.piece.add(chunk)
        self._note_chunk(client, server, unit, chunk, script)
        if chunk.kind in ENDS:
            unit.is_open = False
            if by_query:
                unit.kind = SIMPLE
        self._relay.outboxes.touch_server(server)

    def _note_chunk(
        self, client: Client, server: Server, unit: Unit, chunk: Chunk, script: Script
    ) -> None:
        """Record what *chunk* adds to what its *unit* does."""
        unit.continued = unit.continued or bool(script.statements)
        if script.may_write:
            client.wrote = True
        if script.reads_sequences:
            self._relay.sequences.asked(client)
        if script.notable:
            self._note_state(client, server, unit, script)
        if chunk.effects is not None:
            unit.add_effects(chunk.effects)
        # The whole unit decides, so this is looked up once.
        added = chunk.kind in ENDS and isinstance(unit.piece.effects, Effects)
        if added and not self._restores_itself(client, unit):
            self._restore_later(client, unit)


def _keep(client: Client, server: Server) -> None:
    """Have a session in session mode keep *server* until it ends."""
    client.pin_for_good()
    server.soil()
    server.responses.owner = client.sink


def _is_sure(client: Client, unit: Unit, reason: PinReason) -> bool:
    """Return whether *unit* leaves what *reason* says unless it fails."""
    return (
        reason in SURE
        and client.tx == codes.IDLE
        and client.in_flight == 1
        and unit.kind is SIMPLE
        and unit.script is not None
        and unit.script.single is not None
    )
