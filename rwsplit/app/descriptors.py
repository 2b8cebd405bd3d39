"""Descriptors: how many file descriptors a configuration may need, and whether the process may open as many."""

from __future__ import annotations

from typing import Final

import structlog

from rwsplit.config.model import Config
from rwsplit.server import files
from rwsplit.server.files import Purpose

#: What a process has open besides connections: its log, epoll sets, pipes, files it reads.
_OWN: Final = 32

_log = structlog.get_logger("rwsplit.app")


def needed(config: Config) -> int:
    """Return how many descriptors `max_client_conn` clients need, with the servers of one database and user."""
    pool, limits = config.pool, config.limits
    servers = len(config.nodes) * (2 * pool.size + pool.reserve_size)
    clients = limits.max_client_conn + limits.max_login_conn
    return clients + servers + Purpose.CLIENT.value + _OWN


def provide(config: Config) -> None:
    """Raise the limit to its hard limit; log a warning if that is not enough for *config*."""
    limit = files.raise_limit()
    wanted = needed(config)
    if limit < wanted:
        _log.warning(
            "few_files",
            limit=limit,
            needed=wanted,
            remedy="raise LimitNOFILE (systemd) or ulimit -n, or lower limits.max_client_conn",
        )
