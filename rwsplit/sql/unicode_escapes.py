r"""Unicode escapes: what `U&'d\0061t'` and `U&"d!0061t" UESCAPE '!'` say, or nothing where PostgreSQL would refuse them.

They are read as parser.c does (`str_udeescape`): the escape character twice is itself, four hexadecimal digits or `+` and six
behind it are a code point, surrogates come in pairs. From then on they are a plain literal and a plain quoted name,
so whatever looks at tokens sees what PostgreSQL sees.

With standard_conforming_strings off PostgreSQL refuses a whole text with a `U&''` literal in it, so there is one way to read it.
"""

from __future__ import annotations

import re
from typing import Final

#: White space with a newline in it, between the parts of one literal.
SEAM: Final = r"(?>(?:[ \t\f\v]|--[^\n\r]*+)*+[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*+[\n\r])*+)(?=')"
_PART: Final = re.compile(rf"'((?:[^']|'')*+)'(?:{SEAM})?")
_CODE: Final = re.compile(r"([0-9A-Fa-f]{4})|\+([0-9A-Fa-f]{6})")
_NO_ESCAPE: Final = frozenset("0123456789abcdefABCDEF+'\" \t\n\r\f\v")


def name_of(lexeme: str, escape: str = "\\") -> str | None:
    """Return the name that *lexeme*, `U&"..."`, spells; None if it spells none."""
    return _decoded(lexeme[3:-1].replace('""', '"'), escape)


def literal_of(lexeme: str, escape: str = "\\") -> str | None:
    """Return the plain literal that says what *lexeme*, `U&'...'`, does; None if it says nothing."""
    value = "".join(_PART.findall(lexeme, 2)).replace("''", "'")
    decoded = _decoded(value, escape)
    return None if decoded is None else "'" + decoded.replace("'", "''") + "'"


def escape_of(literal: str) -> str | None:
    """Return the character that `UESCAPE` *literal* makes the escape; None if it must not be one."""
    character = literal[1:-1] if literal[0] == "'" else ""
    is_one = len(character) == 1 and character.isascii() and character not in _NO_ESCAPE
    return character if is_one else None


def _decoded(text: str, escape: str) -> str | None:
    first, *pieces = text.split(escape)
    found = [first]
    position = 0
    while position < len(pieces):
        piece = pieces[position]
        if not piece and position + 1 < len(pieces):
            found += (escape, pieces[position + 1])
            position += 2
            continue
        code = _CODE.match(piece)
        number = int(code[1] or code[2], 16) if code else 0
        if code is None or not 0 < number <= 0x10FFFF:
            return None
        found += (chr(number), piece[code.end() :])
        position += 1
    try:
        return "".join(found).encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:  # half a pair
        return None
