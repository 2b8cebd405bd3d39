"""Much data in little memory: long values, long results, long COPY commands, and clients that do not keep up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import psycopg
import pytest

from rwsplit.embedded.reachable import ReachableCluster
from tests.support.messages import query
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy
from tests.support.raw_client import RawClient

pytestmark = [pytest.mark.integration, pytest.mark.slow]

MEGABYTE: Final = 1024 * 1024
LARGE: Final = 200 * MEGABYTE
MEMORY: Final = 150 * MEGABYTE
"""What the whole process may take."""


@pytest.fixture(scope="module")
def lean(
    cluster: ReachableCluster[Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A proxy of its own, not measured, so that its memory is its own."""
    directory = tmp_path_factory.mktemp("lean")
    with Proxy(cluster, directory, measured=False) as running:
        yield running
        assert running.peak_memory() < MEMORY


@pytest.fixture(scope="module")
def value() -> str:
    return "x" * LARGE


def test_a_large_value_comes_out(lean: Proxy):
    with lean.connect() as connection:
        [(text,)] = connection.execute("select repeat('x', %s)", (LARGE,)).fetchall()
        assert len(text) == LARGE
        assert lean.peak_memory() < MEMORY


def test_a_large_value_goes_in_as_a_parameter(lean: Proxy, value: str):
    with lean.connect() as connection:
        for prepare in (False, True):
            [(size,)] = connection.execute(
                "select length(%s)", (value,), prepare=prepare
            ).fetchall()
            assert size == LARGE
        assert connection.execute("select 1").fetchone() == (1,)
    assert lean.peak_memory() < MEMORY


def test_a_large_value_goes_in_as_a_literal(lean: Proxy, value: str):
    with lean.connect(cursor_factory=psycopg.ClientCursor) as connection:
        [(size,)] = connection.execute(f"select length('{value[: LARGE // 2]}')").fetchall()  # type: ignore[arg-type]
        assert size == LARGE // 2
        assert connection.execute("select 1").fetchone() == (1,)


def test_a_long_copy_goes_in_and_comes_out(lean: Proxy):
    block = (b"y" * 99 + b"\n") * 10_000  # about 1 MB
    with lean.connect() as connection, connection.cursor() as cursor:
        cursor.execute("create temp table copied_large (a text)")
        with cursor.copy("copy copied_large from stdin") as copy:
            for _ in range(LARGE // len(block)):
                copy.write(block)
        size = 0
        with cursor.copy("copy copied_large to stdout") as copy:
            for data in copy:
                size += len(data)
        assert size == LARGE // len(block) * len(block)
    assert lean.peak_memory() < MEMORY


def test_a_million_small_rows(lean: Proxy):
    with lean.connect() as connection:
        rows = connection.cursor().stream("select generate_series(1, 1000000)")
        assert sum(row[0] for row in rows) == 500_000_500_000


def test_a_client_that_stops_reading_fills_no_memory_and_harms_nobody(
    lean: Proxy, cluster: ReachableCluster[Any]
):
    before = lean.memory()
    with RawClient(lean.port) as client:
        client.log_in(user="app", database="app", password=cluster.passwords["app"])
        client.send(query("select repeat('x', 1000) from generate_series(1, 300000)"))
        client.frame()  # it has begun
        with lean.connect() as other:
            for number in range(200):
                assert other.execute("select %s::int", (number,)).fetchone() == (number,)
        assert lean.memory() - before < 20 * MEGABYTE
        size = sum(len(frame.payload) for frame in client.frames_until(b"Z"))
        assert size > 300_000_000


def test_a_long_error_and_a_long_notice_come_out_and_blame_nobody(lean: Proxy):
    """PostgreSQL's own limit is a gigabyte; PL/pgSQL puts the whole statement into the context of an error."""
    size = 40 * MEGABYTE
    notices: list[str] = []
    with lean.connect() as connection:
        connection.add_notice_handler(lambda said: notices.append(said.message_primary or ""))
        for _ in range(2):
            with pytest.raises(psycopg.errors.InvalidTextRepresentation) as caught:
                connection.execute("select cast(repeat('x', %s) as int)", (size,))
            assert len(caught.value.diag.message_primary or "") > size
        connection.execute(f"do $$begin raise notice '%', repeat('y', {size}); end$$")  # type: ignore[arg-type]
        assert [len(text) for text in notices] == [size]
        assert connection.execute("select 1").fetchone() == (1,)
    assert lean.peak_memory() < MEMORY
    assert not re.search("server_violation|node_banned|node_down", lean.log())


@pytest.mark.parametrize("size", [10_000, 60_000, 100_000, 2_000_000])
def test_an_error_of_any_length_that_names_statements(lean: Proxy, size: int):
    """Names that rwsplit gives to statements are exchanged in errors that are not long."""
    with lean.connect(prepare_threshold=0) as connection:
        for _ in range(3):
            connection.execute("select 1")
            with pytest.raises(psycopg.errors.RaiseException) as caught:
                connection.execute(
                    f"do $$begin raise exception '\"rwsplit_1\" rwsplit_ %', repeat('z', {size}); end$$"  # type: ignore[arg-type]
                )
            assert (caught.value.diag.message_primary or "").endswith("z" * size)
        assert connection.execute("select 2").fetchone() == (2,)


def test_a_long_error_that_ends_a_statement_in_time(
    cluster: ReachableCluster[Any], make_proxy: MakeProxy
):
    """PL/pgSQL tells the statement it was at, however long that is."""
    proxy = make_proxy(cluster, {"pool": {"query_timeout": "1s"}})
    with proxy.connect() as connection:
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute(
                "do $$begin execute 'select pg_sleep(20) /* ' || repeat('x', 2000000) || '*/'; end$$"
            )
        assert connection.execute("select 1").fetchone() == (1,)


def test_clients_that_do_not_read_a_notice_fill_no_memory(lean: Proxy):
    """Their servers wait with them: what is kept for a client is bounded, and so are servers."""
    say = "do $$begin raise notice '%', repeat('z', 15000000); end$$"
    before = lean.memory()
    clients = [lean.raw() for _ in range(16)]
    try:
        for client in clients:
            client.send(query(say))
        with lean.connect() as other:
            for _ in range(20):
                assert other.execute("select 1").fetchone() == (1,)
        assert lean.memory() - before < 64 * MEGABYTE
    finally:
        for client in clients:
            client.close()


def test_a_long_pipeline_answers_everything(lean: Proxy):
    with lean.connect() as connection, connection.pipeline():
        cursors = [connection.execute("select %s::int", (number,)) for number in range(5_000)]
        assert [cursor.fetchone() for cursor in cursors] == [(n,) for n in range(5_000)]


def test_statements_of_every_length_around_the_limits(lean: Proxy):
    with (
        lean.connect(cursor_factory=psycopg.ClientCursor) as simple,
        lean.connect(prepare_threshold=0) as extended,
    ):
        for size in (8_000, 16_380, 65_500, 65_536, 66_000, 262_200, 1_048_500, 1_100_000):
            text = f"select length('{'z' * size}')"
            assert simple.execute(text).fetchone() == (size,)  # type: ignore[arg-type]
            assert extended.execute(text).fetchone() == (size,)  # type: ignore[arg-type]
            assert extended.execute("select length(%s)", ("z" * size,)).fetchone() == (size,)
            padded = f"select {size} /* {'p' * size} */ + 1"
            assert simple.execute(padded).fetchone() == (size + 1,)  # type: ignore[arg-type]
