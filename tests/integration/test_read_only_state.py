"""READ ONLY transactions that want what only the primary allows: at once where they can go there, else from the second chance on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import ReachableCluster
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

#: What PostgreSQL allows in a READ ONLY transaction, and a standby does not, or rwsplit not there.
THINGS = [
    "prepare readonly_p as select 2",
    "select pg_try_advisory_lock_shared(28)",
    "select pg_export_snapshot() is not null",
    "listen readonly",
    "select pg_notify('readonly', 'x') is null",
    "select setseed(0.5)",
    "do $$begin perform 1; end$$",
    "declare readonly_c cursor with hold for select 1",
    "lock table readonly_a in access share mode",
]
SNAPSHOT = "begin isolation level repeatable read read only"
REFUSALS = (psycopg.errors.FeatureNotSupported, psycopg.errors.ReadOnlySqlTransaction)


@pytest.fixture(scope="module")
def table(cluster: ReachableCluster[Any]) -> Iterator[str]:
    with cluster.primary.connect("app", "app") as connection:
        connection.execute("create table readonly_a as select 1 as a")
        cluster.wait_until_replayed()
        yield "readonly_a"
        connection.execute("drop table readonly_a")


@pytest.fixture
def fresh(cluster: ReachableCluster[Any], table: str, make_proxy: MakeProxy) -> Proxy:
    """A proxy that has read the catalog, which makes it forget, and has learned nothing yet."""
    proxy = make_proxy(cluster)
    with proxy.connect() as connection:
        connection.execute("select 1")
        assert wait_until(lambda: "catalog_read" in proxy.log(), timeout=10)
    return proxy


def begin_on_replica(
    connection: psycopg.Connection[Any], begin: str, read: str = "select a from readonly_a"
) -> None:
    """Begin a transaction whose first read a replica answers; the primary may while a server there is opened."""

    def begins() -> bool:
        connection.execute("rollback")
        connection.execute(begin)  # type: ignore[call-overload]
        connection.execute(read)  # type: ignore[call-overload]
        return connection.execute("select pg_is_in_recovery()").fetchone() == (True,)

    assert wait_until(begins, timeout=10)


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("then", ["", "savepoint s"])
def test_one_without_a_snapshot_to_keep_goes_where_it_is_allowed(
    proxy: Proxy, table: str, then: str, thing: str
):
    if then and "export" in thing:
        pytest.skip("PostgreSQL refuses it behind a savepoint")
    with proxy.connect() as connection:
        begin_on_replica(connection, "begin read only")
        if then:
            connection.execute(then)  # type: ignore[call-overload]
        connection.execute(thing)  # type: ignore[call-overload]
        connection.execute("rollback")


@pytest.mark.parametrize("thing", THINGS)
def test_one_with_a_snapshot_goes_there_when_its_session_tries_again(
    fresh: Proxy, table: str, thing: str
):
    with fresh.connect() as connection:
        begin_on_replica(connection, SNAPSHOT)
        try:
            connection.execute(thing)  # type: ignore[call-overload]
        except REFUSALS:
            connection.execute("rollback")
            connection.execute(SNAPSHOT)
            connection.execute("select a from readonly_a")
            assert connection.execute("select pg_is_in_recovery()").fetchone() == (False,)
            connection.execute(thing)  # type: ignore[call-overload]
        assert connection.execute("select count(*) from readonly_a").fetchone() == (1,)
        connection.execute("rollback")
        # Also if the next one begins otherwise.
        connection.execute("deallocate all")
        connection.execute(SNAPSHOT)
        connection.execute("select 1, 2")
        connection.execute(thing)  # type: ignore[call-overload]
        connection.execute("rollback")


@pytest.mark.parametrize("thing", ["listen readonly", "select pg_notify('readonly', 'x')"])
def test_and_so_does_any_sessions_that_begins_like_it(fresh: Proxy, table: str, thing: str):
    with fresh.connect() as connection:
        begin_on_replica(connection, SNAPSHOT)
        with pytest.raises(REFUSALS):
            connection.execute(thing)  # type: ignore[call-overload]
    with fresh.connect() as other:
        other.execute(SNAPSHOT)
        other.execute("select a from readonly_a")
        [(route,)] = other.execute("show rwsplit.last_route").fetchall()
        assert "LEARNED_STATE" in route
        assert other.execute("select pg_is_in_recovery()").fetchone() == (False,)
        other.execute(thing)  # type: ignore[call-overload]
        other.execute("rollback")
    with fresh.connect() as third:
        begin_on_replica(third, SNAPSHOT, "select a + 1 from readonly_a")


def test_one_begun_in_one_string_with_its_first_read_is_learned_of_too(
    fresh: Proxy, table: str
):
    string = f"{SNAPSHOT}; select a from {table}"
    with fresh.connect() as connection:
        begin_on_replica(connection, string, "select 1")
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            connection.execute("select setseed(0.5)")
    with fresh.connect() as other:
        other.execute(string)  # type: ignore[call-overload]
        assert other.execute("select pg_is_in_recovery()").fetchone() == (False,)
        other.execute("select setseed(0.5)")


def test_what_postgresql_refuses_in_read_only_transactions_teaches_nothing(
    fresh: Proxy, table: str
):
    with fresh.connect() as connection:
        for _ in range(3):
            begin_on_replica(connection, SNAPSHOT)
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                connection.execute(f"insert into {table} values (2)")  # type: ignore[call-overload]
            connection.execute("rollback")
            begin_on_replica(connection, SNAPSHOT)
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                connection.execute("create temp table readonly_t (a int)")
            connection.execute("rollback")
