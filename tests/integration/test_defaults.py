"""Sessions keep the defaults of their login: ALTER ROLE ... SET, reloads, replicas configured otherwise, RECONNECT."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import ReachableCluster
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

SHOWN = (
    "select current_setting('search_path'), current_setting('work_mem'), "
    "current_setting('my.own', true), (select w from named)"
)
OTHER = {
    "timezone": "Asia/Tokyo",
    "datestyle": "German",
    "bytea_output": "escape",
    "search_path": "nowhere",
    "statement_timeout": "3min",
    "work_mem": "9MB",
}


@pytest.fixture
def renamed(cluster: ReachableCluster[Any]) -> Iterator[ReachableCluster[Any]]:
    """A name that means one table in `public` and another in `other`."""
    with cluster.primary.connect("app") as admin:
        admin.execute("create schema other")
        admin.execute("grant usage on schema other to app")
        for schema in ("public", "other"):
            admin.execute(f"create table {schema}.named as select '{schema}' as w")
            admin.execute(f"grant select on {schema}.named to app")
    cluster.wait_until_replayed()
    yield cluster
    with cluster.primary.connect("app") as admin:
        admin.execute("alter role app reset all")
        admin.execute("alter database app reset all")
        admin.execute("drop table public.named")
        admin.execute("drop schema other cascade")
    cluster.wait_until_replayed()


def seen(connection: psycopg.Connection[Any]) -> set[tuple[Any, ...]]:
    """What the session sees on the primary and on the replicas."""
    hints = [
        f"/* rwsplit: node={n} */ " for n in ("primary", "replica1", "replica2", "replica3")
    ]
    found = [connection.execute(hint + SHOWN).fetchone() for hint in ("", "", *hints)]  # type: ignore[arg-type]
    with connection.transaction():
        connection.execute("lock table named in access share mode")
        found.append(connection.execute(SHOWN).fetchone())
    return {row for row in found if row is not None}


def new(proxy: Proxy) -> set[tuple[Any, ...]]:
    with proxy.connect() as connection:
        return seen(connection)


def open_more(proxy: Proxy, count: int = 6) -> None:
    """Have more servers opened everywhere."""
    with ExitStack() as stack:
        clients = [stack.enter_context(proxy.connect()) for _ in range(count)]

        def use(client: psycopg.Connection[Any]) -> None:
            client.execute("select pg_sleep(0.2)")
            client.execute("begin; lock table named in access share mode; select pg_sleep(0.2)")
            client.execute("commit")

        threads = [threading.Thread(target=use, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def test_a_role_that_sets_its_search_path_through_rwsplit_has_it_at_its_next_login(
    renamed: ReachableCluster[Any], make_proxy: MakeProxy
):
    proxy = make_proxy(renamed)
    with proxy.connect() as before, proxy.connect() as pinned:
        old = seen(before)
        pinned.execute("create temp table t (n int)")
        assert {row[3] for row in old} == {"public"}
        before.execute("alter role app set search_path = other, public")
        with proxy.connect(user="postgres") as admin:
            admin.execute("alter role app set my.own = 'said'")
            admin.execute("alter role app set work_mem = '5MB'")
        renamed.wait_until_replayed()
        now = new(proxy)
        assert now == {("other, public", "5MB", "said", "other")}
        for _ in range(2):
            kept = seen(before)
            assert {row[:2] + row[3:] for row in kept} == {row[:2] + row[3:] for row in old}
            assert {row[2] or None for row in kept} == {None}
            assert pinned.execute(SHOWN).fetchone()[3] == "public"  # type: ignore[index]
            open_more(proxy)
            assert new(proxy) == now
        # What leads back to the defaults leads to those of the login.
        for text in ("reset search_path", "reset all", "discard all"):
            before.execute("set search_path = other")
            before.execute(text)
            assert {row[0] for row in seen(before)} == {row[0] for row in old}
        before.execute("set search_path to default")
        assert {row[3] for row in seen(before)} == {"public"}


def test_what_was_set_elsewhere_is_seen_by_the_catalog_reader(
    renamed: ReachableCluster[Any], make_proxy: MakeProxy
):
    proxy = make_proxy(renamed, {"monitor": {"catalog_interval": "100ms"}})
    with proxy.connect() as before:
        assert {row[3] for row in seen(before)} == {"public"}
        renamed.primary.query("alter database app set search_path = other")
        assert wait_until(lambda: {row[3] for row in new(proxy)} == {"other"}, timeout=30)
        open_more(proxy)
        assert {row[3] for row in seen(before)} == {"public"}


def test_reconnect_finds_what_nobody_sees(
    renamed: ReachableCluster[Any], make_proxy: MakeProxy
):
    proxy = make_proxy(renamed, {"monitor": {"catalog_interval": "0"}})
    with proxy.connect() as before:
        assert {row[3] for row in seen(before)} == {"public"}
        renamed.primary.query("alter role app set search_path = other")
        renamed.wait_until_replayed()
        assert {row[3] for row in new(proxy)} == {"public"}
        pids = {row["remote_pid"] for row in proxy.console("SHOW SERVERS")}
        proxy.console("RECONNECT postgres")
        assert pids & {row["remote_pid"] for row in proxy.console("SHOW SERVERS")}
        proxy.console("RECONNECT app")
        assert {row[3] for row in new(proxy)} == {"other"}
        assert {row[3] for row in seen(before)} == {"public"}
        assert not pids & {row["remote_pid"] for row in proxy.console("SHOW SERVERS")}


def test_a_replica_configured_otherwise_answers_as_the_primary(
    renamed: ReachableCluster[Any], make_proxy: MakeProxy
):
    asked = (
        "select extract(timezone from now())::int, '2026-01-02'::date::text, '\\x41ff'::bytea::text,"
        " current_setting('search_path'), current_setting('statement_timeout')"
    )
    proxy, replica = make_proxy(renamed), renamed.replicas[0]

    def answers() -> set[Any]:
        with proxy.connect() as connection:
            for text in ("set timezone = 'Europe/Paris'", "reset timezone", "discard all"):
                connection.execute(text)
            hints = [f"/* rwsplit: node={node} */ " for node in renamed.nodes] * 2
            return {connection.execute(hint + asked).fetchone() for hint in hints}  # type: ignore[arg-type, operator]

    def work_mem() -> Any:
        with proxy.connect() as connection:
            return connection.execute("/* rwsplit: node=replica1 */ show work_mem").fetchone()

    before = answers()
    assert len(before) == 1
    try:
        for name, value in OTHER.items():
            replica.query(f"alter system set {name} = '{value}'")
        replica.query("select pg_reload_conf()")
        assert wait_until(lambda: "node_reloaded" in proxy.log(), timeout=10)
        assert answers() == before
        assert answers() == before
        assert work_mem() == ("9MB",), "how a node works is its own business"
        assert proxy.log().count("node_has_other_defaults") == 1
    finally:
        for name in OTHER:
            replica.query(f"alter system reset {name}")
        replica.query("select pg_reload_conf()")
    assert wait_until(lambda: work_mem() == ("4MB",), timeout=10)
    assert answers() == before


def test_a_configuration_reloaded_through_rwsplit_holds_for_all(
    renamed: ReachableCluster[Any], make_proxy: MakeProxy
):
    proxy = make_proxy(renamed)
    show = "select current_setting('statement_timeout')"
    with proxy.connect() as before, proxy.connect(user="postgres") as admin:
        assert before.execute(show).fetchone() == ("0",)
        try:
            admin.execute("alter system set statement_timeout = '2min'")
            admin.execute("select pg_reload_conf()")

            def values() -> set[Any]:
                with proxy.connect() as connection:
                    hints = [f"/* rwsplit: node={node} */ {show}" for node in renamed.nodes]
                    return {
                        client.execute(text).fetchone()
                        for client in (connection, before)
                        for text in hints
                    }

            assert wait_until(lambda: values() == {("2min",)}, timeout=10)
        finally:
            admin.execute("alter system reset statement_timeout")
            admin.execute("select pg_reload_conf()")
        assert wait_until(lambda: values() == {("0",)}, timeout=10)
