"""Pools: every pool of the process, found by node, database and user."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rwsplit.config.model import PoolConfig
from rwsplit.server.pool import Pool


class Pools:
    """Makes pools when they are first needed and finds them again."""

    def __init__(self, config: PoolConfig, dial: Callable[[Pool], None]) -> None:
        self.config = config
        self._dial = dial
        self.answered: dict[str, int] = {}
        """By database, statements answered by pools that are discarded."""
        self._pools: dict[tuple[str, str, str], Pool] = {}

    def __iter__(self) -> Iterator[Pool]:
        return iter(list(self._pools.values()))

    def get(self, node: str, node_index: int, database: str, user: str) -> Pool:
        """Return the pool of *user* for *database* on *node*."""
        key = (node, database, user)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(
                node, node_index, database, user, self.config, self._dial
            )
        return pool

    def reconfigure(self, config: PoolConfig) -> None:
        """Apply new limits; servers above a smaller size close as they become idle."""
        self.config = config
        for pool in self._pools.values():
            pool.config = config

    def discard_empty(self) -> None:
        """Forget pools that have nothing and serve nobody."""
        for key, pool in list(self._pools.items()):
            if not pool.servers and not pool.starting and not pool.waiters:
                del self._pools[key]
                pool.is_discarded = True
                self.answered[pool.database] = (
                    self.answered.get(pool.database, 0) + pool.answered
                )
