"""Boundaries: which scripts begin transactions, end them or set them up, and the Query that begins one like them."""

from __future__ import annotations

from typing import Final

from rwsplit.protocol import codes
from rwsplit.protocol.framing import frame
from rwsplit.session.prologue import READ_COMMITTED
from rwsplit.sql.script import Script
from rwsplit.sql.statement import TRANSACTION_CONTROL, Statement, Verb

#: What ends a transaction.
ENDS: Final = frozenset({Verb.COMMIT, Verb.ROLLBACK})
#: What only reads, in a transaction that does.
READS: Final = frozenset({Verb.QUERY, Verb.SHOW, Verb.COPY_OUT, Verb.EXPLAIN, Verb.EMPTY})
#: What takes no snapshot (PlannedStmtRequiresSnapshot in pquery.c).
WITHOUT_SNAPSHOT: Final = frozenset(
    {
        *(Verb.SHOW, Verb.SET, Verb.SET_CONSTRAINTS, Verb.RESET, Verb.EMPTY),
        *(Verb.LOCK, Verb.LISTEN, Verb.UNLISTEN, Verb.NOTIFY),
    }
)


def takes_snapshot(script: Script) -> bool:
    """Return whether *script*, run in a transaction that only reads, does more than ask for or set parameters."""
    return any(
        s.verb not in WITHOUT_SNAPSHOT and s.verb not in TRANSACTION_CONTROL
        for s in script.statements
    )


def sets_modes(script: Script) -> bool:
    """Return whether *script* sets modes of the transaction it is in: PostgreSQL refuses some behind a snapshot."""
    return any(
        s.verb is Verb.BEGIN or (s.verb is Verb.SET and s.setting == "transaction")
        for s in script.statements
    )


def is_late(script: Script) -> bool:
    """Return whether *script* begins a transaction that may wait for its first statement, and does no more."""
    statement = script.single
    if statement is None or not _begins_late(statement):
        return False
    return script.hints is None or statement.read_only is True


def ends(script: Script) -> bool:
    """Return whether *script* is COMMIT or ROLLBACK and nothing else."""
    statement = script.single
    return statement is not None and statement.verb in ENDS and not statement.chain


def ends_one(statement: Statement) -> bool:
    """Return whether *statement* is a COMMIT or ROLLBACK, AND CHAIN or not."""
    return statement.verb in ENDS


def ends_first(script: Script) -> bool:
    """Return whether *script* ends the transaction it is in before it does anything else."""
    return len(script.statements) > 1 and script.statements[0].verb in ENDS


def opens_with_reads(script: Script) -> bool:
    """Return whether *script* begins such a transaction and goes on with reads only, in the same unit."""
    statements = script.statements
    return (
        len(statements) > 1
        and script.hints is None
        and _begins_late(statements[0])
        and statements[0].read_only is None
        and all(
            s.primary_only is None and s.state is None and not s.tells_time and s.verb in READS
            for s in statements[1:]
        )
    )


def begin_frame(statement: Statement, *, read_only: bool | None) -> bytes:
    """Return a Query that begins what *statement*, a BEGIN, begins; *read_only* as that says, or nothing of it."""
    words = ["BEGIN"]
    if statement.isolation:
        words.append(f"ISOLATION LEVEL {statement.isolation.upper()}")
    if read_only is not None:
        words.append("READ ONLY" if read_only else "READ WRITE")
    if statement.deferrable is not None:
        words.append("DEFERRABLE" if statement.deferrable else "NOT DEFERRABLE")
    return frame(codes.QUERY, " ".join(words).encode() + b"\0")


def _begins_late(statement: Statement) -> bool:
    return (
        statement.verb is Verb.BEGIN
        and statement.tag is not None
        and (
            statement.isolation in {None, *READ_COMMITTED}
            or (statement.read_only is True and statement.isolation == "repeatable read")
        )
    )
