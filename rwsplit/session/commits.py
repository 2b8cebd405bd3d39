"""Commits: whether a unit may have made writes visible to others, as its answer tells its client.

What a client is told of a COMMIT it may act upon at once, wherever in a unit that stands: in front of a BEGIN, a chain or a
failure, behind a ROLLBACK that ends a failed transaction, before a Flush. So a unit counts as a commit unless it
surely is none; to count one too many costs a read its replica for as long as one probe takes.
"""

from __future__ import annotations

from typing import Final

from rwsplit.sql.script import Script
from rwsplit.sql.statement import Verb

#: What may commit although a transaction is open behind it; OTHER is COMMIT PREPARED, and what could not be read.
_COMMITTING: Final = frozenset({Verb.COMMIT, Verb.CALL, Verb.DO, Verb.OTHER})
#: What brings a session out of a transaction that has failed.
_REVIVING: Final = frozenset({Verb.COMMIT, Verb.ROLLBACK, Verb.ROLLBACK_TO, Verb.OTHER})


def goes_on(script: Script) -> bool:
    """Return whether *script*, run in a transaction that has failed, may do something else once it has ended that."""
    single = script.single
    if single is not None:
        return single.verb is Verb.OTHER
    return any(statement.verb in _REVIVING for statement in script.statements)


def has_committed(script: Script, *, is_failed: bool, is_over: bool, has_more: bool) -> bool:
    """Return whether a unit of *script* may have committed what its session has written before or in it.

    *is_failed*: the transaction it began in had failed; *is_over*: none is open behind it; *has_more*: it may have
    run more than *script* tells.
    """
    if has_more:
        return True
    if is_failed and not goes_on(script):
        return False
    return commits(script) or (is_over and not _rolls_back(script))


def commits(script: Script) -> bool:
    """Return whether *script* may commit what was written in front of it, or a part of what it writes itself."""
    return any(statement.verb in _COMMITTING for statement in script.statements)


def _rolls_back(script: Script) -> bool:
    """Return whether *script* does no more than read and roll back: what it ends has changed nothing."""
    return not (script.may_write or script.cost.writes) and any(
        statement.verb is Verb.ROLLBACK for statement in script.statements
    )
