"""Janitor: which idle servers of a pool are to be closed now, and which others when they become free."""

from __future__ import annotations

from rwsplit.exchange.lease import IDLE, Fate
from rwsplit.server.pool import Pool
from rwsplit.server.server import Server


def due(pool: Pool[Server], now: float) -> list[Server]:
    """Return the idle servers of *pool* that are too old, or spare and unused for too long.

    The one idle longest comes first, so that `min_size` servers used last are kept.
    """
    config = pool.config
    surplus = pool.surplus
    found: list[Server] = []
    for server in pool.idle:
        left = len(pool.servers) - len(found)
        too_old = now - server.born >= config.server_lifetime
        unused = (
            0 < config.server_idle_timeout <= now - server.idle_since and left > config.min_size
        )
        if too_old or unused or surplus > len(found):
            found.append(server)
    return found


def retire(pool: Pool[Server], now: float) -> None:
    """Have the servers that are too old closed when they become free: busy ones are seldom seen idle."""
    for server in pool.servers:
        if server.lease != IDLE and now - server.born >= pool.config.server_lifetime:
            server.expire(Fate.TOO_OLD)
