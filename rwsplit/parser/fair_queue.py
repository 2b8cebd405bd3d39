"""FairQueue: whose text is read next, where one is read at a time.

Self-clocked fair queueing: who asks, pays for each text by its length, and by the time it really took. What has cost its
asker least so far comes first. So short texts overtake long ones, and those who ask once overtake those who ask all the
time; and as time goes on for those who are served, nobody waits for ever.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from itertools import count
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")

SECOND: Final = 1_000_000
"""What a second of reading costs, in bytes."""
LEAST: Final = 1000
"""What any text costs, in bytes."""


class FairQueue(Generic[Item]):
    """Items that wait, each somebody's."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Hashable, Item]] = []
        self._numbers = count()
        self._clock = 0.0
        """The tag of what was served last."""
        self._tags: dict[Hashable, float] = {}
        """Until when those who asked lately have been served, as far as that is ahead of the clock."""

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, item: Item, asker: Hashable, size: int) -> None:
        """Let *item* of *asker*, a text of *size* bytes, wait."""
        tag = max(self._clock, self._tags.get(asker, 0.0)) + size + LEAST
        self._tags[asker] = tag
        heapq.heappush(self._heap, (tag, next(self._numbers), asker, item))

    def take(self) -> Item:
        """Return what comes next. Raises IndexError: nothing waits."""
        tag, _, _, item = heapq.heappop(self._heap)
        self._clock = max(self._clock, tag)
        if len(self._tags) > 2 * len(self._heap) + 100:
            self._tags = {who: at for who, at in self._tags.items() if at > self._clock}
        return item

    def charge(self, asker: Hashable, seconds: float) -> None:
        """Have *asker* pay for the *seconds* its text has taken."""
        self._tags[asker] = max(self._clock, self._tags.get(asker, 0.0)) + seconds * SECOND
