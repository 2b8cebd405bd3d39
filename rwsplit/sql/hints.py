"""Hints: what a `/* rwsplit: ... */` comment asks for.

    /* rwsplit: primary */   /* rwsplit: replica max_lag=5s */   /* rwsplit: node=pg2 */

Only block comments count, anywhere in the text; the lexer has already told them from string literals.
Of several, each later word wins. A hint is a wish and never an error: a word that makes no sense
(`/* rwsplit: replcia */`) is passed over, the rest of the comment still counts. But it is not lost: what was meant for a
hint and is not understood, also for want of a colon in the right place, is kept as *misspelt*, for a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from rwsplit.config.choices import ConsistencyLevel
from rwsplit.config.units import parse_duration
from rwsplit.sql.statement import Hints

ROUTES: Final = frozenset({"primary", "replica"})
LEVELS: Final = frozenset(level.value for level in ConsistencyLevel)
#: What can be said in a hint, for who has said something else.
MEANINGFUL: Final = (
    "A hint reads /* rwsplit: primary */ or replica, node=NAME, max_lag=5s, "
    f"consistency={'|'.join(level.value for level in ConsistencyLevel)}; no spaces around : and =."
)
#: Characters of a misspelt hint, or of a value, that are kept.
SHOWN: Final = 80
#: Comments whose misspelt words are kept: a session is warned of as many.
MOST_MISSPELT: Final = 16

_HINT: Final = re.compile(r"\s*rwsplit:(.*)", re.DOTALL | re.IGNORECASE)
#: What looks like a hint and is none: prose about rwsplit does not.
_ALMOST: Final = re.compile(
    r"\s*rwsplit\s*(?:[:=]|(?:primary|replica|node|max_lag|consistency)\s*(?:=|\Z))",
    re.IGNORECASE,
)


def parse_hints(comments: Iterable[str]) -> Hints | None:
    """Return what *comments* (the insides of block comments) ask for, None if nothing."""
    asked: dict[str, str | float] = {}
    misspelt: list[str] = []
    for comment in comments:
        hint = _HINT.match(comment)
        if hint is not None:
            wrong = [
                word for word in hint[1].replace(",", " ").split() if not _take(word, asked)
            ]
            if wrong:
                misspelt.append(" ".join(wrong)[:SHOWN])
        elif _ALMOST.match(comment):
            misspelt.append(" ".join(comment.split())[:SHOWN])
    if not asked and not misspelt:
        return None
    return Hints(**asked, misspelt=tuple(misspelt[:MOST_MISSPELT]))  # type: ignore[arg-type]  # each as it should be


def _take(word: str, asked: dict[str, str | float]) -> bool:
    """Add what *word* asks for to *asked*; return whether all of it is understood."""
    key, equals, value = word.partition("=")
    key = key.lower()
    if not equals:
        if key in ROUTES:
            asked["route"] = key
        return key in ROUTES
    if key == "node" and value:
        asked["node"] = value[:SHOWN]
        return True
    if key == "consistency" and value:
        # A level this version does not know can only be stricter than those it knows: the policy heeds it.
        asked["consistency"] = value[:SHOWN].lower()
        return value.lower() in LEVELS
    if key == "max_lag":
        try:
            asked["max_lag"] = parse_duration(value)
        except ValueError:
            return False
        return True
    return False
