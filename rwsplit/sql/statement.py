"""Statement: the facts of one SQL command that routing and sessions need.

What one Query message (or one Parse) holds, none of them or several, is a `Script` (`sql.script`). Both are made once per text or
shape, are cached, and never hold a parse tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, Final, NamedTuple

import attrs


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
    REDEFINED = "a name that means something else now"
    UNKNOWN_FUNCTION = "a function rwsplit does not know"
    UNRECOGNISED = "a statement rwsplit does not recognise"


def strictest(reasons: Iterable[PrimaryOnly | None]) -> PrimaryOnly | None:
    """Return the strictest of *reasons*, None if there is none."""
    present = set(reasons)
    return next((reason for reason in PrimaryOnly if reason in present), None)


#: State that ends sometime, and can be seen to.
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
    reveals: bool = False
    """A relation may be gone, by CASCADE too, that has hidden others of its name in schemas further down the search path."""


def unite(parts: Iterable[Redefined]) -> Redefined:
    """Return all that *parts* redefine."""
    found = list(parts)
    return Redefined(
        frozenset().union(*(each.functions for each in found)),
        frozenset().union(*(each.views for each in found)),
        any(each.defaults for each in found),
        any(each.reveals for each in found),
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
