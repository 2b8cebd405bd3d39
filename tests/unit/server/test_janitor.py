"""Which idle servers the janitor closes."""

from __future__ import annotations

from types import SimpleNamespace

from rwsplit.config.model import PoolConfig
from rwsplit.exchange.lease import Fate
from rwsplit.server.janitor import due, retire
from rwsplit.server.pool import Pool
from rwsplit.server.server import Server
from tests.support.silent_wire import SilentWire


def a_pool(**config: float) -> Pool:
    return Pool("pg0", 0, "shop", "app", PoolConfig(**config), lambda _: None)  # type: ignore[arg-type]


def idle(pool: Pool, *, born: float = 0.0, since: float = 0.0) -> Server:
    pool.starting += 1
    server = Server(pool, SilentWire(), pid=1, cancel_key=b"", now=born)
    pool.adopt(server)
    pool.release(server, since)
    return server


def test_servers_in_good_order_stay():
    pool = a_pool(server_idle_timeout=10, server_lifetime=100)
    idle(pool)

    assert due(pool, 9.9) == []


def test_a_server_past_its_lifetime_goes_even_below_the_minimum():
    pool = a_pool(server_lifetime=100, min_size=2)
    old = idle(pool, born=0.0, since=99.0)
    idle(pool, born=50.0, since=99.0)

    assert due(pool, 100.0) == [old]


def test_spare_servers_unused_for_long_go_longest_idle_first_down_to_the_minimum():
    pool = a_pool(server_idle_timeout=10, min_size=1)
    first, second, _ = (idle(pool, since=since) for since in (1.0, 2.0, 3.0))

    assert due(pool, 20.0) == [first, second]


def test_servers_in_use_count_towards_the_minimum():
    pool = a_pool(server_idle_timeout=10, min_size=1)
    idle(pool)
    spare = idle(pool)
    pool.acquire_this(pool.idle[0], SimpleNamespace(pin=None))  # type: ignore[arg-type]

    assert due(pool, 20.0) == [spare]


def test_servers_above_a_size_that_shrank_go_at_once():
    pool = a_pool(size=3)
    first, second, _ = idle(pool), idle(pool), idle(pool)
    pool.config = PoolConfig(size=1)

    assert due(pool, 0.0) == [first, second]


def test_without_an_idle_timeout_idle_servers_stay():
    pool = a_pool(server_idle_timeout=0)
    idle(pool)

    assert due(pool, 3000.0) == []


def test_a_busy_server_past_its_lifetime_goes_when_it_is_free():
    pool = a_pool(server_lifetime=100)
    old, idle_one, young = idle(pool), idle(pool), idle(pool, born=50.0)
    for server in (old, young):
        pool.acquire_this(server, SimpleNamespace(pin=None))  # type: ignore[arg-type]

    retire(pool, 100.0)

    assert [server.fate for server in (old, idle_one, young)] == [Fate.TOO_OLD, None, None]
