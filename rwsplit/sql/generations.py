"""Generations: a bounded dict that forgets what has not been used for a while.

Two dicts. New and reused entries are in the young one; when it is full it becomes the old one, and what
the old one still held is forgotten. So a hit is one dict look-up without any bookkeeping, which an LRU list
would need; the price is that "least recently used" is only true to half the size.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MAX_WEIGHT: Final = 16 << 20
"""Weight of all entries together, in bytes, whatever their number."""


def _nothing(_value: object) -> int:
    return 0


class Generations(Generic[K, V]):
    """At most *size* entries, and at most MAX_WEIGHT bytes of them."""

    __slots__ = ("_half", "_weigh", "_weight", "old", "young")

    def __init__(self, size: int, weigh: Callable[[V], int] = _nothing) -> None:
        """*weigh*: what a value weighs besides its key."""
        self._weigh = weigh
        self._half = max(1, size // 2)
        self._weight = 0
        self.young: dict[K, V] = {}
        """To be read directly where time matters; `get` where it does not."""
        self.old: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self.young) + len(self.old.keys() - self.young.keys())

    def get(self, key: K, weight: int) -> V | None:
        """Return the value of *key*, made young again, None if there is none."""
        value = self.young.get(key)
        if value is None:
            value = self.old.get(key)
            if value is not None:
                self.put(key, value, weight)
        return value

    def put(self, key: K, value: V, weight: int) -> None:
        """Let *key* have *value*; *weight* is its size in bytes."""
        weight += self._weigh(value)
        if len(self.young) >= self._half or self._weight + weight > MAX_WEIGHT // 2:
            self.old = self.young
            self.young = {}
            self._weight = 0
        self._weight += weight
        self.young[key] = value

    def resize(self, size: int) -> None:
        """Hold at most *size* entries from the next one on."""
        self._half = max(1, size // 2)

    def clear(self) -> None:
        """Forget everything."""
        self.young.clear()
        self.old.clear()
        self._weight = 0
