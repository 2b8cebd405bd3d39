"""Pools: every pool of the process, found by node, database and user."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from rwsplit.config.model import PoolConfig
from rwsplit.config.overrides import limit, pool_config
from rwsplit.server.pool import Pool
from rwsplit.server.quota import Quota
from rwsplit.server.server import Server

#: Seconds after its last attempt that a pool without servers still knows that its node refuses it.
MEMORY: Final = 10.0


class Pools:
    """Makes pools when they are first needed and finds them again."""

    def __init__(self, config: PoolConfig, dial: Callable[[Pool[Server]], None]) -> None:
        self.config = config
        self._dial = dial
        self.answered: dict[str, int] = {}
        """By database, statements answered by pools that are discarded."""
        self._pools: dict[tuple[str, str, str], Pool[Server]] = {}
        self._quotas: dict[tuple[str, str, str], Quota[Server]] = {}
        """By the limit's name, the node, and the database or user."""

    def __iter__(self) -> Iterator[Pool[Server]]:
        return iter(list(self._pools.values()))

    def get(self, node: str, node_index: int, database: str, user: str) -> Pool[Server]:
        """Return the pool of *user* for *database* on *node*."""
        key = (node, database, user)
        pool = self._pools.get(key)
        if pool is None:
            config = pool_config(self.config, database, user)
            pool = self._pools[key] = Pool(node, node_index, database, user, config, self._dial)
            self._count(pool)
        return pool

    def find(self, node: str, database: str, user: str) -> Pool[Server] | None:
        """Return the pool of *user* for *database* on *node* if there is one."""
        return self._pools.get((node, database, user))

    def reconfigure(self, config: PoolConfig) -> None:
        """Apply new limits; servers above a smaller size close as they become idle."""
        self.config = config
        self._quotas.clear()
        for pool in self._pools.values():
            pool.config = pool_config(config, pool.database, pool.user)
            if pool.refused is not None:
                pool.forgive()  # it may have another password
            self._count(pool)

    def quotas(self, node: str, database: str, user: str) -> tuple[Quota[Server], ...]:
        """Return the quotas of *node* for *database* and for *user*."""
        config = self.config
        found = []
        for overrides, name, setting in (
            (config.databases, database, "max_db_connections"),
            (config.users, user, "max_user_connections"),
        ):
            most = limit(overrides, name, setting)
            if most:
                key = setting, node, name
                quota = self._quotas.get(key)
                if quota is None:
                    quota = self._quotas[key] = Quota(setting, most)
                found.append(quota)
        return tuple(found)

    def _count(self, pool: Pool[Server]) -> None:
        """Count the servers of *pool* in the quotas of its database and its user."""
        pool.quotas = self.quotas(pool.node, pool.database, pool.user)
        for quota in pool.quotas:
            quota.pools.append(pool)

    def discard_empty(self, now: float) -> None:
        """Forget pools that have nothing, serve nobody and have nothing to remember."""
        for key, pool in list(self._pools.items()):
            remembers = pool.refused is not None and now < pool.retry_at + MEMORY
            if not (pool.servers or pool.starting or pool.waiters or remembers):
                del self._pools[key]
                pool.is_discarded = True
                for quota in pool.quotas:
                    quota.pools.remove(pool)
                self.answered[pool.database] = (
                    self.answered.get(pool.database, 0) + pool.answered
                )
        for name in [name for name, quota in self._quotas.items() if quota.is_idle]:
            del self._quotas[name]
