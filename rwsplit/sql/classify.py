"""Classify: from the text of a query to the facts of every statement in it.

Pure and total: whatever the bytes are, a Script comes back. What cannot be read, is too long, nests too
deep or surprises us in any other way is UNREADABLE: it may write, may leave anything behind and goes to
the primary, whose parser will judge it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.hints import parse_hints
from rwsplit.sql.parse_budget import ParseBudget
from rwsplit.sql.script import Script
from rwsplit.sql.settings import UNRECOGNISED
from rwsplit.sql.shape import shorten
from rwsplit.sql.statement import Hints, Redefined, Statement
from rwsplit.sql.tokens import MARK, WORD, Scan, Token, scan
from rwsplit.sql.verbs import classify_statement

PARSE_LIMIT: Final = 1 << 20
"""Bytes of a query beyond which nothing is read."""
MOST_STATEMENTS: Final = 4000
"""Statements of a query, those within them included, and names it defines, beyond which it counts as not read: each costs further work."""


def parse(query: bytes, book: FunctionBook, budget: ParseBudget | None = None) -> Script:
    """Return the facts of *query* (without a zero byte at its end); never raise.

    *budget*: what its trees may cost.
    """
    found = scan_query(query)
    return unreadable() if found is None else parse_scan(found, book, budget)


def scan_query(query: bytes) -> Scan | None:
    """Return the tokens of *query* that matter, None if it cannot be read or is too long."""
    return scan(shorten(query)) if len(query) <= PARSE_LIMIT else None


def parse_scan(found: Scan, book: FunctionBook, budget: ParseBudget | None = None) -> Script:
    """Return the facts of a query that has been cut into tokens."""
    hints = parse_hints(found.comments)
    try:
        return read_scan(found, book, hints, budget or ParseBudget())
    except Exception:  # noqa: BLE001 - sqlglot is large, and a query it stumbles over must still run
        return unreadable(hints)


def read_scan(
    found: Scan, book: FunctionBook, hints: Hints | None, budget: ParseBudget
) -> Script:
    """As `classify`, but raise the errors of sqlglot, and MemoryError."""
    parts = list(split(found.tokens))
    if len(parts) > MOST_STATEMENTS:
        return unread(hints)
    script = _script(parts, book, hints, budget)
    if any(statement.changes_path for statement in script.statements[:-1]):
        book = book.anywhere()
        script = _script(parts, book, hints, budget)
    redefined = script.redefines
    if _count(script) > MOST_STATEMENTS or _names(redefined) > MOST_STATEMENTS:
        return unread(hints)
    names = book.doubted_by(redefined) if len(parts) > 1 and redefined is not None else ()
    if names:
        if budget.is_spent:
            return unread(hints)  # to look at it once more takes time as well
        # What one of its statements defines, another one may use.
        script = _script(parts, book.doubting(names), hints, budget)
    return script


def _script(
    parts: Sequence[Sequence[Token]],
    book: FunctionBook,
    hints: Hints | None,
    budget: ParseBudget,
) -> Script:
    alone = len(parts) == 1
    # Behind the one that was too expensive nothing is read: that takes time as well.
    statements = (
        classify_statement(part, book, budget, alone=alone) if budget.begin() else _UNREAD
        for part in parts
    )
    same: dict[Statement, Statement] = {}
    return Script(tuple(same.setdefault(each, each) for each in statements), hints=hints)


def _count(script: Script) -> int:
    """Return how many statements *script* holds, each counted once, with those within them."""
    count = 0
    for each in {id(statement): statement for statement in script.statements}.values():
        statement: Statement | None = each
        while statement is not None:
            count += 1
            statement = statement.inner
    return count


def _names(redefined: Redefined | None) -> int:
    return 0 if redefined is None else len(redefined.functions) + len(redefined.views)


def unreadable(hints: Hints | None = None) -> Script:
    """Return the facts of a query that could not be read."""
    return Script((UNRECOGNISED,), hints=hints)


def unread(hints: Hints | None = None) -> Script:
    """Return the facts of a query that PostgreSQL may accept but rwsplit cannot parse: it may also define names."""
    return Script((_UNREAD,), hints=hints)


def split(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """Yield the tokens of each statement, without semicolons and empty statements.

    Semicolons inside parentheses (CREATE RULE) or between BEGIN ATOMIC and its END (the SQL body of a
    function) do not end a statement. That END comes directly behind a semicolon, or ATOMIC; any other is a CASE's, or a name.
    """
    start, depth, in_body = 0, 0, False
    before: Token = (MARK, "")
    for index, token in enumerate(tokens):
        kind, text = token
        if kind == MARK:
            depth += (text == "(") - (text == ")")
            if text == ";" and depth <= 0 and not in_body:
                if index > start:
                    yield tokens[start:index]
                start, depth = index + 1, 0
        elif kind == WORD and text == "atomic":
            in_body = in_body or (
                before == (WORD, "begin")
                and depth <= 0
                and _has_body(tokens[start : start + 4])
            )
        elif kind == WORD and text == "end" and in_body:
            in_body = before not in {(MARK, ";"), (WORD, "atomic")}
        before = token
    if start < len(tokens):
        yield tokens[start:]


def _has_body(head: Sequence[Token]) -> bool:
    """Say whether a statement that begins with *head* defines a function or procedure."""
    words = [text for kind, text in head if kind == WORD]
    at = 3 if words[1:3] == ["or", "replace"] else 1
    return words[:1] == ["create"] and words[at : at + 1] in (["function"], ["procedure"])


_UNREAD: Final = attrs.evolve(UNRECOGNISED, redefines=Redefined(reveals=True))
