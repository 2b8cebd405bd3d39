"""Quota: how many servers one database, or one user, may have on one node, over all its pools.

A pool whose quota is used up opens no server. Its sessions need not wait for ever while other pools keep servers
nobody wants: the one idle longest among those makes room (`spare`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Generic, Protocol, TypeVar

from rwsplit.exchange.lease import Leased

AnyServer = TypeVar("AnyServer", bound=Leased)
AnyServer_co = TypeVar("AnyServer_co", bound=Leased, covariant=True)


class Counted(Protocol[AnyServer_co]):
    """What a quota counts: a pool, of which it looks at nothing but this."""

    @property
    def servers(self) -> Collection[AnyServer_co]:
        """Return those there are."""

    @property
    def starting(self) -> int:
        """Return how many are being opened."""

    @property
    def idle(self) -> Sequence[AnyServer_co]:
        """Return those nobody uses, the one idle longest first."""

    @property
    def waiters(self) -> Collection[object]:
        """Return who waits for one."""


class Quota(Generic[AnyServer]):
    """A limit and the pools it counts."""

    __slots__ = ("asking", "beyond", "limit", "pools", "setting")

    def __init__(self, setting: str, limit: int) -> None:
        self.setting = setting
        """Its name: `max_db_connections` or `max_user_connections`."""
        self.limit = limit
        self.pools: list[Counted[AnyServer]] = []
        self.asking = 0
        """Connections beside the pools that are open for a login (`dial_budget`)."""
        self.beyond = 0
        """The connections of that kind opened although the quota was used up."""

    def __repr__(self) -> str:
        return f"<Quota {self.setting} {self.used}/{self.limit}>"

    @property
    def used(self) -> int:
        """Servers there are or that are being opened."""
        return self.asking + sum(len(pool.servers) + pool.starting for pool in self.pools)

    @property
    def is_idle(self) -> bool:
        """Whether it counts nothing, so that it can be forgotten."""
        return not (self.pools or self.asking or self.beyond)

    @property
    def is_full(self) -> bool:
        """No further server may be opened."""
        return self.used >= self.limit

    def spare(self) -> AnyServer | None:
        """Return the server idle longest of those that nobody waits for, None if there is none."""
        idle = [pool.idle[0] for pool in self.pools if pool.idle and not pool.waiters]
        return min(idle, key=lambda server: server.idle_since, default=None)
