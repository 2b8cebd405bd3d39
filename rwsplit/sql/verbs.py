"""Facts of one statement by its verb: a small grammar of PostgreSQL's utility statements.

Queries and DML go to `queries.py`, SET and its kin to `settings.py`. EXPLAIN, PREPARE, DECLARE and COPY
(query) hold another statement, which is classified for itself and kept as *inner*. A verb that is not in
the table may write and may leave anything behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from rwsplit.sql.calls import DML
from rwsplit.sql.cursor import Cursor
from rwsplit.sql.ddl import (
    DDL,
    WRITE,
    Classify,
    classify_alter,
    classify_create,
    classify_definition,
    classify_privileges,
    run_by,
)
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.parse_budget import ParseBudget
from rwsplit.sql.procedures import classify_call, classify_do
from rwsplit.sql.queries import classify_query
from rwsplit.sql.settings import (
    UNRECOGNISED,
    classify_begin,
    classify_reset,
    classify_set,
    classify_show,
)
from rwsplit.sql.statement import PrimaryOnly, Redefined, StateKind, Statement, Verb
from rwsplit.sql.tokens import MARK, NAME, WORD, Token

QUERY_STARTS: Final = DML | {"select", "with", "values", "table", "("}

_SESSION: Final = PrimaryOnly.SESSION_STATE
_MAX_NESTING: Final = 8


def classify_statement(
    tokens: Sequence[Token],
    book: FunctionBook,
    budget: ParseBudget,
    *,
    alone: bool = True,
    depth: int = 0,
) -> Statement:
    """Return the facts of *tokens*, one statement without its semicolon; *alone*: the text's only one.

    *budget* is that of the text.
    """
    kind, text = tokens[0]
    if kind == (MARK if text == "(" else WORD) and text in QUERY_STARTS:
        return classify_query(tokens, book, budget)
    cursor = Cursor(tokens, 1)
    if kind == WORD and text in _SETTINGS:
        return _SETTINGS[text](cursor, alone)
    if kind == WORD and text in _UTILITIES:
        return _UTILITIES[text](cursor)
    if kind == WORD and text in _RUNNERS:
        return _RUNNERS[text](tokens, book, budget)
    if kind == WORD and text in _HOLDERS and depth < _MAX_NESTING:
        return _HOLDERS[text](cursor, lambda held: _held(held, book, budget, depth))
    return UNRECOGNISED


def _held(
    tokens: Sequence[Token], book: FunctionBook, budget: ParseBudget, depth: int
) -> Statement:
    if not tokens or not budget.begin():
        return UNRECOGNISED
    return classify_statement(tokens, book, budget, alone=False, depth=depth + 1)


# Transactions


def _commit(cursor: Cursor) -> Statement:
    return _end(Verb.COMMIT, cursor)


def _rollback(cursor: Cursor) -> Statement:
    if not cursor.take("prepared"):
        cursor.take_any("work", "transaction")
        if cursor.take("to"):
            cursor.take("savepoint")
            return Statement(Verb.ROLLBACK_TO, name=cursor.name())
        return _end(Verb.ROLLBACK, cursor)
    return WRITE


def _end(verb: Verb, cursor: Cursor) -> Statement:
    if cursor.take("prepared"):  # there may have been DDL in it
        return attrs.evolve(WRITE, redefines=Redefined(reveals=True))
    cursor.take_any("work", "transaction")
    cursor.take("and", "no", "chain")
    chain = cursor.take("and", "chain")
    return Statement(verb, chain=chain, tag=None if chain or not cursor.at_end else verb.name)


def _release(cursor: Cursor) -> Statement:
    cursor.take("savepoint")
    return Statement(Verb.RELEASE, name=cursor.name())


# Session state


def _deallocate(cursor: Cursor) -> Statement:
    cursor.take("prepare")
    name = cursor.name()
    return Statement(Verb.DEALLOCATE, primary_only=_SESSION, name=name, anywhere=name == "all")


def _discard(cursor: Cursor) -> Statement:
    everything = cursor.take("all")
    return Statement(
        Verb.DISCARD,
        primary_only=_SESSION,
        discards=everything,
        changes_path=everything,
        needs_session=True,  # what the session has drawn from sequences is there
        name=None if everything else cursor.name(),
    )


def _listen(cursor: Cursor) -> Statement:
    return Statement(
        Verb.LISTEN, primary_only=_SESSION, state=StateKind.LISTEN, name=cursor.name()
    )


def _unlisten(cursor: Cursor) -> Statement:
    return Statement(Verb.UNLISTEN, primary_only=_SESSION, name=cursor.name() or "*")


def _notify(cursor: Cursor) -> Statement:
    return attrs.evolve(WRITE, verb=Verb.NOTIFY, name=cursor.name())


def _fetch(cursor: Cursor) -> Statement:
    """FETCH and MOVE: a cursor may run functions that write; its name comes last."""
    kind, text = cursor.tokens[-1]
    return Statement(
        Verb.FETCH,
        primary_only=_SESSION,
        may_write=True,
        needs_session=True,
        name=text if kind in {WORD, NAME} and len(cursor.tokens) > 1 else None,
    )


def _close(cursor: Cursor) -> Statement:
    return Statement(Verb.CLOSE, primary_only=_SESSION, needs_session=True, name=cursor.name())


def _load(_cursor: Cursor) -> Statement:
    return Statement(Verb.OTHER, primary_only=_SESSION, state=StateKind.LIBRARY)


def _execute(cursor: Cursor, classify: Classify) -> Statement:
    """EXECUTE runs the expressions of its arguments, if there are any, at once: they are *inner*."""
    name = cursor.name()
    held = cursor.rest
    inner = classify([(WORD, "select"), *held]) if held else None
    return Statement(
        Verb.EXECUTE,
        primary_only=PrimaryOnly.MAY_WRITE,
        may_write=True,
        needs_session=True,
        state=inner.state if inner else None,
        sets=inner.sets if inner else frozenset(),
        functions=inner.functions if inner else frozenset(),
        name=name,
        inner=inner,
    )


def _lock(_cursor: Cursor) -> Statement:
    return Statement(Verb.LOCK, primary_only=PrimaryOnly.LOCKS_ROWS, locks_rows=True)


# Statements that hold another one


def _explain(cursor: Cursor, classify: Classify) -> Statement:
    """EXPLAIN runs nothing without ANALYZE; that word anywhere in the options counts as ANALYZE."""
    start = cursor.position
    if not cursor.skip_parentheses():
        while cursor.take_any("analyze", "analyse", "verbose"):
            pass
    options = {text for kind, text in cursor.tokens[start : cursor.position] if kind == WORD}
    inner = classify(cursor.rest)
    runs = not options.isdisjoint({"analyze", "analyse"})
    return attrs.evolve(
        inner,
        verb=Verb.EXPLAIN,
        may_write=inner.may_write and (runs or inner is UNRECOGNISED),
        inner=inner,
        setting=None,
        name=None,
        discards=False,
    )


def _prepare(cursor: Cursor, classify: Classify) -> Statement:
    if cursor.take("transaction"):
        return attrs.evolve(WRITE, verb=Verb.PREPARE_TRANSACTION)
    name = cursor.name()
    cursor.skip_parentheses()
    if not cursor.take("as"):
        return UNRECOGNISED
    inner = classify(cursor.rest)
    return Statement(
        Verb.PREPARE,
        primary_only=_SESSION,
        state=StateKind.PREPARED,
        functions=inner.functions,
        tables=inner.tables,
        name=name,
        inner=inner,
    )


def _declare(cursor: Cursor, classify: Classify) -> Statement:
    name = cursor.name()
    options = cursor.position
    if not cursor.find("for"):
        return UNRECOGNISED
    holds = (WORD, "with") in cursor.tokens[options : cursor.position]
    cursor.take("for")
    inner = classify(cursor.rest)
    return Statement(
        Verb.DECLARE,
        primary_only=_SESSION,
        may_write=inner.may_write,
        locks_rows=inner.locks_rows,
        state=StateKind.HOLD_CURSOR if holds else inner.state,
        functions=inner.functions,
        tables=inner.tables,
        name=name,
        inner=inner,
    )


def _copy(cursor: Cursor, classify: Classify) -> Statement:
    """COPY from or to the client, a file or a program; STDIN and STDOUT mean the same to PostgreSQL."""
    if cursor.token == (MARK, "("):
        start = cursor.position
        cursor.skip_parentheses()
        inner = classify(cursor.tokens[start + 1 : cursor.position - 1])
        if cursor.take("to") and cursor.take_any("stdout", "stdin"):
            return attrs.evolve(inner, verb=Verb.COPY_OUT, inner=inner)
        return attrs.evolve(WRITE, state=inner.state)
    cursor.take("binary")
    start = cursor.position
    table = cursor.dotted_name()
    source: Sequence[Token] = ((WORD, "table"), *cursor.tokens[start : cursor.position])
    cursor.skip_parentheses()
    if table is None:
        return UNRECOGNISED
    if cursor.take("to") and cursor.take_any("stdout", "stdin"):
        return attrs.evolve(classify(source), verb=Verb.COPY_OUT)
    run = run_by(cursor.rest, {"where"}, classify)
    if cursor.take("from") and cursor.take_any("stdin", "stdout"):
        return attrs.evolve(run, verb=Verb.COPY_IN, tables=frozenset({table}))
    return run


# Others


def _write(_cursor: Cursor) -> Statement:
    return WRITE


def _vacuum(_cursor: Cursor) -> Statement:
    return attrs.evolve(WRITE, verb=Verb.VACUUM)


_SETTINGS: Final[dict[str, Callable[[Cursor, bool], Statement]]] = {
    "set": lambda cursor, alone: classify_set(cursor, alone=alone),
    "reset": lambda cursor, alone: classify_reset(cursor, alone=alone),
    "show": lambda cursor, _alone: classify_show(cursor),
}
_HOLDERS: Final[dict[str, Callable[[Cursor, Classify], Statement]]] = {
    "explain": _explain,
    "prepare": _prepare,
    "declare": _declare,
    "copy": _copy,
    "create": classify_create,
    "execute": _execute,
    "alter": classify_alter,
}
_RUNNERS: Final[
    dict[str, Callable[[Sequence[Token], FunctionBook, ParseBudget], Statement]]
] = {
    "call": classify_call,
    "do": lambda tokens, book, _budget: classify_do(tokens, book),
}
_UTILITIES: Final[dict[str, Callable[[Cursor], Statement]]] = {
    "begin": classify_begin,
    "start": classify_begin,
    "commit": _commit,
    "end": _commit,
    "rollback": _rollback,
    "abort": _rollback,
    "savepoint": lambda cursor: Statement(Verb.SAVEPOINT, name=cursor.name()),
    "release": _release,
    "deallocate": _deallocate,
    "discard": _discard,
    "listen": _listen,
    "unlisten": _unlisten,
    "notify": _notify,
    "fetch": _fetch,
    "move": _fetch,
    "close": _close,
    "load": _load,
    "lock": _lock,
    "vacuum": _vacuum,
    "analyze": _vacuum,
    "analyse": _vacuum,
    "checkpoint": _write,
    **dict.fromkeys(
        (
            *("comment", "security", "truncate"),
            *("reindex", "cluster", "refresh", "reassign"),
        ),
        lambda _cursor: DDL,
    ),
    **dict.fromkeys(("grant", "revoke"), classify_privileges),
    **dict.fromkeys(("drop", "import"), classify_definition),
}
