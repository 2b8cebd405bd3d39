"""Hints that cannot be followed: their author hears of it, and nobody hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

Connection = psycopg.Connection[tuple[Any, ...]]
WHERE = "select current_setting('cluster_name')"
ALL_NODES = "primary, replica1, replica2, replica3"


@contextmanager
def detached(proxy: Proxy, name: str) -> Iterator[None]:
    proxy.console(f"DETACH NODE {name}")  # type: ignore[arg-type]
    try:
        yield
    finally:
        proxy.console(f"ATTACH NODE {name}")  # type: ignore[arg-type]
        assert wait_until(lambda: proxy.nodes()[name]["eligible"], timeout=10)


@contextmanager
def at_once() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 1.5


UNKNOWN = [
    "/* rwsplit: node=nosuch */ select 1",
    "select /* rwsplit: primary node=nosuch */ 1",
    "/* rwsplit: node=nosuch */ create table hinted (n int)",
    "/* rwsplit: node=nosuch */ listen hinted",
    "/* rwsplit: node=nosuch */ begin",
]


def test_explain_names_the_node_a_hint_names_and_does_not_call_the_others_no_replicas(
    proxy: Proxy,
):
    rows = proxy.console("EXPLAIN ROUTE '/* rwsplit: node=replica2 */ select 1'")
    nodes = {row["name"]: row["value"] for row in rows if row["kind"] == "node"}
    others = dict.fromkeys(("primary", "replica1", "replica3"), "NOT_NAMED")
    assert nodes == {"replica2": "eligible", **others}


@pytest.mark.parametrize("statement", UNKNOWN)
@pytest.mark.parametrize("prepare", [False, True])
def test_a_node_that_does_not_exist_is_an_error_at_once(
    proxy: Proxy, statement: str, prepare: bool
):
    with proxy.connect() as connection:
        with at_once(), pytest.raises(psycopg.errors.InvalidParameterValue) as error:
            connection.execute(statement, prepare=prepare)  # type: ignore[call-overload]
        assert error.value.diag.severity == "ERROR"
        assert 'node "nosuch"' in str(error.value)
        assert ALL_NODES in (error.value.diag.message_hint or "")
        assert connection.execute("select 1").fetchone() == (1,)
        assert connection.execute("select to_regclass('hinted')").fetchone() == (None,)


@pytest.mark.parametrize("statement", UNKNOWN[:3])
def test_in_a_transaction_it_fails_that_as_any_error_does(proxy: Proxy, statement: str):
    with proxy.connect() as connection:
        connection.execute("begin")
        with at_once(), pytest.raises(psycopg.errors.InvalidParameterValue):
            connection.execute(statement)  # type: ignore[call-overload]
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute("select 1")
        connection.execute("rollback")
        assert connection.execute("select 1").fetchone() == (1,)


def test_behind_others_in_a_pipeline_it_answers_in_its_turn(proxy: Proxy):
    with proxy.connect() as connection:
        with connection.pipeline() as line:
            first = connection.execute("select 1")
            line.sync()
            connection.execute(UNKNOWN[0])
            with pytest.raises(psycopg.errors.InvalidParameterValue):
                line.sync()
        assert first.fetchone() == (1,)
        assert connection.execute("select 2").fetchone() == (2,)


def test_a_detached_node_is_waited_for_a_moment_and_then_an_error_says_what_to_do(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster)
    with proxy.connect() as connection, detached(proxy, "replica2"):
        for begin in ("", "begin"):
            if begin:
                connection.execute("begin")
            began = time.monotonic()
            with pytest.raises(psycopg.errors.CannotConnectNow) as error:
                connection.execute("/* rwsplit: node=replica2 */ select 1")
            assert 1 < time.monotonic() - began < 6
            assert error.value.diag.severity == "ERROR"
            assert "detached" in str(error.value)
            assert "rwsplit node attach replica2" in (error.value.diag.message_hint or "")
        connection.execute("rollback")
        assert connection.execute("select 1").fetchone() == (1,)


def test_a_node_that_is_down_is_waited_for_a_moment_and_then_an_error_says_so(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    rule = {"to": "node:replica3", "function": "reverse"}
    proxy = make_proxy(fragile_cluster, {"routing": {"rules": [rule]}})
    fragile_cluster.replicas[2].kill()
    assert wait_until(lambda: proxy.nodes()["replica3"]["health"] == "down", timeout=10)
    with proxy.connect() as connection:
        for statement, who in (
            ("/* rwsplit: node=replica3 */ select 1", "the hint"),
            ("select reverse('x')", "a rule"),
        ):
            began = time.monotonic()
            with pytest.raises(psycopg.errors.CannotConnectNow, match=who) as error:
                connection.execute(statement)  # type: ignore[call-overload]
            assert 1 < time.monotonic() - began < 6
            assert "down" in str(error.value)
            assert "replica1" in (error.value.diag.message_hint or "")
        assert connection.execute("select 1").fetchone() == (1,)


def test_a_node_that_comes_back_in_time_answers(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster, {"consistency": {"wait": "20s"}})
    got: list[object] = []
    with proxy.connect() as connection:
        with detached(proxy, "replica2"):
            statement: Any = f"/* rwsplit: node=replica2 */ {WHERE}"
            thread = threading.Thread(
                target=lambda: got.append(connection.execute(statement).fetchone()), daemon=True
            )
            thread.start()
            assert wait_until(
                lambda: any(row["state"] == "waiting" for row in proxy.console("SHOW CLIENTS")),
                timeout=10,
            )
        thread.join(15)
    assert got == [("replica2",)]


def test_a_query_wait_timeout_that_is_shorter_counts(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster, {"pool": {"query_wait_timeout": "300ms"}})
    with (
        proxy.connect() as connection,
        detached(proxy, "replica2"),
        at_once(),
        pytest.raises(psycopg.errors.CannotConnectNow, match="detached"),
    ):
        connection.execute("/* rwsplit: node=replica2 */ select 1")


# What is misspelt...


def warned(connection: Connection) -> list[tuple[str | None, str | None]]:
    heard: list[tuple[str | None, str | None]] = []
    connection.add_notice_handler(lambda n: heard.append((n.severity, n.message_primary)))
    return heard


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        ("/* rwsplit: replika */", "replika"),
        ("/* rwsplit : primary */", "rwsplit : primary"),
        ("/* rwsplit:node = x */", "node = x"),
        ("/* rwsplit: shard=3 */", "shard=3"),
        ("/* rwsplit: consistency=strict */", "consistency=strict"),
        ("/* rwsplit: max_lag=soon */", "max_lag=soon"),
    ],
)
def test_a_misspelt_hint_warns_once_and_changes_nothing(proxy: Proxy, hint: str, text: str):
    with proxy.connect() as connection:
        heard = warned(connection)
        for _ in range(3):
            assert connection.execute(f"{hint} select 1").fetchone() == (1,)  # type: ignore[call-overload]
            assert connection.execute(f"{hint} select %s::int", (2,)).fetchone() == (2,)  # type: ignore[call-overload]
            with connection.transaction():
                connection.execute(f"{hint} select 3")  # type: ignore[call-overload]
        assert heard == [("WARNING", f"hint not understood: {text}")]


def test_each_misspelt_hint_warns_and_all_are_counted(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster)
    with proxy.connect() as connection, proxy.connect() as other:
        heard = warned(connection)
        for number in range(20):
            connection.execute(f"/* rwsplit: nonsense{number} */ select 1")  # type: ignore[call-overload]
        assert len(heard) == 16
        other.execute("set client_min_messages = error")
        heard = warned(other)
        other.execute("/* rwsplit: nonsense */ select 1")
        assert heard == []
    [row] = [row for row in proxy.console("SHOW STATS") if row["database"] == "app"]
    assert row["total_misspelt_hints"] == 21


def test_in_a_transaction_on_the_primary_a_node_that_does_not_exist_is_a_warning(proxy: Proxy):
    with proxy.connect() as connection:
        heard = warned(connection)
        connection.execute("begin")
        connection.execute("lock table pg_am in access share mode")
        assert connection.execute(f"/* rwsplit: node=nosuch */ {WHERE}").fetchone() == (  # type: ignore[call-overload]
            "primary",
        )
        assert heard == [("WARNING", 'node "nosuch", which the hint names, does not exist')]
        connection.execute("rollback")


@pytest.mark.parametrize(
    "setting",
    ["route = 'replika'", "consistency = 'strong'", "max_lag = 'soon'", "nosuch = 1"],
)
def test_a_setting_that_means_nothing_is_an_error_at_set(proxy: Proxy, setting: str):
    with proxy.connect() as connection:
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            connection.execute(f"set rwsplit.{setting}")  # type: ignore[call-overload]
        assert connection.execute("show rwsplit.route").fetchone() == ("auto",)
