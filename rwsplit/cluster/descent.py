"""Descent: whether one history of timelines goes on where another was seen to end.

A promotion begins a timeline and notes, in `pg_wal/0000000N.history`, which timelines led there and at which
LSN each was left. So the number of a timeline proves nothing - two promotions of two copies both begin number 2 - but
its history does: it descends from what was seen on timeline T if it has left T, and every timeline before it, at the
same place.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import attrs

from rwsplit.lsn import LSN, parse_lsn


@attrs.frozen
class Fork:
    """Where *timeline* was left for the next one."""

    timeline: int
    lsn: LSN


class Descent(Enum):
    """What a history says about a timeline seen before."""

    DESCENDS = "descends"
    DIVERGED = "diverged"
    UNKNOWN = "unknown"


def parse_history(text: str) -> tuple[Fork, ...]:
    """Return the forks in the text of a history file, oldest first.

    Raises:
        ValueError: it is none.
    """
    forks = []
    for line in text.splitlines():
        words = line.partition("#")[0].split(None, 2)
        if words:
            if len(words) < 2:
                raise ValueError(f"not a line of a timeline history: {line!r}")
            forks.append(Fork(int(words[0]), parse_lsn(words[1])))
    return tuple(forks)


def descent(
    history: Sequence[Fork] | None,
    timeline: int,
    before: int,
    history_before: Sequence[Fork] | None,
) -> Descent:
    """Return whether *timeline*, to which *history* led, goes on from the timeline *before*.

    *history_before* had led to that one; None, of either, is a history that is not to be seen.
    """
    if history is None:
        return Descent.UNKNOWN
    numbers = [*(fork.timeline for fork in history), timeline]
    if before not in numbers:
        return Descent.DIVERGED
    led = tuple(history[: numbers.index(before)])
    if history_before is not None and led != tuple(history_before):
        return Descent.DIVERGED
    return Descent.DESCENDS
