"""Hints: what a `/* rwsplit: ... */` comment asks for.

    /* rwsplit: primary */   /* rwsplit: replica max_lag=5s */   /* rwsplit: node=pg2 */

Only block comments count, anywhere in the text; the lexer has already told them from string literals.
Of several, each later word wins. A hint is a wish and never an error: a word that makes no sense
(`/* rwsplit: replcia */`) is passed over, the rest of the comment still counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from rwsplit.config.units import parse_duration
from rwsplit.sql.statement import Hints

ROUTES: Final = frozenset({"primary", "replica"})
_HINT: Final = re.compile(r"\s*rwsplit:(.*)", re.DOTALL | re.IGNORECASE)


def parse_hints(comments: Iterable[str]) -> Hints | None:
    """Return what *comments* (the insides of block comments) ask for, None if nothing."""
    route = node = consistency = None
    max_lag = None
    for comment in comments:
        hint = _HINT.match(comment)
        words = hint[1].replace(",", " ").split() if hint else []
        for word in words:
            key, _, value = word.partition("=")
            key = key.lower()
            if word.lower() in ROUTES:
                route = word.lower()
            elif key == "node" and value:
                node = value
            elif key == "consistency" and value:
                consistency = value.lower()
            elif key == "max_lag":
                max_lag = _duration(value, default=max_lag)
    if route is node is consistency is max_lag is None:
        return None
    return Hints(route=route, node=node, max_lag=max_lag, consistency=consistency)


def _duration(text: str, *, default: float | None) -> float | None:
    try:
        return parse_duration(text)
    except ValueError:
        return default
