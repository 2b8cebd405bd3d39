"""How many servers a pool, a database and a user may have, and how long a server lives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture(scope="module", autouse=True)
def other_user(cluster: EmbeddedCluster) -> None:
    if "other_user" not in cluster.passwords:
        cluster.add_user("other_user", "secret")


def hold(
    stack: ExitStack, proxy: Proxy, user: str = "app", database: str = "app"
) -> Connection:
    """A client whose transaction keeps a server of the primary."""
    connection = stack.enter_context(proxy.connect(database, user))
    connection.execute("begin")
    connection.execute("lock table pg_am in access share mode")
    return connection


@contextmanager
def waiting(proxy: Proxy, connection: Connection, count: int = 1) -> Iterator[list[object]]:
    """Have *connection* ask for a server of the primary; yield when *count* clients wait, with what comes of it."""
    got: list[object] = []

    def ask() -> None:
        try:
            got.append(connection.execute("/* rwsplit: primary */ select 'served'").fetchone())
        except psycopg.Error as error:
            got.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    assert wait_until(lambda: total(proxy, "cl_waiting") == count, timeout=5)
    yield got
    thread.join(10)
    assert not thread.is_alive()


def total(proxy: Proxy, column: str, **where: str) -> int:
    return sum(
        int(row[column])
        for row in proxy.console("SHOW POOLS")
        if all(row[name] == value for name, value in where.items())
    )


def servers(proxy: Proxy, **where: str) -> list[dict[str, Any]]:
    where = {"node": "primary", **where}
    return [
        row
        for row in proxy.console("SHOW SERVERS")
        if all(row[name] == value for name, value in where.items())
    ]


def becomes(found: Callable[[], object], wanted: object) -> bool:
    return wait_until(lambda: found() == wanted, timeout=10)


def test_the_reserve_serves_who_has_waited_long_and_is_closed_afterwards(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(
        cluster, {"pool": {"size": 1, "reserve_size": 1, "reserve_timeout": "200ms"}}
    )
    with ExitStack() as stack:
        holder = hold(stack, proxy)
        with waiting(proxy, stack.enter_context(proxy.connect())) as got:
            assert becomes(lambda: got, [("served",)])
        assert becomes(lambda: len(servers(proxy)), 1)
        holder.execute("rollback")
        assert len(servers(proxy)) == 1


def test_without_a_reserve_who_waits_long_goes_on_waiting(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(
        cluster,
        {"pool": {"size": 1, "reserve_timeout": "10ms", "query_wait_timeout": "500ms"}},
    )
    with ExitStack() as stack:
        hold(stack, proxy)
        with waiting(proxy, stack.enter_context(proxy.connect())) as got:
            assert wait_until(lambda: bool(got), timeout=5)
        assert isinstance(got[0], psycopg.errors.TooManyConnections)
        assert len(servers(proxy)) == 1


@pytest.mark.parametrize("of", ["database", "user"])
def test_a_database_and_a_user_have_only_so_many_servers_and_who_waits_too_long_is_told_why(
    cluster: EmbeddedCluster, make_proxy: MakeProxy, of: str
):
    limits: dict[str, Any] = {
        "database": {"databases": {"app": {"max_db_connections": 1}}},
        "user": {"users": {"*": {"max_user_connections": 1}}},
    }
    second = {
        "database": {"user": "other_user"},
        "user": {"database": "postgres"},
    }[of]
    proxy = make_proxy(cluster, {"pool": {"query_wait_timeout": "1s", **limits[of]}})
    with ExitStack() as stack:
        holder = hold(stack, proxy)
        other = stack.enter_context(proxy.connect(**second))
        with waiting(proxy, other) as got:
            assert wait_until(lambda: bool(got), timeout=5)
        assert isinstance(got[0], psycopg.errors.TooManyConnections)
        limit = "max_db_connections is 1" if of == "database" else "max_user_connections is 1"
        assert limit in str(got[0])
        with waiting(proxy, other) as got:
            holder.execute("rollback")  # its server is nobody's now: it makes room
            assert becomes(lambda: got, [("served",)])
        assert len(servers(proxy)) == 1

        third = {"database": {"database": "postgres"}, "user": {"user": "other_user"}}[of]
        hold(stack, proxy)
        hold(stack, proxy, **third)  # neither that database nor that user


def test_a_database_and_a_user_have_pools_of_their_own_size(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(
        cluster,
        {
            "pool": {
                "size": 5,
                "databases": {"app": {"size": 2}},
                "users": {"other_user": {"size": 1}},
            }
        },
    )
    with ExitStack() as stack:
        for user in ("app", "app", "other_user"):
            hold(stack, proxy, user)
        for user, larger in (
            ("app", {"databases": {"app": {"size": 3}}}),
            ("other_user", {"users": {"other_user": {"size": 2}}}),
        ):
            with waiting(proxy, stack.enter_context(proxy.connect(user=user))) as got:
                proxy.reload({"pool": larger})
                assert becomes(lambda got=got: got, [("served",)])


def test_a_server_that_is_too_old_is_closed_when_it_is_free_and_not_before(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster, {"pool": {"server_lifetime": "500ms"}})
    with ExitStack() as stack:
        holder = hold(stack, proxy)
        [(pid,)] = holder.execute("select pg_backend_pid()").fetchall()
        idle = hold(stack, proxy)
        idle.execute("rollback")
        assert becomes(lambda: len(servers(proxy)), 1)
        assert holder.execute("select pg_backend_pid()").fetchone() == (pid,)
        [server] = servers(proxy)
        assert wait_until(lambda: servers(proxy)[0]["connected"] > 2, timeout=5)
        holder.execute("rollback")
        assert servers(proxy) == []
        assert server["remote_pid"] == pid


def test_a_server_that_is_idle_too_long_is_closed_down_to_the_minimum(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster, {"pool": {"server_idle_timeout": "300ms", "min_size": 1}})
    with ExitStack() as stack:
        holders = [hold(stack, proxy) for _ in range(3)]
        assert len(servers(proxy)) == 3
        for holder in holders:
            holder.execute("rollback")
        assert becomes(lambda: len(servers(proxy)), 1)
        assert servers(proxy)[0]["connected"] > 0


def test_the_minimum_is_kept_open_per_database(cluster: EmbeddedCluster, make_proxy: MakeProxy):
    proxy = make_proxy(cluster, {"pool": {"databases": {"app": {"min_size": 3}}}})
    with proxy.connect() as client, proxy.connect("postgres") as other:
        for connection in (client, other):
            connection.execute("/* rwsplit: primary */ select 1")
        assert becomes(lambda: len(servers(proxy, database="app")), 3)
        assert len(servers(proxy, database="postgres")) == 1
