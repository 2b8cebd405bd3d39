"""Rendering: a query's tokens as a text that sqlglot cannot misread.

Every literal or list of literals is `'x'`,
functions are `f_` (it would count the arguments of those it knows), operators it may not know are `-` (all of
them are infix or prefix, so the shape of the tree stays), `ARRAY[` is `row(`
(sqlglot's time for nested ones doubles with every level). What is no key word of PostgreSQL's is a name, and quoted: for sqlglot it may begin
a clause of another dialect (PIVOT). Within the quotes are only letters, digits and underscores, since sqlglot reads a quoted type once more as SQL;
other names are encoded (`encoded_name`, `decoded_name`). What it does not know at all is left out where that leaves
another valid query of the same calls and tables: the type before a literal (`int4 '1'`, `s.mytype(3) '1'`, `interval '1' day`)
or behind `::` (that of a CAST becomes `text`), and the operator something is ordered by (`ORDER BY a USING <`).

A word directly before a literal is, in whatever PostgreSQL accepts, one of its key words or the name of a type; so to leave
out a name there, or one of the key words that are types, hides nothing. The casts it stands for are those of `'1'::int4`: found
among the tokens (`FunctionBook.token_facts`), not in the tree.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from typing import Final, NamedTuple

from sqlglot.dialects.postgres import Postgres

from rwsplit.sql.builtin import RESERVED
from rwsplit.sql.calls import KEY_WORDS, arguments, ends_value
from rwsplit.sql.cursor import Cursor
from rwsplit.sql.tokens import MARK, NAME, NUMBER, OPERATOR, STRING, WORD, Token
from rwsplit.sql.type_names import after_fields, cast_end, text_at, type_start

MAX_DEPTH: Final = 200

_KNOWN_OPERATORS: Final = frozenset(
    {"+", "-", "*", "/", "%", "=", "<", ">", "<=", ">=", "<>", "!=", "=>"}
)
_PLAIN_CALLS: Final = frozenset({"coalesce", "nullif", "greatest", "least"})
_LABELS: Final = RESERVED - {"not"}
"""Key words that behind AS can only be a label, which sqlglot does not always see."""
_NAMES: Final = frozenset({"if", "interval"})
"""Key words that are names in what PostgreSQL's queries have left here; sqlglot begins something else with them."""
_LATER_KEY_WORDS: Final = frozenset(
    {
        *("conditional", "empty", "error", "keep", "nested", "omit", "path", "quotes"),
        *("scalar", "source", "string", "target", "unconditional"),
    }
)
"""Key words since PostgreSQL 17, by which sqlglot knows its clauses; before, they are names."""
_PLAIN_NAME: Final = re.compile(r"(?!n_)[A-Za-z_][A-Za-z_0-9]*")
_ENCODED: Final = "n_"
"""What an encoded name begins with."""
_FUNCTIONS: Final = frozenset(
    name
    for table in ("FUNCTIONS", "FUNCTION_PARSERS", "NO_PAREN_FUNCTION_PARSERS")
    for name in getattr(Postgres.Parser, table)
)
"""Names of functions that sqlglot reads in its own way; those of calls are `f_` by then, if they are calls in PostgreSQL."""
_KNOWN: Final = KEY_WORDS | _LATER_KEY_WORDS
LITERAL: Final = "'x'"
_INTERVAL: Final = "'i'"
"""A literal, or a list of them, behind which fields may stand: `interval '1' day`."""
_ZONED: Final = frozenset({(WORD, "time"), (WORD, "timestamp")})
_JSON_WORDS: Final = frozenset({(MARK, ":"), (WORD, "value"), (WORD, "returning")})
_LEADS: Final = frozenset({"::", "as", "using"})
"""What something that may be left out begins with."""


def render(tokens: Sequence[Token], heads: Container[int]) -> list[str] | None:
    """Return *tokens* as words that sqlglot cannot misread; None if they nest too deep."""
    words: list[str] = []
    brackets: list[_Bracket] = []
    closed = _Bracket("", -1, 0)
    resume = 0
    for index, (kind, text) in enumerate(tokens):
        if index < resume:
            continue
        if kind in {STRING, NUMBER}:
            resume = _add_literal(words, tokens, index, closed)
        elif kind == MARK and text in "([":
            is_list = text == "[" and not _is_subscripted(tokens, index - 1)
            closing = ")" if is_list or text == "(" else "]"
            brackets.append(_Bracket(closing, index, len(words)))
            words.append("(" if is_list else text)
            if len(brackets) > MAX_DEPTH:
                return None
        elif kind == MARK and text in ")]":
            if brackets:
                closed = brackets.pop()._replace(end=index)
            words.append(closed.closing if closed.end == index else text)
        elif text in _LEADS and (end := _left_out(tokens, index, brackets)):
            words += ("as", "text") if text == "as" else ()
            resume = end
        else:
            words.append("f_" if index in heads else _word(tokens, index))
    return _without_operator_syntax(words)


class _Bracket(NamedTuple):
    closing: str
    start: int
    """Where it opens."""
    size: int
    """How many words there were before it."""
    end: int = -1
    """Where it is closed."""


def _add_literal(
    words: list[str], tokens: Sequence[Token], index: int, closed: _Bracket
) -> int:
    """Add the literal at *index* to *words* instead of its type, and return where it goes on.

    What is done to one is done to a list of them, since a shape does not tell them apart.
    """
    is_interval = _take_off_type(words, tokens, index, closed) == "interval"
    if words[-2:] in ([LITERAL, ","], [_INTERVAL, ","]):
        words.pop()
    else:
        words.append("1" if _is_sample_size(tokens, index) else LITERAL)
    if is_interval:
        words[-1] = _INTERVAL
    return after_fields(tokens, index + 1) if words[-1] == _INTERVAL else 0


def _take_off_type(
    words: list[str], tokens: Sequence[Token], index: int, closed: _Bracket
) -> str:
    """Take the type of the literal at *index* off *words*, if it has one, and return its unqualified name.

    *closed*: the last pair of brackets before it.
    """
    at, size = index - 1, len(words)
    has_zone = text_at(tokens, at) == "zone" and text_at(tokens, at - 1) == "time"
    if has_zone:
        if text_at(tokens, at - 2) not in {"with", "without"}:
            return ""
        at, size = at - 3, size - 3
    if closed.end == at > 0:
        if closed.closing != ")":
            return ""
        at, size = closed.start - 1, closed.size
    head = type_start(tokens, at)
    if head < 0 or (has_zone and tokens[at] not in _ZONED):
        return ""
    before = tokens[head - 1]
    begins = not ends_value(before) or (closed.end == head - 1 and _is_clause(tokens, closed))
    if not begins or before == (MARK, "::"):
        return ""
    if tokens[head] == (WORD, "path") and before[0] == WORD and before[1] not in RESERVED:
        return ""  # XMLTABLE (... COLUMNS a timestamp with time zone PATH 'x')
    del words[size - (at + 1 - head) :]
    kind, text = tokens[at]
    return text if kind == WORD and head == at else ""


def _is_clause(tokens: Sequence[Token], closed: _Bracket) -> bool:
    """Say whether *closed* are the parentheses of OPERATOR(...) or DISTINCT ON (...), behind which a value begins."""
    before = text_at(tokens, closed.start - 1)
    return before == "operator" or (
        before == "on" and text_at(tokens, closed.start - 2) == "distinct"
    )


def _left_out(tokens: Sequence[Token], index: int, brackets: Sequence[_Bracket]) -> int:
    """Return where it goes on behind what the token at *index* and those after it say; 0 if it is not left out."""
    kind, text = tokens[index]
    if kind == MARK:
        return cast_end(tokens, index + 1)
    if kind == WORD and text == "using":
        return _operator_end(tokens, index + 1)
    is_cast = bool(brackets) and text_at(tokens, brackets[-1].start - 1) == "cast"
    return cast_end(tokens, index + 1) if kind == WORD and is_cast else 0


def _operator_end(tokens: Sequence[Token], index: int) -> int:
    """Return where the operator at *index*, `<` or `OPERATOR(s.<)`, ends; 0 if there is none."""
    cursor = Cursor(tokens, index)
    if cursor.take("operator") and cursor.mark("("):
        while cursor.token[0] in {WORD, NAME} and text_at(tokens, cursor.position + 1) == ".":
            cursor.position += 2
        is_operator = cursor.token[0] == OPERATOR
        cursor.position += 1
        return cursor.position if is_operator and cursor.mark(")") else 0
    return index + 1 if cursor.token[0] == OPERATOR else 0


def _word(tokens: Sequence[Token], index: int) -> str:
    kind, text = tokens[index]
    if kind == WORD:
        return _bare_word(tokens, index, text)
    if kind == OPERATOR and text not in _KNOWN_OPERATORS:
        return "-"
    return _name(tokens, index, text) if kind == NAME else text


def _name(tokens: Sequence[Token], index: int, text: str) -> str:
    """Return the name *text* in quotes; sqlglot must not take it for one of its functions, whose names it knows in quotes, too."""
    is_known = text.upper() in _FUNCTIONS and _follows(tokens, index, "(")
    return f'"{_encoded(text) if is_known else encoded_name(text)}"'


def _bare_word(tokens: Sequence[Token], index: int, text: str) -> str:
    before = text_at(tokens, index - 1)
    if text in _PLAIN_CALLS or (text == "json_object" and _is_plain_call(tokens, index)):
        return "f_"
    if text == "array" and _follows(tokens, index, "["):
        return "row"
    if before == "tablesample":
        return text  # the name of its method
    is_label = before == "as" and text in _LABELS
    is_name = is_label or text in _NAMES or text not in _KNOWN
    return _name(tokens, index, text) if is_name else text


def encoded_name(name: str) -> str:
    """Return *name* as letters, digits and underscores."""
    return name if _PLAIN_NAME.fullmatch(name) else _encoded(name)


def _encoded(name: str) -> str:
    return _ENCODED + name.encode("utf-8", "surrogatepass").hex()


def decoded_name(encoded: str) -> str:
    """Return the name that `encoded_name` has made *encoded* of."""
    if not encoded.startswith(_ENCODED):
        return encoded
    return bytes.fromhex(encoded.removeprefix(_ENCODED)).decode("utf-8", "surrogatepass")


def _without_operator_syntax(words: list[str]) -> list[str]:
    """Return *words* with `operator ( schema . - )` as `-`; sqlglot does not know it as a prefix."""
    if "operator" not in words:
        return words
    joined: list[str] = []
    position = 0
    while position < len(words):
        end = position + 2
        if words[position:end] == ["operator", "("]:
            while end + 1 < len(words) and words[end + 1] == ".":
                end += 2
            if words[end + 1 : end + 2] == [")"] and words[end] in _KNOWN_OPERATORS:
                joined.append(words[end])
                position = end + 2
                continue
        joined.append(words[position])
        position += 1
    return joined


def _is_sample_size(tokens: Sequence[Token], index: int) -> bool:
    """Say whether a literal stands in TABLESAMPLE m (1) or REPEATABLE (1); sqlglot wants a number."""
    clause = [text for kind, text in tokens[max(0, index - 3) : index] if kind in {WORD, MARK}]
    return clause[-1:] == ["("] and (
        "tablesample" in clause[:1] or "repeatable" in clause[-2:-1]
    )


def _is_plain_call(tokens: Sequence[Token], index: int) -> bool:
    """Say whether json_object at *index* is called like any function: `json_object('{a,1}')`, not `('a': 1)`."""
    call = arguments(tokens, index + 1) if _follows(tokens, index, "(") else ()
    return len(call) > 2 and _JSON_WORDS.isdisjoint(call)


def _follows(tokens: Sequence[Token], index: int, text: str) -> bool:
    return index + 1 < len(tokens) and tokens[index + 1] == (MARK, text)


def _is_subscripted(tokens: Sequence[Token], index: int) -> bool:
    """Say whether a `[` after the token at *index* is a subscript or part of a type."""
    if index < 0:
        return False
    kind, text = tokens[index]
    if kind == WORD:
        return text != "array"
    return kind != OPERATOR and (kind != MARK or text in {")", "]"})
