"""Literals: string constants that mean the same whatever a session's parameters are."""

from __future__ import annotations

import re
from typing import Final

#: What is not written as it is. Whole runs, since a text may be long.
_ODD: Final = re.compile(r"[^ !#-&(-\[\]-~\"]+")
#: Surrogates that stand for bytes from 0x80 on which are not UTF-8 (surrogateescape).
_BYTE: Final = 0xDC80


def literal(text: str) -> str:
    """Return *text* as a string constant in ASCII.

    E'' means the same whatever standard_conforming_strings is, and in ASCII it means the same in every
    client_encoding: no byte of it can be taken for a part of a character that eats the closing quote.
    """
    return f"E'{_ODD.sub(_escaped_run, text)}'"


def _escaped_run(run: re.Match[str]) -> str:
    return "".join(map(_escaped, run[0]))


def _escaped(char: str) -> str:
    if char in "'\\":
        return char * 2
    point = ord(char)
    if _BYTE <= point < _BYTE + 0x80:
        return f"\\x{point - _BYTE + 0x80:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
