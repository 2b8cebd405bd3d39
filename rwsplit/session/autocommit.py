"""Autocommit: what statement mode asks of a session.

A server is given back after each statement, so a transaction may not outlive the unit it begins in. Most are
seen before they are sent; what only the answer shows (a BEGIN that could not be parsed) ends the session.
"""

from __future__ import annotations

from typing import Final

from rwsplit.sql.script import Script
from rwsplit.sql.statement import Verb

REFUSAL: Final = "transaction blocks are not allowed in statement pooling mode"
HINT: Final = (
    "pool.mode is statement for this database or user: each statement commits by itself."
)


def leaves_open(script: Script) -> bool:
    """Return whether a transaction that *script* begins goes on after it, if none of it fails."""
    is_open = False
    for statement in script.statements:
        if statement.verb is Verb.BEGIN:
            is_open = True
        elif statement.verb in _ENDS:
            is_open = statement.chain
    return is_open


_ENDS: Final = frozenset({Verb.COMMIT, Verb.ROLLBACK, Verb.PREPARE_TRANSACTION})
