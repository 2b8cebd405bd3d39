"""Parsing: which long texts are parsed at once, in threads of their own; trio's are left to those who log in."""

from __future__ import annotations

from typing import Final

import trio

from rwsplit.session.unit import Unit
from rwsplit.sql.cache import SHAPE_LIMIT

LONG: Final = trio.CapacityLimiter(2)
"""For texts up to SHAPE_LIMIT bytes: the longest do not hold them up."""
LONGEST: Final = trio.CapacityLimiter(1)


def limiter(unit: Unit) -> trio.CapacityLimiter:
    """Return what limits how many units like *unit* are parsed at once."""
    return LONGEST if max(map(len, unit.waiting_for), default=0) > SHAPE_LIMIT else LONG
