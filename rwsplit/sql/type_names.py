"""Names of types among tokens, as PostgreSQL's grammar has them: `s.mytype(3)[]`, `bit varying(3)`, `interval day to second(3)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rwsplit.sql.builtin import RESERVED
from rwsplit.sql.calls import KEY_WORDS
from rwsplit.sql.cursor import Cursor
from rwsplit.sql.tokens import MARK, NAME, NUMBER, STRING, WORD, Token

_TYPE_WORDS: Final = frozenset(
    [
        "bigint",
        "bit",
        "boolean",
        "char",
        "character",
        "dec",
        "decimal",
        "float",
        "int",
        "integer",
        "interval",
        "json",
        "name",
        "national",
        "nchar",
        "numeric",
        "real",
        "smallint",
        "text",
        "time",
        "timestamp",
        "varchar",
        "xml",
    ]
)
"""Key words that, directly before a literal, are its type."""
_LONGER: Final = {
    "varying": frozenset({"bit", "char", "character", "nchar"}),
    "precision": frozenset({"double"}),
    "character": frozenset({"national"}),
    "char": frozenset({"national"}),
}
"""Key words that end a longer name of a type, and those before them."""
_FIELDS: Final = ("year", "month", "day", "hour", "minute", "second")


def type_start(tokens: Sequence[Token], at: int) -> int:
    """Return where the name of a type that ends at *at* begins; -1 if there is none, or nothing before it."""
    kind, text = tokens[at]
    if kind not in {WORD, NAME}:
        return -1
    head = at
    while kind == WORD and text_at(tokens, head - 1) in _LONGER.get(text_at(tokens, head), ()):
        head -= 1
    while text_at(tokens, head - 1) == "." and head > 1 and tokens[head - 2][0] in {WORD, NAME}:
        head -= 2
    is_type = kind == NAME or head < at or text not in KEY_WORDS or text in _TYPE_WORDS
    return head if is_type and head > 0 else -1


def after_fields(tokens: Sequence[Token], index: int) -> int:
    """Return where it goes on behind the fields of an interval at *index*: `day to second(3)`."""
    cursor = Cursor(tokens, index)
    if not cursor.take_any(*_FIELDS):
        return index
    if cursor.take("to"):
        cursor.take_any(*_FIELDS)
    end = cursor.position
    if text_at(tokens, end - 1) == "second" and cursor.mark("("):
        while cursor.token[0] in {STRING, NUMBER} or cursor.token == (MARK, ","):
            cursor.position += 1
        return cursor.position if cursor.mark(")") else end
    return end


def cast_end(tokens: Sequence[Token], index: int) -> int:
    """Return where the name of a type at *index*, behind `::`, ends: `s.t(3)[]`, `bit varying(3)`; 0 if there is none."""
    cursor = Cursor(tokens, index)
    kind, text = cursor.token
    if kind not in {WORD, NAME} or (kind == WORD and text in RESERVED):
        return 0
    cursor.position += 1
    while cursor.word and text_at(tokens, cursor.position - 1) in _LONGER.get(cursor.word, ()):
        cursor.position += 1
    while cursor.token == (MARK, ".") and kind_at(tokens, cursor.position + 1) in {WORD, NAME}:
        cursor.position += 2
    cursor.skip_parentheses()
    if not (cursor.take("with", "time", "zone") or cursor.take("without", "time", "zone")):
        is_interval = (kind, text) == (WORD, "interval")
        cursor.position = (
            after_fields(tokens, cursor.position) if is_interval else cursor.position
        )
    cursor.take("array")
    while (end := _bounds_end(tokens, cursor.position)) > cursor.position:
        cursor.position = end
    return cursor.position


def _bounds_end(tokens: Sequence[Token], index: int) -> int:
    """Return where `[]` or `[3]` at *index* ends, *index* if something else is there."""
    cursor = Cursor(tokens, index)
    if not cursor.mark("["):
        return index
    while cursor.token[0] in {STRING, NUMBER} or cursor.token == (MARK, ","):
        cursor.position += 1
    return cursor.position if cursor.mark("]") else index


def kind_at(tokens: Sequence[Token], index: int) -> int:
    return tokens[index][0] if index < len(tokens) else MARK


def text_at(tokens: Sequence[Token], index: int) -> str:
    """Return the text of the word or mark at *index*; of nothing else."""
    kind, text = tokens[index] if 0 <= index < len(tokens) else (MARK, "")
    return text if kind in {WORD, MARK} else ""
