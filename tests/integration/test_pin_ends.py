"""Pins that no query can tell the end of: they end when what was unknown is known, or when the operator says so."""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import ReachableCluster
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration


def pin(connection: psycopg.Connection[Any]) -> str:
    [(text,)] = connection.execute("show rwsplit.pinned").fetchall()
    return str(text)


def pinned(proxy: Proxy) -> list[str]:
    """Why sessions are pinned, without asking them."""
    return [row["pinned"] for row in proxy.console("SHOW CLIENTS") if row["pinned"]]


def becomes_free(connection: psycopg.Connection[Any]) -> bool:
    return bool(wait_until(lambda: pin(connection) == "no", timeout=10))


@pytest.fixture
def narrow(cluster: ReachableCluster[Any], make_proxy: MakeProxy) -> Proxy:
    """Pools of two servers; the catalog of `app` is read when a session asks for it, not by time."""
    proxy = make_proxy(cluster, {"pool": {"size": 2}, "monitor": {"catalog_interval": "1h"}})
    with proxy.connect():
        assert wait_until(lambda: "catalog_read" in proxy.log(), timeout=10)
    return proxy


@pytest.mark.parametrize(
    ("statement", "prepare"),
    [
        ("select ends_f()", False),
        ("select ends_f()", True),
        ("call ends_p()", False),
        ("do $$begin perform ends_f(); end$$", False),
        ("select ends_f(); select ends_f()", False),
    ],
)
def test_a_function_made_by_another_way_keeps_no_server_for_long(
    cluster: ReachableCluster[Any], narrow: Proxy, statement: str, prepare: bool
):
    with cluster.primary.connect("app", "app") as direct:
        direct.execute(
            "create function ends_f() returns int language plpgsql as 'begin return 1; end'"
        )
        direct.execute("create procedure ends_p() language plpgsql as 'begin perform 1; end'")
        try:
            with ExitStack() as stack:
                idle = [stack.enter_context(narrow.connect()) for _ in range(4)]
                for connection in idle:  # more than there are servers
                    connection.execute(statement, prepare=prepare)  # type: ignore[call-overload]
                for connection in idle:
                    assert becomes_free(connection)
        finally:
            direct.execute("drop function ends_f(); drop procedure ends_p()")


def test_one_that_leaves_something_goes_on_keeping_it(
    cluster: ReachableCluster[Any], narrow: Proxy
):
    with cluster.primary.connect("app", "app") as direct, narrow.connect() as connection:
        direct.execute(
            "create function ends_g() returns int language plpgsql as"
            " 'begin perform set_config(''ends.x'', ''mine'', false); return 1; end'"
        )
        try:
            connection.execute("select ends_g()")
            seen = len(re.findall("catalog_read", narrow.log()))
            assert seen >= 1
            connection.execute(
                "create function ends_h() returns int language sql as 'select 1'"
            )
            connection.execute("listen ends")
            connection.execute("select ends_h()")
            assert not wait_until(lambda: pin(connection) == "no", timeout=1.5)
            assert connection.execute("select current_setting('ends.x')").fetchone() == (
                "mine",
            )
        finally:
            direct.execute("drop function ends_g(); drop function if exists ends_h()")


def test_what_can_be_seen_keeps_it_when_the_rest_has_turned_out_to_be_nothing(
    cluster: ReachableCluster[Any], narrow: Proxy
):
    with cluster.primary.connect("app", "app") as direct, narrow.connect() as connection:
        direct.execute("create function ends_i() returns int language sql as 'select 1'")
        try:
            connection.execute("listen ends")
            connection.execute("select ends_i()")
            assert "function" in pin(connection)
            assert wait_until(lambda: "listens" in pin(connection), timeout=10)
            connection.execute("unlisten *")
            assert becomes_free(connection)
        finally:
            direct.execute("drop function ends_i()")


def test_a_call_of_no_function_at_all_pins_nobody(narrow: Proxy):
    with narrow.connect() as connection:
        with pytest.raises(psycopg.errors.UndefinedFunction):
            connection.execute("select ends_nosuch()")
        assert pin(connection) == "no"


def test_an_idle_session_loses_what_nobody_can_see_if_the_operator_says_so(
    cluster: ReachableCluster[Any], make_proxy: MakeProxy
):
    proxy = make_proxy(cluster, {"pool": {"pin_idle_timeout": "500ms"}})
    told: list[str] = []
    with proxy.connect() as seeded, proxy.connect() as listening:
        seeded.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
        seeded.execute("set application_name = 'kept'")
        seeded.execute("select setseed(0.5)")
        listening.execute("listen ends")
        assert wait_until(lambda: pinned(proxy) == ["it listens for notifications"], timeout=10)
        assert pin(seeded) == "no"
        assert any("random()" in text and "pin_idle_timeout" in text for text in told)
        assert seeded.execute("show application_name").fetchone() == ("kept",)
        assert "listens" in pin(listening)
    assert "pin_timed_out" in proxy.log()


def test_by_default_it_does_not(narrow: Proxy):
    with narrow.connect() as seeded:
        seeded.execute("select setseed(0.5)")
        first = seeded.execute("/* rwsplit: primary */ select random()").fetchone()
        assert not wait_until(lambda: pin(seeded) == "no", timeout=1.0)
        seeded.execute("select setseed(0.5)")
        assert seeded.execute("/* rwsplit: primary */ select random()").fetchone() == first
        assert "random()" in pin(seeded)


def test_who_keeps_the_servers_is_said_to_those_who_wait_and_in_the_log(
    cluster: ReachableCluster[Any], make_proxy: MakeProxy
):
    proxy = make_proxy(cluster, {"pool": {"size": 1, "query_wait_timeout": "1s"}})
    told: list[str] = []
    with proxy.connect() as one, proxy.connect() as other, proxy.connect() as late:
        late.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
        one.execute("set application_name = 'listener'")
        one.execute("listen ends")
        other.execute("begin; create temp table ends_t (a int) on commit drop")
        with pytest.raises(psycopg.errors.TooManyConnections) as refused:
            late.execute("create table ends_never (a int)")
        [kept] = [
            row
            for row in proxy.console("SHOW CLIENTS")
            if row["application_name"] == "listener"
        ]
        assert "listens" in kept["pinned"]
    for text in (str(refused.value), *told):
        assert "pool.size is 1, and idle sessions keep 2 of its servers" in text
        assert "1 as it listens for notifications" in text
        assert "1 as it is idle in a transaction" in text
    assert told
    [line] = [line for line in proxy.log().splitlines() if "pool_kept_by_idle_sessions" in line]
    assert "(listener) idle" in line
