"""pg_terminate_backend and pg_cancel_backend of the process id that rwsplit told a client at login."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import errors

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

Connection = psycopg.Connection[Any]
#: Where a session works when it is terminated or cancelled: what the hint of its statement says.
NODES = ["primary", "replica"]


def call(
    connection: Connection, function: str, pid: int, *, client: bool = False, **options: Any
) -> object:
    """Have *connection* call *function* of *pid*; return the answer and its column's name."""
    factory = psycopg.ClientCursor if client else psycopg.Cursor
    with factory(connection) as cursor:
        cursor.execute(f"select {function}(%s)", [pid], **options)  # type: ignore[call-overload]
        assert cursor.description is not None
        assert cursor.description[0].name == function
        [(answer,)] = cursor.fetchall()
        return answer


def terminate(connection: Connection, target: Connection, **options: Any) -> object:
    return call(connection, "pg_terminate_backend", target.info.backend_pid, **options)


def assert_terminated(target: Connection) -> None:
    with pytest.raises(errors.AdminShutdown, match="due to administrator command"):
        target.execute("select 1")
    assert target.closed


@pytest.mark.parametrize(
    "texts",
    [
        ["set role bystander"],
        ["begin", "set local role bystander"],
        ["select set_config('role', 'bystander', false)"],
        ["begin", "select set_config('role', 'bystander', true)"],
        ["set search_path = public; set role bystander"],
    ],
    ids="; ".join,
)
@pytest.mark.parametrize("function", ["pg_terminate_backend", "pg_cancel_backend"])
def test_a_session_may_not_do_as_another_role_what_its_user_may(
    cluster: EmbeddedCluster, proxy: Proxy, function: str, texts: list[str]
):
    with cluster.primary.connect("app") as boss:
        boss.execute("create role bystander; grant bystander to app")
    try:
        cluster.wait_until_replayed()
        with proxy.connect() as target, proxy.connect() as one:
            pid = target.info.backend_pid
            for text in texts:
                one.execute(text)  # type: ignore[arg-type]  # they are literals
            assert one.execute(f"select {function}({pid})").fetchone() == (False,)  # type: ignore[arg-type]
            assert target.execute("select 1").fetchone() == (1,)
    finally:
        with cluster.primary.connect("app") as boss:
            boss.execute("drop role bystander")


def runs(cluster: EmbeddedCluster, text: str) -> bool:
    """Return whether *text* comes to run somewhere within five seconds."""

    def count() -> bool:
        return any(
            node.query(
                "select 1 from pg_stat_activity where state = 'active' "
                "and query like '%%' || %s || '%%' and pid <> pg_backend_pid()",
                text,
            )
            for node in cluster.nodes.values()
        )

    return wait_until(count, timeout=5)


@pytest.mark.parametrize("client", [False, True], ids=["extended", "simple"])
def test_an_idle_session_is_terminated(proxy: Proxy, client: bool):
    with proxy.connect() as one, proxy.connect() as other:
        other.execute("select 1")
        assert terminate(one, other, client=client) is True
        assert_terminated(other)
        assert one.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("prepare", [False, True], ids=["unnamed", "named"])
def test_the_answer_and_the_parameter_are_of_any_format(
    proxy: Proxy, binary: bool, prepare: bool
):
    with proxy.connect() as one:
        for _ in range(3):
            with proxy.connect() as other, one.cursor(binary=binary) as cursor:
                cursor.execute(
                    "select pg_terminate_backend(%b) as done"
                    if binary
                    else "select pg_terminate_backend(%t::int) as done",
                    [other.info.backend_pid],
                    prepare=prepare,
                )
                assert cursor.fetchall() == [(True,)]
                assert_terminated(other)


def test_what_is_prepared_for_one_session_goes_on_to_mean_the_function(proxy: Proxy):
    with proxy.connect() as one, proxy.connect() as other:
        one.prepare_threshold = 2
        for _ in range(4):
            assert call(one, "pg_cancel_backend", other.info.backend_pid) is True
            assert call(one, "pg_cancel_backend", 2**31 - 1) is False
        assert other.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize("node", NODES)
def test_a_session_in_a_transaction_is_terminated_and_its_work_undone(proxy: Proxy, node: str):
    with proxy.connect() as one, proxy.connect() as other:
        one.execute("create table if not exists terminated (a int)")
        other.execute("begin")
        if node == "primary":
            other.execute("insert into terminated values (1)")
        else:
            other.execute("select 1")
        assert terminate(one, other) is True
        with pytest.raises(errors.AdminShutdown):
            other.execute("select 1")
        assert other.closed
        assert one.execute("select count(*) from terminated").fetchone() == (0,)
        one.execute("drop table terminated")  # nothing of the transaction is left


def test_a_session_whose_asker_is_in_a_transaction_is_terminated(proxy: Proxy):
    with proxy.connect() as one, proxy.connect() as other:
        with one.transaction():
            assert terminate(one, other) is True
        assert_terminated(other)


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("function", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_running_statement_is_ended(
    cluster: EmbeddedCluster, proxy: Proxy, node: str, function: str
):
    mark = f"{function} {node}"
    expected = errors.QueryCanceled if "cancel" in function else errors.AdminShutdown
    with (
        proxy.connect() as one,
        proxy.connect() as other,
        ThreadPoolExecutor(1) as thread,
    ):
        running = thread.submit(
            other.execute,
            f"/* rwsplit: {node} */ select pg_sleep(30), '{mark}'",  # type: ignore[arg-type]
        )
        assert runs(cluster, mark)
        assert other.info.backend_pid > 2**22  # Linux has no process of that number
        assert call(one, function, other.info.backend_pid) is True
        with pytest.raises(expected):
            running.result(timeout=5)
        if "cancel" in function:
            assert other.execute("select 1").fetchone() == (1,)
        assert wait_until(lambda: not is_running(cluster, mark), timeout=5)


def is_running(cluster: EmbeddedCluster, mark: str) -> bool:
    found = "select 1 from pg_stat_activity where state = 'active' and query like %s"
    return any(node.query(found, f"%'{mark}'") for node in cluster.nodes.values())


@pytest.mark.parametrize("client", [False, True], ids=["extended", "simple"])
def test_a_session_ends_itself(proxy: Proxy, client: bool):
    with proxy.connect() as one:
        with pytest.raises(errors.AdminShutdown):
            terminate(one, one, client=client)
        assert one.closed


def test_a_session_cancels_itself(proxy: Proxy):
    with proxy.connect() as one:
        with pytest.raises(errors.QueryCanceled):
            call(one, "pg_cancel_backend", one.info.backend_pid)
        assert one.execute("select 1").fetchone() == (1,)


def test_the_session_of_another_user_is_left_alone(proxy: Proxy):
    said: list[str] = []
    with proxy.connect() as one, proxy.connect(user="rwsplit", database="app") as other:
        one.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
        assert terminate(one, other) is False
        assert said == [f"PID {other.info.backend_pid} is not a PostgreSQL backend process"]
        assert other.execute("select 1").fetchone() == (1,)


def test_an_unknown_pid_is_answered_by_postgresql(proxy: Proxy):
    said: list[str] = []
    with proxy.connect() as one:
        one.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
        assert call(one, "pg_terminate_backend", 2**31 - 1) is False
    assert said == [f"PID {2**31 - 1} is not a PostgreSQL backend process"]


def test_in_a_failed_transaction_nothing_is_done(proxy: Proxy):
    with proxy.connect() as one, proxy.connect() as other:
        one.execute("begin")
        with pytest.raises(errors.DivisionByZero):
            one.execute("select 1/0")
        with pytest.raises(errors.InFailedSqlTransaction):
            terminate(one, other)
        assert other.execute("select 1").fetchone() == (1,)
