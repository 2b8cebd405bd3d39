"""Facts: what calling a function, or reading a relation, means for routing.

`FunctionFacts` is a short tuple because there are thousands of them; a relation has the same ones, because to
read a view is to call what it calls. Facts of several things at once are their union (`combine`): the strictest
reason, the state hardest to get rid of.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from rwsplit.sql.statement import PrimaryOnly, StateKind, hardest, strictest


class FunctionFacts(NamedTuple):
    """What a call of one function means."""

    primary_only: PrimaryOnly | None = None
    may_write: bool = False
    state: StateKind | None = None
    needs_session: bool = False
    tells_time: bool = False
    """It may say when its transaction began."""


HARMLESS: Final = FunctionFacts()
UNKNOWN: Final = FunctionFacts(
    PrimaryOnly.UNKNOWN_FUNCTION, may_write=True, state=StateKind.UNKNOWN_FUNCTION
)
VOLATILE: Final = FunctionFacts(PrimaryOnly.VOLATILE_FUNCTION, may_write=True)
ABOUT_THE_PRIMARY: Final = FunctionFacts(PrimaryOnly.NEEDS_PRIMARY)
TELLING_ROLE: Final = FunctionFacts(PrimaryOnly.NODE_ROLE)
ABOUT_THE_SESSION: Final = FunctionFacts(PrimaryOnly.SESSION_STATE, needs_session=True)
TELLING_TIME: Final = FunctionFacts(tells_time=True)
OPENING: Final = FunctionFacts(PrimaryOnly.SESSION_STATE)
"""Of what opens a cursor, or uses one that is open: its transaction is where that is."""
LOCKING: Final = FunctionFacts(PrimaryOnly.LOCKS_ROWS)


#: What asks PostgreSQL when the transaction began (manual, "Current Date/Time"): words of the grammar, functions.
#: `age` with one argument counts from today, and input functions may be given 'now'.
TIME_WORDS: Final = frozenset(
    {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
)
TIME_FUNCTIONS: Final = frozenset(
    {"now", "transaction_timestamp", "age", "date_in", "time_in", "timetz_in", "timestamp_in"}
    | {"timestamptz_in"}
)


def leaving(state: StateKind) -> FunctionFacts:
    """Return the facts of what leaves *state* behind."""
    return FunctionFacts(
        PrimaryOnly.SESSION_STATE,
        may_write=state in {StateKind.LARGE_OBJECT, StateKind.UNRECOGNISED},
        state=state,
        needs_session=state in {StateKind.LARGE_OBJECT, StateKind.SEQUENCE},
    )


def combine(parts: Iterable[FunctionFacts]) -> FunctionFacts:
    """Return the facts of all *parts* together."""
    troubled = {part for part in parts if part != HARMLESS}
    if not troubled:
        return HARMLESS
    if len(troubled) == 1:
        return troubled.pop()
    return FunctionFacts(
        strictest(part.primary_only for part in troubled),
        may_write=any(part.may_write for part in troubled),
        state=hardest(part.state for part in troubled),
        needs_session=any(part.needs_session for part in troubled),
        tells_time=any(part.tells_time for part in troubled),
    )
