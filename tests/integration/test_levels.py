"""Reads below the level of their session, and where READ ONLY transactions read: neither makes later reads go back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, LiteralString

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.node import EmbeddedNode
from rwsplit.embedded.processes import wait_until
from tests.support.load import Connection, where
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

READ: LiteralString = "select v from levels"
#: What makes a read be one below the level of its session, ahead of it.
EVENTUAL: LiteralString = "/* rwsplit: consistency=eventual */ "
STALE: LiteralString = "/* rwsplit: node=replica1 */ "


@pytest.fixture(scope="module")
def levels(
    shared_fragile_cluster: EmbeddedCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    cluster = shared_fragile_cluster
    cluster.repair()
    with cluster.primary.connect("app", "app") as admin:
        admin.execute("create table levels (v int)")
        admin.execute("create table elsewhere (v int)")
        admin.execute("insert into levels values (0)")
    cluster.wait_until_replayed()
    settings = {
        "consistency": {"max_lag": "1h"},
        "routing": {"rules": [{"table": "elsewhere", "to": "node:replica1"}]},
    }
    with Proxy(cluster, tmp_path_factory.mktemp("levels"), settings) as proxy:
        yield proxy
    with cluster.primary.connect("app", "app") as admin:
        admin.execute("drop table levels, elsewhere")


@pytest.fixture
def other(levels: Proxy) -> Iterator[Connection]:
    with levels.connect(prepare_threshold=None) as connection:
        yield connection


@contextmanager
def paused(*nodes: EmbeddedNode) -> Iterator[None]:
    for node in nodes:
        node.query("select pg_wal_replay_pause()")
    try:
        yield
    finally:
        for node in nodes:
            node.query("select pg_wal_replay_resume()")


def write(cluster: EmbeddedCluster, value: int) -> None:
    cluster.primary.query(f"update levels set v = {value}", database="app")


def value(connection: Connection, prefix: LiteralString = "") -> int:
    [(found,)] = connection.execute(prefix + READ).fetchall()
    return int(found)


#: Reads of which one at least should come to the replica that is late, one of three.
ATTEMPTS = 100


@contextmanager
def one_late(cluster: EmbeddedCluster, proxy: Proxy, **options: Any) -> Iterator[Connection]:
    """Yield a session that has read 1 on replica2 or replica3, while replica1 is paused and has 0."""
    write(cluster, 0)
    cluster.wait_until_replayed()
    with ExitStack() as stack:
        stack.enter_context(paused(cluster.replicas[0]))
        write(cluster, 1)
        for node in cluster.replicas[1:]:
            assert wait_until(
                lambda n=node: n.query(READ, database="app") == [(1,)], timeout=10
            )  # type: ignore[misc]
        for _ in range(50):
            connection = proxy.connect(prepare_threshold=None, **options)
            if value(connection) == 1:
                break
            connection.close()
        stack.enter_context(connection)
        yield connection


def a_hint_for_a_node(connection: Connection) -> Iterator[int]:
    yield value(connection, STALE)


def a_hint_for_a_level(connection: Connection) -> Iterator[int]:
    yield value(connection, EVENTUAL)


def a_setting(connection: Connection) -> Iterator[int]:
    connection.execute("set rwsplit.consistency = 'eventual'")
    yield value(connection)
    connection.execute("set rwsplit.consistency = 'session'")


def a_setting_that_is_reset(connection: Connection) -> Iterator[int]:
    connection.execute("set rwsplit.consistency = 'eventual'")
    yield value(connection)
    connection.execute("reset rwsplit.consistency")


def a_setting_that_is_discarded(connection: Connection) -> Iterator[int]:
    connection.execute("set rwsplit.consistency = 'eventual'")
    yield value(connection)
    connection.execute("discard all")


def a_rule(connection: Connection) -> Iterator[int]:
    connection.execute("select * from elsewhere")
    yield 0


def a_prepared_statement(connection: Connection) -> Iterator[int]:
    [(found,)] = connection.execute(STALE + READ, prepare=True).fetchall()
    yield int(found)


def a_copy(connection: Connection) -> Iterator[int]:
    with connection.cursor().copy(STALE + "copy levels to stdout") as copy:
        [(found,)] = copy.rows()
    yield int(found)


def several_in_a_pipeline(connection: Connection) -> Iterator[int]:
    with connection.pipeline():
        cursors = [connection.execute(STALE + READ) for _ in range(3)]
    yield int(cursors[-1].fetchall()[0][0])


def a_transaction_that_begins_with_one(connection: Connection) -> Iterator[int]:
    with connection.transaction():
        yield value(connection, EVENTUAL)
        assert value(connection) == 1


def a_transaction_on_the_node(connection: Connection) -> Iterator[int]:
    with connection.transaction():
        yield value(connection, STALE)
        assert value(connection) == 1
        assert value(connection) == 1


def a_read_only_transaction_on_the_node(connection: Connection) -> Iterator[int]:
    connection.execute("begin read only")
    yield value(connection, STALE)
    assert value(connection) == 1
    connection.execute("commit")


def a_snapshot_on_the_node(connection: Connection) -> Iterator[int]:
    connection.execute("begin isolation level repeatable read read only")
    yield value(connection, STALE)
    yield value(connection)  # it cannot be another one
    connection.execute("commit")


def a_transaction_that_ends_in_an_error_there(connection: Connection) -> Iterator[int]:
    connection.execute("begin")
    yield value(connection, STALE)
    with pytest.raises(psycopg.errors.DivisionByZero):
        connection.execute(STALE + "select 1/0")
    connection.execute("rollback")


def a_transaction_that_asks_for_less(connection: Connection) -> Iterator[int]:
    connection.execute(EVENTUAL + "begin read only")
    yield value(connection)
    yield value(connection)
    connection.execute("commit")


def an_error(connection: Connection) -> Iterator[int]:
    with pytest.raises(psycopg.errors.DivisionByZero):
        connection.execute(STALE + "select 1/0")
    yield 0


@pytest.mark.parametrize(
    "below",
    [
        a_hint_for_a_node,
        a_hint_for_a_level,
        a_setting,
        a_setting_that_is_reset,
        a_setting_that_is_discarded,
        a_rule,
        a_prepared_statement,
        a_copy,
        several_in_a_pipeline,
        a_transaction_that_begins_with_one,
        a_transaction_on_the_node,
        a_read_only_transaction_on_the_node,
        a_snapshot_on_the_node,
        a_transaction_that_ends_in_an_error_there,
        a_transaction_that_asks_for_less,
        an_error,
    ],
)
@pytest.mark.parametrize("simple", [False, True])
def test_a_read_below_the_level_leaves_no_trace(
    shared_fragile_cluster: EmbeddedCluster, levels: Proxy, below: Any, simple: bool
):
    options = {"cursor_factory": psycopg.ClientCursor} if simple else {}
    if simple and below is several_in_a_pipeline:
        pytest.skip("pipelines are of the extended protocol")
    with one_late(shared_fragile_cluster, levels, **options) as connection:
        seen: set[int] = set()
        for attempt in range(ATTEMPTS):
            seen |= set(below(connection))
            assert value(connection) == 1
            assert value(connection) == 1
            if attempt >= 8 and 0 in seen:
                break
        assert 0 in seen


def test_nor_does_one_that_was_bound_for_a_node_make_an_own_write_go_missing(
    shared_fragile_cluster: EmbeddedCluster, levels: Proxy
):
    with one_late(shared_fragile_cluster, levels) as connection:
        connection.execute("update levels set v = 2")
        for below in (STALE, EVENTUAL, EVENTUAL):
            value(connection, below)
            assert value(connection) == 2
            with connection.transaction():
                value(connection, below)
                assert value(connection) == 2


def test_a_hint_for_a_node_that_keeps_the_level_counts_as_any_read(
    shared_fragile_cluster: EmbeddedCluster, levels: Proxy, other: Connection
):
    cluster = shared_fragile_cluster
    write(cluster, 0)
    cluster.wait_until_replayed()
    with levels.connect(prepare_threshold=None) as connection, paused(*cluster.replicas[1:]):
        assert value(connection, "/* rwsplit: node=replica2 */ ") == 0
        assert where(connection) == "replica2"
        other.execute("update levels set v = 1")
        assert wait_until(lambda: where(other) == "replica1", timeout=10)
        assert value(connection, STALE) == 1
        assert value(connection) == 1
        assert value(connection, "/* rwsplit: node=replica2 */ ") == 0
        assert value(connection) == 1


# READ ONLY transactions...


BEGINS: list[list[LiteralString]] = [
    ["begin read only"],
    ["start transaction read only"],
    ["begin work read only, isolation level read committed"],
    ["begin transaction isolation level repeatable read read only"],
    ["start transaction isolation level repeatable read, read only, not deferrable"],
    ["begin", "set transaction read only"],
    ["begin", "set local work_mem = '5MB'"],
    ["begin read only", "set local work_mem = '5MB'"],
    ["begin read only", "show work_mem"],
    ["begin read only", "show transaction_read_only"],
    ["begin isolation level repeatable read read only", "set local work_mem = '5MB'"],
    ["set default_transaction_read_only = on", "begin"],
    ["set default_transaction_isolation = 'repeatable read'", "begin read only"],
    ["begin read only", "commit and chain"],
    ["/* rwsplit: max_lag=1h */ begin read only"],
    ["begin read only", "savepoint a"],
    ["begin read only", "savepoint a", "set local work_mem = '5MB'", "rollback to a"],
    ["begin isolation level repeatable read read only", "savepoint a", "release a"],
]


@pytest.mark.parametrize("begin", BEGINS, ids="; ".join)
def test_a_read_only_transaction_takes_its_replica_when_it_takes_a_snapshot(
    shared_fragile_cluster: EmbeddedCluster,
    levels: Proxy,
    other: Connection,
    begin: list[LiteralString],
):
    cluster = shared_fragile_cluster
    write(cluster, 0)
    cluster.wait_until_replayed()
    with levels.connect(prepare_threshold=None) as connection:
        connection.execute("set rwsplit.consistency = 'cluster'")
        assert wait_until(lambda: str(where(connection)).startswith("replica"), timeout=10)
        with paused(*cluster.replicas):
            for text in begin:
                connection.execute(text)
            other.execute("update levels set v = 1")
            assert value(connection) == 1
            other.execute("update levels set v = 2")
            keeps = "repeatable read" in " ".join(begin)
            assert value(connection) == (1 if keeps else 2)
            [(mode,)] = connection.execute("show transaction_read_only").fetchall()
            assert mode == (
                "off" if begin[-1].startswith("set local") and begin[0] == "begin" else "on"
            )
            connection.execute("commit")
            assert value(connection) == 2


@pytest.mark.parametrize(
    "begin", ["begin read only", "begin isolation level repeatable read read only"]
)
def test_and_stays_there_for_as_long_as_its_level_is_kept(levels: Proxy, begin: LiteralString):
    with levels.connect(prepare_threshold=None) as connection:
        connection.execute(begin)
        seen = {str(where(connection)) for _ in range(10)}
        connection.execute("commit")
        assert len(seen) == 1
        assert seen.pop().startswith("replica")


def test_a_read_only_transaction_without_a_statement_reaches_no_server(levels: Proxy):
    def statements() -> int:
        return sum(int(row["statements"]) for row in levels.console("SHOW ROUTES"))

    with levels.connect(prepare_threshold=None) as connection:
        connection.execute("select 1")
        before = statements()
        for end in ("commit", "rollback"):
            connection.execute("begin read only")
            connection.execute(end)
        assert statements() == before


@pytest.mark.parametrize("begin", ["begin", "begin read only"])
def test_max_lag_is_judged_for_each_statement_of_a_transaction_that_can_move(
    shared_fragile_cluster: EmbeddedCluster, levels: Proxy, begin: LiteralString
):
    cluster = shared_fragile_cluster
    cluster.wait_until_replayed()
    with levels.connect(prepare_threshold=None) as connection:
        connection.execute("set rwsplit.max_lag = '500ms'")
        connection.execute(begin)
        assert wait_until(lambda: str(where(connection)).startswith("replica"), timeout=10)
        home = str(where(connection))
        late = cluster.nodes[home]
        with paused(late):
            write(cluster, 3)
            assert wait_until(lambda: where(connection) != home, timeout=10)
        connection.execute("commit")


@pytest.mark.parametrize("simple", [False, True])
def test_its_savepoints_move_along(
    shared_fragile_cluster: EmbeddedCluster, levels: Proxy, other: Connection, simple: bool
):
    cluster = shared_fragile_cluster
    options: Any = {"cursor_factory": psycopg.ClientCursor} if simple else {}
    with levels.connect(prepare_threshold=None, **options) as connection:
        connection.execute("set rwsplit.consistency = 'cluster'")
        assert wait_until(lambda: str(where(connection)).startswith("replica"), timeout=10)
        connection.execute("begin read only")
        connection.execute("set local work_mem = '5MB'")
        assert str(where(connection)).startswith("replica")
        connection.execute("savepoint a")
        connection.execute("set local work_mem = '6MB'")
        with pytest.raises(psycopg.errors.SyntaxError):
            connection.execute("set local work_mem =")
        connection.execute("rollback to a")
        connection.execute("set local work_mem = '7MB'")
        assert str(where(connection)).startswith("replica")
        with paused(*cluster.replicas):
            other.execute("update levels set v = 7")
            assert value(connection) == 7
            assert where(connection) == "primary"
            assert connection.execute("show work_mem").fetchone() == ("7MB",)
            connection.execute("rollback to savepoint a")
            assert connection.execute("show work_mem").fetchone() == ("5MB",)
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                connection.execute("update levels set v = 8")
            connection.execute("rollback")


def test_but_one_with_a_snapshot_stays_where_that_is(
    shared_fragile_cluster: EmbeddedCluster, levels: Proxy
):
    cluster = shared_fragile_cluster
    cluster.wait_until_replayed()
    with levels.connect(prepare_threshold=None) as connection, levels.connect() as watching:
        for session in (connection, watching):
            session.execute("set rwsplit.max_lag = '500ms'")
        connection.execute("begin isolation level repeatable read read only")
        home = str(where(connection))
        with paused(cluster.nodes[home]):
            watching.execute("begin")
            assert wait_until(lambda: str(where(watching)).startswith("replica"), timeout=10)
            write(cluster, 4)
            before = value(connection)
            for _ in range(3):
                assert where(connection) == home
                assert value(connection) == before
        connection.execute("commit")


def test_one_with_a_snapshot_may_end_and_write_in_one_string(levels: Proxy):
    with levels.connect(cursor_factory=psycopg.ClientCursor) as connection:
        for end in ("commit", "rollback"):
            assert wait_until(lambda: str(where(connection)).startswith("replica"), timeout=10)
            connection.execute("begin isolation level repeatable read read only")
            assert str(where(connection)).startswith("replica")
            connection.execute(f"{end}; update levels set v = 5")  # type: ignore[call-overload]
            assert value(connection) == 5


@pytest.mark.parametrize(
    "begin", ["begin", "begin read only", "begin isolation level repeatable read read only"]
)
def test_a_failed_one_on_a_replica_ends_and_writes_in_one_string(
    levels: Proxy, begin: LiteralString
):
    with levels.connect(cursor_factory=psycopg.ClientCursor) as connection:
        for number, text in enumerate(
            ("rollback; update levels set v = ", "commit; update levels set v = ")
        ):
            assert wait_until(lambda: str(where(connection)).startswith("replica"), timeout=10)
            connection.execute(begin)
            assert str(where(connection)).startswith("replica")
            with pytest.raises(psycopg.errors.SyntaxError):
                connection.execute("set local work_mem =")
            connection.execute(f"{text}{number}")  # type: ignore[call-overload]
            assert value(connection) == number


def test_a_read_only_transaction_goes_on_when_its_replica_is_lost(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster)
    with proxy.connect(prepare_threshold=None) as connection:
        connection.execute("begin read only")
        connection.execute("set local work_mem = '5MB'")
        home = str(where(connection))
        assert home.startswith("replica")
        fragile_cluster.nodes[home].kill()
        assert where(connection) != home
        assert connection.execute("show work_mem").fetchone() == ("5MB",)
        connection.execute("commit")
