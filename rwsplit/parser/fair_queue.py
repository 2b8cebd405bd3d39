"""FairQueue: decides which text is parsed next, as only one is parsed at a time.

Self-clocked fair queueing: each text charges its asker by its length, and afterwards by the time it took. The text whose asker
has been charged least is next. So short texts overtake long ones, and an asker with one text overtakes one with many.
The clock advances with each text, so no text waits for ever.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from itertools import count
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")

SECOND: Final = 1_000_000
"""The charge for a second of parsing, in bytes."""
LEAST: Final = 1000
"""The least charge for a text, in bytes."""


class FairQueue(Generic[Item]):
    """Waiting items, each with its asker."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Hashable, Item]] = []
        self._numbers = count()
        self._clock = 0.0
        """The tag of the item served last."""
        self._tags: dict[Hashable, float] = {}
        """The latest tag of each asker whose tag is ahead of the clock."""

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, item: Item, asker: Hashable, size: int) -> None:
        """Queue *item* of *asker*, a text of *size* bytes."""
        tag = max(self._clock, self._tags.get(asker, 0.0)) + size + LEAST
        self._tags[asker] = tag
        heapq.heappush(self._heap, (tag, next(self._numbers), asker, item))

    def take(self) -> Item:
        """Return the next item. Raises IndexError if none waits."""
        tag, _, _, item = heapq.heappop(self._heap)
        self._clock = max(self._clock, tag)
        if len(self._tags) > 2 * len(self._heap) + 100:
            self._tags = {who: at for who, at in self._tags.items() if at > self._clock}
        return item

    def charge(self, asker: Hashable, seconds: float) -> None:
        """Charge *asker* for the *seconds* its text has taken."""
        self._tags[asker] = max(self._clock, self._tags.get(asker, 0.0)) + seconds * SECOND
