"""Given: SQL, or the name of a relation, that a statement hands to one of PostgreSQL's functions in a literal.

`query_to_xml('select ...')` and its like run a query, and nothing but a query: PostgreSQL refuses anything else there
(`SPI_execute` with *read_only*). What that query does they do. So it is judged like a statement of its own, with its calls and
tables, and `table_to_xml('t')` like `TABLE t`. That needs a literal that is all of the argument; what is put together,
bound or read from a table may be any query, and run any function.

Others are told a type in a value (`domain_in('x', 'app.d'::regtype, -1)`): they are no better than the worst type.

Facts of such statements hang on their literals and are not shared (`shape.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from rwsplit.sql.cursor import Cursor
from rwsplit.sql.facts import HARMLESS, UNKNOWN, FunctionFacts, combine, leaving
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.statement import StateKind, Statement
from rwsplit.sql.tokens import MARK, OPERATOR, STRING, WORD, Token, scan_text, string_value

_QUERIES: Final = frozenset(
    {"query_to_xml", "query_to_xml_and_xmlschema", "query_to_xmlschema", "ts_stat"}
)
_REWRITE: Final = "ts_rewrite"
"""ts_rewrite(query, target, substitute) only computes; ts_rewrite(query, select) runs that."""
_TABLES: Final = frozenset({"table_to_xml", "table_to_xml_and_xmlschema"})
_SCHEMAS: Final = frozenset(
    f"{kind}_to_xml{form}" for kind in ("schema", "database") for form in ("", "_and_xmlschema")
)
_TYPES: Final = frozenset(
    {"array_in", "domain_in", "multirange_in", "range_in", "record_in"}
    | {"pg_input_error_info", "pg_input_is_valid"}
)
BY_LITERAL: Final = _QUERIES | _TABLES | {_REWRITE}
"""The names, without their schema, of the functions whose literals matter."""
_BARE: Final = BY_LITERAL | _SCHEMAS | _TYPES
GIVEN: Final = _BARE | {f"pg_catalog.{name}" for name in _BARE}
"""The names of the functions that are judged here."""

_ARGUMENTS: Final = frozenset({"query", "tbl"})
_NAMED: Final = frozenset({(OPERATOR, "=>"), (MARK, ":=")})
_STARTS: Final = frozenset(
    {(WORD, "select"), (WORD, "with"), (WORD, "values"), (WORD, "table"), (MARK, "(")}
)

Classify = Callable[[Sequence[Token]], Statement]


class Given(NamedTuple):
    """What one call means, and the statement it runs, where that is known."""

    facts: FunctionFacts
    statement: Statement | None = None


def judge(
    name: str, call: Sequence[Token], book: FunctionBook, classify: Classify | None
) -> Given:
    """Return what the call of *name*, one of GIVEN, means.

    *call* are its tokens without the closing parenthesis; *classify* judges what it is given, unless that nests too deep.
    """
    bare, parts = name.removeprefix("pg_catalog."), _parts(call[2:])
    if bare in _TYPES:
        return Given(book.facts_as(name, book.any_type()))
    if bare in _SCHEMAS:
        return Given(book.facts_as(name, book.any_relation()))
    if bare == _REWRITE and len(parts) == len(("query", "target", "substitute")):
        return Given(book.facts_as(name, HARMLESS))
    if bare == _REWRITE:
        parts = parts[1:]
    part = parts[0] if parts else ()
    tokens = None
    if classify is not None:
        tokens = _relation(part) if bare in _TABLES else _query(part)
    if tokens is None or classify is None:
        known = book.any_relation() if bare in _TABLES else UNKNOWN
        return Given(book.facts_as(name, known))
    statement = classify(tokens)
    return Given(book.facts_as(name, _facts_of(statement)), statement)


def _facts_of(statement: Statement) -> FunctionFacts:
    """Return what it means to call a function that runs *statement*."""
    facts = FunctionFacts(
        statement.primary_only,
        statement.may_write,
        statement.state,
        statement.needs_session,
        statement.tells_time,
    )
    return combine((facts, leaving(StateKind.PARAMETER))) if statement.sets else facts


def _query(part: Sequence[Token]) -> Sequence[Token] | None:
    """Return the tokens of the query that the argument *part* spells out; None if it does not, or something else."""
    text = _value(part)
    found = None if text is None else scan_text(text)
    tokens = list(found.tokens) if found else []
    while tokens[-1:] == [(MARK, ";")]:
        tokens.pop()
    return tokens if tokens and tokens[0] in _STARTS and (MARK, ";") not in tokens else None


def _relation(part: Sequence[Token]) -> Sequence[Token] | None:
    """Return the tokens of a query of the relation that the argument *part* names, None if it does not."""
    if tuple(part[-2:]) == ((MARK, "::"), (WORD, "regclass")):
        part = part[:-2]
    text = _value(part)
    found = None if text is None else scan_text(text)
    cursor = Cursor(found.tokens if found else ())
    is_name = cursor.token[0] != STRING and cursor.dotted_name() is not None
    return [(WORD, "table"), *cursor.tokens] if is_name and cursor.at_end else None


def _value(part: Sequence[Token]) -> str | None:
    """Return what the argument *part* says, if it is one literal that has one meaning."""
    if len(part) > 1 and part[0][0] == WORD and part[0][1] in _ARGUMENTS and part[1] in _NAMED:
        part = part[2:]
    if len(part) != 1 or part[0][0] != STRING:
        return None
    text = part[0][1]
    # A backslash means nothing or an escape, whatever standard_conforming_strings says.
    is_plain = text[0] == "$" or (text[0] == "'" and "\\" not in text)
    return string_value(text) if is_plain else None


def _parts(arguments: Sequence[Token]) -> list[Sequence[Token]]:
    """Return *arguments* cut at the commas between them."""
    parts: list[list[Token]] = [[]] if arguments else []
    depth = 0
    for token in arguments:
        kind, text = token
        if kind == MARK:
            depth += (text in "([") - (text in ")]")
        if depth == 0 and token == (MARK, ","):
            parts.append([])
        else:
            parts[-1].append(token)
    return list(parts)
