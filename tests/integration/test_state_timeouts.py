"""Every state of a session and of a server ends; and none does that is only slow."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from tests.support.messages import FLUSH, bind, execute, parse, query
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy
from tests.support.raw_client import RawClient, error_fields, message

pytestmark = pytest.mark.integration

PRIMARY = "/* rwsplit: primary */ "
BIG = "select repeat('x', 1000) from generate_series(1, 300000)"


@pytest.fixture(scope="module")
def stated(cluster: EmbeddedCluster) -> EmbeddedCluster:
    """A cluster with a table to write to, and one whose trigger sleeps."""
    for statement in (
        "create table if not exists stated (n int)",
        "grant all on stated to app",
        "create table if not exists slowly (t text)",
        "grant all on slowly to app",
        "create or replace function sleep_a_moment() returns trigger language plpgsql as"
        " $$begin perform pg_sleep(3); return new; end$$",
        "create or replace trigger slow before insert on slowly for each row"
        " when (new.t like 'slow%') execute function sleep_a_moment()",
    ):
        cluster.primary.query(statement, database="app")  # type: ignore[arg-type]
    cluster.wait_until_replayed()
    return cluster


def working(cluster: EmbeddedCluster) -> list[object]:
    return [
        row
        for node in cluster.nodes.values()
        for row in node.query(
            "select pid, state, query from pg_stat_activity"
            " where usename = 'app' and state <> 'idle'"
        )
    ]


def is_quiet(cluster: EmbeddedCluster) -> bool:
    return wait_until(lambda: not working(cluster), timeout=20)


def stored(cluster: EmbeddedCluster) -> int:
    [(count,)] = cluster.primary.query("select count(*) from stated", database="app")
    assert isinstance(count, int)
    return count


def last_error(client: RawClient) -> str:
    """Return the SQLSTATE of the next ErrorResponse; the connection is closed behind it."""
    state = error_fields(client.frames_until(b"E")[-1].payload)["C"]
    with contextlib.suppress(ConnectionResetError):
        assert client.is_closed()
    return state


# A client that does not read...


def small_window(client: RawClient) -> None:
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)


@pytest.mark.parametrize("begin", ["", "begin; update stated set n = 1; "])
def test_a_client_that_stops_reading_gives_back_its_server(
    stated: EmbeddedCluster, make_proxy: MakeProxy, begin: str
):
    proxy = make_proxy(stated, {"pool": {"size": 1, "client_write_timeout": "2s"}})
    with proxy.raw(timeout=30) as client:
        small_window(client)
        client.send(query(begin + BIG))
        assert wait_until(lambda: proxy.console("SHOW CLIENTS") == [], timeout=20)
        assert is_quiet(stated)
        with proxy.connect() as other:
            assert other.execute("select 1").fetchone() == (1,)
            other.execute("insert into stated values (1)")


def test_one_that_reads_slowly_gets_every_row(stated: EmbeddedCluster, make_proxy: MakeProxy):
    # A machine tells of a window only when that is worth it: on loopback at 64 kB.
    proxy = make_proxy(stated, {"pool": {"client_write_timeout": "4s"}})
    with proxy.raw(timeout=60) as client:
        client.send(query("select repeat('x', 1000) from generate_series(1, 12000)"))
        client.frames_until(b"T")
        rows = 0
        for _ in range(20):
            time.sleep(0.5)  # noqa: TID251 - the slowness is what is tested
            for _ in range(100):
                rows += client.frame().code == b"D"
        assert len(proxy.console("SHOW CLIENTS")) == 1
        rows += client.codes_until(b"Z").count(b"D")
        assert rows == 12_000


# A transaction that takes too long...


@pytest.fixture(scope="module")
def prompt(
    stated: EmbeddedCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    settings = {"pool": {"size": 2, "transaction_timeout": "2s"}}
    with Proxy(stated, tmp_path_factory.mktemp("prompt"), settings) as running:
        yield running


def idles_in_it(client: RawClient) -> None:
    client.query("begin")
    client.query("insert into stated values (2)")


def begins_nowhere(client: RawClient) -> None:
    client.query("begin")


def reads_on_a_replica(client: RawClient) -> None:
    client.query("begin")
    client.query("select 1")


def runs_in_it(client: RawClient) -> None:
    idles_in_it(client)
    client.send(query("select pg_sleep(30)"))


def runs_outside_one(client: RawClient) -> None:
    client.send(query(PRIMARY + "insert into stated select 2 from pg_sleep(30)"))


def copies_in(client: RawClient) -> None:
    client.send(query("copy stated from stdin"))
    client.frames_until(b"G")
    client.send(message(b"d", b"2\n"))


def says_flush(client: RawClient) -> None:
    client.send(parse("insert into stated values (2)"), bind(), execute(), FLUSH)
    assert client.codes_until(b"C")[-1:] == b"C"


Begin = Callable[[RawClient], None]


@pytest.mark.parametrize(
    "begin",
    [
        idles_in_it,
        begins_nowhere,
        reads_on_a_replica,
        runs_in_it,
        runs_outside_one,
        copies_in,
        says_flush,
    ],
)
def test_a_transaction_that_takes_too_long_is_rolled_back(
    stated: EmbeddedCluster, prompt: Proxy, begin: Begin
):
    before = stored(stated)
    with prompt.raw() as client:
        begin(client)
        assert last_error(client) == "25P04"
    assert is_quiet(stated)
    assert stored(stated) == before
    with prompt.connect() as other:
        other.execute("select pg_sleep(0.1)")


def test_short_ones_one_after_the_other_do_not(prompt: Proxy):
    with prompt.raw() as client:
        client.query("begin isolation level serializable")
        for _ in range(6):
            client.query("select pg_sleep(0.5)")
            assert client.query("commit and chain")[-1].payload == b"T"
        assert client.query("commit")[-1].payload == b"I"


# A client that says Flush and nothing more...


@pytest.mark.parametrize(
    ("setting", "state"),
    [("idle_transaction_timeout", "25P03"), ("client_idle_timeout", "57P05")],
)
@pytest.mark.parametrize("half", [False, True])
def test_a_client_that_leaves_its_server_waiting_is_idle(
    stated: EmbeddedCluster, make_proxy: MakeProxy, setting: str, state: str, half: bool
):
    proxy = make_proxy(stated, {"pool": {"size": 1, setting: "1s"}})
    before = stored(stated)
    with proxy.raw() as client:
        if half:
            client.send(query("insert into stated values (3) -- " + 1_100_000 * "x")[:-10])
        else:
            says_flush(client)
        assert last_error(client) == state
    assert is_quiet(stated)
    assert stored(stated) == before
    with proxy.connect() as other:
        other.execute("insert into stated values (1)")


# A primary that is down...


@pytest.mark.parametrize("begin", [runs_in_it, runs_outside_one, copies_in])
def test_what_runs_on_a_primary_that_freezes_ends_in_the_end(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy, begin: Begin
):
    primary = fragile_cluster.primary
    primary.query("create table if not exists stated (n int)", database="app")
    primary.query("grant all on stated to app", database="app")
    proxy = make_proxy(
        fragile_cluster,
        {
            "pool": {"server_silence_timeout": "2s"},
            "monitor": {"timeout": "500ms", "fall": 2},
        },
    )
    with proxy.raw(timeout=30) as client:
        begin(client)
        assert wait_until(lambda: working(fragile_cluster), timeout=20)
        primary.pause()
        try:
            assert last_error(client) == "08006"
        finally:
            primary.resume()
    assert "server_given_up" in proxy.log()
    with proxy.connect() as other:
        other.execute("insert into stated values (1)")
    # PostgreSQL does not notice that nobody waits any more.
    primary.query(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where usename = 'app' and state = 'active'"
    )


# What is only slow...


@pytest.fixture(scope="module")
def eager(stated: EmbeddedCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy that notices in two seconds that a machine is gone."""
    settings = {"tcp": {"keepidle": "1s", "keepintvl": "1s", "keepcnt": 1}}
    with Proxy(stated, tmp_path_factory.mktemp("eager"), settings) as running:
        yield running


def test_a_copy_behind_a_slow_trigger_lives(stated: EmbeddedCluster, eager: Proxy):
    lines = 20_000
    with eager.raw(timeout=60) as client:
        client.send(query("copy slowly from stdin"))
        client.frames_until(b"G")
        data = message(b"d", b"slow\n") + message(b"d", 1000 * b"x" + b"\n") * lines

        def send() -> None:
            client.send(data, message(b"c", b""))

        sender = threading.Thread(target=send)
        sender.start()
        assert client.codes_until(b"Z") == b"CZ"
        sender.join(10)
        assert not sender.is_alive()


def test_a_client_that_pauses_in_its_result_lives(eager: Proxy):
    with eager.raw(timeout=60) as client:
        client.send(query("select repeat('x', 1000) from generate_series(1, 8000)"))
        client.frames_until(b"D")
        time.sleep(4)  # noqa: TID251 - the pause is what is tested
        assert client.codes_until(b"Z").count(b"D") == 7_999


def test_a_server_that_is_busy_behind_a_pipeline_lives(eager: Proxy):
    with eager.connect() as client, client.pipeline():
        client.execute(PRIMARY + "select pg_sleep(4)")
        results = [
            client.execute(PRIMARY + "select length(%s)", (30_000 * "x",)) for _ in range(500)
        ]
        assert {result.fetchone() for result in results} == {(30_000,)}


def test_a_row_that_comes_in_pieces_lives(stated: EmbeddedCluster, make_proxy: MakeProxy):
    # PostgreSQL sends what fills its buffer of 8 kB: half a row may be all there is to see of it for long.
    proxy = make_proxy(stated, {"pool": {"server_silence_timeout": "1s"}})
    rows = "select repeat('x', 900), case when n = 30 then pg_sleep(4) end from generate_series(1, 40) n"
    with proxy.connect() as client:
        assert len(client.execute(rows).fetchall()) == 40


def test_a_statement_that_says_nothing_for_long_lives(
    stated: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(
        stated,
        {"pool": {"server_silence_timeout": "1s", "query_wait_timeout": "1s"}},
    )
    with proxy.connect() as client:
        client.execute(PRIMARY + "select pg_sleep(4)")
        with pytest.raises(psycopg.errors.DivisionByZero):
            client.execute("select 1 / 0 from pg_sleep(2)")
