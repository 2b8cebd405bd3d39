"""Pins: why a session keeps one server for itself, and when that ends.

A pinned session holds a server of the primary, because that has state a statement left behind. It goes back to
pooling when the state is gone: after a statement that may have ended it the server is asked what is left (`audit`).
What no query shows - the seed of random(), what an unknown function has done - stays until
`DISCARD ALL` or the session's end. Parameters do not pin: they are journalled (`journal`).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Final

from rwsplit.session.parameters import IDENTITY
from rwsplit.session.stand_ins import Effects
from rwsplit.sql.script import Script
from rwsplit.sql.statement import StateKind, Statement, Verb


class PinReason(Enum):
    """What keeps a session on its server; the value is what operators read."""

    PARAMETER = "it changed a parameter that cannot be read back"
    SEED = "it set the seed of random()"
    PREPARED = "it has a prepared statement made by PREPARE"
    LISTEN = "it listens for notifications"
    TEMP_TABLE = "it has a temporary table"
    ADVISORY_LOCK = "it may hold a session advisory lock"
    HOLD_CURSOR = "it has a cursor WITH HOLD"
    SEQUENCE = "it asked for currval or lastval"
    LIBRARY = "it loaded a library"
    SNAPSHOT = "it exported a snapshot"
    LARGE_OBJECT = "it has a large-object descriptor"
    REDEFINED = "it gave a name another meaning"
    UNKNOWN_FUNCTION = "it called a function that may have changed its session"
    PRIVILEGED_PARAMETER = "it has a parameter that its role may not set"
    SESSION_MODE = "its pool is in session mode"
    UNRECOGNISED = "it sent a statement that may have changed its session"


_REASONS: Final[dict[StateKind, PinReason]] = {
    state: PinReason[state.name] for state in StateKind
}

#: State that no query shows, so that rwsplit cannot tell when it has ended.
UNSEEN: Final = frozenset(
    {
        PinReason.PARAMETER,
        PinReason.SEED,
        PinReason.PRIVILEGED_PARAMETER,
        PinReason.SEQUENCE,
        PinReason.LIBRARY,
        PinReason.REDEFINED,
        PinReason.UNKNOWN_FUNCTION,
        PinReason.UNRECOGNISED,
        PinReason.SESSION_MODE,
    }
)

#: State that is there once the statement that makes it has succeeded outside a transaction.
SURE: Final = frozenset({PinReason.LISTEN, PinReason.PREPARED})

#: Statements that only take session state away: where there is none they leave none.
_CLEANSING: Final = frozenset(
    {Verb.RESET, Verb.UNLISTEN, Verb.CLOSE, Verb.DEALLOCATE, Verb.DISCARD}
)


_RENAMING: Final = frozenset({Verb.PREPARE, Verb.DEALLOCATE})
_HIDING: Final = frozenset({Verb.DO, Verb.PREPARE})
_LATER: Final = frozenset({Verb.PREPARE, Verb.DECLARE})

#: State that is gone when the statement that made it fails: PostgreSQL rolls it back, or never made it.
_UNDONE: Final = frozenset(
    {
        StateKind.PARAMETER,
        StateKind.PREPARED,
        StateKind.LISTEN,
        StateKind.TEMP_TABLE,
        StateKind.HOLD_CURSOR,
        StateKind.REDEFINED,
    }
)
_SYNTAX_ERROR: Final = b"42601"


def leaves_state(script: Script | None, sqlstate: bytes) -> bool:
    """Return whether *script*, which failed with *sqlstate*, may have left session state all the same.

    A lone statement that set a parameter, say, has not; nor has one PostgreSQL could not even parse. An
    advisory lock survives the failure of the statement that took it.
    """
    if script is None or script.single is None:
        return True
    if script.state is StateKind.UNRECOGNISED:
        return sqlstate != _SYNTAX_ERROR
    return script.state not in _UNDONE


def pin_reason(script: Script) -> PinReason | None:
    """Return why a session that runs *script* must keep its server, None if it need not.

    Of several reasons the one that lasts.
    """
    if script.state is None:
        return None
    reasons = [_REASONS[state] for s in script.statements for state in _left_by(s)]
    return next((r for r in reasons if r in UNSEEN), reasons[0] if reasons else None)


def _left_by(statement: Statement) -> Iterator[StateKind]:
    """Yield the states *statement* leaves behind that keep its session on its server."""
    if (
        statement.state is None
        or statement.verb in _CLEANSING
        or (statement.setting is not None and statement.setting.startswith("rwsplit."))
        or (statement.verb is Verb.SET and statement.local)
    ):
        return
    if statement.state is not StateKind.PARAMETER or not statement.sets:
        yield statement.state
    # What a prepared statement or a cursor does, it does later, when nobody looks.
    if statement.verb in _LATER and statement.inner and statement.inner.state:
        yield statement.inner.state


def leaves_seed(script: Script) -> bool:
    """Return whether *script* may set the seed of random(), which nothing takes away again: DISCARD ALL keeps it (variable.c, float.c).

    It may if it sets a parameter that it does not spell out.
    """
    return script.state is not None and any(
        StateKind.SEED in _left_by(s)
        or any(name.endswith("setseed") for name in s.functions)
        or (
            StateKind.PARAMETER in _left_by(s)
            and (s.verb in _HIDING or "set_config" in s.functions)
        )
        for s in script.statements
    )


def reset_parameters(script: Script | Effects) -> set[str]:
    """Return the parameters *script* puts back to the server's own; `all` among them for all."""
    names: set[str] = set()
    for statement in script.statements:
        if statement.discards:
            names |= {"all", *IDENTITY}
        elif statement.verb is Verb.RESET or statement.to_default:
            names.add(statement.setting or "all")
    return names


def renames(script: Script) -> bool:
    """Return whether *script* changes what its session calls statements."""
    return any(s.verb in _RENAMING or s.discards for s in script.statements)


def set_after_reset(script: Script | Effects) -> set[str]:
    """Return the parameters *script* sets and does not put back again: they are not the server's own."""
    names: set[str] = set()
    for statement in script.statements:
        if statement.discards:
            names.clear()
        elif statement.verb is Verb.RESET and (statement.setting or "all") == "all":
            names &= {*IDENTITY}
        elif statement.verb is Verb.RESET or statement.to_default:
            names.discard(statement.setting or "")
        else:
            names |= statement.sets
    return names


def forgets_prepared(script: Script) -> bool:
    """Return whether *script* deallocates every prepared statement of its server."""
    return any(map(drops_prepared, script.statements))


def drops_prepared(statement: Statement) -> bool:
    """Return whether *statement* deallocates every prepared statement of its server."""
    if statement.verb is Verb.DEALLOCATE:
        return statement.name is None or statement.name == "all"
    return statement.discards
