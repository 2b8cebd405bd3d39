"""Function calls: facts of a FunctionCall message, of which only the function's OID is known.

It goes to the primary (pgjdbc reads and writes large objects by it). A function of the user's own, or one that
is known to leave session state, pins the session.
"""

from __future__ import annotations

from typing import Final

from rwsplit.sql.script import Script
from rwsplit.sql.statement import PrimaryOnly, StateKind, Statement, Verb

#: OIDs below are PostgreSQL's own (FirstNormalObjectId, src/include/access/transam.h).
FIRST_USER_OID: Final = 16384
#: Built-in functions that leave session state: set_config, advisory locks, pg_export_snapshot.
STATEFUL_OIDS: Final = frozenset({1599, 2078, 3809, *range(2880, 2893), 3089, 3090, 3091, 3092})

PLAIN: Final = Script(
    (Statement(Verb.CALL, primary_only=PrimaryOnly.MAY_WRITE, may_write=True),)
)
WITH_STATE: Final = Script(
    (
        Statement(
            Verb.CALL,
            primary_only=PrimaryOnly.MAY_WRITE,
            may_write=True,
            state=StateKind.UNKNOWN_FUNCTION,
        ),
    )
)


def facts_of_call(oid: int) -> Script:
    """Return the facts of a call of the function with *oid*."""
    return WITH_STATE if oid >= FIRST_USER_OID or oid in STATEFUL_OIDS else PLAIN
