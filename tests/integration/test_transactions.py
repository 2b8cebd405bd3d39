"""Transactions: where they run, that they stay whole, and how they end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from rwsplit.embedded.reachable import ReachableCluster
from tests.support.differential import Differential, say
from tests.support.messages import SYNC, query, statement
from tests.support.proxy import Proxy
from tests.support.raw_client import RawClient, rows

pytestmark = pytest.mark.integration


@pytest.fixture
def compare(cluster: ReachableCluster[Any], proxy: Proxy) -> Differential:
    return Differential(cluster, proxy)


@pytest.fixture
def table(cluster: ReachableCluster[Any]) -> Iterator[str]:
    with cluster.primary.connect("app", "app") as connection:
        connection.execute("create table moved (a int)")
        connection.execute("insert into moved values (1)")
        cluster.wait_until_replayed()
        yield "moved"
        connection.execute("drop table moved")


def in_recovery(connection: psycopg.Connection[Any]) -> bool:
    [(answer,)] = connection.execute("select pg_is_in_recovery()").fetchall()
    return bool(answer)


@pytest.mark.parametrize(
    "begin",
    [
        "begin read only",
        "start transaction read only",
        "begin isolation level repeatable read read only",
        "begin transaction isolation level read committed, read only",
    ],
)
def test_a_read_only_transaction_runs_on_one_replica(proxy: Proxy, begin: Any):
    with proxy.connect() as connection:
        connection.execute(begin)
        nodes = {
            connection.execute("select inet_server_port(), pg_is_in_recovery()").fetchone()
            for _ in range(6)
        }
        connection.execute("commit")
    [(port, is_replica)] = nodes  # type: ignore[misc]
    assert is_replica
    assert port != proxy.cluster.primary.port


@pytest.mark.parametrize(
    "begin",
    [
        "begin isolation level serializable",
        "begin isolation level serializable read only",
        "begin isolation level repeatable read",
        "begin; set transaction read write",
    ],
)
def test_a_transaction_with_one_snapshot_that_may_write_runs_on_the_primary(
    proxy: Proxy, begin: Any
):
    with proxy.connect() as connection:
        connection.execute(begin)
        assert not in_recovery(connection)
        connection.execute("rollback")


def test_a_read_only_transaction_that_needs_the_primary_moves_there(proxy: Proxy, table: str):
    with proxy.connect() as connection:
        connection.execute("begin read only")
        assert in_recovery(connection)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction) as raised:
            connection.execute(f"insert into {table} values (2)")
        assert "read-only transaction" in str(raised.value)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        connection.execute("rollback")

    with proxy.connect() as connection:
        connection.execute("begin read only")
        assert in_recovery(connection)
        connection.execute("select pg_advisory_xact_lock(77)")
        assert not in_recovery(connection)
        assert connection.execute(f"select a from {table}").fetchall() == [(1,)]
        connection.execute("commit")


def test_a_read_only_transaction_answers_as_directly(compare: Differential):
    compare(
        say(query("begin read only")),
        say(query("select 1")),
        say(query("show transaction_read_only")),
        say(query("show transaction_isolation")),
        say(query("create table never (a int)")),
        say(query("select 'skipped'")),
        say(query("rollback")),
        say(query("begin isolation level serializable read only deferrable")),
        say(query("select 1")),
        say(query("end")),
        say(query("begin read only; select 1; commit; select 2")),
        say(query("begin read only")),
        say(query("set transaction read write")),
        say(query("commit")),
        say(query("begin read only")),
        say(query("declare c cursor for select generate_series(1, 5)")),
        say(query("fetch 2 from c")),
        say(query("commit")),
        say(query("set transaction read only")),
    )


def test_failed_transactions_answer_as_directly(compare: Differential):
    compare(
        say(query("begin")),
        say(query("select 1/0")),
        say(query("select 1")),
        say(query("")),
        say(statement("select 1"), SYNC),
        say(query("show rwsplit.nosuch")),
        say(query("begin")),
        say(query("commit")),
        say(query("begin; select 1/0; select 2")),
        say(query("rollback; select 3")),
    )


def test_savepoints_and_chains_answer_as_directly(compare: Differential):
    compare(
        say(query("begin")),
        say(query("savepoint a")),
        say(query("select 1/0")),
        say(query("rollback to a")),
        say(query("select 1")),
        say(query("release a")),
        say(query("commit and chain")),
        say(query("select 2")),
        say(query("rollback and chain")),
        say(query("commit")),
        say(query("begin read only")),
        say(query("savepoint a")),
        say(query("select nosuch")),
        say(query("rollback to savepoint a")),
        say(query("select 3")),
        say(query("commit and chain")),
        say(query("select 4")),
        say(query("commit")),
        say(query("savepoint nowhere")),
    )


def test_multi_statement_strings_answer_as_directly(compare: Differential):
    compare(
        say(query("begin; select 1; commit; select 2")),
        say(query("select 1; begin; select 2")),
        say(query("select 3")),
        say(query("commit; select 4")),
        say(query("select 1; rollback; select 2; select 1/0")),
        say(query("begin; select 1; commit and chain; select 2; rollback")),
    )


def test_an_implicit_transaction_is_whole(proxy: Proxy, table: str):
    with proxy.connect(cursor_factory=psycopg.ClientCursor) as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute(f"insert into {table} values (2); select 1/0")
        assert connection.execute(f"select count(*) from {table}").fetchone() == (1,)
        # A select in front of a write does not lead the string to a replica.
        connection.execute(f"select 1; insert into {table} values (3)")
        assert connection.execute(f"select count(*) from {table}").fetchone() == (2,)


def test_a_write_is_seen_by_the_next_read_of_its_session(proxy: Proxy, table: str):
    with proxy.connect() as connection:
        for number in range(2, 60):
            if number % 2:
                connection.execute(f"insert into {table} values (%s)", (number,))
            else:
                with connection.transaction():
                    connection.execute(f"insert into {table} values (%s)", (number,))
            found = connection.execute(f"select count(*) from {table}").fetchone()
            assert found == (number,)


def test_a_client_that_leaves_in_its_transaction_leaves_nothing(
    proxy: Proxy, cluster: ReachableCluster[Any], table: str
):
    with RawClient(proxy.port) as client:
        client.log_in(user="app", database="app", password=cluster.passwords["app"])
        client.query("begin")
        client.query(f"lock table {table}")
        client.query(f"insert into {table} values (2)")
    with proxy.connect() as connection:
        connection.execute("set statement_timeout = '5s'")
        connection.execute(f"insert into {table} values (3)")
        assert connection.execute(f"select a from {table} order by a").fetchall() == [
            (1,),
            (3,),
        ]


def test_two_clients_interleave_their_transactions(
    cluster: ReachableCluster[Any], proxy: Proxy, table: str
):
    with RawClient(proxy.port) as one, RawClient(proxy.port) as other:
        for client in (one, other):
            client.log_in(user="app", database="app", password=cluster.passwords["app"])
            client.query("begin")
        one.query(f"insert into {table} values (10)")
        assert rows(other.query(f"select count(*) from {table}")) == [(b"1",)]
        one.query("commit")
        cluster.wait_until_replayed()  # what others wrote may be old on a replica
        assert rows(other.query(f"select count(*) from {table}")) == [(b"2",)]
        other.query(f"insert into {table} values (20)")
        other.query("rollback")
        assert rows(one.query(f"select count(*) from {table}")) == [(b"2",)]
