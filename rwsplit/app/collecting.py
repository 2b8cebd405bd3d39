"""Collecting: when Python looks for garbage that refers to itself.

A full collection looks at every object there is, 50 to 150 ms of what a busy rwsplit remembers, and everybody waits for it. By itself Python
has one whenever enough objects have been made, which any client can see to. So what is there at the start, modules for the
most part, is never looked at again, and full collections are made here, in a moment in which nobody is served. If there is no
such moment for long there is one all the same, so that memory is bounded.

What lives shortly - parse trees, say - is collected as ever: that takes a millisecond. (Python manual, "gc".)
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Final

import trio

#: Collections of what is young, each some 7000 objects more, behind which there is a full one: if it is quiet, and at the latest.
DUE: Final = 30
OVERDUE: Final = 200
#: Seconds between two looks, and how long it must be quiet.
ROUND: Final = 1.0
MOMENT: Final = 0.01
#: Moments a look waits for a quiet one.
MOMENTS: Final = 20
#: Turns of the relay in a moment that are probes, or next to nothing.
FEW: Final = 1

_NEVER: Final = 1 << 30


async def collect_when_quiet(
    turns: Callable[[], int],
    *,
    young: Callable[[], int] = lambda: gc.get_count()[2],
    collect: Callable[[], object] = gc.collect,
) -> None:
    """Make full collections until cancelled. *turns* says how many turns of the relay there have been.

    *young* says how many collections of what is young there have been since *collect*, which makes a full one.
    """
    while True:
        await trio.sleep(ROUND)
        if young() >= DUE and (await _is_quiet(turns) or young() >= OVERDUE):
            collect()


async def _is_quiet(turns: Callable[[], int]) -> bool:
    """Return whether nobody is served, waiting for such a moment, but not for long."""
    for _ in range(MOMENTS):
        before = turns()
        await trio.sleep(MOMENT)
        if turns() - before <= FEW:
            return True
    return False


def take_over() -> None:
    """Leave what there is out of all collections from now on, and full ones to `collect_when_quiet`: for a process of our own."""
    gc.collect()
    gc.freeze()
    youngest, young, _ = gc.get_threshold()
    gc.set_threshold(youngest, young, _NEVER)
