"""Janitor: which idle servers of a pool are to be closed now."""

from __future__ import annotations

from rwsplit.server.pool import Pool
from rwsplit.server.server import Server


def due(pool: Pool, now: float) -> list[Server]:
    """Return the idle servers of *pool* that are too old, or spare and unused for too long.

    The one idle longest comes first, so that `min_size` servers used last are kept.
    """
    config = pool.config
    found: list[Server] = []
    for server in pool.idle:
        left = len(pool.servers) - len(found)
        too_old = now - server.born >= config.server_lifetime
        unused = (
            now - server.idle_since >= config.server_idle_timeout and left > config.min_size
        )
        if too_old or unused or left > config.size:
            found.append(server)
    return found
