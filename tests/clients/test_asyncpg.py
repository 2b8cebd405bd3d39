"""asyncpg: prepares everything by name, binary both ways, and resets its connections."""

from __future__ import annotations

import asyncio  # noqa: TID251 - asyncpg knows no other loop; it runs in a thread of its own
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
import pytest

from tests.support.proxy import Proxy
from tests.support.session_attributes import ATTRIBUTES

pytestmark = pytest.mark.integration


def driven(proxy: Proxy, talk: Callable[[asyncpg.Connection], Awaitable[Any]]) -> Any:
    """Return what *talk* makes of a connection, within a minute."""

    async def conversation() -> Any:
        async with asyncio.timeout(60):
            connection = await asyncpg.connect(proxy.dsn())
            try:
                return await talk(connection)
            finally:
                await connection.close(timeout=5)

    return in_a_thread(conversation)


def in_a_thread(main: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(main())).result(90)


def test_queries_and_types(proxy: Proxy):
    async def talk(connection: asyncpg.Connection) -> None:
        for number in range(10):
            row = await connection.fetchrow(
                "select $1::int as n, $2::text as t, $3::jsonb as j, now() as w",
                number,
                "ü",
                '{"a": 1}',
            )
            assert (row["n"], row["t"], row["j"]) == (number, "ü", '{"a": 1}')
        assert (
            await connection.fetchval("select count(*) from generate_series(1, 1000)") == 1000
        )
        assert await connection.execute("select 1; select 2") == "SELECT 1"
        with pytest.raises(asyncpg.UndefinedTableError):
            await connection.fetch("select * from nowhere")
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.fetchval("select 1 / $1::int", 0)
        assert await connection.fetchval("select 3") == 3

    driven(proxy, talk)


def test_transactions_cursors_and_copy(proxy: Proxy):
    async def talk(connection: asyncpg.Connection) -> None:
        await connection.execute("create table asyncpg_table (id int primary key, a text)")
        try:
            async with connection.transaction():
                await connection.executemany(
                    "insert into asyncpg_table values ($1, $2)",
                    [(n, str(n)) for n in range(200)],
                )
                cursor = await connection.cursor("select id from asyncpg_table order by id")
                assert [row["id"] for row in await cursor.fetch(5)] == [0, 1, 2, 3, 4]
                await cursor.forward(10)
                assert (await cursor.fetchrow())["id"] == 15
            with pytest.raises(asyncpg.UniqueViolationError):
                async with connection.transaction():
                    await connection.execute("insert into asyncpg_table values (1, 'x')")
            assert await connection.fetchval("select count(*) from asyncpg_table") == 200
            records = [(n, "copied") for n in range(1000, 1500)]
            await connection.copy_records_to_table("asyncpg_table", records=records)
            assert await connection.fetchval("select count(*) from asyncpg_table") == 700
            async with connection.transaction(readonly=True):
                assert await connection.fetchval("select count(*) from asyncpg_table") == 700
        finally:
            await connection.execute("drop table asyncpg_table")

    driven(proxy, talk)


def test_a_changed_table_is_prepared_anew(proxy: Proxy):
    async def talk(connection: asyncpg.Connection) -> None:
        await connection.execute("create table asyncpg_changed (a int)")
        try:
            await connection.execute("insert into asyncpg_changed values (1)")
            for _ in range(3):
                assert await connection.fetchval("select a from asyncpg_changed") == 1
            await connection.execute("alter table asyncpg_changed alter a type text")
            for _ in range(6):
                # asyncpg prepares again by itself when it is told that the result has changed.
                assert await connection.fetchval("select a from asyncpg_changed") == "1"
        finally:
            await connection.execute("drop table asyncpg_changed")

    driven(proxy, talk)


def test_notifications_and_cancelling(proxy: Proxy):
    async def talk(connection: asyncpg.Connection) -> None:
        heard: asyncio.Queue[str] = asyncio.Queue()
        await connection.add_listener("asyncpg_news", lambda *said: heard.put_nowait(said[3]))
        await connection.execute("select pg_notify('asyncpg_news', 'hello')")
        assert await asyncio.wait_for(heard.get(), 5) == "hello"
        await connection.remove_listener("asyncpg_news", lambda *_: None)
        with pytest.raises(TimeoutError):
            await connection.execute("select pg_sleep(30)", timeout=0.3)
        assert await connection.fetchval("select 1") == 1

    driven(proxy, talk)


def test_a_pool_resets_what_it_takes_back(proxy: Proxy):
    async def talk() -> None:
        async with (
            asyncio.timeout(60),
            asyncpg.create_pool(proxy.dsn(), min_size=4, max_size=4) as pool,
        ):

            async def work(number: int) -> None:
                async with pool.acquire() as connection:
                    if number % 3 == 0:
                        await connection.execute(f"set work_mem = '{number + 1}MB'")
                        await connection.execute(f"select pg_advisory_lock({number})")
                    else:
                        assert await connection.fetchval("show work_mem") == "4MB"
                    assert await connection.fetchval("select $1::int", number) == number

            await asyncio.gather(*(work(number) for number in range(60)))

    in_a_thread(talk)


async def port_reached(proxy: Proxy, ports: list[int], attribute: str, **settings: str) -> int:
    """Return the port asyncpg connects to, 0 if it refuses all of them."""
    async with asyncio.timeout(60):
        try:
            connection = await asyncpg.connect(
                proxy.dsn(),
                host=[proxy.host] * len(ports),
                port=ports,
                target_session_attrs=attribute,
                server_settings=settings,
            )
        except asyncpg.TargetServerAttributeNotMatched:
            return 0
        try:
            assert await connection.fetchval("select 1") == 1
            return int(connection._addr[1])
        finally:
            await connection.close(timeout=5)


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_what_it_takes_rwsplit_for(proxy: Proxy, attribute: str):
    ours, replica = proxy.port, proxy.cluster.replicas[0].port
    as_primary, as_replica = ATTRIBUTES[attribute]

    async def talk() -> None:
        assert await port_reached(proxy, [ours], attribute) == (ours if as_primary else 0)
        found = await port_reached(proxy, [ours, replica], attribute)
        looks_on = not as_primary or attribute == "prefer-standby"
        assert found == (replica if looks_on else ours)
        found = await port_reached(proxy, [replica, ours], attribute)
        assert found == (replica if as_replica else ours)
        found = await port_reached(proxy, [ours], attribute, **{"rwsplit.route": "replica"})
        assert found == (ours if as_replica else 0)

    in_a_thread(talk)
