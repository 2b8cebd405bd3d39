"""Prologue: what a transaction has set for itself, and its savepoints; it is said again where the transaction goes.

    BEGIN; SET LOCAL work_mem = '6MB'; SAVEPOINT a; SELECT ... -- on a replica
    INSERT ...                                                 -- on the primary, behind BEGIN, SET LOCAL and SAVEPOINT

A savepoint that is released leaves nothing to be said again but what was set behind it, and ROLLBACK TO takes back that too, so
that a transaction of a thousand nested ones has a short prologue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from rwsplit.protocol import codes
from rwsplit.protocol.framing import HEADER_SIZE, find_zero, frame, split
from rwsplit.protocol.looks import Overheard
from rwsplit.protocol.responses import FORWARD, Step
from rwsplit.session.piece import Piece
from rwsplit.session.prepared import PARSED, Prepared
from rwsplit.session.unit import Unit
from rwsplit.sql.script import Script
from rwsplit.sql.statement import Statement, Verb

#: What a transaction has set, and its savepoints, are said again elsewhere if they are no more than these.
MOST_REPEATED: Final = 100
#: Isolation levels under which every statement has a snapshot of its own; PostgreSQL has no READ UNCOMMITTED.
READ_COMMITTED: Final = frozenset({"read committed", "read uncommitted"})
SAVEPOINTS: Final = frozenset({Verb.SAVEPOINT, Verb.RELEASE, Verb.ROLLBACK_TO})

#: Frames of one command, ending in one ReadyForQuery.
Frames = Sequence[bytes]


class Prologue:
    """Of one transaction."""

    __slots__ = ("_entries", "_savepoints")

    def __init__(self) -> None:
        self._entries: list[Frames] = []
        self._savepoints: list[tuple[str, Frames | None]] = []
        """Name of each, the oldest first, and the entry that makes it; None: there is none."""

    def __iter__(self) -> Iterator[Frames]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def has_room(self) -> bool:
        """One more entry would not be too many."""
        return len(self._entries) < MOST_REPEATED

    @property
    def has_savepoints(self) -> bool:
        """There is a savepoint the transaction could go back to."""
        return bool(self._savepoints)

    def add(self, unit: Unit, statement: Statement) -> None:
        """Take note that *unit*, which runs *statement* and can be said again, has run."""
        frames = said_again(unit.piece)
        if statement.verb is Verb.SAVEPOINT:
            self._savepoints.append((statement.name or "", frames))
        elif statement.verb in SAVEPOINTS and self._go_back(statement):
            return
        self._entries.append(frames)

    def note(self, statements: Iterable[Statement]) -> None:
        """Take note of savepoints that *statements* have made, dropped or gone back to, and that are no entries."""
        for statement in statements:
            if statement.verb is Verb.SAVEPOINT:
                self._savepoints.append((statement.name or "", None))
            elif statement.verb in SAVEPOINTS:
                self._go_back(statement)

    def _go_back(self, statement: Statement) -> bool:
        """Drop what RELEASE or ROLLBACK TO ends, so that this need not be said again; False: its savepoint is not known."""
        savepoints = self._savepoints
        numbers = reversed(range(len(savepoints)))
        at = next((n for n in numbers if savepoints[n][0] == statement.name), None)
        if at is None:
            return False
        keeps_it = statement.verb is Verb.ROLLBACK_TO
        entry = savepoints[at][1]
        if keeps_it and entry is not None:
            del self._entries[_place(self._entries, entry) + 1 :]
        elif not keeps_it:
            for _, ended in savepoints[at:]:
                if ended is not None:
                    del self._entries[_place(self._entries, ended)]
        del savepoints[at + keeps_it :]
        return True


def _place(entries: Sequence[Frames], entry: Frames) -> int:
    """Return where *entry* itself, not one like it, stands."""
    return next(n for n, each in enumerate(entries) if each is entry)


def is_prologue(unit: Unit, script: Script) -> bool:
    """Return whether *unit* only sets something for the transaction, and can be said again elsewhere."""
    statement = script.single
    if statement is None or not (names := _set_locally(statement)):
        return False
    if "search_path" in names and unit.session is not None and unit.session.scope.is_taught:
        return False  # under another path functions may be other ones
    if statement.setting == "transaction":
        fits = (
            statement.isolation in {None, *READ_COMMITTED} and statement.read_only is not False
        )
    else:
        fits = not any(name.startswith(_BEYOND_THE_TRANSACTION) for name in names)
    return fits and _can_be_repeated(unit)


def _set_locally(statement: Statement) -> frozenset[str]:
    """Return the parameters that *statement* sets for the transaction, empty if it does something else."""
    if statement.assigns:
        return statement.assigns
    if statement.verb is Verb.SET and statement.local:
        return frozenset({statement.setting or ""})
    return frozenset()


def is_savepoint(unit: Unit, script: Script) -> bool:
    """Return whether *unit* only makes, drops or goes back to a savepoint, and can be said again elsewhere."""
    statement = script.single
    return statement is not None and statement.verb in SAVEPOINTS and _can_be_repeated(unit)


def _can_be_repeated(unit: Unit) -> bool:
    """Return whether `said_again` says what *unit* does; what executes nothing does nothing."""
    piece = unit.piece
    if not unit.executes:
        return True
    if piece.plan is not None and (unit.planned or not all(map(_is_said_again, piece.plan))):
        return False
    return not any(prepared.meaning for _, prepared in piece.called)


def _is_said_again(step: Step) -> bool:
    """Return whether *step* is what `said_again` takes over, or leaves out without a loss."""
    return step in (FORWARD, PARSED) or step.__class__ is Overheard


def said_again(piece: Piece) -> list[bytes]:
    """Return *piece* in frames that any server takes: what it has by name is parsed without one, nothing is described."""
    known = {each.name: each for each in piece.needs}
    known |= {each.name: each for _, each in piece.taught}
    if piece.unnamed is not None:
        known[b""] = piece.unnamed
    frames: list[bytes] = []
    for part in piece.parts:
        if isinstance(part, bytes):
            for code, start, end in split(part):
                frames += _message(code, part[start:end], known)
    return frames


def _message(code: int, message: bytes, known: dict[bytes, Prepared]) -> Frames:
    if code in (codes.DESCRIBE, codes.CLOSE):
        return ()
    if code != codes.BIND:
        return (message,)
    portal_end = find_zero(message, HEADER_SIZE, len(message))
    name_end = find_zero(message, portal_end + 1, len(message))
    prepared = known.get(message[portal_end + 1 : name_end])
    if prepared is None:
        return (message,)
    payload = message[HEADER_SIZE : portal_end + 1] + message[name_end:]
    return (prepared.parse_as_told(b""), frame(codes.BIND, payload))


#: SET LOCAL of these does more than set a parameter for the transaction.
_BEYOND_THE_TRANSACTION: Final = ("transaction", "default_transaction", "session", "role")
