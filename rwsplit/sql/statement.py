"""Statement: the facts of one SQL command that routing and sessions need.

`Statement` is one command, `Script` is what one Query message (or one Parse) holds: none, one or
several. Both are made once per text or shape, are cached, and never hold a parse tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, Final, NamedTuple

import attrs

UNKNOWN_COST: Final = -1.0


class Verb(Enum):
    """What kind of command a statement is."""

    EMPTY = "empty"
    QUERY = "query"
    DML = "dml"
    DDL = "ddl"
    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    SAVEPOINT = "savepoint"
    RELEASE = "release"
    ROLLBACK_TO = "rollback to"
    PREPARE_TRANSACTION = "prepare transaction"
    SET = "set"
    RESET = "reset"
    SHOW = "show"
    PREPARE = "prepare"
    EXECUTE = "execute"
    DEALLOCATE = "deallocate"
    DECLARE = "declare"
    FETCH = "fetch"
    CLOSE = "close"
    LISTEN = "listen"
    UNLISTEN = "unlisten"
    NOTIFY = "notify"
    COPY_IN = "copy in"
    COPY_OUT = "copy out"
    EXPLAIN = "explain"
    CALL = "call"
    DO = "do"
    LOCK = "lock"
    DISCARD = "discard"
    SET_CONSTRAINTS = "set constraints"
    VACUUM = "vacuum"
    OTHER = "other"


class PrimaryOnly(Enum):
    """Why a statement is not known to be safe on a replica; listed from strictest to mildest."""

    UNPARSED = "it could not be parsed, so it may write"
    MAY_WRITE = "it may write"
    LOCKS_ROWS = "it locks rows"
    SERIALIZABLE = "a hot standby refuses SERIALIZABLE"
    SESSION_STATE = "it changes or needs the state of its session"
    UNKNOWN_FUNCTION = "it calls a function rwsplit does not know"
    VOLATILE_FUNCTION = "it calls a volatile function"
    NEEDS_PRIMARY = "its answer is only right on the primary"
    NODE_ROLE = "its answer tells the role of its node"


class StateKind(Enum):
    """State a statement may leave behind in its server; of several the last listed is hardest to get rid of."""

    PARAMETER = "SET"
    SNAPSHOT = "an exported snapshot"
    LARGE_OBJECT = "a large-object descriptor"
    PREPARED = "PREPARE"
    LISTEN = "LISTEN"
    TEMP_TABLE = "a temporary table"
    ADVISORY_LOCK = "a session advisory lock"
    HOLD_CURSOR = "a WITH HOLD cursor"
    SEQUENCE = "currval or lastval"
    SEED = "the seed of random()"
    LIBRARY = "LOAD"
    UNKNOWN_FUNCTION = "a function rwsplit does not know"
    UNRECOGNISED = "a statement rwsplit does not recognise"


def strictest(reasons: Iterable[PrimaryOnly | None]) -> PrimaryOnly | None:
    """Return the strictest of *reasons*, None if there is none."""
    present = set(reasons)
    return next((reason for reason in PrimaryOnly if reason in present), None)


#: State that ends sometime, and can be seen to.
OWN_STATEMENTS: Final = "rwsplit_"
"""What the names begin with that prepared statements have on servers."""
_NAMING: Final = frozenset({Verb.PREPARE, Verb.EXECUTE, Verb.DEALLOCATE})
_FINITE: Final = frozenset(
    {
        StateKind.SNAPSHOT,
        StateKind.LARGE_OBJECT,
        StateKind.PREPARED,
        StateKind.LISTEN,
        StateKind.TEMP_TABLE,
        StateKind.ADVISORY_LOCK,
        StateKind.HOLD_CURSOR,
    }
)


def hardest(
    states: Iterable[StateKind | None], *, is_read_back: bool = False
) -> StateKind | None:
    """Return the one of *states* that is hardest to get rid of, None if there is none.

    *is_read_back*: it is known which parameters are set, so that they trouble nobody.
    """
    present = set(states)
    if StateKind.PARAMETER in present and not is_read_back:
        present -= _FINITE
    return next((state for state in reversed(StateKind) if state in present), None)


TRANSACTION_CONTROL: Final = frozenset(
    {
        Verb.BEGIN,
        Verb.COMMIT,
        Verb.ROLLBACK,
        Verb.SAVEPOINT,
        Verb.RELEASE,
        Verb.ROLLBACK_TO,
        Verb.PREPARE_TRANSACTION,
    }
)


#: The parameters of SET SESSION CHARACTERISTICS.
DEFAULT_MODES: Final = frozenset(
    f"default_transaction_{mode}" for mode in ("isolation", "read_only", "deferrable")
)


@attrs.frozen
class Hints:
    """What a `/* rwsplit: ... */` comment asks for; None where it does not say."""

    route: str | None = None
    """`primary` or `replica`."""
    node: str | None = None
    max_lag: float | None = None
    """Seconds."""
    consistency: str | None = None
    misspelt: tuple[str, ...] = ()
    """What is not understood, as it is written."""

    @property
    def asks(self) -> bool:
        """Something of it is understood."""
        asked = (self.route, self.node, self.max_lag, self.consistency)
        return any(value is not None for value in asked)


class Redefined(NamedTuple):
    """What names DDL may give another meaning, whatever their schema; none if it only adds or drops tables."""

    functions: frozenset[str] = frozenset()
    """Functions, and operators as `operator(+)`."""
    views: frozenset[str] = frozenset()
    defaults: bool = False
    """What sessions begin with may be another: ALTER ROLE ... SET, a reload of the configuration."""


def unite(parts: Iterable[Redefined]) -> Redefined:
    """Return all that *parts* redefine."""
    found = list(parts)
    return Redefined(
        frozenset().union(*(each.functions for each in found)),
        frozenset().union(*(each.views for each in found)),
        any(each.defaults for each in found),
    )


@attrs.frozen
class Statement:
    """Facts of one command. Names in *functions* and *tables* are `name` or `schema.name`, folded as
    PostgreSQL folds them (a part that holds a dot stays in quotes). *tables* are complete for reads
    that are not `UNPARSED`; of functions, operators every query has (`=`, `+`) are left out."""

    verb: Verb
    primary_only: PrimaryOnly | None = None
    """None: everything about it is known to be safe on a replica."""
    may_write: bool = False
    """It may change what later reads see (sets the session's *last_write*)."""
    locks_rows: bool = False
    state: StateKind | None = None
    discards: bool = False
    """DISCARD ALL: session state is gone afterwards."""
    sets: frozenset[str] = frozenset()
    """Parameters whose value it may change beyond its transaction, in lower case; `all` for RESET ALL, `*` for
    any that pg_settings shows. Empty although *state* is PARAMETER: it is not known which."""
    anywhere: bool = False
    """SET, RESET, DEALLOCATE ALL: any node can carry it out, since it needs nothing of the database."""
    needs_session: bool = False
    """Its answer depends on the server the session used before (currval, pg_backend_pid...)."""
    is_catalog: bool = False
    functions: frozenset[str] = frozenset()
    only_calls: bool = False
    """It is a SELECT of nothing but calls whose arguments are plain literals."""
    tables: frozenset[str] = frozenset()
    isolation: str | None = None
    """BEGIN, SET TRANSACTION: `read committed`, `repeatable read`, `serializable`..."""
    read_only: bool | None = None
    """BEGIN, SET TRANSACTION: READ ONLY or READ WRITE if said."""
    deferrable: bool | None = None
    """BEGIN, SET TRANSACTION: DEFERRABLE or NOT DEFERRABLE if said."""
    tag: str | None = None
    """BEGIN, COMMIT, ROLLBACK with nothing in them but what is told here: what PostgreSQL answers, `BEGIN`."""
    tells_time: bool = False
    """Its answer says when its transaction began (now(), CURRENT_DATE): another transaction's differs."""
    chain: bool = False
    """COMMIT, ROLLBACK: AND CHAIN, so that a transaction is open afterwards."""
    setting: str | None = None
    """SET, RESET, SHOW: the parameter's lower-case name, `all` for ALL; `transaction`, `transaction snapshot`
    and `session characteristics` for the SET of that name."""
    value: str | None = None
    """SET: the value as text without quotes; None for DEFAULT or where it is a list."""
    to_default: bool = False
    """SET ... TO DEFAULT (not SET LOCAL)."""
    local: bool = False
    """SET LOCAL / SET TRANSACTION."""
    assigns: frozenset[str] = frozenset()
    """The parameters it sets for its transaction, if it is a SELECT of set_config() and does nothing else."""
    changes_path: bool = False
    """What names behind it mean may be something else: it sets the search path or the role, for its transaction or longer."""
    changes_encoding: bool = False
    """What is behind it may have to be read otherwise: it sets an encoding, or how strings are written."""
    name: str | None = None
    """PREPARE, EXECUTE, DEALLOCATE, LISTEN, UNLISTEN, NOTIFY, DECLARE, FETCH, CLOSE, SAVEPOINT, RELEASE,
    ROLLBACK TO: the object's name; `all` for DEALLOCATE ALL and CLOSE ALL, `*` for UNLISTEN *.
    DISCARD: `sequences`, `plans`, `temp`; None for ALL."""
    redefines: Redefined | None = None
    """DDL that may change what names mean."""
    vacates: str | None = None
    """DROP, ALTER and CREATE DATABASE: the database that nobody else may be connected to."""
    inner: Statement | None = None
    """EXPLAIN, PREPARE, DECLARE, COPY (query): the statement inside."""

    def __reduce__(self) -> tuple[Callable[[dict[str, Any]], Statement], tuple[dict[str, Any]]]:
        """Pickle only the fields that differ from their defaults: a text may hold thousands of statements."""
        told = {name: getattr(self, name) for name in _FIELDS}
        return _told, ({n: v for n, v in told.items() if v is not _FIELDS[n]},)


_FIELDS: Final[dict[str, Any]] = {
    field.name: field.default for field in attrs.fields(Statement)
}


def _told(told: dict[str, Any]) -> Statement:
    return Statement(**told)


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
