"""Transaction: one that is not on the primary - on a replica, or nowhere yet - and how to begin it elsewhere.

The client sees one transaction. Behind it there may be none (it has begun and said nothing else), one on a
replica (it has only read), and then another on the primary (it does more than read):

    BEGIN ------> nowhere --read--> replica --anything else--> primary
                     |                 |                          |
                     +---anything else-+--------------------------+--> COMMIT, ROLLBACK

What is nowhere needs answers of rwsplit's own, exactly as PostgreSQL gives them: CommandComplete and
ReadyForQuery, and in the extended protocol one answer per message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from rwsplit.protocol import codes
from rwsplit.protocol.framing import HEADER_SIZE, frame, split
from rwsplit.protocol.responses import FORWARD
from rwsplit.routing.route import Route
from rwsplit.session.prepared import PARSE_COMPLETE, PARSED, Part
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
from rwsplit.sql.statement import (
    TRANSACTION_CONTROL,
    Cost,
    PrimaryOnly,
    Script,
    Statement,
    Verb,
)

_BIND_COMPLETE: Final = frame(codes.BIND_COMPLETE, b"")
_CLOSE_COMPLETE: Final = frame(codes.CLOSE_COMPLETE, b"")
_NO_DATA: Final = frame(codes.NO_DATA, b"")
_NO_PARAMETERS: Final = frame(codes.PARAMETER_DESCRIPTION, b"\0\0")


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
            is_movable=all(statement.verb in _READS for statement in statements[1:]),
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
        made.has_portal = unit.kind is not SIMPLE and not _closes_portal(unit)
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
            unit is not None and unit.kind is not SIMPLE and not _closes_portal(unit)
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
        last = max((at for at, s in enumerate(statements) if s.verb in _ENDS), default=-1)
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
            is_movable=all(statement.verb in _READS for statement in then),
            snapshot=(begin.isolation or isolation) not in READ_COMMITTED,
        )
        made.reads = sum(s.verb not in _WITHOUT_SNAPSHOT for s in then)
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
        if script.single is not None and script.single.verb in _ENDS:
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


def keeps_portal(unit: Unit) -> bool:
    """Return whether *unit* leaves a portal that the client is likely to execute further.

    The unnamed one that its limit has stopped is not: it ends with the next Bind or Query. Drivers that want one
    row say so by a limit (asyncpg's `fetchrow`), those that want to fetch in parts name their portals.
    """
    if not unit.row_limit or unit.kind is SIMPLE:  # a Query ends the unnamed portal
        return False
    if unit.is_open or unit.planned:
        return True
    messages = list(_messages(unit.piece.parts))
    named = any(
        payload[:1] != b"\0"
        for code, payload in messages
        if code in (codes.BIND, codes.EXECUTE)
    )
    last = next((code for code, _ in reversed(messages) if code in _RUNS), codes.BIND)
    return named or last == codes.BIND


def takes_snapshot(script: Script) -> bool:
    """Return whether *script*, run in a transaction that only reads, does more than ask for or set parameters."""
    return any(
        s.verb not in _WITHOUT_SNAPSHOT and s.verb not in TRANSACTION_CONTROL
        for s in script.statements
    )


def sets_modes(script: Script) -> bool:
    """Return whether *script* sets modes of the transaction it is in: PostgreSQL refuses some behind a snapshot."""
    return any(
        s.verb is Verb.BEGIN or (s.verb is Verb.SET and s.setting == "transaction")
        for s in script.statements
    )


def is_late(script: Script) -> bool:
    """Return whether *script* begins a transaction that may wait for its first statement, and does no more."""
    statement = script.single
    if statement is None or not _begins_late(statement):
        return False
    return script.hints is None or statement.read_only is True


def ends(script: Script) -> bool:
    """Return whether *script* is COMMIT or ROLLBACK and nothing else."""
    statement = script.single
    return statement is not None and statement.verb in _ENDS and not statement.chain


def ends_one(statement: Statement) -> bool:
    """Return whether *statement* is a COMMIT or ROLLBACK, AND CHAIN or not."""
    return statement.verb in _ENDS


def ends_first(script: Script) -> bool:
    """Return whether *script* ends the transaction it is in before it does anything else."""
    return len(script.statements) > 1 and script.statements[0].verb in _ENDS


def opens_with_reads(script: Script) -> bool:
    """Return whether *script* begins such a transaction and goes on with reads only, in the same unit."""
    statements = script.statements
    return (
        len(statements) > 1
        and script.hints is None
        and _begins_late(statements[0])
        and statements[0].read_only is None
        and all(
            s.primary_only is None and s.state is None and not s.tells_time and s.verb in _READS
            for s in statements[1:]
        )
    )


def begin_frame(statement: Statement, *, read_only: bool | None) -> bytes:
    """Return a Query that begins what *statement*, a BEGIN, begins; *read_only* as that says, or nothing of it."""
    words = ["BEGIN"]
    if statement.isolation:
        words.append(f"ISOLATION LEVEL {statement.isolation.upper()}")
    if read_only is not None:
        words.append("READ ONLY" if read_only else "READ WRITE")
    if statement.deferrable is not None:
        words.append("DEFERRABLE" if statement.deferrable else "NOT DEFERRABLE")
    return frame(codes.QUERY, " ".join(words).encode() + b"\0")


def answer(unit: Unit, tag: str, status: bytes) -> bytes | None:
    """Return what PostgreSQL answers to *unit*, which runs one command with *tag* and nothing else.

    *status* is the transaction's afterwards. None if it would answer otherwise: an error, a portal that stays.
    """
    done = frame(codes.COMMAND_COMPLETE, tag.encode() + b"\0")
    ready = frame(codes.READY, status)
    if unit.kind is SIMPLE:
        return done + ready
    piece = unit.piece
    if piece.plan is not None and any(step not in (FORWARD, PARSED) for step in piece.plan):
        return None
    messages = list(_messages(piece.parts))
    answers = [_answer_to(code, payload, done) for code, payload in messages]
    if not _runs_what_it_names(messages) or answers.count(done) != 1:
        return None
    return None if None in answers else b"".join(filter(None, answers)) + ready


def _messages(parts: Iterable[Part]) -> Iterator[tuple[int, bytes]]:
    for part in parts:
        if not isinstance(part, bytes):
            yield codes.PARSE, part.name + b"\0"
            continue
        for code, start, end in split(part):
            yield code, part[start + HEADER_SIZE : end]


def _runs_what_it_names(messages: Sequence[tuple[int, bytes]]) -> bool:
    """Return whether there is one Bind, of the statement parsed before it if any is parsed, and its portal used behind."""
    order: list[int] = []
    parsed: list[bytes] = []
    bound: list[bytes] = []
    for code, payload in messages:
        if code == codes.PARSE:
            order.append(0)
            parsed.append(payload[: payload.find(b"\0")])
        elif code == codes.BIND:
            order.append(1)
            bound.append(payload[1 : payload.find(b"\0", 1)])
        elif _uses_portal(code, payload):
            order.append(2)
        elif code == codes.CLOSE and payload.startswith(b"P") and bound:
            order.append(3)  # nothing can use it behind this
    return order == sorted(order) and len(bound) == 1 and parsed in ([], bound)


def _closes_portal(unit: Unit) -> bool:
    return any(
        code == codes.CLOSE and payload.startswith(b"P")
        for code, payload in _messages(unit.piece.parts)
    )


def _answer_to(code: int, payload: bytes, done: bytes) -> bytes | None:
    """Return the answer to one message, nothing for the Sync, None if it is not that simple."""
    if code == codes.BIND:
        return _BIND_COMPLETE if _binds_nothing(payload) else None
    if code == codes.EXECUTE:
        return done if payload == _UNNAMED_WHOLE else None
    if code == codes.DESCRIBE:
        return _NO_PARAMETERS + _NO_DATA if payload.startswith(b"S") else _NO_DATA
    return _ANSWERS.get(code)


def _uses_portal(code: int, payload: bytes) -> bool:
    return code == codes.EXECUTE or (code == codes.DESCRIBE and payload.startswith(b"P"))


def _binds_nothing(payload: bytes) -> bool:
    """Return whether a Bind makes the unnamed portal of a statement without parameters."""
    if not payload.startswith(b"\0"):
        return False
    at = payload.find(b"\0", 1) + 1
    formats = int.from_bytes(payload[at : at + 2], "big")
    at += 2 + 2 * formats
    return formats == 0 and payload[at : at + 2] == b"\0\0"


def _begins_late(statement: Statement) -> bool:
    return (
        statement.verb is Verb.BEGIN
        and statement.tag is not None
        and (
            statement.isolation in {None, *READ_COMMITTED}
            or (statement.read_only is True and statement.isolation == "repeatable read")
        )
    )


_BEGIN: Final = Statement(Verb.BEGIN)
#: What makes something that ends with its server; RELEASE and ROLLBACK TO of what is not there fail.
_ROOTS: Final = frozenset({Verb.SAVEPOINT, Verb.DECLARE})
_TAKEN_ALONG: Final = SAVEPOINTS | {Verb.SET}
_RUNS: Final = frozenset({codes.BIND, codes.EXECUTE})
_PLAINLY: Final = [begin_frame(_BEGIN, read_only=None)]
_BIND_AND_EXECUTE: Final = b"".join(
    [frame(codes.BIND, bytes(8)), frame(codes.EXECUTE, bytes(5)), frame(codes.SYNC, b"")]
)
_CHAIN: Final = frame(codes.QUERY, b"COMMIT AND CHAIN\0")
_ANSWERS: Final = {codes.PARSE: PARSE_COMPLETE, codes.CLOSE: _CLOSE_COMPLETE, codes.SYNC: b""}
_UNNAMED_WHOLE: Final = b"\0\0\0\0\0"
_MAY_STAY: Final = frozenset({None, PrimaryOnly.NODE_ROLE})
_ENDS: Final = frozenset({Verb.COMMIT, Verb.ROLLBACK})
#: What PostgreSQL runs without a snapshot (PlannedStmtRequiresSnapshot in pquery.c).
_WITHOUT_SNAPSHOT: Final = frozenset(
    {
        Verb.SHOW,
        Verb.SET,
        Verb.RESET,
        Verb.EMPTY,
        Verb.LOCK,
        Verb.LISTEN,
        Verb.UNLISTEN,
        Verb.NOTIFY,
    }
)
_READS: Final = frozenset({Verb.QUERY, Verb.SHOW, Verb.COPY_OUT, Verb.EXPLAIN, Verb.EMPTY})
