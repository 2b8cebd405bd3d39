"""Pools are made when they are needed, found again, and forgotten when nobody uses them."""

from __future__ import annotations

from types import SimpleNamespace

from rwsplit.config.model import DatabaseConfig, PoolConfig, UserConfig
from rwsplit.errors import NodeUnreachable
from rwsplit.server.pools import MEMORY, Pools
from rwsplit.server.server import Server
from tests.support.refusals import refusal
from tests.support.silent_wire import SilentWire


def pools(**config: int) -> Pools:
    return Pools(PoolConfig(**config), lambda _: None)


def test_a_pool_belongs_to_one_node_database_and_user():
    found = pools(size=4)

    pool = found.get("pg0", 0, "shop", "app")

    assert found.get("pg0", 0, "shop", "app") is pool
    assert found.get("pg1", 1, "shop", "app") is not pool
    assert found.get("pg0", 0, "shop", "admin") is not pool
    assert found.get("pg0", 0, "books", "app") is not pool
    assert len(list(found)) == 4
    assert pool.config.size == 4


def test_new_limits_hold_for_the_pools_there_are_and_those_to_come():
    found = pools(size=4)
    pool = found.get("pg0", 0, "shop", "app")

    found.reconfigure(PoolConfig(size=9))

    assert pool.config.size == 9
    assert found.get("pg1", 1, "shop", "app").config.size == 9


def test_a_pool_that_has_nothing_and_serves_nobody_is_forgotten():
    found = pools()
    empty, waited_for, starting, used = (
        found.get("pg0", 0, "shop", user) for user in ("a", "b", "c", "d")
    )
    waited_for.waiters.append(SimpleNamespace())  # type: ignore[arg-type]
    starting.starting = 1
    used.servers.add(Server(used, SilentWire(), pid=1, cancel_key=b"", now=0.0))

    found.discard_empty(0.0)

    assert list(found) == [waited_for, starting, used]
    assert empty.is_discarded
    assert not used.is_discarded
    assert found.get("pg0", 0, "shop", "a") is not empty


def test_a_pool_that_was_refused_is_remembered_for_a_while():
    found = pools()
    pool = found.get("pg0", 0, "shop", "app")
    pool.starting = 1
    pool.dial_failed(refusal(), 1.0)
    over = pool.retry_at + MEMORY

    found.discard_empty(over - 0.001)
    assert found.find("pg0", "shop", "app") is pool

    found.discard_empty(over)
    assert found.find("pg0", "shop", "app") is None


def test_a_reload_lets_refused_pools_try_at_once():
    found = pools()
    refused, other = (found.get("pg0", 0, "shop", user) for user in "ab")
    for pool, error in ((refused, refusal()), (other, NodeUnreachable("down"))):
        for now in (1.0, 2.0, 3.0):
            pool.starting = 1
            pool.dial_failed(error, now)

    found.reconfigure(PoolConfig())

    assert (refused.retry_at, refused.failures) == (0.0, 1)
    assert other.retry_at > 3.0


def test_a_pool_can_be_forgotten_while_the_pools_are_looked_through():
    found = pools()
    for user in "abc":
        found.get("pg0", 0, "shop", user)

    for _ in found:
        found.discard_empty(0.0)

    assert list(found) == []


def test_a_pool_has_what_holds_for_its_database_and_user():
    found = Pools(PoolConfig(databases=(DatabaseConfig(name="shop", size=2),)), lambda _: None)

    assert found.get("pg0", 0, "shop", "app").config.size == 2
    assert found.get("pg0", 0, "books", "app").config.size == 20

    found.reconfigure(PoolConfig(users=(UserConfig(name="app", size=3),)))
    assert [pool.config.size for pool in found] == [3, 3]


def test_pools_of_one_database_or_user_on_one_node_share_its_quota():
    config = PoolConfig(
        databases=(DatabaseConfig(name="*", max_db_connections=4),),
        users=(UserConfig(name="app", max_user_connections=2),),
    )
    found = Pools(config, lambda _: None)
    mine = found.get("pg0", 0, "shop", "app")
    same_database = found.get("pg0", 0, "shop", "admin")
    same_user = found.get("pg0", 0, "books", "app")
    other_node = found.get("pg1", 1, "shop", "app")

    of_database, of_user = mine.quotas
    assert (of_database.limit, of_user.limit) == (4, 2)
    assert same_database.quotas == (of_database,)
    assert same_user.quotas[1] is of_user
    assert not set(other_node.quotas) & {of_database, of_user}
    assert of_database.pools == [mine, same_database]

    found.discard_empty(0.0)
    assert of_database.pools == of_user.pools == []


def test_quotas_come_and_go_with_a_reload():
    found = Pools(PoolConfig(), lambda _: None)
    pool = found.get("pg0", 0, "shop", "app")
    assert pool.quotas == ()

    limited = PoolConfig(users=(UserConfig(name="app", max_user_connections=2),))
    found.reconfigure(limited)
    found.reconfigure(limited)
    [quota] = pool.quotas
    assert (quota.setting, quota.pools) == ("max_user_connections", [pool])

    found.reconfigure(PoolConfig())
    assert pool.quotas == ()
