"""Assignments: a SELECT that does nothing but set parameters for its transaction, as row-level security has it.

    SELECT set_config('app.tenant', $1, true)

Values are literals or parameters, so that the same messages set the same where they are said again; names are spelt out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rwsplit.sql.calls import Calls
from rwsplit.sql.tokens import MARK, NAME, NUMBER, PARAMETER, STRING, WORD, Token, string_value

_TRUE: Final = frozenset({"true", "t", "on", "yes", "y", "1"})
_VALUES: Final = frozenset({STRING, NUMBER, PARAMETER})
_COMMA: Final = (MARK, ",")
_OPENS: Final = (MARK, "(")
_CLOSES: Final = (MARK, ")")


def assigned(tokens: Sequence[Token], calls: Calls) -> frozenset[str]:
    """Return the parameters that *tokens*, one statement's, which calls *calls*, set; empty if they may do anything else."""
    if not calls.settings or tokens[:1] != [(WORD, "select")]:
        return frozenset()
    names = set()
    for item in _items(tokens[1:]):
        name = _name(item)
        if name is None:
            return frozenset()
        names.add(name)
    return frozenset(names)


def _items(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """Yield what stands between commas outside parentheses."""
    begin = depth = 0
    for at, token in enumerate(tokens):
        depth += (token == _OPENS) - (token == _CLOSES)
        if token == _COMMA and not depth:
            yield tokens[begin:at]
            begin = at + 1
    yield tokens[begin:]


def _name(item: Sequence[Token]) -> str | None:
    """Return the parameter that *item*, `set_config(name, value, true)` with a label perhaps, sets; None for anything else."""
    rest = list(item)
    if rest[:2] == [(WORD, "pg_catalog"), (MARK, ".")]:
        del rest[:2]
    if rest[:2] != [(WORD, "set_config"), _OPENS] or rest[3:4] != [_COMMA]:
        return None
    kind, text = rest[2]
    if kind != STRING or rest[4][0] not in _VALUES:
        return None
    tail = rest[5:]
    if tail[:1] == [(MARK, "::")]:  # as SQLAlchemy has it
        if tail[1:2] not in ([(WORD, "text")], [(WORD, "varchar")]):
            return None
        del tail[:2]
    if tail[:1] != [_COMMA] or tail[2:3] != [_CLOSES] or not is_true(tail[1]):
        return None
    if not _is_label(tail[3:]):
        return None
    return string_value(text).lower()


def is_true(token: Token) -> bool:
    """Return whether *token* is true as PostgreSQL's boolean reads it, spelt out."""
    kind, text = token
    if kind == STRING:
        return string_value(text).lower() in _TRUE
    return kind == WORD and text == "true"


def _is_label(tokens: Sequence[Token]) -> bool:
    """Return whether *tokens* are a column's label, or nothing."""
    if tokens[:1] == [(WORD, "as")]:
        tokens = tokens[1:]
        return len(tokens) == 1 and tokens[0][0] in (WORD, NAME)
    return not tokens or (len(tokens) == 1 and tokens[0][0] == NAME)
