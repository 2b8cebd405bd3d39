"""Real clients that log in and leave: psycopg, asyncpg, psql. Their loops and sockets are their own."""

from __future__ import annotations

import asyncio  # noqa: TID251 - asyncpg knows no other loop; it gets a thread for it
import subprocess
from functools import partial

import asyncpg
import psycopg
import trio


async def log_in_with_psycopg(port: int, **options: str) -> tuple[int, int]:
    """Connect with psycopg (libpq); return the backend PID and the server version it knows then."""
    return await trio.to_thread.run_sync(partial(_psycopg, port, options))


def _psycopg(port: int, options: dict[str, str]) -> tuple[int, int]:
    defaults = {
        "host": "127.0.0.1",
        "port": str(port),
        "connect_timeout": "5",
        "dbname": "shop",
    }
    with psycopg.connect("", autocommit=True, **{**defaults, **options}) as connection:  # type: ignore[arg-type]
        return connection.info.backend_pid, connection.info.server_version


async def log_in_with_asyncpg(port: int, **options: object) -> tuple[int, str]:
    """Connect with asyncpg; return the backend PID and the server version it knows then."""
    return await trio.to_thread.run_sync(partial(_asyncpg, port, options))


def _asyncpg(port: int, options: dict[str, object]) -> tuple[int, str]:
    async def run() -> tuple[int, str]:
        connection = await asyncpg.connect(host="127.0.0.1", port=port, timeout=5, **options)
        pid: int = connection.get_server_pid()
        version: str = connection.get_settings().server_version
        connection.terminate()
        return pid, version

    return asyncio.run(run())


async def log_in_with_psql(conninfo: str) -> subprocess.CompletedProcess[bytes]:
    r"""Run psql, which connects and runs `\conninfo`."""
    return await trio.run_process(
        ["psql", "--no-psqlrc", "--no-password", conninfo, "-c", r"\conninfo"],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
