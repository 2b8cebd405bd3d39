r"""Shape: a query without its literals; queries of one shape share their facts.

The common way takes one regular expression over the bytes (`LITERALS.sub`, 1-2 microseconds for a short
statement) and one dict look-up. Each plain literal, or list of them, becomes the byte 0x01, which no valid query holds
elsewhere. `is_sound` looks at the *shape*, once, when it is first met: nothing in it may make PostgreSQL's lexer
see other tokens than the expression did. So for a shape that is in the cache nothing needs to be checked
again: up to the first literal the text *is* the shape, hence the expression starts where PostgreSQL's
lexer starts a literal, and so on by induction.

No shape for comments, `E''`, `U&''` and dollar quotes, backslashes, names with `$` or beyond ASCII, several statements,
other verbs than those of queries and DML (the value of a SET matters), and the functions whose arguments
matter. These may still share by `fingerprint`, made of the lexer's tokens: slower, but it sees through
comments that are different every time (sqlcommenter's trace ids).
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from rwsplit.sql.given import BY_LITERAL
from rwsplit.sql.statement import Hints
from rwsplit.sql.tokens import MARK, NAME, NUMBER, STRING, Scan
from rwsplit.sql.verbs import QUERY_STARTS

HOLE: Final = b"\x01"

_STRING_TAIL: Final = rb"[^'\\]*+(?:''[^'\\]*+)*+'"
_NUMBER_TAIL: Final = rb"(?:[eE][+-]?[0-9]++)?(?![\w.$])"
_LITERAL: Final = (
    rb"(?:'%b" % _STRING_TAIL
    + rb"""|(?<![\w$."])(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)%b)""" % _NUMBER_TAIL
)
# It begins with a set of bytes, which `re` searches three times as fast as alternatives; the first
# alternative of a literal is therefore told from the others by looking back at that byte.
LITERALS: Final = re.compile(
    rb"['0-9.](?:(?<=')%b" % _STRING_TAIL
    + rb"""|(?<=[0-9])(?<![\w$."].)[0-9]*+(?:\.[0-9]*+)?%b""" % _NUMBER_TAIL
    + rb"""|(?<=\.)(?<![\w$."].)[0-9]++%b)""" % _NUMBER_TAIL
    + rb"(?:\s*+,\s*+%b)*" % _LITERAL,
    re.DOTALL,
)
"""A literal, or several with only commas between them."""

_START: Final = re.compile(
    rb"\s*(?:(?:select|with|values|table|insert|update|delete|merge)\b|\()", re.IGNORECASE
)
BY_ARGUMENT: Final = frozenset({"set_config", "current_setting"}) | BY_LITERAL
"""Names of the functions judged by their arguments."""
_ALARMS: Final = (
    *(b"'", b"\\", b"\0", b"--", b"/*"),
    *(b"set_config", b"current_setting", b"_to_xml", b"ts_stat", b"ts_rewrite"),
)
"""A literal the expression cannot read, a comment, a function judged by its arguments."""
_PARAMETER: Final = re.compile(rb"(?<![\w$])\$[0-9]+(?![\w$])")
_STUCK: Final = re.compile(rb'[\w$"\x01]\x01|\x01[\w$"]|[uU]&["\x01]')
"""A literal with a prefix, as in `E''`, or without a space around it; a Unicode name."""

LONG: Final = 2 << 10
"""Bytes of a query that `shorten` shortens."""
_ROWS: Final = re.compile(rb"\(\x01\)(?:\s*+,\s*+\(\x01\))++")

Fingerprint: TypeAlias = tuple[Hints | None, str]


def shape_of(query: bytes) -> bytes:
    """Return *query* with a hole for each literal or list of literals."""
    return LITERALS.sub(HOLE, query)


def is_sound(shape: bytes) -> bool:
    """Say whether all queries of *shape* have the same tokens but for literals, and equal facts."""
    lower = shape.lower()
    if not shape.isascii() or any(alarm in lower for alarm in _ALARMS):
        return False
    if _START.match(shape) is None or _STUCK.search(shape) is not None:
        return False
    if b";" in shape.rstrip(b"; \t\n\r\f\v"):
        return False
    if shape.count(b"$") != len(_PARAMETER.findall(shape)):
        return False
    # Between quotes stand names, which must be whole: no literal may begin or end in them.
    parts = shape.split(b'"')
    return len(parts) % 2 == 1 and not any(HOLE in name for name in parts[1::2])


def shorten(query: bytes) -> bytes:
    """Return *query*, if it is long, with every literal and every run of equal rows made short.

    An INSERT of 50 000 rows of literals then is one of one row: the same facts, in a hundredth of the time.
    """
    if len(query) <= LONG:
        return query
    shape = shape_of(query)
    if not is_sound(shape):
        return query
    # By the length of the shape, so that all texts of one shape are read alike.
    if len(shape) > LONG:
        shape = _ROWS.sub(b"(\1)", shape)
    return shape.replace(HOLE, b"1")


def fingerprint(found: Scan, hints: Hints | None) -> Fingerprint | None:
    """Return what determines the facts of the query *found* but its literals; None if those matter."""
    tokens = found.tokens
    if not tokens or tokens[0][1] not in QUERY_STARTS:
        return None
    words: list[str] = []
    for kind, text in tokens:
        if kind in {STRING, NUMBER}:
            if words[-2:] == ["'", ","]:
                words.pop()
            else:
                words.append("'")
        elif text in BY_ARGUMENT or (text == ";" and kind == MARK):
            return None
        elif kind == NAME:
            words.append('"' + text)
        else:
            words.append(text)
    return hints, "\0".join(words)
