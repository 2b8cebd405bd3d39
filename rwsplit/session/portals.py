"""Portals: which a unit leaves for the client to execute further, or to describe."""

from __future__ import annotations

from typing import Final

from rwsplit.protocol import codes
from rwsplit.session.unit import SIMPLE, Unit


def keeps_portal(unit: Unit) -> bool:
    """Return whether *unit* leaves a portal that the client is likely to execute further.

    The unnamed one that its limit has stopped is not: it ends with the next Bind or Query. Drivers that want one
    row say so by a limit (asyncpg's `fetchrow`), those that want to fetch in parts name their portals.
    """
    if not unit.row_limit or unit.kind is SIMPLE:  # a Query ends the unnamed portal
        return False
    if unit.is_open or unit.planned:
        return True
    messages = list(unit.piece.messages())
    named = any(
        payload[:1] != b"\0"
        for code, payload in messages
        if code in (codes.BIND, codes.EXECUTE)
    )
    last = next((code for code, _ in reversed(messages) if code in _RUNS), codes.BIND)
    return named or last == codes.BIND


def closes_portal(unit: Unit) -> bool:
    """Return whether *unit* closes one of its portals."""
    return any(
        code == codes.CLOSE and payload.startswith(b"P")
        for code, payload in unit.piece.messages()
    )


_RUNS: Final = frozenset({codes.BIND, codes.EXECUTE})
