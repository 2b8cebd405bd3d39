"""COPY by both protocols, the ways it fails, and that a server is free again afterwards."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import ReachableCluster
from tests.support.differential import Differential, say
from tests.support.messages import (
    COPY_DONE,
    FLUSH,
    SYNC,
    TERMINATE,
    bind,
    copy_data,
    copy_fail,
    describe_portal,
    execute,
    parse,
    query,
    statement,
)
from tests.support.proxy import Proxy
from tests.support.raw_client import RawClient, rows

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def narrow(
    cluster: ReachableCluster[Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """One server per node: what a COPY left behind would meet the next client."""
    with Proxy(cluster, tmp_path_factory.mktemp("narrow"), {"pool": {"size": 1}}) as running:
        yield running


@pytest.fixture
def table(cluster: ReachableCluster[Any]) -> Iterator[str]:
    with cluster.primary.connect("app", "app") as connection:
        connection.execute("create table copied (a int)")
        yield "copied"
        connection.execute("drop table copied")


@pytest.fixture
def compare(cluster: ReachableCluster[Any], narrow: Proxy, table: str) -> Differential:
    return Differential(cluster, narrow)


COPY_IN = parse("copy copied from stdin") + bind() + describe_portal() + execute()


def test_copy_out(compare: Differential):
    compare(
        say(query("copy (select generate_series(1, 5)) to stdout")),
        say(query("copy (select g, null from generate_series(1, 3) g) to stdout (format csv)")),
        say(statement("copy (select 1) to stdout (format binary)"), SYNC),
        say(query("copy (select 1 / (3 - g) from generate_series(1, 5) g) to stdout")),
        say(query("copy copied to stdout")),
        say(query("select 'after'")),
    )


def test_copy_in(compare: Differential):
    compare(
        say(query("copy copied from stdin"), until=b"G"),
        say(copy_data(b"1\n2"), copy_data(b"\n3\n"), COPY_DONE, until=b"Z"),
        say(query("copy copied from stdin"), copy_data(b"4\n"), COPY_DONE, until=b"Z"),
        say(query("select count(*) >= 4 from copied")),
    )


def test_copy_in_by_the_extended_protocol_ends_with_exactly_one_ready_for_query(
    compare: Differential,
):
    compare(
        # libpq sends a Sync before the data, which is ignored, and one behind it.
        say(COPY_IN, SYNC, until=b"G"),
        say(copy_data(b"1\n"), COPY_DONE, SYNC),
        say(COPY_IN, SYNC, copy_data(b"2\n"), COPY_DONE, SYNC, until=b"Z"),
        say(COPY_IN, FLUSH, until=b"G"),
        say(copy_data(b"3\n"), COPY_DONE, SYNC),
        say(COPY_IN, copy_data(b"4\n"), COPY_DONE, SYNC),
        say(COPY_IN, copy_data(b"4\n"), COPY_DONE, SYNC, query("select 1"), SYNC),
        say(query("select 'after'")),
    )


def test_copy_in_that_the_client_gives_up(compare: Differential):
    compare(
        say(query("copy copied from stdin"), until=b"G"),
        say(copy_data(b"1\n"), copy_fail("no more"), until=b"Z"),
        say(COPY_IN, SYNC, until=b"G"),
        say(copy_data(b"1\n"), copy_fail("no more"), SYNC),
        say(query("select 'after'")),
    )


def test_copy_in_that_fails_while_the_client_streams(compare: Differential):
    late = copy_data(b"2\n") * 2000 + COPY_DONE
    compare(
        say(query("copy copied from stdin"), until=b"G"),
        say(copy_data(b"1\nx\n"), late, until=b"Z"),
        say(query("select 'after'")),
        say(COPY_IN, SYNC, until=b"G"),
        say(copy_data(b"1\nx\n"), late, SYNC),
        say(query("select 'after'")),
        say(query("begin")),
        say(query("copy copied from stdin"), copy_data(b"x\n"), late, until=b"Z"),
        say(query("select 'skipped'")),
        say(query("rollback")),
    )


def test_late_data_of_a_failed_copy_never_meets_the_next_statement(
    narrow: Proxy, cluster: ReachableCluster[Any], table: str
):
    with RawClient(narrow.port) as one, RawClient(narrow.port) as other:
        for client in (one, other):
            client.log_in(user="app", database="app", password=cluster.passwords["app"])
        one.send(query(f"copy {table} from stdin"))
        one.frames_until(b"G")
        one.send(copy_data(b"x\n"))
        assert one.codes_until(b"Z") == b"EZ"

        one.send(copy_data(b"7\n") * 100)
        assert rows(other.query(f"select count(*) from {table} for share of {table}")) == []
        other.send(query(f"insert into {table} values (8)"))
        assert other.codes_until(b"Z") == b"CZ"
        one.send(COPY_DONE, query(f"select a from {table}"))
        assert rows(one.frames_until(b"Z")) == [(b"8",)]


def test_several_copies_in_one_string(compare: Differential):
    compare(
        say(
            query(
                "copy copied from stdin; select 5; copy copied from stdin; "
                "copy (select 1) to stdout"
            ),
            until=b"G",
        ),
        say(copy_data(b"1\n"), COPY_DONE, until=b"G"),
        say(copy_data(b"2\n"), COPY_DONE, until=b"Z"),
        say(query("copy copied from stdin"), copy_data(b"1\n"), COPY_DONE, query("select 7")),
    )


def test_a_client_that_leaves_in_the_middle_of_its_copy_leaves_nothing(
    narrow: Proxy, cluster: ReachableCluster[Any], table: str
):
    with RawClient(narrow.port) as client:
        client.log_in(user="app", database="app", password=cluster.passwords["app"])
        client.send(query(f"copy {table} from stdin"))
        client.frames_until(b"G")
        client.send(copy_data(b"1\n"))
    with narrow.connect() as connection:
        connection.execute(f"insert into {table} values (2)")
        assert connection.execute(f"select a from {table}").fetchall() == [(2,)]


def test_a_client_that_says_goodbye_in_the_middle_of_its_copy_leaves_nothing(
    narrow: Proxy, cluster: ReachableCluster[Any], table: str
):
    for rest in (b"", copy_data(b"1\n")):
        with narrow.raw() as client:
            client.send(query(f"copy {table} from stdin"), rest, TERMINATE)
        with narrow.connect() as connection:
            connection.execute("set statement_timeout = '5s'")
            connection.execute(f"insert into {table} values (2)")
    assert cluster.primary.query(f"select count(*) from {table}", database="app") == [(2,)]
    assert wait_until(lambda: narrow.nodes()["primary"]["in_flight"] == 0, timeout=5)


def test_psycopg_copies_both_ways(proxy: Proxy, table: str):
    with proxy.connect() as connection, connection.cursor() as cursor:
        with cursor.copy(f"copy {table} from stdin") as copy:
            for number in range(10_000):
                copy.write_row((number,))
        with cursor.copy(f"copy {table} to stdout (format binary)") as copy:
            copy.set_types(["int4"])
            assert sum(row[0] for row in copy.rows()) == sum(range(10_000))
        with (
            pytest.raises(psycopg.errors.BadCopyFileFormat),
            cursor.copy(f"copy {table} from stdin") as copy,
        ):
            copy.write("1\t2\n" * 10_000)
        assert cursor.execute(f"select count(*) from {table}").fetchone() == (10_000,)


def test_a_server_that_takes_nothing_stops_its_client_instead_of_filling_memory(
    proxy: Proxy, cluster: ReachableCluster[Any], table: str, local_binaries: object
):
    block = copy_data(b"1\n" * 32_768)
    with RawClient(proxy.port) as client:
        client.log_in(user="app", database="app", password=cluster.passwords["app"])
        client.query("begin")
        [[pid]] = rows(client.query("select pg_backend_pid()"))
        client.send(query(f"copy {table} from stdin"))
        client.frames_until(b"G")
        before = proxy.memory()
        client.socket.settimeout(1.0)
        os.kill(int(pid or 0), signal.SIGSTOP)
        try:
            with pytest.raises(TimeoutError):
                client.send(block * 2_000)  # 128 MB
            assert proxy.memory() - before < 20_000_000
        finally:
            os.kill(int(pid or 0), signal.SIGCONT)
