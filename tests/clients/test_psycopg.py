"""psycopg, sync and async, in its ways of talking: prepared, pipelined, COPY, cursors, transactions."""

from __future__ import annotations

import asyncio  # noqa: TID251 - psycopg's async connections know no other loop; rwsplit is elsewhere
import datetime as dt
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from rwsplit.embedded.processes import wait_until
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration


@pytest.fixture
def table(proxy: Proxy) -> Iterator[str]:
    with proxy.connect() as connection:
        connection.execute("create table driven (id int primary key, a text)")
        yield "driven"
        connection.execute("drop table driven")


def test_types_come_and_go_intact_in_text_and_binary(proxy: Proxy):
    values: tuple[Any, ...] = (
        1,
        2**62,
        1.5,
        "ünï",
        b"\0\xff",
        True,
        None,
        dt.date(2024, 2, 29),
        dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.UTC),
        uuid.UUID(int=7),
        [1, 2, 3],
        Jsonb({"a": [1, None]}),
    )
    marks = ", ".join(["%s"] * len(values))
    with proxy.connect() as connection:
        for binary in (False, True):
            for _ in range(7):
                row = connection.execute(f"select {marks}", values, binary=binary).fetchone()
                assert row is not None
                assert row[:-1] == values[:-1]
                assert row[-1] == {"a": [1, None]}


@pytest.mark.parametrize("threshold", [None, 0, 5])
def test_statements_are_prepared_or_not(proxy: Proxy, table: str, threshold: int | None):
    with proxy.connect(prepare_threshold=threshold) as connection:
        for number in range(20):
            connection.execute(f"insert into {table} values (%s, %s)", (number, str(number)))
            found = connection.execute(f"select a from {table} where id = %s", (number,))
            assert found.fetchone() == (str(number),)
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(f"insert into {table} values (%s, %s)", (1, "again"))
        assert connection.execute(f"select count(*) from {table}").fetchone() == (20,)


def test_a_connection_that_is_not_autocommit(proxy: Proxy, table: str):
    with proxy.connect(autocommit=False) as connection:
        connection.execute(f"insert into {table} values (1, 'kept')")
        connection.commit()
        connection.execute(f"insert into {table} values (2, 'lost')")
        connection.rollback()
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("select * from nowhere")
        connection.rollback()
        assert connection.execute(f"select a from {table}").fetchall() == [("kept",)]


def test_nested_transactions(proxy: Proxy, table: str):
    with proxy.connect() as connection:
        with connection.transaction():
            connection.execute(f"insert into {table} values (1, 'a')")
            with pytest.raises(psycopg.errors.UniqueViolation), connection.transaction():
                connection.execute(f"insert into {table} values (1, 'b')")
            with connection.transaction(force_rollback=True):
                connection.execute(f"insert into {table} values (2, 'c')")
        assert connection.execute(f"select a from {table}").fetchall() == [("a",)]


def test_a_read_only_connection(proxy: Proxy, table: str):
    with proxy.connect(autocommit=False) as connection:
        connection.read_only = True

        def is_on_a_replica() -> bool:  # as soon as one has replayed what made the table
            found = connection.execute("select pg_is_in_recovery()").fetchone()
            connection.rollback()
            return found == (True,)

        assert wait_until(is_on_a_replica, timeout=10)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute(f"insert into {table} values (1, 'a')")


def test_server_side_cursors(proxy: Proxy):
    with proxy.connect(autocommit=False) as connection:
        with connection.cursor(name="held") as cursor:
            cursor.execute("select generate_series(1, 1000)")
            assert cursor.fetchmany(3) == [(1,), (2,), (3,)]
            cursor.scroll(100)
            assert cursor.fetchone() == (104,)
            assert len(cursor.fetchall()) == 896
        with connection.cursor(name="kept", withhold=True) as cursor:
            cursor.execute("select generate_series(1, 10)")
            connection.commit()
            assert len(cursor.fetchall()) == 10


def test_pipelines_with_errors_in_the_middle(proxy: Proxy, table: str):
    with proxy.connect() as connection:
        with connection.pipeline() as pipeline:
            first = connection.execute("select 1")
            connection.execute(f"insert into {table} values (1, 'a')")
            pipeline.sync()
            connection.execute("select 1/0")
            skipped = connection.execute(f"insert into {table} values (2, 'skipped')")
            with pytest.raises(psycopg.errors.DivisionByZero):
                pipeline.sync()
            assert skipped.pgresult is None
            last = connection.execute("select 2")
            assert first.fetchone() == (1,)
            assert last.fetchone() == (2,)
        assert connection.execute(f"select id from {table}").fetchall() == [(1,)]
        with connection.pipeline(), connection.transaction():
            for number in range(10, 200):
                connection.execute(f"insert into {table} values (%s, 'p')", (number,))
            counted = connection.execute(f"select count(*) from {table}")
            assert counted.fetchone() == (191,)


def test_executemany_and_returning(proxy: Proxy, table: str):
    with proxy.connect(row_factory=dict_row) as connection, connection.cursor() as cursor:
        cursor.executemany(
            f"insert into {table} values (%s, %s) returning id",
            [(n, str(n)) for n in range(500)],
            returning=True,
        )
        ids = []
        while True:
            ids.append(cursor.fetchone()["id"])  # type: ignore[call-overload]
            if not cursor.nextset():
                break
        assert ids == list(range(500))


def test_many_threads_over_few_servers(proxy: Proxy, table: str):
    def work(worker: int) -> int:
        with proxy.connect() as connection:
            for turn in range(15):
                key = worker * 100 + turn
                with connection.transaction():
                    connection.execute(f"insert into {table} values (%s, %s)", (key, "w"))
                found = connection.execute(f"select id from {table} where id = %s", (key,))
                assert found.fetchone() == (key,), "a session sees its own write"
        return worker

    with ThreadPoolExecutor(24) as threads:
        assert sorted(threads.map(work, range(24))) == list(range(24))
    with proxy.connect() as connection:
        assert connection.execute(f"select count(*) from {table}").fetchone() == (360,)


def test_the_async_driver(proxy: Proxy, table: str):
    async def one(worker: int) -> int:
        async with await psycopg.AsyncConnection.connect(
            proxy.dsn(), autocommit=True
        ) as connection:
            for turn in range(10):
                key = worker * 100 + turn
                async with connection.transaction():
                    await connection.execute(
                        f"insert into {table} values (%s, %s)", (key, "async")
                    )
                cursor = await connection.execute(
                    f"select a from {table} where id = %s", (key,)
                )
                assert await cursor.fetchone() == ("async",)
            async with connection.pipeline():
                cursors = [await connection.execute("select %s::int", (n,)) for n in range(20)]
                assert [await c.fetchone() for c in cursors] == [(n,) for n in range(20)]
            cursor = connection.cursor()
            async with cursor.copy("copy (select generate_series(1, 100)) to stdout") as copy:
                assert len([row async for row in copy.rows()]) == 100
        return worker

    async def everybody() -> list[int]:
        async with asyncio.timeout(60):
            return await asyncio.gather(*(one(worker) for worker in range(12)))

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(asyncio.run, everybody()).result(90) == list(range(12))
