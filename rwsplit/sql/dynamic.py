"""Dynamic: SQL that a body makes up and runs (EXECUTE, DO), as far as its text tells what that will be.

Mostly it tells: `EXECUTE format('SELECT ... %I', t)` is a literal into which only names and values are put, and those are
quoted. Such a text is *spelt*. Where something is joined that may be anything, it is *woven*: the literals still show what it
is meant to do. And where no literal of the body begins a statement, or what is called has a made-up name, nobody can
tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Final

from rwsplit.sql.cursor import Cursor
from rwsplit.sql.tokens import MARK, OPERATOR, STRING, WORD, Token, string_value


class Dynamic(IntEnum):
    """How much is known of the SQL a body makes up; of several the worst counts."""

    NONE = 0
    SPELT = 1
    WOVEN = 2
    OPAQUE = 3


MADE_UP: Final = "rwsplit_made_up"
"""Stands for a name that is put into a spelt text."""

_QUOTED: Final = {"quote_ident": MADE_UP, "quote_literal": "'x'", "quote_nullable": "'x'"}
_PLACEHOLDER: Final = re.compile(r"%(?:\d+\$)?-?(?:\d+|\*(?:\d+\$)?)?([sIL%])")
_PUT_IN: Final = {"%": "%", "I": MADE_UP, "L": "'x'"}
_CALLS_PLACEHOLDER: Final = re.compile(r"%(?:\d+\$)?[sI]\s*\(")
_BEGINS: Final = re.compile(
    r"\s*(?:select|with|values|table|insert|update|delete|merge|create|alter|drop|truncate|explain|copy|call|do"
    r"|analyze|vacuum|refresh|reindex|cluster|notify|listen|lock|grant|revoke|comment|set|reset|declare|fetch)\b",
    re.IGNORECASE,
)


def made_up(tokens: Sequence[Token], starts: Iterable[int]) -> tuple[Dynamic, list[str]]:
    """Return how much is known of the SQL that *tokens* run by an EXECUTE or DO at *starts*, and its texts.

    Of what is woven the texts are the literals of the body, in no order.
    """
    kind, texts, end = Dynamic.NONE, [], 0
    for start in starts:
        if start < end:  # within another one: nothing is spelt out there
            kind = Dynamic.WOVEN
            continue
        expression = _expression(tokens, start + 1)
        end = start + 1 + len(expression)
        is_do = tokens[start] == (WORD, "do")
        text = body_of_do(expression) if is_do else spelt(expression)
        kind = max(kind, Dynamic.WOVEN if text is None else Dynamic.SPELT)
        texts += [] if text is None else [text]
    if kind < Dynamic.WOVEN:
        return kind, texts
    literals = [string_value(text) for kind_, text in tokens if kind_ == STRING]
    known = any(map(_BEGINS.match, literals)) and not any(
        map(_CALLS_PLACEHOLDER.search, literals)
    )
    return (Dynamic.WOVEN if known else Dynamic.OPAQUE), literals


def spelt(expression: Sequence[Token]) -> str | None:
    """Return the text that *expression* amounts to, if only names and values are put into its literals."""
    cursor, text = Cursor(expression), ""
    while (part := _part(cursor)) is not None:
        text += part
        if cursor.at_end:
            return text
        if cursor.token != (OPERATOR, "||"):
            return None
        cursor.position += 1
    return None


def body_of_do(rest: Sequence[Token]) -> str | None:
    """Return the body of a DO from what stands behind that word; None if there is none in PL/pgSQL."""
    cursor, body = Cursor(rest), None
    while not cursor.at_end:
        kind, text = cursor.token
        if cursor.take("language"):
            if (cursor.name() or "").lower() != "plpgsql":
                return None
        elif kind == STRING and body is None:
            body = string_value(text)
            cursor.position += 1
        else:
            return None
    return body


def _expression(tokens: Sequence[Token], start: int) -> Sequence[Token]:
    """Return the tokens from *start* to the end of an expression of PL/pgSQL."""
    cursor = Cursor(tokens, start)
    while not cursor.at_end and cursor.token != (MARK, ";"):
        if cursor.word in {"into", "using", "loop"}:
            break
        if not cursor.skip_parentheses():
            cursor.position += 1
    return tokens[start : cursor.position]


def _part(cursor: Cursor) -> str | None:
    kind, text = cursor.token
    if kind == STRING:
        cursor.position += 1
        return string_value(text)
    name = cursor.take_any("format", *_QUOTED)
    arguments = cursor.tokens[cursor.position + 1 : cursor.position + 3]
    if not name or not cursor.skip_parentheses():
        return None
    if name != "format":
        return _QUOTED[name]
    is_literal = len(arguments) > 1 and arguments[0][0] == STRING
    is_literal = is_literal and arguments[1] in {(MARK, ","), (MARK, ")")}
    return _formatted(string_value(arguments[0][1])) if is_literal else None


def _formatted(template: str) -> str | None:
    """Return what format() makes of *template*, None if it puts in anything unquoted."""
    if any(found[1] == "s" for found in _PLACEHOLDER.finditer(template)):
        return None
    return _PLACEHOLDER.sub(lambda found: _PUT_IN[found[1]], template)
