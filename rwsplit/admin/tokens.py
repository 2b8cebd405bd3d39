"""Tokens: the words of a console command. SQL's quoting, so that drivers can quote for us.

Plain strings, `E''` strings (libpq quotes a backslash that way), dollar quotes, quoted identifiers,
comments and `$1` are PostgreSQL's (manual, section 4.1). Everything else is a word or a symbol; a word
may hold dots and dashes (`consistency.max_lag`, `pg-1`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from itertools import islice
from typing import Final, NamedTuple

from rwsplit.errors import ClientError


class Kind(Enum):
    """What a token is."""

    WORD = "word"
    STRING = "string"
    SYMBOL = "symbol"
    PARAMETER = "parameter"


class Token(NamedTuple):
    """One token; *text* is without quotes, *start* and *end* its place in the command."""

    kind: Kind
    text: str
    start: int
    end: int


#: Tokens of one text, and blanks between them: some 30 ms.
MOST_TOKENS: Final = 20_000

_TOKEN: Final = re.compile(
    r"""
      (?P<space>    \s+ | --[^\n]* | /\*.*?\*/ )
    | (?P<escaped>  [eE]'(?:[^'\\]|\\.|'')*' )
    | (?P<unclosed> [eE]' )
    | (?P<string>   '(?:[^']|'')*' )
    | (?P<name>     "(?:[^"]|"")+" )
    | (?P<dollar>   \$(?P<tag>[A-Za-z_]\w*|)\$.*?\$(?P=tag)\$ )
    | \$(?P<parameter>\d{1,5})
    | (?P<word>     \w+(?:[-.]\w+)* )
    | (?P<open>     ['"] | /\* | \$\w*\$ )
    | (?P<symbol>   . )
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def tokenize(text: str) -> list[Token]:
    """Return the tokens of *text*.

    Raises:
        ClientError: a quote or a comment is not closed, or there are too many.
    """
    tokens, end = [], 0
    for match in islice(_TOKEN.finditer(text), MOST_TOKENS):
        end = match.end()
        kind, word = match.lastgroup, match[0]
        match kind:
            case "space":
                continue
            case "open" | "unclosed":
                raise ClientError(f"unterminated {word} at character {match.start() + 1}")
            case "escaped":
                token = Kind.STRING, _unescape(word[2:-1])
            case "string":
                token = Kind.STRING, word[1:-1].replace("''", "'")
            case "name":
                token = Kind.WORD, word[1:-1].replace('""', '"')
            case "dollar":
                skip = len(match["tag"]) + 2
                token = Kind.STRING, word[skip:-skip]
            case "parameter":
                token = Kind.PARAMETER, match["parameter"]
            case "word":
                token = Kind.WORD, word
            case _:
                token = Kind.SYMBOL, word
        tokens.append(Token(*token, match.start(), end))
    return _all_of(text, end, tokens)


def _all_of(text: str, end: int, tokens: list[Token]) -> list[Token]:
    """Return *tokens*, which reach to *end*, if that is the end of *text*; else raise ClientError."""
    if end < len(text):
        raise ClientError(f"the console takes {MOST_TOKENS} words at once at most")
    return tokens


def split(tokens: Sequence[Token]) -> list[list[Token]]:
    """Return the tokens of each command between semicolons; empty commands are left out."""
    commands: list[list[Token]] = [[]]
    for token in tokens:
        if token.kind is Kind.SYMBOL and token.text == ";":
            commands.append([])
        else:
            commands[-1].append(token)
    return [command for command in commands if command]


def fill(tokens: Sequence[Token], values: Sequence[str | None]) -> list[Token]:
    """Return *tokens* with `$1`... replaced by *values* as strings.

    Raises:
        ClientError: a value is missing or NULL.
    """
    filled = []
    for token in tokens:
        if token.kind is Kind.PARAMETER:
            number = int(token.text)
            value = values[number - 1] if 1 <= number <= len(values) else None
            if value is None:
                raise ClientError(f"parameter ${number} has no value")
            filled.append(token._replace(kind=Kind.STRING, text=value))
        else:
            filled.append(token)
    return filled


def _unescape(body: str) -> str:
    return re.sub(
        r"\\(.)|''",
        lambda match: _ESCAPES.get(match[1], match[1]) if match[1] else "'",
        body,
        flags=re.DOTALL,
    )
