"""Transactions that may write: on a replica as long as they only read, and nobody can tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import ReachableCluster, ReachableNode
from tests.support.differential import Differential, Step, say
from tests.support.messages import (
    FLUSH,
    SYNC,
    bind,
    close_portal,
    close_statement,
    describe_portal,
    describe_statement,
    execute,
    function_call,
    parse,
    query,
    statement,
)
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy
from tests.support.raw_client import error_fields, rows

pytestmark = pytest.mark.integration


@pytest.fixture
def compare(cluster: ReachableCluster[Any], proxy: Proxy) -> Differential:
    return Differential(cluster, proxy)


@pytest.fixture
def table(cluster: ReachableCluster[Any]) -> Iterator[str]:
    with cluster.primary.connect("app", "app") as connection:
        connection.execute("create table late (a int)")
        connection.execute("insert into late values (1)")
        cluster.wait_until_replayed()
        yield "late"
        connection.execute("drop table late")


def is_on_replica(connection: psycopg.Connection[Any]) -> bool:
    connection.execute("select 1")
    return last_route(connection).startswith("replica")


def last_route(connection: psycopg.Connection[Any]) -> str:
    [(answer,)] = connection.execute("show rwsplit.last_route").fetchall()
    return str(answer)


def statements(proxy: Proxy) -> int:
    """How many statements were sent to nodes."""
    return sum(int(row["statements"]) for row in proxy.console("SHOW ROUTES"))


@pytest.mark.parametrize(
    "begin", ["begin", "start transaction", "begin read write", "BEGIN WORK;"]
)
@pytest.mark.parametrize("end", ["commit", "rollback", "end", "abort work"])
def test_a_transaction_that_only_reads_runs_on_one_replica(proxy: Proxy, begin: Any, end: Any):
    with proxy.connect() as connection:
        connection.execute(begin)
        seen = {connection.execute("select inet_server_port()").fetchone() for _ in range(5)}
        connection.execute(end)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    [(port,)] = seen  # type: ignore[misc]
    assert port in {replica.port for replica in proxy.cluster.replicas}


def test_an_empty_transaction_reaches_no_server(proxy: Proxy):
    with proxy.connect() as connection:
        connection.execute("select 1")
        before = statements(proxy)
        for _ in range(3):
            connection.execute("begin")
            connection.execute("commit")
            connection.execute("start transaction isolation level read committed")
            connection.execute("rollback")
        assert statements(proxy) == before
        assert " READ: " in last_route(connection)  # of the last statement


def test_a_write_moves_it_to_the_primary_and_it_stays_there(proxy: Proxy, table: str):
    with proxy.connect() as connection:
        connection.execute("begin")
        assert is_on_replica(connection)
        assert connection.execute(f"select a from {table}").fetchall() == [(1,)]
        connection.execute(f"insert into {table} values (2)")
        assert last_route(connection).startswith("primary MAY_WRITE")
        assert not is_on_replica(connection)
        assert connection.execute(f"select count(*) from {table}").fetchall() == [(2,)]
        connection.execute("rollback")
        assert connection.execute(f"select count(*) from {table}").fetchall() == [(1,)]
        connection.execute("begin")
        connection.execute(f"update {table} set a = 3")
        assert not is_on_replica(connection)
        connection.execute("commit")
        assert connection.execute(f"select a from {table}").fetchall() == [(3,)]


@pytest.mark.parametrize(
    "statement",
    [
        "select now()",
        "select current_timestamp",
        "select count(*) from pg_class where current_date > '2000-01-01'",
        "select transaction_timestamp()",
        "select pg_advisory_xact_lock(1)",
        "declare c cursor for select 1",
        "select a from late for update",
        "select txid_current()",
        "begin",
        "set transaction read write",
        "listen somebody",
        "create temp table t (a int) on commit drop",
        "show transaction_read_only",
        "select current_setting('transaction_read_only')",
    ],
)
def test_what_is_not_provably_a_read_that_could_be_anywhere_goes_to_the_primary(
    proxy: Proxy, table: str, statement: Any
):
    for reads_first in (False, True):
        with proxy.connect(cursor_factory=psycopg.ClientCursor) as connection:
            connection.add_notice_handler(lambda _: None)
            connection.execute("begin")
            if reads_first:
                assert is_on_replica(connection)
            connection.execute(statement)
            assert not is_on_replica(connection)
            connection.execute("rollback")


def test_now_stands_still(proxy: Proxy, table: str):
    with proxy.connect() as connection:
        connection.execute("begin")
        assert is_on_replica(connection)
        first = connection.execute("select now(), current_timestamp").fetchone()
        connection.execute(f"insert into {table} values (9)")
        assert connection.execute("select now(), current_timestamp").fetchone() == first
        connection.execute("rollback")


def test_what_is_set_for_the_transaction_moves_along(proxy: Proxy, table: str):
    with proxy.connect() as connection:
        connection.execute("begin")
        connection.execute("set local work_mem = '5MB'")
        connection.execute("set local datestyle to sql, dmy")
        assert is_on_replica(connection)
        connection.execute(f"insert into {table} values (4)")
        assert not is_on_replica(connection)
        assert connection.execute("show work_mem").fetchone() == ("5MB",)
        assert connection.execute("show datestyle").fetchone() == ("SQL, DMY",)
        connection.execute("commit")
        assert connection.execute("show work_mem").fetchone() != ("5MB",)


def test_a_failed_read_fails_the_transaction_where_it_is(proxy: Proxy, table: str):
    with proxy.connect() as connection:
        connection.execute("begin")
        assert is_on_replica(connection)
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("select 1 / 0")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute(f"insert into {table} values (5)")
        connection.execute("commit")
        assert connection.execute(f"select count(*) from {table}").fetchone() == (1,)


def test_a_default_isolation_of_the_role_is_kept(
    cluster: ReachableCluster[Any], make_proxy: Any, table: str
):
    with cluster.primary.connect("postgres", "app") as admin:
        admin.execute(
            "alter role app in database app set default_transaction_isolation = 'repeatable read'"
        )
        try:
            cluster.wait_until_replayed()
            with make_proxy(cluster).connect() as connection:
                connection.execute("begin")
                assert not is_on_replica(connection)
                connection.execute("rollback")
            with admin.cursor() as cursor:
                cursor.execute(
                    "alter role app in database app set default_transaction_isolation = 'serializable'"
                )
            cluster.wait_until_replayed()
            with make_proxy(cluster).connect() as connection:
                assert not is_on_replica(connection)
                assert last_route(connection).startswith("primary SERIALIZABLE")
        finally:
            admin.execute("alter role app in database app reset default_transaction_isolation")
            cluster.wait_until_replayed()


def test_transactions_primary_turns_it_off(cluster: ReachableCluster[Any], make_proxy: Any):
    proxy = make_proxy(cluster, {"routing": {"transactions": "primary"}})
    with proxy.connect() as connection:
        connection.execute("begin")
        assert not is_on_replica(connection)
        connection.execute("rollback")
    with proxy.connect() as connection:
        connection.execute("begin read only")
        assert is_on_replica(connection)
        connection.execute("rollback")


def test_it_answers_as_directly_in_the_simple_protocol(compare: Differential):
    compare(
        say(query("begin")),
        say(query("commit")),
        say(query("begin; commit")),
        say(query("start transaction")),
        say(query("select 1")),
        say(query("")),
        say(query("show transaction_isolation")),
        say(query("select 1 / 0")),
        say(query("select 1")),
        say(query("rollback to nowhere")),
        say(query("end")),
        say(query("begin")),
        say(query("begin")),
        say(query("commit")),
        say(query("commit")),
        say(query("begin read write, isolation level read committed, not deferrable")),
        say(query("select 'x'")),
        say(query("create temp table gone (a int) on commit drop")),
        say(query("insert into gone values (1) returning a")),
        say(query("rollback")),
        say(query("begin nonsense")),
        say(query("begin transaction isolation level")),
        say(query("begin read only read write,")),
        say(query("begin; select 1; select 2")),
        say(query("select 3; commit; select 4")),
        say(query("begin; select 1; rollback")),
        say(query("begin")),
        say(query("commit and chain")),
        say(query("select 1")),
        say(query("rollback and no chain")),
        say(query("begin")),
        say(query("prepare transaction 'nobody'")),
        say(query("rollback")),
    )


def test_it_answers_as_directly_in_the_extended_protocol(compare: Differential):
    def run(text: str, name: str = "") -> bytes:
        return parse(text, name) + bind(name) + describe_portal() + execute()

    compare(
        say(run("begin") + SYNC),
        say(run("select 1") + SYNC),
        say(run("commit") + SYNC),
        say(run("begin") + run("select 2") + SYNC),
        say(run("select 3") + run("commit") + SYNC),
        say(parse("begin", "b") + describe_statement("b") + SYNC),
        say(parse("commit", "c") + describe_statement("c") + SYNC),
        say(bind("b") + execute() + SYNC),
        say(bind("c") + execute() + SYNC),
        say(bind("b") + execute() + SYNC),
        say(run("select 1 / 0") + SYNC),
        say(bind("c") + execute() + SYNC),
        say(bind("b") + describe_portal() + execute() + close_statement("b") + SYNC),
        say(bind("b") + execute() + SYNC),
        say(run("rollback") + SYNC),
        say(run("begin") + SYNC + run("select 4") + SYNC + run("commit") + SYNC),
        say(
            run("begin")
            + SYNC
            + run("create temp table z (a int)")
            + SYNC
            + run("rollback")
            + SYNC
        ),
        say(query("begin") + query("select 5") + run("select 6") + SYNC + query("commit")),
        say(parse("begin", "") + SYNC),
        say(bind("") + execute() + SYNC),
        say(SYNC),
        say(run("end") + SYNC),
    )


@pytest.mark.parametrize(
    "begin",
    ["begin read only", "start transaction isolation level repeatable read, read only"],
)
@pytest.mark.parametrize(
    "statement", ["insert into late values (2)", "select pg_advisory_xact_lock(1)", "listen x"]
)
def test_a_read_only_transaction_begun_by_a_prepared_statement_is_one_on_the_primary_too(
    compare: Differential, table: str, begin: str, statement: str
):
    compare(
        say(parse(begin, "b") + SYNC),
        say(bind("b") + describe_portal() + execute() + SYNC),
        say(query(statement)),
        say(query("select count(*) from late")),
        say(query("commit")),
        say(query("select count(*) from late")),
    )


def test_a_transaction_outlives_the_replica_it_has_read_on(
    fragile_cluster: EmbeddedCluster, make_proxy: Any
):
    proxy = make_proxy(fragile_cluster)
    with proxy.connect() as connection:
        connection.execute("begin")
        connection.execute("set local work_mem = '6MB'")
        row = connection.execute("select current_setting('cluster_name')").fetchone()
        assert row is not None
        replica = next(node for node in fragile_cluster.replicas if node.name == row[0])
        replica.kill()
        again = connection.execute("select current_setting('cluster_name')").fetchone()
        assert again is not None
        assert again != row
        assert connection.execute("show work_mem").fetchone() == ("6MB",)
        connection.execute("commit")
        replica.start()
        assert wait_until(proxy.has_all_nodes_up, timeout=20)


#: Fails where it runs: a part of its answer has left by then, so that it cannot be tried elsewhere.
FAILING = "select repeat('x', 9000), 1 / (50 - n) from generate_series(1, 60) n"


NESTED = {
    "savepoint": ["savepoint a"],
    "released": ["savepoint a", "select 1", "release a"],
    "gone back": ["savepoint a", "select 1", "rollback to a"],
    "nested": ["savepoint a", "savepoint b", "select 1", "release b"],
    "set behind it": ["savepoint a", "set local late.x = '1'", "savepoint b", "release b"],
    "set and gone back": ["savepoint a", "set local late.x = '1'", "rollback to a"],
    "failed and gone back": ["savepoint a", FAILING, "rollback to a"],
    "set_config": ["select set_config('late.x', '1', true)"],
    "set_config behind it": ["savepoint a", "select set_config('late.x', '1', true) as x"],
}


@pytest.mark.parametrize("begin", ["begin", "begin read only"])
@pytest.mark.parametrize("protocol", ["simple", "unnamed", "described", "named", "asked"])
@pytest.mark.parametrize("nested", NESTED)
def test_savepoints_and_settings_stay_on_a_replica_and_move_with_the_transaction(
    compare: Differential, table: str, begin: str, protocol: str, nested: str
):
    def steps(text: str, *, again: bool = False) -> list[Step]:
        name = f"s{hash(text)}" if protocol in ("named", "asked") else ""
        if protocol == "simple" or text == FAILING:
            return [say(query(text))]
        run = bind(name) + describe_portal() + execute() + SYNC
        if again and name:
            return [say(run)]
        if protocol == "described":
            return [say(parse(text) + describe_statement() + run)]
        if protocol != "asked":
            return [say(parse(text, name) + run)]
        asked = parse(text, name) + describe_statement(name) + FLUSH
        return [say(asked, until=b"T" if text.startswith("select") else b"n"), say(run)]

    shown = "select coalesce(current_setting('late.x', true), '') = '1', count(*) from late"
    opening = [say(query(text)) for text in (begin, shown)]
    texts = NESTED[nested]
    compare(
        *opening,
        *(step for text in texts for step in steps(text)),
        say(query(shown)),
        say(query("insert into late values (5)")),
        say(query(shown)),
        say(query("rollback to a")),
        say(query(shown)),
        say(query("rollback")),
        *opening,
        *(step for text in texts for step in steps(text, again=True)),
        say(query(shown)),
        say(query("commit")),
    )


@pytest.mark.parametrize("begin", ["begin", "begin read only"])
@pytest.mark.parametrize("name", ["", "s"])
@pytest.mark.parametrize(
    "then",
    [
        query("select 1"),
        query("insert into late values (8)"),
        statement("insert into late values (8)") + SYNC,
        statement("select count(*) from late") + SYNC,
        execute() + SYNC,
        execute(limit=1) + SYNC,
        close_portal() + SYNC,
        query("commit"),
    ],
)
def test_one_row_of_many_is_read_on_a_replica(
    compare: Differential, table: str, begin: str, name: str, then: bytes
):
    """As asyncpg's `fetchrow` asks for it: the portal is left where it stopped, and not used again."""
    many = "select n from generate_series(1, 5) n"
    limited = bind(name) + execute(limit=2) + SYNC
    compare(
        say(parse(many, name) + describe_statement(name) + FLUSH, until=b"T"),
        say(query(begin)),
        say(limited if name else parse(many) + limited),
        say(then),
        say(query("select count(*) from late")),
        say(query("rollback")),
    )


def test_its_transaction_stays_there(proxy: Proxy, table: str):
    with proxy.raw() as client:
        client.query("begin")
        for _ in range(3):
            client.send(parse("select 1 union select 2") + bind() + execute(limit=1) + SYNC)
            assert client.codes_until(b"Z") == b"12DsZ"
            [[route]] = rows(client.query("show rwsplit.last_route"))
            assert route is not None
            assert route.startswith(b"replica")


@pytest.mark.parametrize("nested", NESTED)
def test_with_savepoints_and_settings_it_reads_on_a_replica_until_it_writes(
    proxy: Proxy, table: str, nested: str
):
    with proxy.connect() as connection:
        connection.execute("begin")
        for text in NESTED[nested]:
            if text == FAILING:
                with pytest.raises(psycopg.errors.DivisionByZero):
                    connection.execute(text)
            else:
                connection.execute(text)  # type: ignore[call-overload]
        assert is_on_replica(connection)
        connection.execute(f"insert into {table} values (6)")
        assert not is_on_replica(connection)
        connection.execute("rollback")


def lose_replicas(cluster: EmbeddedCluster) -> None:
    """End the sessions of clients on all replicas, each before this returns."""
    others = "from pg_stat_activity where usename = 'app' and pid <> pg_backend_pid()"
    for node in cluster.replicas:
        node.query(f"select pg_terminate_backend(pid, 10000) {others}")


@pytest.mark.parametrize(
    "own",
    [
        ["savepoint a"],
        ["savepoint a", "savepoint b", "release a"],
        ["savepoint a", "savepoint b", "rollback to a"],
        ["savepoint a", "savepoint b", "release b"],
        ["savepoint a", "savepoint a", "release a"],
        ["savepoint a; release a"],
        ["savepoint a; savepoint b; release b"],
        ["set transaction read only", "savepoint a"],
        ["savepoint a", "set transaction read only"],
    ],
    ids=", ".join,
)
@pytest.mark.parametrize("begin", ["begin", "begin read only"])
@pytest.mark.parametrize("end", ["rollback and chain", "commit and chain"])
def test_what_is_chained_to_one_that_has_failed_behind_a_savepoint_has_its_modes(
    compare: Differential, table: str, begin: str, own: list[str], end: str
):
    texts = (begin, *own, FAILING, end, "select 1", "insert into late values (77)", "rollback")
    compare(*(say(query(text)) for text in texts))


@pytest.mark.parametrize(
    ("begin", "own"),
    [
        ("begin", ""),
        ("begin", "savepoint a"),
        ("begin", "set local work_mem = '5MB'"),
        ("begin read only", ""),
        ("begin read only", "savepoint a"),
        ("begin isolation level repeatable read read only", ""),
    ],
)
@pytest.mark.parametrize(
    "rest",
    [
        ["rollback"],
        ["commit"],
        ["select 1", "rollback"],
        ["rollback to a", "select 1", "commit"],
        ["rollback and chain", "insert into late values (77)", "rollback"],
        ["release a", "rollback and chain", "insert into late values (77)", "rollback"],
        ["rollback; insert into late values (78)"],
    ],
    ids=lambda rest: rest[0],
)
@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_one_that_has_failed_can_be_ended_though_its_replica_is_lost(
    compare: Differential, table: str, begin: str, own: str, rest: list[str], protocol: str
):
    def lost() -> None:
        lose_replicas(compare.cluster)

    def said(text: str) -> bytes:
        if protocol == "simple" or ";" in text:
            return query(text)
        return parse(text) + bind() + execute() + SYNC

    before = [say(said(text)) for text in (begin, own, FAILING) if text]
    first, *others = map(said, rest)
    compare(*before, say(first, behind=lost), *map(say, others))


@pytest.mark.parametrize(
    ("texts", "is_ended"),
    [
        (["select 1", "select 1/0; release x"], False),
        (["select 1", "release x; select 1"], False),
        (["savepoint a", "release a; select 1/0"], False),
        (["select 1", f"{FAILING}; savepoint a"], False),
        (["select 1", f"savepoint a; {FAILING}"], True),
    ],
)
def test_a_read_only_one_is_kept_by_savepoints_that_it_has(
    cluster: EmbeddedCluster, proxy: Proxy, table: str, texts: list[str], is_ended: bool
):
    with proxy.raw() as client:
        for text in ("begin read only", f"select count(*) from {table}", *texts):
            client.query(text)
        lose_replicas(cluster)
        client.send(query("rollback"))
        answer = client.frame()
        assert answer.code == (b"E" if is_ended else b"C")


def test_one_whose_savepoint_would_bring_back_its_snapshot_ends_with_its_replica(
    cluster: EmbeddedCluster, proxy: Proxy, table: str
):
    with proxy.raw() as client:
        client.query("begin isolation level repeatable read read only")
        for text in ("savepoint a", f"select count(*) from {table}", FAILING):
            client.query(text)
        lose_replicas(cluster)
        client.send(query("rollback to a"))
        assert error_fields(client.frames_until(b"E")[-1].payload)["S"] == "FATAL"


@pytest.mark.parametrize("first", ["savepoint a", "select 1"])
@pytest.mark.parametrize(
    "middle", ["select 1; rollback; begin; select 2", "select 1; commit; begin"]
)
@pytest.mark.parametrize(
    "then", ["insert into late values (79)", "commit and chain; insert into late values (79)"]
)
def test_what_is_begun_in_the_unit_that_ends_a_read_only_one_may_write(
    proxy: Proxy, table: str, first: str, middle: str, then: str
):
    begin = "begin isolation level repeatable read read only"
    with proxy.raw() as client:
        client.query(f"{begin}; {first}" if first == "savepoint a" else begin)
        client.query("select 1")
        assert client.query(middle)[-1].payload == b"T"
        for text in then.split("; "):
            assert b"E" not in [f.code for f in client.query(text)]
        assert rows(client.query(f"select count(*) from {table} where a = 79")) == [(b"1",)]
        client.query("rollback")


def test_a_function_or_view_that_tells_the_time_does_so_on_the_primary(
    cluster: ReachableCluster[Any], make_proxy: MakeProxy
):
    with cluster.primary.connect("app", "app") as connection:
        connection.execute(
            "create function late_now() returns timestamptz stable return now();"
            "create view late_today as select current_date as today;"
            "create function late_two() returns int stable return 2"
        )
        try:
            cluster.wait_until_replayed()
            proxy = make_proxy(cluster, {"monitor": {"catalog_interval": "1s"}})

            def is_known() -> bool:
                with proxy.connect() as session:
                    session.execute("select late_two()")
                    return " READ" in last_route(session)

            assert wait_until(is_known, timeout=20)
            for query, on_replica in (
                ("select late_two()", True),
                ("select late_now()", False),
                ("select * from late_today", False),
            ):
                with proxy.connect() as session:
                    session.execute("begin")
                    session.execute(query)  # type: ignore[arg-type]
                    assert is_on_replica(session) is on_replica, query
                    session.execute("rollback")
        finally:
            connection.execute(
                "drop function late_now(); drop view late_today; drop function late_two()"
            )


@pytest.mark.parametrize("reads_first", [False, True])
def test_a_statement_that_waits_for_the_primary_in_vain_fails_the_transaction_only(
    cluster: ReachableCluster[Any], make_proxy: Any, table: str, reads_first: bool
):
    proxy = make_proxy(cluster, {"pool": {"size": 1, "query_wait_timeout": "1s"}})
    with proxy.connect() as holder, proxy.connect() as connection:
        connection.add_notice_handler(lambda _: None)
        # While a server of theirs is opened the primary would be asked.
        for node in cluster.replicas:
            connection.execute(f"/* rwsplit: node={node.name} */ select 1")
        holder.execute("begin")
        holder.execute(f"lock table {table}")
        for goes_on, end in ((False, "commit"), (False, "rollback"), (True, "commit")):
            connection.execute("begin")
            if reads_first:
                assert is_on_replica(connection)
            with pytest.raises(psycopg.errors.TooManyConnections):
                connection.execute(f"insert into {table} values (3)")
            status = connection.info.transaction_status
            assert status == psycopg.pq.TransactionStatus.INERROR
            if goes_on:
                with pytest.raises(psycopg.errors.InFailedSqlTransaction):
                    connection.execute("select 1")
            assert connection.execute(end).statusmessage == "ROLLBACK"  # type: ignore[call-overload]
        holder.execute("rollback")
        connection.execute(f"insert into {table} values (4)")


def test_a_transaction_that_begins_and_reads_in_one_go_outlives_its_replica(
    fragile_cluster: EmbeddedCluster, make_proxy: Any
):
    proxy = make_proxy(fragile_cluster)
    with proxy.raw() as client:
        client.send(query("begin; select current_setting('cluster_name')"))
        first = client.frames_until(b"Z")
        assert first[-1].payload == b"T"
        name = next(f.payload for f in first if f.code == b"D")[6:].decode()
        replica = next(node for node in fragile_cluster.replicas if node.name == name)
        replica.kill()
        client.send(query("select 7"))
        assert client.codes_until(b"Z") == b"TDCZ"
        client.send(query("commit"))
        assert client.codes_until(b"Z") == b"CZ"
        replica.start()
        assert wait_until(proxy.has_all_nodes_up, timeout=20)


@pytest.mark.parametrize("begin", ["begin", "begin read only"])
@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_one_that_has_not_answered_yet_begins_again_on_another_replica(
    cluster: EmbeddedCluster, proxy: Proxy, table: str, begin: str, protocol: str
):
    mark = f"{begin} {protocol}"
    sleep = f"select 7 from pg_sleep(2) /* {mark} */"
    busy = f"from pg_stat_activity where query like '%%{mark}%%' and pid <> pg_backend_pid()"

    def ended(node: ReachableNode) -> bool:
        return bool(node.query(f"select pg_terminate_backend(pid) {busy}"))

    with proxy.raw() as client:
        if protocol == "simple":
            client.send(query(f"{begin}; {sleep}"))
        else:
            client.send(
                b"".join(parse(text) + bind() + execute() for text in (begin, sleep)) + SYNC
            )
        assert wait_until(lambda: any(map(ended, cluster.replicas)), timeout=5)
        answer = client.frames_until(b"Z")
        assert [f.payload[-1:] for f in answer if f.code in {b"D", b"Z"}] == [b"7", b"T"]
        routes = {row["reason"]: int(row["statements"]) for row in proxy.console("SHOW ROUTES")}
        assert routes["RETRIED_LOST"] >= 1
        [[route]] = rows(client.query("show rwsplit.last_route"))
        reason = "READ_ONLY_TRANSACTION" if "only" in begin else "LATE_TRANSACTION"
        assert f" {reason}: ".encode() in route
        client.send(query(f"insert into {table} values (2)"))
        told = client.frames_until(b"Z")
        if "only" in begin:
            assert told[-1].payload == b"E"
        else:
            assert [f.payload for f in told] == [b"INSERT 0 1\0", b"T"]
        client.query("rollback")


@pytest.mark.parametrize("hint", ["", "/* rwsplit: replica */ "])
@pytest.mark.parametrize(
    "whole",
    [
        "begin read only; select 1; commit",
        "begin read only; commit",
        "begin isolation level repeatable read read only; select 1; rollback",
        "begin read only; select 1; commit and chain; commit",
    ],
)
def test_one_that_is_over_in_one_go_leaves_nothing(
    compare: Differential, table: str, whole: str, hint: str
):
    texts = whole.split("; ")
    extended = b"".join(parse(text) + bind() + execute() for text in texts) + SYNC
    for said in (query(hint + whole), extended):
        for behind in (
            [f"insert into {table} values (2)"],
            [f"select count(*) > 0 from {table}", f"insert into {table} values (3)"],
            ["set timezone = 'UTC'", f"select count(*) > 0 from {table}"],
            ["notify nobody_listens", "select 1", "commit"],
        ):
            compare(say(said), say(said), *(say(query(text)) for text in behind))
        compare(
            say(said),
            say(parse("select txid_current() > 0") + bind() + execute() + FLUSH, until=b"C"),
            say(SYNC),
        )


def test_a_mode_set_behind_a_read_is_refused_although_the_transaction_moves(
    compare: Differential,
):
    for begin in ("begin", "begin read only"):
        for late in ("set transaction read write", "begin isolation level repeatable read"):
            for read in (
                query("select 1"),
                query("show work_mem"),
                query("select 1; commit and chain"),
                query("select 1") + query("set timezone = 'UTC'"),
                query("show work_mem") + query("set timezone = 'UTC'"),
            ):
                compare(
                    say(query(begin)),
                    say(read),
                    say(query(late)),
                    say(query("show transaction_isolation")),
                    say(query("rollback")),
                )


@pytest.mark.parametrize(
    "moves",
    [
        "lock only_locked",
        "listen of_modes",
        "unlisten of_modes",
        "notify of_modes",
        "set constraints all deferred",
        "set constraints all immediate",
        "select 1 for update",
    ],
)
def test_a_mode_set_behind_what_moves_without_a_snapshot_is_refused_for_the_read_before(
    compare: Differential, moves: str
):
    with compare.cluster.primary.connect("app", "app") as connection:
        connection.execute("create table if not exists only_locked (n int)")
    compare.cluster.wait_until_replayed()
    compare(
        say(query("begin")),
        say(query("select 1")),
        say(query(moves)),
        say(query("set transaction isolation level repeatable read")),
        say(query("rollback")),
    )
    compare(
        say(query("begin")),
        say(query(moves)),
        say(query("set transaction isolation level repeatable read")),
        say(query("rollback")),
    )


def test_prepare_transaction_ends_a_failed_transaction_on_a_replica(compare: Differential):
    prepare = "prepare transaction 'failed_on_a_replica'"
    for begin in ("begin", "begin read only"):
        for ends in (
            query(prepare),
            parse(prepare) + bind() + describe_portal() + execute() + SYNC,
        ):
            compare(
                say(query(begin)),
                say(query("select 1")),
                say(query("select 1/0")),
                say(ends),
                say(query("select 2")),
                say(query(f"{begin}; select nowhere")),
                say(ends, SYNC),
                say(query("rollback")),
            )


def test_a_failed_transaction_that_is_chained_has_no_modes_any_more(compare: Differential):
    for begin in ("begin read only", "begin", "begin isolation level repeatable read"):
        for ends in ("rollback and chain", "commit and chain"):
            compare(
                say(query(begin)),
                say(query("select 1/0")),
                say(query(ends)),
                say(query("create temp table chained (a int)")),
                say(query("show transaction_read_only")),
                say(query(ends)),
                say(query("insert into chained values (1)")),
                say(query("rollback")),
            )


def test_the_portal_of_begin_is_there_for_a_unit_without_a_sync(compare: Differential):
    for name in ("", "b"):
        begin = parse("begin", name) + bind(name) + execute() + SYNC
        for rest in (
            [describe_portal() + query("select 1")],
            [describe_portal() + FLUSH, describe_portal() + SYNC],
            [parse("select 1", "s") + FLUSH, describe_portal() + execute() + SYNC],
            [describe_portal() + SYNC, bind(name) + execute() + SYNC],
        ):
            ends = [b"n" if data.endswith(FLUSH) else None for data in rest]
            if rest[0].startswith(b"P"):
                ends[0] = b"1"
            compare(
                say(begin),
                *(say(data, until=end) for data, end in zip(rest, ends, strict=True)),
                say(query("rollback")),
            )


def test_modes_that_are_inherited_by_a_chain_outlive_failures(compare: Differential):
    for begin in (
        [query("begin read only")],
        [query("begin"), query("set transaction read only")],
        [query("begin"), query("set local work_mem = '1MB'"), query("select 1")],
    ):
        for between in (query("select 1"), query("begin"), query("set transaction read only")):
            compare(
                *map(say, begin),
                say(query("commit and chain")),
                say(between),
                say(query("create temp table chained (a int)")),
                say(query("commit and chain")),
                say(query("create temp table chained (a int)")),
                say(query("show transaction_read_only")),
                say(query("show work_mem")),
                say(query("rollback and chain")),
                say(query("create temp table chained_too (a int)")),
                say(query("rollback")),
            )


def test_an_execute_of_a_portal_nobody_has_bound_begins_nothing(compare: Differential):
    compare(
        say(parse("begin") + execute() + SYNC),
        say(parse("begin") + describe_portal() + bind() + execute() + SYNC),
        say(parse("begin") + bind() + close_portal() + execute() + SYNC),
        say(close_portal() + parse("begin") + bind() + execute() + close_portal() + SYNC),
        say(query("rollback")),
        say(query("select 1")),
    )


def test_the_portal_of_a_begin_can_be_described(compare: Differential):
    begins = parse("begin") + bind() + describe_portal() + execute() + SYNC
    compare(
        say(begins),
        say(describe_portal() + SYNC),
        say(execute() + SYNC),
        say(query("rollback")),
        say(begins + describe_portal() + SYNC),
        say(query("create temp table behind_a_portal (a int)")),
        say(query("rollback")),
    )
    for begin in ("begin", "begin read write"):
        for between in (parse("select 1", "behind_it") + SYNC, function_call(1376, b"5")):
            compare(
                say(parse(begin) + bind() + describe_portal() + execute() + SYNC),
                say(between),
                say(describe_portal() + SYNC),
                say(query("rollback")),
            )


def test_the_portal_of_a_begin_that_was_closed_cannot_be_described(compare: Differential):
    for rest in (describe_portal(), execute()):
        compare(
            say(parse("begin") + bind() + execute() + close_portal() + SYNC),
            say(rest + SYNC),
            say(query("rollback")),
        )


@pytest.mark.parametrize("begin", ["begin", "begin read only"])
def test_the_portal_of_a_read_can_be_used_again(compare: Differential, table: str, begin: str):
    for rest in (
        describe_portal() + SYNC,
        describe_portal() + query("select 2"),
        execute() + SYNC,
        execute() + query("select 2"),
        describe_portal() + parse("select 3") + bind() + execute() + SYNC,
    ):
        compare(
            say(query(begin)),
            say(parse("select 1") + bind() + describe_portal() + execute() + SYNC),
            say(rest),
            say(query("insert into late values (7)")),
            say(query("rollback")),
        )


def test_a_portal_that_is_still_to_be_executed_is_where_its_transaction_goes(
    compare: Differential, table: str
):
    for bound in (
        bind(portal="p") + bind() + execute(),
        bind() + execute() + bind(),
        bind(portal="p") + bind(portal="q") + execute("q"),
    ):
        for rest in (execute("p"), execute(), execute("q", limit=1)):
            compare(
                say(query("begin")),
                say(parse("select 1") + bound + SYNC),
                say(query("insert into late values (7)"))
                if b"p" in bound
                else say(parse("insert into late values (7)", "w"), SYNC),
                say(rest + SYNC),
                say(query("rollback")),
                say(close_statement("w") + SYNC),
            )


@pytest.mark.parametrize("portal", ["", "C_1"])
@pytest.mark.parametrize("limit", [None, 2])
def test_a_transaction_that_begins_with_a_cursor_in_one_go_may_write_later(
    compare: Differential, table: str, portal: str, limit: int | None
):
    """So does a driver that fetches the first query of a transaction row by row."""
    begins = parse("begin") + bind() + execute()
    opens = (
        parse("select generate_series(1, 5)") + bind(portal=portal) + describe_portal(portal)
    )
    fetches = b"" if limit is None else execute(portal, limit=limit)
    compare(
        say(begins + opens + fetches + SYNC),
        say(execute(portal, limit=2) + SYNC),
        say(
            parse("update late set a = a + 1", "u")
            + bind("u", portal="w")
            + execute("w")
            + SYNC
        ),
        say(execute(portal, limit=2) + SYNC),
        say(query("rollback")),
    )


def test_a_begin_with_a_row_limit_leaves_no_portal_to_be_kept(compare: Differential):
    for portal in ("", "p"):
        compare(
            say(parse("begin read only", "a") + SYNC),
            say(bind("a", portal=portal) + execute(portal, limit=2) + SYNC),
            say(query("select 1")),
            say(query("select currval('nowhere')")),
            say(query("rollback")),
        )


def test_what_a_portal_does_counts_when_it_is_executed(compare: Differential):
    """DEALLOCATE ALL is bound to one portal, and another portal is executed."""
    deallocates = parse("select 1", "kept") + parse("deallocate all", "d")
    for first, second in (("p", ""), ("", "p"), ("p", "q")):
        for executed in (execute(first), execute(second), execute(second) + execute(first)):
            for between in (b"", FLUSH):
                compare(
                    say(deallocates + SYNC),
                    say(parse("select 2") + SYNC),
                    say(
                        bind("d", portal=first)
                        + parse("select 3")
                        + bind(portal=second)
                        + between
                        + executed
                        + SYNC,
                        until=b"Z",
                    ),
                    say(bind("kept") + execute() + SYNC),
                    say(query("deallocate all")),
                )


def test_a_query_may_end_messages_without_sync_in_a_transaction_that_has_read(
    compare: Differential,
):
    for begin in ("begin", "begin read only"):
        for text in ("select 2", "begin", "create temp table behind_a_close (a int)"):
            compare(
                say(query(begin)),
                say(query("select 1")),
                say(close_statement("nobody") + query(text), until=b"Z"),
                say(close_statement("nobody") + FLUSH, until=b"3"),
                say(query("select 3")),
                say(query("rollback")),
            )


@pytest.mark.parametrize("before", ["", "select 1", "savepoint a", "rollback and chain"])
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_read_only_transaction_that_ends_before_a_flush_is_answered_at_once(
    compare: Differential, before: str, end: str
):
    begun = [say(query("begin read only")), *([say(query(before))] if before else [])]
    compare(*begun, say(statement(end) + FLUSH, until=b"C"), say(SYNC), say(query("select 2")))


def test_a_read_only_transaction_that_waited_for_its_replica_still_leaves_it(
    cluster: ReachableCluster[Any], make_proxy: Any, table: str
):
    compare = Differential(cluster, make_proxy(cluster, {"consistency": {"wait": "2s"}}))
    compare(
        say(query(f"update {table} set a = a")),
        say(query("begin read only")),
        say(query(f"lock {table} in access share mode")),
        say(query("rollback")),
        say(query(f"update {table} set a = a")),
        say(query(f"begin; select a from {table}")),
        say(query(f"insert into {table} values (2) returning a")),
        say(query("rollback")),
    )


@pytest.mark.parametrize(
    "before",
    [
        ["begin", "set local work_mem = '5MB'"],
        ["begin", "select 1", "set local work_mem = '5MB'"],
        ["begin", "select 1", "commit and chain"],
        ["begin", "select 1 / 0", "rollback and chain"],
    ],
)
def test_what_tells_where_or_when_it_is_leaves_from_a_pipeline_too(
    proxy: Proxy, table: str, before: list[str]
):
    statements = [
        *before,
        "select now()",
        "show transaction_read_only",
        f"insert into {table} values (7)",
        "select now()",
        "rollback",
    ]
    with proxy.raw() as client:
        client.send(*map(query, statements))
        answers = [rows(client.frames_until(b"Z")) for _ in statements]
    first, read_only, _, second, _ = answers[len(before) :]
    assert read_only == [(b"off",)]
    assert first == second


def test_how_transactions_begin_does_not_keep_reads_on_the_primary(proxy: Proxy):
    """pgjdbc's `setTransactionIsolation` before and after each transaction, as Spring does it."""
    with proxy.connect() as connection:
        assert wait_until(lambda: is_on_replica(connection), timeout=10)
        characteristics = "set session characteristics as transaction isolation level"
        for _ in range(5):
            connection.execute(f"{characteristics} repeatable read")
            connection.execute("begin read only")
            assert is_on_replica(connection), last_route(connection)
            found = connection.execute("show transaction_isolation").fetchall()
            assert found == [("repeatable read",)]
            connection.execute("commit")
            connection.execute(f"{characteristics} read committed")
            assert is_on_replica(connection), last_route(connection)
