"""Function calls: facts of a FunctionCall message, of which only the function's OID is known.

It goes to the primary. What it calls are large objects' functions (libpq's `lo_open`, pgjdbc's `LargeObject`): every other one pins
the session, as it may leave anything behind.
"""

from __future__ import annotations

from typing import Final

from rwsplit.sql.script import Script
from rwsplit.sql.statement import PrimaryOnly, StateKind, Statement, Verb

#: The functions of large objects, from pg_proc of PostgreSQL 16: their descriptors end with the transaction.
LARGE_OBJECT_OIDS: Final = frozenset(
    {
        *(952, 953, 954, 955, 956, 957, 958, 964),  # lo_open to lo_tell, lo_unlink
        *(715, 764, 765, 767, 1004),  # lo_create, lo_import, lo_export, lo_truncate
        *(3170, 3171, 3172),  # lo_lseek64, lo_tell64, lo_truncate64
        *(3457, 3458, 3459, 3460),  # lo_from_bytea, lo_get, lo_put
    }
)

SETSEED_OID: Final = 1599

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


WITH_SEED: Final = Script(
    (Statement(Verb.CALL, primary_only=PrimaryOnly.SESSION_STATE, state=StateKind.SEED),)
)


def facts_of_call(oid: int) -> Script:
    """Return the facts of a call of the function with *oid*."""
    if oid == SETSEED_OID:
        return WITH_SEED
    return PLAIN if oid in LARGE_OBJECT_OIDS else WITH_STATE
