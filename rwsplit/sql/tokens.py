r"""Tokens: a query cut up exactly as PostgreSQL's lexer cuts it, or not at all.

sqlglot parses our queries, but its tokenizer serves many dialects and differs from `scan.l` where it
hurts: Unicode white space, nested comments, `E''` continuation lines, operators ended by a comment.
What a routing decision hangs on (where a statement ends, which functions it calls) is therefore read
from these tokens, and sqlglot is given a text rebuilt from them (`queries.py`) in which every literal
is harmless, so there is nothing left to disagree about.

Rules of scan.l worth remembering:
- comments nest; `--` ends at either newline character; an operator ends where a comment begins, and
  a trailing `+` or `-` belongs to the next token unless the operator holds one of `~!@#%^&|` or `?` or a backquote;
- literals separated by white space *with a newline* continue each other, an `E''` literal with its
  escapes;
- only ASCII letters are folded to lower case; every byte above 127 is a letter.

`U&` literals and names become plain ones (`unicode_escapes.py`), the UESCAPE behind them goes.

Doubt makes the whole text unreadable (None): a stray
character; anything unterminated; bytes above 127 in unquoted names, `E''` or `U&` of a text that is not
UTF-8, because the second byte of an SJIS or GBK letter may look like ASCII; `U&` in a text that names prepared statements, whose
names are exchanged in the text (`session.substitution`). And standard_conforming_strings:
a plain literal such as `'\'` ends elsewhere when it is off. Read as if it were on, every later quote
then stands on the wrong side, so the text runs into a stray backslash or an open quote, unless a
comment, a name, an `E''` or a `$$` literal swallows a quote: such a literal together with one of those is doubt.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, TypeAlias

from rwsplit.sql.unicode_escapes import SEAM, escape_of, literal_of, name_of

WORD: Final = 0
"""An unquoted name or key word, folded."""
NAME: Final = 1
"""A quoted name, without its quotes."""
STRING: Final = 2
"""A string or bit-string literal, as written."""
NUMBER: Final = 3
PARAMETER: Final = 4
"""`$1`"""
OPERATOR: Final = 5
MARK: Final = 6
"""`( ) [ ] , ; . .. : :: :=`"""


Token: TypeAlias = tuple[int, str]
"""The kind and the text of one token; a plain tuple, because a NamedTuple takes ten times as long."""


class Scan(NamedTuple):
    """The tokens of a query, and the contents of its block comments, in order."""

    tokens: list[Token]
    comments: list[str]


# The groups are tried in this order: the common ones first, `$tag$` before `$1`, prefixes before words.
_GRAMMAR: Final = r"""
    [ \t\n\r\f\v]*+
  (?: (?P<mark>      ::|:=|\.\.|[()\[\],;:]|\.(?![0-9]) )
    | (?P<unicode>   [uU]&'(?:[^']|'')*+'(?:SEAM'(?:[^']|'')*+')*+ )
    | (?P<spelt>     [uU]&"(?:[^"]|"")++" )
    | (?P<doubt>     [uU]&['"] )
    | (?P<escaped>   [eE]'(?:[^'\\]|''|\\.)*+'(?:SEAM'(?:[^'\\]|''|\\.)*+')*+ )
    | (?P<string>    [nNbBxX]?'(?:[^']|'')*+' )
    | (?P<word>      (?![eE]')[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*+ )
    | (?P<name>      "(?:[^"]|"")++" )
    | (?P<number>    0[xX](?:_?[0-9a-fA-F])++ | 0[oO](?:_?[0-7])++ | 0[bB](?:_?[01])++
                   | (?:[0-9](?:_?[0-9])*+(?:\.(?!\.)(?:[0-9](?:_?[0-9])*+)?)?
                       | \.[0-9](?:_?[0-9])*+)(?:[eE][+-]?[0-9](?:_?[0-9])*+)? )
    | (?P<operator>  (?:(?!/\*|--)[-+*/<>=~!@\#%^&|`?])+ )
    | (?P<parameter> \$[0-9]+ )
    | (?P<dollar>    \$(?P<tag>(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?)\$
                     .*?\$(?P=tag)\$ )
    | (?P<line>      --[^\n\r]*+ )
    | (?P<comment>   /\* )
    | (?P<end>       \Z )
    )
    """.replace("SEAM", SEAM)
_LEXEME: Final = re.compile(_GRAMMAR, re.VERBOSE | re.DOTALL)
_ESCAPING: Final = re.compile(
    _GRAMMAR.replace(
        r"[nNbBxX]?'(?:[^']|'')*+'", r"[bBxX]'(?:[^']|'')*+' | [nN]?'(?:[^'\\]|''|\\.)*+'"
    ),
    re.VERBOSE | re.DOTALL,
)
"""The same with standard_conforming_strings off: a backslash escapes in plain literals, too."""
_MARK, _DOUBT, _ESCAPED, _STRING, _WORD, _NAME, _NUMBER, _OPERATOR, _PARAMETER, _DOLLAR = (
    _LEXEME.groupindex[name]
    for name in (
        *("mark", "doubt", "escaped", "string", "word"),
        *("name", "number", "operator", "parameter", "dollar"),
    )
)
_COMMENT: Final = _LEXEME.groupindex["comment"]
_KINDS: Final = {
    _MARK: MARK,
    _ESCAPED: STRING,
    _STRING: STRING,
    _WORD: WORD,
    _NAME: NAME,
    _OPERATOR: OPERATOR,
    _DOLLAR: STRING,
    _NUMBER: NUMBER,
    _PARAMETER: PARAMETER,
}
_UNICODE: Final = {_LEXEME.groupindex["unicode"]: STRING, _LEXEME.groupindex["spelt"]: NAME}
_STRANGE: Final = frozenset({_ESCAPED, _WORD, _DOLLAR, *_UNICODE})
_SWALLOWS: Final = frozenset(
    {_ESCAPED, _DOLLAR, _NAME, _COMMENT, _LEXEME.groupindex["line"], *_UNICODE}
)
_NAMES_PREPARED: Final = frozenset({(WORD, "prepare"), (WORD, "execute"), (WORD, "deallocate")})
_SAME_END: Final = re.compile(r".?'(?:[^'\\]|''|\\[^'])*+'", re.DOTALL)
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")
_ESCAPE: Final = re.compile(
    r"\\([0-7]{1,3}|x[0-9A-Fa-f]{1,2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL
)
_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_OTHER_NAMES: Final = {"!=": "<>"}
"""Operators that are others to PostgreSQL (scan.l)."""
_MOST_NAME: Final = 63
"""Bytes of a name; what is longer is cut."""
_LONGEST_CHARACTER: Final = 4
_KEEPS_SIGN: Final = frozenset("~!@#%^&|`?")
_FOLD: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def scan(query: bytes) -> Scan | None:
    """Return the tokens and comments of *query*, or None if it cannot be read with certainty."""
    try:
        text = query.decode()
    except UnicodeDecodeError:
        return _scan(query.decode("latin-1"), _STRANGE)
    return _scan(text, frozenset())


def scan_text(text: str) -> Scan | None:
    """Return the same of a text out of a query, of which it is not known what encoding it was in."""
    return _scan(text, _STRANGE)


def scan_escaping(query: bytes) -> Scan | None:
    """Return what `scan` does, but as with standard_conforming_strings off."""
    return _scan(query.decode("latin-1"), _STRANGE, _ESCAPING)


def _scan(
    text: str, ascii_only: frozenset[int], lexeme_of: re.Pattern[str] = _LEXEME
) -> Scan | None:
    tokens: list[Token] = []
    comments: list[str] = []
    escaped: list[int] = []
    seen: set[int] = set()
    position, size = 0, len(text)
    match = lexeme_of.match
    while position < size:
        found = match(text, position)
        if found is None:
            return None
        group = found.lastindex or 0
        lexeme, position = found[group], found.end()
        if group in _KINDS:
            kind = _KINDS[group]
            if kind == OPERATOR:
                operator = _trim(lexeme)
                tokens.append((kind, _OTHER_NAMES.get(operator, operator)))
                # What follows are signs, each an operator of its own.
                tokens += [(kind, sign) for sign in lexeme[len(operator) :]]
            else:
                tokens.append((kind, _spelling(kind, lexeme)))
        elif group == _COMMENT:
            position = _comment_end(text, position)
            comments.append(text[found.end() : position - 2])
        elif group in _UNICODE:
            escaped.append(len(tokens))
            tokens.append((_UNICODE[group], lexeme))
        if group == _DOUBT or (group in ascii_only and not lexeme.isascii()):
            return None
        seen.add(group)
    if escaped and not _spell_out(tokens, escaped):
        return None
    if position > size or (lexeme_of is _LEXEME and _is_doubtful(seen, tokens)):
        return None
    return Scan(tokens, comments)


def _spelling(kind: int, lexeme: str) -> str:
    if kind == WORD:
        return _cut(lexeme.translate(_FOLD))
    if kind == NAME:
        return _cut(lexeme[1:-1].replace('""', '"'))
    return lexeme


def _cut(name: str) -> str:
    """Return what PostgreSQL makes of a long *name* (truncate_identifier in scansup.c)."""
    if len(name) * _LONGEST_CHARACTER <= _MOST_NAME:
        return name
    return name.encode(errors="surrogatepass")[:_MOST_NAME].decode(errors="ignore")


def _spell_out(tokens: list[Token], places: list[int]) -> bool:
    """Replace the `U&` *tokens* at *places* by what they mean, without UESCAPE; say whether that is certain."""
    if not _NAMES_PREPARED.isdisjoint(tokens):
        return False
    superfluous: set[int] = set()
    for place in places:
        kind, lexeme = tokens[place]
        escape: str | None = "\\"
        if tokens[place + 1 : place + 2] == [(WORD, "uescape")]:
            kinds = [each for each, _ in tokens[place + 2 : place + 4]]
            # A literal behind the escape character may go on with it.
            escape = (
                escape_of(tokens[place + 2][1]) if kinds[:1] == [STRING] != kinds[1:] else None
            )
            superfluous |= {place + 1, place + 2}
        plain = None
        if escape is not None:
            plain = literal_of(lexeme, escape) if kind == STRING else name_of(lexeme, escape)
        if plain is None:
            return False
        tokens[place] = (kind, plain)
    tokens[:] = [token for index, token in enumerate(tokens) if index not in superfluous]
    return True


def _is_doubtful(seen: set[int], tokens: list[Token]) -> bool:
    """Say whether *tokens*, of the groups *seen*, may be others with standard_conforming_strings off, and nothing else tells."""
    return not seen.isdisjoint(_SWALLOWS) and has_bent_literal(tokens)


def has_bent_literal(tokens: list[Token]) -> bool:
    """Say whether a plain literal would end elsewhere with standard_conforming_strings off."""
    return any(
        kind == STRING
        and "\\" in text
        and text[0] not in "eE$"
        and not _SAME_END.fullmatch(text)
        for kind, text in tokens
    )


def string_value(raw: str) -> str:
    """Return what the literal *raw* says: without quotes, prefix and doubling.

    Continuation lines are left as they are.
    """
    if raw.startswith("$"):
        tag = raw[: raw.index("$", 1) + 1]
        return raw[len(tag) : -len(tag)]
    inside = raw[raw.index("'") + 1 : -1].replace("''", "'")
    return _ESCAPE.sub(_escaped, inside) if raw[0] in "eE" else inside


def _escaped(found: re.Match[str]) -> str:
    code = found[1]
    if code[0] in "xuU" and len(code) > 1:
        return chr(min(int(code[1:], 16), 0x10FFFF))
    if code[0] in "01234567":
        return chr(int(code, 8) & 0xFF)
    return _ESCAPES.get(code, code)


def _comment_end(text: str, start: int) -> int:
    """Return where the comment whose inside begins at *start* ends; past the text if it never does."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(text) + 1


def _trim(operator: str) -> str:
    """Leave trailing signs to the next tokens, where scan.l does."""
    if operator[-1] in "+-" and _KEEPS_SIGN.isdisjoint(operator):
        return operator.rstrip("+-") or operator[0]
    return operator
