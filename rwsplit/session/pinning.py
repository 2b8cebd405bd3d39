"""Pins: why a session keeps one server for itself, and when that ends.

A pinned session holds a server of the primary until it ends or `DISCARD ALL` wipes its state. That is slow
but right: whatever a statement may have left behind stays with the session that left it.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from rwsplit.sql.statement import Script, SessionState, Statement, Verb


class PinReason(Enum):
    """What keeps a session on its server; the value is what operators read."""

    PARAMETER = "it changed a parameter with SET"
    PREPARED = "it has a prepared statement made by PREPARE"
    LISTEN = "it listens for notifications"
    TEMP_TABLE = "it has a temporary table"
    ADVISORY_LOCK = "it may hold a session advisory lock"
    HOLD_CURSOR = "it has a cursor WITH HOLD"
    SEQUENCE = "it asked for currval or lastval"
    LIBRARY = "it loaded a library"
    SNAPSHOT = "it exported a snapshot"
    LARGE_OBJECT = "it has a large-object descriptor"
    UNKNOWN_FUNCTION = "it called a function that may have changed its session"
    SESSION_MODE = "its pool is in session mode"
    UNRECOGNISED = "it sent a statement that may have changed its session"


_REASONS: Final[dict[SessionState, PinReason]] = {
    state: PinReason[state.name] for state in SessionState
}

#: Statements that only take session state away: where there is none they leave none.
_CLEANSING: Final = frozenset(
    {Verb.RESET, Verb.UNLISTEN, Verb.CLOSE, Verb.DEALLOCATE, Verb.DISCARD}
)


#: State that is gone when the statement that made it fails: PostgreSQL rolls it back, or never made it.
_UNDONE: Final = frozenset(
    {
        SessionState.PARAMETER,
        SessionState.PREPARED,
        SessionState.LISTEN,
        SessionState.TEMP_TABLE,
        SessionState.HOLD_CURSOR,
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
    if script.state is SessionState.UNRECOGNISED:
        return sqlstate != _SYNTAX_ERROR
    return script.state not in _UNDONE


def pin_reason(script: Script) -> PinReason | None:
    """Return why a session that runs *script* must keep its server, None if it need not."""
    if script.state is None:
        return None
    for statement in script.statements:
        if statement.state is None or statement.verb in _CLEANSING:
            continue
        if statement.setting is not None and statement.setting.startswith("rwsplit."):
            continue
        if statement.verb is Verb.SET and statement.local:
            continue
        return _REASONS[statement.state]
    return None


def reset_parameters(script: Script) -> set[str]:
    """Return the parameters *script* puts back to the server's own; `all` among them for all."""
    return {
        "all" if s.discards else s.setting or "all"
        for s in script.statements
        if s.discards or s.verb is Verb.RESET or s.to_default
    }


def forgets_prepared(script: Script) -> bool:
    """Return whether *script* deallocates every prepared statement of its server."""
    return any(map(drops_prepared, script.statements))


def drops_prepared(statement: Statement) -> bool:
    """Return whether *statement* deallocates every prepared statement of its server."""
    if statement.verb is Verb.DEALLOCATE:
        return statement.name is None or statement.name == "all"
    return statement.discards
