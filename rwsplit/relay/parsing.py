"""Parsing: which long texts are parsed at once, in threads of their own; trio's are left to those who log in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import trio

from rwsplit.session.unit import Unit
from rwsplit.sql.cache import SHAPE_LIMIT

if TYPE_CHECKING:
    from rwsplit.relay.client import Client

PATIENCE: Final = 10.0
"""Seconds a session waits for what a text may do; then that is unknown."""
LONG: Final = trio.CapacityLimiter(2)
"""For texts up to SHAPE_LIMIT bytes: the longest do not hold them up."""
LONGEST: Final = trio.CapacityLimiter(1)


def limiter(unit: Unit) -> trio.CapacityLimiter:
    """Return what limits how many units like *unit* are parsed at once."""
    return LONGEST if max(map(len, unit.waiting_for), default=0) > SHAPE_LIMIT else LONG


async def parse(work: Callable[[Client, Unit], None], client: Client, unit: Unit) -> None:
    """Have *work* parse what *unit* waits for, for PATIENCE at most; the thread ends when it is through, and what it finds is remembered."""
    with trio.move_on_after(PATIENCE):
        await trio.to_thread.run_sync(
            work, client, unit, limiter=limiter(unit), abandon_on_cancel=True
        )
