"""Script: the statements of one text, and what they amount to together.

Most of what the relay asks of a text is answered here once, when it is classified.
"""

from __future__ import annotations

from typing import Final

from rwsplit.sql.statement import (
    DEFAULT_MODES,
    TRANSACTION_CONTROL,
    Hints,
    PrimaryOnly,
    Redefined,
    StateKind,
    Statement,
    Verb,
    strictest,
    unite,
)

UNKNOWN_COST: Final = -1.0
OWN_STATEMENTS: Final = "rwsplit_"
"""What the names begin with that prepared statements have on servers."""
_NAMING: Final = frozenset({Verb.PREPARE, Verb.EXECUTE, Verb.DEALLOCATE})


class Cost:
    """What running one shape has cost so far; the only mutable part of a cached script.

    *seconds* and *size* (bytes of the answer) are moving averages, negative while unknown.
    """

    __slots__ = ("precedes_state", "seconds", "size", "writes")

    def __init__(self) -> None:
        self.seconds: float = UNKNOWN_COST
        self.size: float = UNKNOWN_COST
        self.writes: bool = False
        """A replica refused this shape: it writes after all."""
        self.precedes_state: bool = False
        """It kept a READ ONLY transaction on a replica that later wanted what only the primary allows."""


class Script:
    """The statements of one query text and what they amount to together; the strictest wins."""

    __slots__ = (
        "anywhere",
        "changes_encoding",
        "changes_parameters",
        "changes_path",
        "controls_transaction",
        "copies_in",
        "cost",
        "discards",
        "ends_state",
        "hints",
        "lists_prepared",
        "may_read_sequences",
        "may_write",
        "names_own",
        "needs_session",
        "notable",
        "plain_read",
        "primary_only",
        "reads_data",
        "reads_sequences",
        "redefines",
        "roots",
        "sets",
        "signals",
        "single",
        "special",
        "state",
        "statements",
        "tells_time",
        "uses_sequences",
        "vacates",
        "weight",
    )

    def __init__(  # noqa: PLR0915 - one line a fact
        self,
        statements: tuple[Statement, ...],
        *,
        hints: Hints | None = None,
        cost: Cost | None = None,
    ) -> None:
        self.statements = statements
        self.hints = hints
        self.cost = cost if cost is not None else Cost()
        self.names_own: bool = any(_names_own(s) for s in statements)
        """It executes, deallocates or makes a prepared statement by a name that only rwsplit gives: it may be another session's."""
        self.special: bool = self.names_own or any(_is_special(s) for s in statements)
        """It names something of rwsplit's own: an in-band setting or a prepared statement."""
        self.single: Statement | None = statements[0] if len(statements) == 1 else None
        self.primary_only: PrimaryOnly | None = strictest(s.primary_only for s in statements)
        self.may_write: bool = any(s.may_write for s in statements)
        self.state: StateKind | None = next((s.state for s in statements if s.state), None)
        self.sets: frozenset[str] = _NO_NAMES.union(*(s.sets for s in statements))
        self.anywhere: bool = bool(statements) and all(
            s.anywhere or _clears_what_is_kept(s) for s in statements
        )
        self.needs_session: bool = any(s.needs_session for s in statements)
        states = [state for s in statements for state in (s.state, s.inner and s.inner.state)]
        self.reads_sequences: bool = StateKind.SEQUENCE in states
        """It asks for currval or lastval."""
        self.may_read_sequences: bool = not _MAY_ASK.isdisjoint(states)
        """It asks for them, or nobody can tell whether it does."""
        self.uses_sequences: bool = self.may_write or self.may_read_sequences
        """It may draw from sequences, or ask what its session has drawn."""
        self.discards: bool = bool(statements) and statements[-1].discards
        """The last one is DISCARD ALL."""
        self.changes_parameters: bool = bool(self.sets) or any(s.discards for s in statements)
        """It may: sets them, or puts them back."""
        self.changes_path: bool = any(s.changes_path for s in statements)
        self.changes_encoding: bool = any(s.changes_encoding for s in statements)
        self.controls_transaction: bool = any(s.verb in TRANSACTION_CONTROL for s in statements)
        self.copies_in: bool = any(s.verb is Verb.COPY_IN for s in statements)
        """The client is to send data: what comes behind it waits for what the server says."""
        redefined = [r for s in statements if (r := _redefined(s)) is not None]
        self.redefines: Redefined | None = unite(redefined) if redefined else None
        names = len(self.sets)
        if self.redefines is not None:
            names += len(self.redefines.functions) + len(self.redefines.views)
        self.weight: int = max(0, len(statements) - 1) + (names >> 3)
        """Words of work (`sql.effort`) that it takes each time it is looked at, besides those of a statement like others."""
        self.lists_prepared: bool = any(
            not _LISTS_OF_PREPARED.isdisjoint(s.tables | s.functions) for s in statements
        )
        """It asks which statements its session has prepared."""
        self.vacates: str | None = next((s.vacates for s in statements if s.vacates), None)
        """The database that pooled servers must leave before it runs."""
        self.signals: bool = any(not _SIGNALS.isdisjoint(s.functions) for s in statements)
        """It calls what ends or cancels a backend, which may be a session of rwsplit's."""
        self.tells_time: bool = any(s.tells_time for s in statements)
        self.roots: bool = any(s.verb in _ROOTS for s in statements)
        """It makes a savepoint or a cursor, which cannot be taken to another server."""
        self.ends_state: bool = any(
            s.verb in _ENDING or not _UNLOCKS.isdisjoint(s.functions) for s in statements
        )
        """It may take away state that keeps its session on a server."""
        self.notable: bool = (
            self.special
            or self.redefines is not None
            or self.controls_transaction
            or self.ends_state
            or self.changes_path
            or self.changes_encoding
            or bool(self.sets)
            or any(s.state is not None or s.verb in _CLEANSING for s in statements)
        )
        """To send it changes what is known of a session or its server."""
        self.reads_data: bool = not all(map(_reads_nothing, statements))
        """The reads behind it must see what was there when it was done."""
        self.plain_read: bool = (
            bool(statements)
            and self.primary_only is None
            and self.hints is None
            and not (self.notable or self.needs_session or self.signals)
            and all(s.verb is not Verb.SHOW for s in statements)
        )
        """It only reads, and there is nothing else to think of."""


_LISTS_OF_PREPARED: Final = frozenset(
    f"{schema}{name}"
    for schema in ("", "pg_catalog.")
    for name in ("pg_prepared_statements", "pg_prepared_statement")
)


def _redefined(statement: Statement) -> Redefined | None:
    if not _RELOADS.isdisjoint(statement.functions):
        return Redefined(defaults=True)
    return statement.redefines


_RELOADS: Final = frozenset({"pg_reload_conf", "pg_catalog.pg_reload_conf"})
_MAY_ASK: Final = frozenset(
    {
        StateKind.SEQUENCE,
        StateKind.SEED,
        StateKind.LIBRARY,
        StateKind.UNKNOWN_FUNCTION,
        StateKind.UNRECOGNISED,
    }
)
"""A statement that asks for currval or lastval leaves one of these."""
_ROOTS: Final = frozenset({Verb.SAVEPOINT, Verb.DECLARE})
_CLEARING: Final = frozenset(
    {Verb.EMPTY, Verb.CLOSE, Verb.DEALLOCATE, Verb.UNLISTEN, Verb.DISCARD}
)
#: asyncpg's pool calls the first at each release.
_UNLOCKING: Final = frozenset({"pg_advisory_unlock_all", "pg_advisory_unlock"})
_ASKING_ROLE: Final = frozenset(
    prefix + name
    for prefix in ("", "pg_catalog.")
    for name in ("pg_is_in_recovery", "current_setting")
)
_NO_NAMES: Final[frozenset[str]] = frozenset()
_ENDING: Final = frozenset(
    {
        *(Verb.UNLISTEN, Verb.CLOSE, Verb.DEALLOCATE, Verb.DISCARD, Verb.DDL),
        *(Verb.EXECUTE, Verb.CALL, Verb.DO),
    }
)
_UNLOCKS: Final = frozenset(
    prefix + name
    for prefix in ("", "pg_catalog.")
    for name in ("pg_advisory_unlock", "pg_advisory_unlock_shared", "pg_advisory_unlock_all")
)
_SIGNALS: Final = frozenset(
    prefix + name
    for prefix in ("", "pg_catalog.")
    for name in ("pg_terminate_backend", "pg_cancel_backend")
)
_CLEANSING: Final = frozenset({Verb.RESET, Verb.DEALLOCATE, Verb.DISCARD})


def _clears_what_is_kept(statement: Statement) -> bool:
    """Return whether *statement* only ends what keeps its session on the server that has it: elsewhere nothing is left."""
    if statement.verb is Verb.CLOSE:
        return statement.name == "all"
    if statement.verb is Verb.QUERY:
        is_alone = statement.only_calls and statement.primary_only is PrimaryOnly.SESSION_STATE
        return is_alone and statement.functions == {"pg_advisory_unlock_all"}
    return statement.verb is Verb.UNLISTEN


def _only_clears(statement: Statement) -> bool:
    """Return whether *statement* does nothing but clear what its session has left on its server."""
    if statement.verb is Verb.QUERY:
        return statement.only_calls and statement.functions <= _UNLOCKING
    if statement.verb is Verb.RESET:
        return statement.setting == "all"
    return statement.verb in _CLEARING


def _only_asks_role(statement: Statement) -> bool:
    """Return whether *statement* asks for the role of its node and reads nothing: what drivers ask at login."""
    if statement.primary_only is not PrimaryOnly.NODE_ROLE:
        return False
    return statement.verb is Verb.SHOW or (
        statement.only_calls and statement.functions <= _ASKING_ROLE
    )


def _only_sets_modes(statement: Statement) -> bool:
    """Return whether *statement* says how the session's transactions begin: pgjdbc's `setTransactionIsolation`."""
    says = statement.verb in (Verb.SET, Verb.RESET) and bool(statement.sets)
    return says and statement.sets <= DEFAULT_MODES


def _reads_nothing(statement: Statement) -> bool:
    """Return whether *statement* is what drivers and pools say of their own accord, of no more than session or node."""
    return any(kind(statement) for kind in (_only_clears, _only_asks_role, _only_sets_modes))


def _names_own(statement: Statement | None) -> bool:
    while statement is not None:
        if statement.verb in _NAMING and (statement.name or "").startswith(OWN_STATEMENTS):
            return True
        statement = statement.inner
    return False


def _is_special(statement: Statement) -> bool:
    if statement.verb in _NAMING:
        return True
    return statement.setting is not None and statement.setting.startswith("rwsplit.")
