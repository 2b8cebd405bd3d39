"""Stand-ins: the facts of what holds no statement, of what rwsplit cannot or must not read, and of several texts together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from rwsplit.sql.classify import unread, unreadable
from rwsplit.sql.script import Script
from rwsplit.sql.statement import PrimaryOnly, StateKind, Statement, Verb

Item = TypeVar("Item")

#: So many texts in one unit are merged as they are.
_FEW: Final = 8
#: So many statements of an open unit are kept as they are.
_MANY: Final = 1024

#: A unit that holds nothing to run (Sync alone, Close): any server answers it.
NOTHING: Final = Script(())
#: A Parse of what names another statement: to parse it is nothing, what it does is known when it is bound.
NAMING: Final = Script((Statement(Verb.SHOW),))
#: A Bind or Describe of a name the session has not parsed: PostgreSQL's error is wanted.
ORPHAN: Final = Script((Statement(Verb.EXECUTE, primary_only=PrimaryOnly.NEEDS_PRIMARY),))

#: Facts of a text rwsplit must not try to understand (too long, or in an encoding it cannot lex).
OPAQUE: Final = Script(
    (
        Statement(
            Verb.OTHER,
            primary_only=PrimaryOnly.UNPARSED,
            may_write=True,
            state=StateKind.UNRECOGNISED,
        ),
    )
)

#: Facts of a Parse of several statements: PostgreSQL refuses it. So nothing has to look at each of them, as often as it is bound.
SEVERAL: Final = unreadable()

#: Facts of a text that could not be parsed this time (`relay.parsing`); it may have defined names, too.
UNREAD: Final = unread()


class Effects:
    """The statements of an open unit's pieces, in order: as much of a Script as their effects need."""

    __slots__ = ("_limit", "statements")

    def __init__(self, first: Script | Effects | None = None) -> None:
        self._limit = _MANY
        """The number of statements at which those are left out that come again and again."""
        self.statements: list[Statement] = [] if first is None else [*first.statements]

    def add(self, script: Script | Effects) -> None:
        """Append the statements of the next piece."""
        self.statements += script.statements
        if len(self.statements) > self._limit:
            self.statements = thinned(self.statements)
            self._limit = max(_MANY, 2 * len(self.statements))

    @property
    def discards(self) -> bool:
        """The last one is DISCARD ALL."""
        return bool(self.statements) and self.statements[-1].discards


def of_prepared(script: Script | None) -> Script | None:
    """Return the facts of a Parse of what as a Query has those of *script*."""
    return script if script is None or len(script.statements) <= 1 else SEVERAL


def thinned(items: Sequence[Item]) -> list[Item]:
    """Return *items* in their order, each only where it comes first and last."""
    first = {id(item): at for at, item in reversed([*enumerate(items)])}
    last = {id(item): at for at, item in enumerate(items)}
    return [item for at, item in enumerate(items) if at in (first[id(item)], last[id(item)])]


def merge(scripts: Sequence[Script]) -> Script:
    """Return the facts of *scripts* run one after the other; hints are the first one's.

    Of one that runs many times the first and the last time count: what is true of some or all of them, and what comes first or last,
    is the same as with all others in between.
    """
    if len(scripts) > _FEW:
        scripts = thinned(scripts)
    statements = tuple(statement for script in scripts for statement in script.statements)
    hints = next((script.hints for script in scripts if script.hints is not None), None)
    merged = Script(statements, hints=hints)
    merged.cost.writes = any(script.cost.writes for script in scripts)
    return merged


def merged(scripts: Sequence[Script | None]) -> Script | None:
    """Return the facts of *scripts*, those of a unit's messages, together; None while one of them is still parsed."""
    if not scripts:
        return NOTHING
    first = scripts[0]
    if all(script is first for script in scripts):
        return first
    known = [script for script in scripts if script is not None]
    if len(known) < len(scripts):
        return None
    run = [script for script in known if script is not NAMING]
    return run[0] if len(run) == 1 else merge(run)
