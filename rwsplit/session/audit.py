"""Audit: ask a server what session state is left in it, so that a pin can end.

One query, whose answer is swallowed, sees everything the pins `LISTEN`, temporary object, advisory lock, cursor
and `PREPARE` stand for. Exported snapshots and large-object descriptors end with the transaction, so when a
session is idle there are none. What it cannot see keeps the session pinned without being asked (`pinning.UNSEEN`).

Names and operators are qualified: the search path is the session's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rwsplit.session.pinning import PinReason

_EQUAL: Final = "OPERATOR(pg_catalog.=)"
#: What a reason leaves to be seen. Everything in the temporary schema depends on that.
_SEEN: Final[dict[PinReason, str]] = {
    PinReason.LISTEN: "SELECT FROM pg_catalog.pg_listening_channels()",
    PinReason.TEMP_TABLE: (
        "SELECT FROM pg_catalog.pg_depend WHERE refclassid "
        f"{_EQUAL} 'pg_catalog.pg_namespace'::pg_catalog.regclass "
        f"AND refobjid {_EQUAL} pg_catalog.pg_my_temp_schema()"
    ),
    PinReason.ADVISORY_LOCK: (
        f"SELECT FROM pg_catalog.pg_locks WHERE locktype {_EQUAL} 'advisory' "
        f"AND pid {_EQUAL} pg_catalog.pg_backend_pid()"
    ),
    PinReason.HOLD_CURSOR: "SELECT FROM pg_catalog.pg_cursors WHERE is_holdable",
    PinReason.PREPARED: "SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql",
}

#: The columns of the query, to be put into a SELECT.
COLUMNS: Final = tuple(f"EXISTS ({query})" for query in _SEEN.values())


def left(columns: Sequence[bytes | None]) -> list[PinReason]:
    """Return why the session must keep its server, by the values of COLUMNS; the first stands for the others."""
    return [reason for reason, value in zip(_SEEN, columns, strict=True) if value == b"t"]
