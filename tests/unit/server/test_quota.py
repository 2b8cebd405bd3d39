"""What one database or user may have on a node, over all its pools."""

from __future__ import annotations

from types import SimpleNamespace

from rwsplit.config.model import PoolConfig
from rwsplit.server.pool import Pool
from rwsplit.server.quota import Quota
from rwsplit.server.server import Server
from tests.support.silent_wire import SilentWire


def a_pool(*idle_since: float) -> Pool:
    pool = Pool("pg0", 0, "shop", "app", PoolConfig(), lambda _: None)
    for since in idle_since:
        pool.starting += 1
        server = Server(pool, SilentWire(), pid=1, cancel_key=b"", now=0.0)
        pool.adopt(server)
        pool.release(server, since)
    return pool


def test_servers_that_are_and_that_will_be_count():
    quota = Quota("max_db_connections", 3)
    quota.pools = [a_pool(1.0), a_pool()]
    assert (quota.used, quota.is_full) == (1, False)
    quota.pools[1].starting = 2
    assert (quota.used, quota.is_full) == (3, True)
    assert repr(quota) == "<Quota max_db_connections 3/3>"


def test_the_server_idle_longest_is_the_spare_one():
    quota = Quota("max_user_connections", 3)
    assert quota.spare() is None
    quota.pools = [a_pool(4.0, 5.0), a_pool(3.0, 9.0), a_pool()]
    assert quota.spare() is quota.pools[1].idle[0]


def test_a_server_somebody_waits_for_is_not_spare():
    quota = Quota("max_user_connections", 3)
    quota.pools = [a_pool(3.0)]
    quota.pools[0].waiters.append(SimpleNamespace())  # type: ignore[arg-type]
    assert quota.spare() is None
