"""A session's account: what it may conclude from the answers it gets, as PostgreSQL's manual says.

It is told every burst that is sent and every answer that comes, and keeps the session's events: a write is acknowledged by the
COMMIT tag, or, outside a transaction block, by the ReadyForQuery of its unit. It goes by the answers alone; what was skipped
after an error has not happened.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from tests.support.guarantees.history import Event, Level, Outcome, Read, Write
from tests.support.guarantees.statements import (
    Begin,
    End,
    Other,
    Reading,
    Resolve,
    Restrict,
    Setting,
    Statement,
    Writing,
)

#: (register, value, node) of each row a read returned.
Rows: TypeAlias = Sequence[tuple[int, int, str]]
Entries: TypeAlias = tuple[tuple[int, int], ...]

#: The value of a register that is not there at all.
MISSING: Final = -1

_IDLE: Final = b"I"
_FAILED: Final = b"E"
_transactions = itertools.count(1)


class Account:
    """What one session knows; *level* is that of this rwsplit, *events* what it made of it."""

    def __init__(self, session: int, level: Level) -> None:
        self.session = session
        self.events: list[Event] = []
        self.status = _IDLE
        """Of the last ReadyForQuery."""
        self.reads_only = False
        """Whether the transaction is READ ONLY."""
        self._level = level
        self._asked: Level | None = None
        """By SET."""
        self._lowered: Level | None = None
        """The lowest level below ours that the transaction has read at."""
        self._units: deque[deque[Statement]] = deque()
        self._is_open = False
        """Whether the last unit has not ended yet."""
        self._sent = 0.0
        self._said = ""
        self._pending: Entries = ()
        self._prepared: Entries = ()
        self.prepared = ""
        """The name of a transaction that has been prepared and not resolved."""
        self._in_block = False
        self._has_failed = False
        self._has_left_bound = False
        """Whether a transaction that was bound ended in the unit that failed last; rwsplit cannot tell which of two failed."""
        self._frozen: tuple[int, float] | None = None
        """Number of a REPEATABLE READ transaction, and when what took its snapshot was sent; 0 before that."""

    # -- what is sent ------------------------------------------------------------------------------

    def sending(
        self,
        units: Iterable[Sequence[Statement]],
        now: float,
        *,
        is_open: bool = False,
        said: str = "",
    ) -> None:
        """Take note that *units* are sent at *now*; *is_open*: no Sync ends the last one."""
        for unit in units:
            if self._is_open:
                self._units[-1].extend(unit)
                self._is_open = False
            else:
                self._units.append(deque(unit))
        self._is_open = is_open
        self._sent = now
        self._said = said

    @property
    def is_answered(self) -> bool:
        """Whether nothing more will come before something else is sent."""
        if not self._units:
            return True
        unit_is_over = self._has_failed or not self._units[0]
        return self._is_open and len(self._units) == 1 and unit_is_over

    @property
    def awaited(self) -> Statement | None:
        """Return the statement whose answer comes next."""
        return self._units[0][0] if self._units and self._units[0] else None

    @property
    def is_bound(self) -> bool:
        """Whether the transaction that is under way could not go on elsewhere."""
        return self.reads_only or self._frozen is not None or self._has_left_bound

    # -- what comes back ---------------------------------------------------------------------------

    def done(self, tag: str, rows: Rows, now: float) -> Statement:
        """Take note of a CommandComplete; return the statement that it ends."""
        statement = self._units[0].popleft()
        if self._frozen is not None and not self._frozen[1] and _needs_snapshot(statement):
            self._frozen = self._frozen[0], self._sent
        match statement:
            case Reading():
                self._read(statement, rows, now)
            case Writing():
                self._pending += ((statement.register, statement.value),)
                if statement.commits:
                    self._settle(Outcome.ACKNOWLEDGED, now)
            case Begin() | End() | Resolve() | Restrict():
                self._control(statement, tag, now)
            case Setting():
                self._asked = statement.level
            case Other():
                pass
        return statement

    def failed(self, now: float) -> Statement | None:
        """Take note of an ErrorResponse; return the statement that failed, None if it was the commit of the unit."""
        self._has_failed = True
        failing = self._units[0].popleft() if self._units[0] else None
        self._forget(failing, now)
        if not self._in_block:
            self._settle(Outcome.FAILED, now)
        return failing

    def ready(self, status: bytes, now: float) -> None:
        """Take note of a ReadyForQuery."""
        for skipped in self._units.popleft():
            self._forget(skipped, now)
        if status == _IDLE:
            outcome = Outcome.FAILED if self._has_failed else Outcome.ACKNOWLEDGED
            self._settle(outcome, now)
            self._leave()
            self.reads_only = False
        self._has_left_bound = self._has_left_bound and status == _FAILED
        self._in_block = status != _IDLE
        self.status = status
        self._has_failed = False

    def lost(self, now: float) -> None:
        """Take note that the connection is gone: what was under way may have happened."""
        entries = self._pending + self._prepared
        for unit in self._units:
            entries += tuple((s.register, s.value) for s in unit if isinstance(s, Writing))
        self._pending = self._prepared = ()
        self._units.clear()
        self._write(entries, Outcome.UNKNOWN, now)

    # -- what that means ---------------------------------------------------------------------------

    def _control(
        self, statement: Begin | End | Resolve | Restrict, tag: str, now: float
    ) -> None:
        match statement:
            case Begin():
                self._begin(statement)
            case End():
                self._end(statement, tag, now)
            case Restrict():
                self.reads_only = True
            case Resolve():
                entries, self._prepared, self.prepared = self._prepared, (), ""
                outcome = Outcome.ACKNOWLEDGED if statement.commits else Outcome.FAILED
                self._write(entries, outcome, now)

    def _begin(self, statement: Begin) -> None:
        if not self._in_block:
            self._in_block = True
            self.reads_only = statement.reads_only
            self._freeze(is_frozen=statement.is_frozen)

    def _end(self, statement: End, tag: str, now: float) -> None:
        was_frozen = self._frozen is not None
        self._has_left_bound = self.is_bound
        if tag == "PREPARE TRANSACTION":
            self._prepared, self._pending = self._pending, ()
            self.prepared = statement.prepares
        else:
            self._settle(Outcome.ACKNOWLEDGED if tag == "COMMIT" else Outcome.FAILED, now)
        self._leave()
        self._in_block = statement.chains
        self.reads_only = self.reads_only and statement.chains
        self._freeze(is_frozen=statement.chains and was_frozen)

    def _freeze(self, *, is_frozen: bool) -> None:
        self._frozen = (next(_transactions), 0.0) if is_frozen else None

    def _leave(self) -> None:
        self._frozen = None
        self._lowered = None

    def _read(self, statement: Reading, rows: Rows, now: float) -> None:
        began, transaction = self._sent, None
        if self._frozen is not None:
            transaction, began = self._frozen
        values = {register: value for register, value, _ in rows}
        if statement.register is not None:
            values.setdefault(statement.register, MISSING)
        read = Read(
            session=self.session,
            values=values,
            began=began,
            ended=now,
            level=self._level_of(statement),
            transaction=transaction,
            uncommitted=dict(self._pending),
            node=rows[0][2] if rows else "",
            said=self._said,
        )
        self.events.append(read)

    def _level_of(self, statement: Reading) -> Level | None:
        """Return what a read asks for; a transaction that has read below our level stays there."""
        asked = self._asked if statement.level is None else statement.level
        if asked is not None and asked < self._level:
            self._lowered = asked if self._lowered is None else min(asked, self._lowered)
        if self._lowered is not None:
            return self._lowered
        # A transaction that has begun on a replica stays there, whatever a later hint says.
        is_raised = asked is not None and asked > self._level
        return None if is_raised and self._in_block else asked

    def _forget(self, statement: Statement | None, now: float) -> None:
        """Take note that *statement* has not been executed."""
        if isinstance(statement, Writing):
            self._write(((statement.register, statement.value),), Outcome.FAILED, now)

    def _settle(self, outcome: Outcome, now: float) -> None:
        entries, self._pending = self._pending, ()
        self._write(entries, outcome, now)

    def _write(self, entries: Entries, outcome: Outcome, now: float) -> None:
        if entries:
            self.events.append(
                Write(self.session, entries, self._sent, now, outcome, self._said)
            )


def _needs_snapshot(statement: Statement) -> bool:
    if isinstance(statement, Other):
        return statement.needs_snapshot
    return isinstance(statement, Reading | Writing)
