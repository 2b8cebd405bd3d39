"""Transaction: one that is not on the primary - on a replica, or nowhere yet - and how to begin it elsewhere.

The client sees one transaction. Behind it there may be none (it has begun and said nothing else), one on a
replica (it has only read), and then another on the primary (it does more than read):

    BEGIN ------> nowhere --read--> replica --anything else--> primary
                     |                 |                          |
                     +---anything else-+--------------------------+--> COMMIT, ROLLBACK

What is nowhere needs answers of rwsplit's own, exactly as PostgreSQL gives them (`answers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rwsplit.protocol import codes
from rwsplit.protocol.framing import HEADER_SIZE, frame
from rwsplit.routing.route import Route
from rwsplit.session.boundaries import (
    ENDS,
    READS,
    WITHOUT_SNAPSHOT,
    begin_frame,
    sets_modes,
    takes_snapshot,
)
from rwsplit.session.portals import closes_portal, keeps_portal
from rwsplit.session.prologue import (
    MOST_REPEATED,
    READ_COMMITTED,
    SAVEPOINTS,
    Prologue,
    is_prologue,
    is_savepoint,
    said_again,
)
from rwsplit.session.unit import SIMPLE, Unit
from rwsplit.sql.script import Cost, Script
from rwsplit.sql.statement import PrimaryOnly, Statement, Verb


class Transaction:
    """A transaction of one session that is on a replica or nowhere."""

    __slots__ = (
        "aborted",
        "begin",
        "begin_on_replica",
        "has_portal",
        "hinted",
        "inherited",
        "is_movable",
        "kept_by",
        "late",
        "modes",
        "prologue",
        "reads",
        "rooted",
        "snapshot",
        "tells_time",
    )

    def __init__(
        self,
        begin: Sequence[bytes],
        begin_on_replica: Sequence[bytes],
        *,
        late: bool,
        is_movable: bool,
        snapshot: bool,
    ) -> None:
        self.begin = begin
        """The frames that begin it on the primary, ending in one ReadyForQuery."""
        self.begin_on_replica = begin_on_replica
        """The same for a replica, where PostgreSQL refuses READ WRITE."""
        self.late = late
        """It may yet write: it moves as soon as it does anything but read. Else it is READ ONLY."""
        self.is_movable = is_movable
        self.snapshot = snapshot
        """All its statements see what the first one saw, so it stays where that was."""
        self.prologue = Prologue()
        self.modes: Sequence[Sequence[bytes]] = ()
        """The same of SET TRANSACTION, which AND CHAIN does not undo."""
        self.inherited: Sequence[Sequence[bytes]] | None = None
        """Those of them it has by AND CHAIN, like the modes of its BEGIN: not even a failure undoes them."""
        self.has_portal = False
        """The client began it by the extended protocol, which left a portal that can be described."""
        self.reads = 0
        """Units run in it so far that have taken a snapshot."""
        self.aborted = False
        """It has failed as a whole, which undoes the modes it has set itself: they are parameters."""
        self.rooted = False
        """It has a portal, or a savepoint that is not in *prologue*, which cannot be taken to another server."""
        self.kept_by: Cost | None = None
        """The shape of what it cannot go elsewhere for: it took its snapshot, or rooted it."""
        self.tells_time = False
        """It has said when it began, which elsewhere would be another moment."""
        self.hinted: Route | None = None
        """What a hint on its BEGIN asks for all its reads (max_lag, consistency)."""

    @property
    def is_free(self) -> bool:
        """It can go on elsewhere, and nobody can tell."""
        return not (self.is_kept or self.tells_time)

    @property
    def can_end_elsewhere(self) -> bool:
        """Having failed, it can be failed and ended elsewhere: it is free, or no savepoint would bring it back to life."""
        return self.is_free or (self.is_movable and not self.rooted and not self.prologue)

    @property
    def is_kept(self) -> bool:
        """It has what cannot be taken elsewhere, so that it ends where it is."""
        return not self.is_movable or self.rooted or (self.snapshot and self.reads > 0)

    @classmethod
    def read_only(cls, unit: Unit, isolation: str) -> Transaction:
        """Return the READ ONLY transaction that *unit*, sent to a replica, begins; *isolation* is the default."""
        assert unit.script is not None
        statements = unit.script.statements
        # Not as the client said it: what it may have prepared for that, another server does not have.
        begin = [begin_frame(statements[0], read_only=True)]
        made = cls(
            begin,
            begin,
            late=False,
            is_movable=all(statement.verb in READS for statement in statements[1:]),
            snapshot=(statements[0].isolation or isolation) not in READ_COMMITTED,
        )
        made.prologue.note(statements[1:])
        return made

    @classmethod
    def nowhere(cls, statement: Statement, unit: Unit, isolation: str) -> Transaction:
        """Return the transaction that *statement*, a BEGIN for which `is_late` holds, begins in *unit*, nowhere yet."""
        if not statement.read_only:
            return cls.may_write(statement, unit)
        made = cls.read_only(unit, isolation)
        made.has_portal = unit.kind is not SIMPLE and not closes_portal(unit)
        return made

    @classmethod
    def may_write(cls, statement: Statement, unit: Unit | None = None) -> Transaction:
        """Return the transaction that *statement*, a BEGIN for which `is_late` holds, begins.

        *unit*: what it was said by, if it begins nowhere.
        """
        made = cls(
            [begin_frame(statement, read_only=statement.read_only)],
            [begin_frame(statement, read_only=None)],
            late=True,
            is_movable=True,
            snapshot=False,
        )
        made.has_portal = (
            unit is not None and unit.kind is not SIMPLE and not closes_portal(unit)
        )
        return made

    @classmethod
    def begun_anew(cls, unit: Unit, isolation: str) -> Transaction | None:
        """Return the transaction on a replica that *unit* has left there after it ended the one before it.

        None if the last BEGIN of *unit*, which has not failed, stands behind no COMMIT or ROLLBACK: it began
        nothing. *isolation* is the session's default.
        """
        assert unit.script is not None
        statements = unit.script.statements
        last = max((at for at, s in enumerate(statements) if s.verb in ENDS), default=-1)
        if last < 0 or statements[last].chain:
            return None
        begins = [at for at, s in enumerate(statements) if at > last and s.verb is Verb.BEGIN]
        if not begins:
            return None
        begin, then = statements[begins[0]], statements[begins[0] + 1 :]
        made = cls(
            [begin_frame(begin, read_only=begin.read_only)],
            [begin_frame(begin, read_only=begin.read_only or None)],
            late=not begin.read_only,
            is_movable=all(statement.verb in READS for statement in then),
            snapshot=(begin.isolation or isolation) not in READ_COMMITTED,
        )
        made.reads = sum(s.verb not in WITHOUT_SNAPSHOT for s in then)
        made.tells_time = any(statement.tells_time for statement in then)
        made.prologue.note(then)
        made.rooted = keeps_portal(unit)
        if made.is_kept:
            made.kept_by = unit.script.cost
        return made

    def chained(self) -> Transaction:
        """Return the transaction that AND CHAIN begins in its place, on the same server."""
        if self.aborted and self.inherited is None:
            made = Transaction.may_write(_BEGIN)
        else:
            made = Transaction(
                self.begin,
                self.begin_on_replica,
                late=self.late,
                is_movable=True,
                snapshot=self.snapshot,
            )
            made.modes = (self.inherited or ()) if self.aborted else self.modes
            made.hinted = self.hinted
        made.inherited = made.modes
        return made

    def opening(self, *, on_replica: bool, portal: bool = False) -> list[Sequence[bytes]]:
        """Return the frames that begin it elsewhere, as it is by now; *portal*: with the portal it has, if any."""
        begin = self.begin_on_replica if on_replica else self.begin
        if portal and self.has_portal:
            # Not by the client's name for it, which another server does not know.
            text = begin[0][HEADER_SIZE:]
            begin = [frame(codes.PARSE, b"\0%s\0\0" % text), _BIND_AND_EXECUTE]
        if self.inherited is None or (begin == _PLAINLY and not self.inherited):
            return [begin, *self.modes, *self.prologue]
        own = self.modes[len(self.inherited) :]
        return [begin, *self.inherited, [_CHAIN], *own, *self.prologue]

    def stays(self, script: Script) -> bool:
        """Return whether *script* may run where the transaction has read so far: it only reads, or ends it.

        Not so if it says when the transaction began: after a move that would be another moment. Which node is to say
        what its role is, is the policy's business.
        """
        if script.single is not None and script.single.verb in ENDS:
            return True
        if script.primary_only not in _MAY_STAY or script.state is not None:
            return False
        if not self.late:
            if script.cost.precedes_state:
                return False
            if script.primary_only is not None and script.controls_transaction:
                return False  # it may ask behind a COMMIT
            return all(statement.verb is not Verb.BEGIN for statement in script.statements)
        return not (
            script.controls_transaction
            or script.needs_session
            or script.tells_time
            or script.cost.writes
        )

    def note_end(self, unit: Unit, script: Script, status: int) -> None:
        """Take note that *unit* has ended, and left it in *status*."""
        if not unit.failed and self.takes_along(unit, script):
            self._take_along(unit, script)
        else:
            statements = script.statements
            # Where it failed nobody knows; what comes last has not brought it further.
            self.prologue.note(statements[:-1] if unit.failed else statements)
        self.aborted = status == codes.FAILED and not self.prologue.has_savepoints

    def takes_along(self, unit: Unit, script: Script) -> bool:
        """Return whether *unit* can run where the transaction is, since it is said again where that goes."""
        statement = script.single
        if statement is None or not (statement.verb in _TAKEN_ALONG or statement.assigns):
            return False
        if not self.prologue.has_room or len(self.modes) >= MOST_REPEATED:
            return False
        if self.snapshot and statement.assigns:
            return False  # a SELECT takes the snapshot, where that must be fresh enough
        if self.late and self.prologue.has_savepoints and sets_modes(script):
            return False  # ROLLBACK TO undoes them, AND CHAIN does not
        return is_prologue(unit, script) or is_savepoint(unit, script)

    def _take_along(self, unit: Unit, script: Script) -> None:
        if not unit.executes:
            return
        if sets_modes(script):
            self.modes = [*self.modes, said_again(unit.piece)]
        else:
            assert script.single is not None
            self.prologue.add(unit, script.single)

    def note_read(self, unit: Unit, script: Script) -> None:
        """Take note that *unit* has run in it, on a replica."""
        was_kept = self.is_kept
        self.reads += takes_snapshot(script)
        self.rooted = self.rooted or keeps_portal(unit) or self.is_rooted_by(unit, script)
        self.tells_time = self.tells_time or script.tells_time
        if self.is_kept and not was_kept:
            self.kept_by = script.cost

    def is_rooted_by(self, unit: Unit, script: Script) -> bool:
        """Return whether *unit* has made a cursor, or has to do with savepoints in a way that cannot be said again."""
        if self.takes_along(unit, script):
            return False
        if unit.failed:  # in its last statement, or before
            return any(s.verb in _ROOTS for s in script.statements[:-1])
        return script.roots or any(s.verb in SAVEPOINTS for s in script.statements)


_BEGIN: Final = Statement(Verb.BEGIN)
#: What makes something that ends with its server; RELEASE and ROLLBACK TO of what is not there fail.
_ROOTS: Final = frozenset({Verb.SAVEPOINT, Verb.DECLARE})
_TAKEN_ALONG: Final = SAVEPOINTS | {Verb.SET}
_PLAINLY: Final = [begin_frame(_BEGIN, read_only=None)]
_BIND_AND_EXECUTE: Final = b"".join(
    [frame(codes.BIND, bytes(8)), frame(codes.EXECUTE, bytes(5)), frame(codes.SYNC, b"")]
)
_CHAIN: Final = frame(codes.QUERY, b"COMMIT AND CHAIN\0")
_MAY_STAY: Final = frozenset({None, PrimaryOnly.NODE_ROLE})
