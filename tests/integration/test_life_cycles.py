"""What test runners do all day: make a database, migrate it, use it, drop it - with replicas that are behind."""

from __future__ import annotations

import asyncio  # noqa: TID251 - asyncpg needs it
import os
import subprocess
from pathlib import Path

import asyncpg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.postgres import Binaries
from tests.support.postgres import MakeCluster, MakeProxy
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

TIMES = 50
BEHIND = 0.2
MIGRATIONS = (
    "create table migrations (name text primary key)",
    "create type mood as enum ('sad', 'ok')",
    "create table people (id serial primary key, name text, mood mood default 'ok')",
    "create index on people (name)",
    "create view cheerful as select * from people where mood = 'ok'",
    "create function shout(text) returns text immutable language sql as 'select upper($1)'",
    "insert into migrations values ('0001')",
)


@pytest.fixture
def late(make_cluster: MakeCluster) -> EmbeddedCluster:
    names = [f"replica{number}" for number in (1, 2, 3)]
    return make_cluster(replicas=3, apply_delay=dict.fromkeys(names, BEHIND))


@pytest.fixture
def proxy(late: EmbeddedCluster, make_proxy: MakeProxy) -> Proxy:
    return make_proxy(late)


def test_with_psycopg(proxy: Proxy):
    for number in range(TIMES):
        with proxy.connect("postgres", "postgres") as maker:
            maker.execute("drop database if exists cycle")
            maker.execute("create database cycle")
        with proxy.connect("cycle", "postgres", autocommit=False) as migrator:
            # What is there already? Nothing, whatever a database of this name had before.
            assert migrator.execute("select to_regclass('migrations')").fetchone() == (None,)
            migrator.rollback()
            for statement in MIGRATIONS:
                migrator.execute(statement)  # type: ignore[call-overload]
        with proxy.connect("cycle", "postgres") as user:
            assert user.execute("select name from migrations").fetchall() == [("0001",)]
            with user.transaction():
                user.execute("insert into people (name) values (%s)", (f"p{number}",))
            assert user.execute("select shout(name), mood from cheerful").fetchall() == [
                (f"P{number}", "ok")
            ]
        with proxy.connect("postgres", "postgres") as dropper:
            dropper.execute("drop database cycle")


def test_with_asyncpg(proxy: Proxy):
    async def cycle(number: int) -> None:
        maker = await asyncpg.connect(proxy.dsn("postgres", "postgres"), timeout=20)
        await maker.execute("create database cycle")
        migrator = await asyncpg.connect(proxy.dsn("cycle", "postgres"), timeout=20)
        assert await migrator.fetchval("select to_regclass('migrations')::text") is None
        async with migrator.transaction():
            for statement in MIGRATIONS:
                await migrator.execute(statement)
        await migrator.close()
        pool = await asyncpg.create_pool(
            proxy.dsn("cycle", "postgres"), min_size=2, max_size=3, timeout=20
        )
        async with pool.acquire() as user:
            assert await user.fetchval("select count(*) from migrations") == 1
            await user.execute("insert into people (name) values ($1)", f"p{number}")
            assert await user.fetchval("select shout(name) from cheerful") == f"P{number}"
        await pool.close()
        await maker.execute("drop database cycle")
        await maker.close()

    async def cycles() -> None:
        for number in range(TIMES):
            await cycle(number)

    asyncio.run(cycles())


def test_with_psql(proxy: Proxy, tmp_path: Path):
    script = tmp_path / "migrate.sql"
    script.write_text("begin;\n" + ";\n".join(MIGRATIONS) + ";\ncommit;\n")

    def psql(database: str, *arguments: str) -> str:
        done = subprocess.run(
            [
                os.fspath(Binaries.find(None).tools / "psql"),
                *("-X", "-At", "-v", "ON_ERROR_STOP=1"),
                *("-d", proxy.dsn(database, "postgres")),
                *arguments,
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout.strip()

    for number in range(TIMES):
        psql("postgres", "-qc", "create database cycle")
        psql("cycle", "-qf", os.fspath(script))
        assert psql("cycle", "-c", "select name from migrations") == "0001"
        used = psql(
            "cycle",
            *("-qc", f"insert into people (name) values ('p{number}')"),
            *("-c", "select shout(name) from cheerful"),
        )
        assert used == f"P{number}"
        psql("postgres", "-qc", "drop database cycle")
