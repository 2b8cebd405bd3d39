"""How many connections may be open at once to ask who logs in."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from rwsplit.config.model import DatabaseConfig, PoolConfig, UserConfig
from rwsplit.config.overrides import pool_config
from rwsplit.server.dial_budget import OF_A_USER, OF_ALL, DialBudget
from rwsplit.server.pools import Pools


class Storm:
    """Logins that hold their ticket until they are told to go on."""

    def __init__(self, config: PoolConfig) -> None:
        self.pools = Pools(config, lambda _: None)
        self.budget = DialBudget(
            lambda database, user: pool_config(config, database, user).size, self.pools.quotas
        )
        self.open: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.order: list[str] = []
        self.go = trio.Event()

    async def log_in(self, node: str, database: str, user: str) -> None:
        async with self.budget.ticket(node, database, user):
            self.order.append(user)
            for name in (f"{node}/{user}", node, "all"):
                self.open[name] += 1
                self.most[name] = max(self.most[name], self.open[name])
            await self.go.wait()
            for name in (f"{node}/{user}", node, "all"):
                self.open[name] -= 1

    async def is_over(self) -> None:
        self.go.set()
        await wait_all_tasks_blocked()
        assert (len(self.budget), self.budget.waiting) == (0, 0)
        assert not self.budget._nodes


@pytest.mark.parametrize(("size", "most"), [(20, OF_A_USER), (2, 2), (1, 1)])
async def test_a_user_has_a_few_on_each_node(nursery, size, most):
    storm = Storm(PoolConfig(size=size))
    for _ in range(300):
        for node in ("pg0", "pg1"):
            nursery.start_soon(storm.log_in, node, "shop", "app")
    await wait_all_tasks_blocked()
    assert (storm.open["pg0/app"], storm.open["pg1/app"]) == (most, most)
    assert storm.budget.waiting == 600 - 2 * most
    await storm.is_over()

    assert storm.most["pg0/app"] == most
    assert len(storm.order) == 600


async def test_all_users_together_have_some_more(nursery):
    storm = Storm(PoolConfig())
    for number in range(100):
        nursery.start_soon(storm.log_in, "pg0", "shop", f"user{number}")
    await wait_all_tasks_blocked()
    await storm.is_over()

    assert storm.most["pg0"] == OF_ALL
    assert len(storm.order) == 100


async def test_users_take_turns(nursery):
    storm = Storm(PoolConfig(size=1))
    for _ in range(50):
        nursery.start_soon(storm.log_in, "pg0", "shop", "busy")
    await wait_all_tasks_blocked()
    for number in range(OF_ALL):
        nursery.start_soon(storm.log_in, "pg0", "shop", f"user{number}")
    await wait_all_tasks_blocked()
    await storm.is_over()

    assert storm.order.index(f"user{OF_ALL - 1}") < 2 * OF_ALL


async def test_it_counts_within_the_limits_of_databases_and_users(nursery):
    config = PoolConfig(users=(UserConfig(name="app", max_user_connections=3),))
    storm = Storm(config)
    pool = storm.pools.get("pg0", 0, "shop", "app")
    pool.starting = 1
    for _ in range(5):
        nursery.start_soon(storm.log_in, "pg0", "other", "app")
    await wait_all_tasks_blocked()

    # Two are within the limit, and one more may be beyond it.
    assert storm.open["pg0/app"] == 3
    assert pool.is_held_back
    await storm.is_over()
    assert not pool.is_held_back


async def test_a_login_does_not_wait_for_statements_but_one_at_a_time(nursery):
    config = PoolConfig(databases=(DatabaseConfig(name="*", max_db_connections=1),))
    storm = Storm(config)
    pool = storm.pools.get("pg0", 0, "shop", "app")
    pool.starting = 1
    for user in ("app", "etl", "web"):
        nursery.start_soon(storm.log_in, "pg0", "shop", user)
    await wait_all_tasks_blocked()

    assert storm.open["pg0"] == 1
    [quota] = pool.quotas
    assert (quota.used, quota.beyond) == (1, 1)
    await storm.is_over()
    assert (quota.used, quota.beyond) == (1, 0)
    assert len(storm.order) == 3


async def test_limits_nobody_is_counted_by_are_forgotten(nursery):
    storm = Storm(PoolConfig(databases=(DatabaseConfig(name="*", max_db_connections=1),)))
    for number in range(100):
        nursery.start_soon(storm.log_in, "pg0", f"misspelt{number}", "app")
    await wait_all_tasks_blocked()
    storm.pools.discard_empty(0.0)
    assert storm.pools._quotas
    await storm.is_over()
    storm.pools.discard_empty(0.0)

    assert not storm.pools._quotas


async def test_who_leaves_while_waiting_leaves_nothing_behind(nursery):
    storm = Storm(PoolConfig(size=1))
    nursery.start_soon(storm.log_in, "pg0", "shop", "app")
    await wait_all_tasks_blocked()
    with trio.move_on_after(0):
        await storm.log_in("pg0", "shop", "app")
    nursery.start_soon(storm.log_in, "pg0", "shop", "app")
    await wait_all_tasks_blocked()
    await storm.is_over()

    assert len(storm.order) == 2
