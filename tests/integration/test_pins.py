"""State that lives in one server stays with its session, ends with it, and no stranger ever sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import product
from typing import Any

import psycopg
import pytest

from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import ReachableCluster
from tests.support.differential import Differential, say
from tests.support.messages import SYNC, bind, execute, parse, query
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

SESSION_STATE = """
select current_user, current_setting('search_path'), current_setting('TimeZone'),
       current_setting('statement_timeout'), current_setting('default_transaction_isolation'),
       current_setting('default_transaction_read_only'), current_setting('work_mem'),
       nullif(current_setting('pinned.mine', true), ''),
       (select count(*) from pg_class where relnamespace = pg_my_temp_schema()),
       (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
       (select count(*) from pg_listening_channels()),
       (select count(*) from pg_prepared_statements where name not like 'rwsplit%'),
       (select count(*) from pg_cursors where name <> '')
"""

#: What is journalled: the session keeps no server for it.
NO_PIN = "no"

PINS: list[tuple[Any, str]] = [
    ("set work_mem = '3MB'", NO_PIN),
    ("set session characteristics as transaction isolation level serializable", NO_PIN),
    ("set default_transaction_read_only = on", NO_PIN),
    ("select set_config('search_path', 'nowhere', false)", NO_PIN),
    ("set pinned.mine = 'secret'", NO_PIN),
    ("set role pinned_role", NO_PIN),
    ("select setseed(0.5)", "seed"),
    ("prepare pinned as select 1", "PREPARE"),
    ("listen pinned", "listens"),
    ("create temp table pinned_temp (a int)", "temporary"),
    ("select 1 as a into temporary pinned_into", "temporary"),
    ("create temp table pinned_as as select 1", "temporary"),
    ("select pg_advisory_lock(4711)", "advisory"),
    ("declare pinned cursor with hold for select 1", "WITH HOLD"),
    ("do $$begin perform set_config('pinned.mine', 'x', false); end$$", "parameter"),
]


@pytest.fixture(scope="module")
def narrow(
    cluster: ReachableCluster[Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """Two servers per node: what one client leaves, the next would find."""
    with cluster.primary.connect("app") as connection:
        connection.execute("create role pinned_role in role pg_read_all_data")
        connection.execute("grant pinned_role to app")
    with Proxy(cluster, tmp_path_factory.mktemp("narrow"), {"pool": {"size": 2}}) as running:
        yield running
    with cluster.primary.connect("app") as connection:
        connection.execute("drop role pinned_role")


def pin(connection: psycopg.Connection[Any]) -> str:
    connection.execute("select 1")  # runs when what is left of the session's state is known
    [(text,)] = connection.execute("show rwsplit.pinned").fetchall()
    return str(text)


@pytest.fixture(scope="module")
def clean(cluster: ReachableCluster[Any]) -> tuple[Any, ...]:
    """What a session of PostgreSQL looks like before anybody did anything."""
    with cluster.primary.connect("app", "app") as connection:
        [row] = connection.execute(SESSION_STATE).fetchall()
        return row


@pytest.mark.parametrize(("statement", "reason"), PINS)
def test_a_stranger_never_sees_the_state_of_another(
    narrow: Proxy, clean: tuple[Any, ...], statement: Any, reason: str
):
    with narrow.connect(prepare_threshold=None) as connection:
        connection.execute(statement)
        assert reason in pin(connection)
        [state] = connection.execute(SESSION_STATE).fetchall()
        assert state != clean or "prepare" in statement or "seed" in statement
        with narrow.connect(prepare_threshold=None) as stranger:
            [seen] = stranger.execute("/* rwsplit: primary */" + SESSION_STATE).fetchall()
            assert seen == clean
    with ExitStack() as stack:
        # All the servers there are, held at once by transactions.
        for _ in range(2):
            later = stack.enter_context(narrow.connect(prepare_threshold=None))
            later.execute("begin")
            [seen] = later.execute(SESSION_STATE).fetchall()
            assert seen == clean


@pytest.mark.parametrize(("statement", "reason"), PINS)
def test_discard_all_ends_a_pin(
    narrow: Proxy, clean: tuple[Any, ...], statement: Any, reason: str
):
    with narrow.connect(prepare_threshold=None) as connection:
        connection.execute(statement)
        connection.execute("discard all")
        assert pin(connection) == "no"
        connection.execute("begin")
        [state] = connection.execute(SESSION_STATE).fetchall()
        assert state == clean
        connection.execute("rollback")


def test_more_pinned_sessions_than_servers_wait_and_are_told(
    cluster: ReachableCluster[Any], make_proxy: Any
):
    proxy = make_proxy(cluster, {"pool": {"size": 1, "query_wait_timeout": "1s"}})
    with proxy.connect() as one, proxy.connect() as two, proxy.connect() as other:
        one.execute("create temp table keeps (a int)")
        two.execute(
            "create temp table keeps (a int)"
        )  # it does not count: as many again may be kept
        with pytest.raises(psycopg.errors.TooManyConnections, match=r"pool\.size"):
            other.execute("create table never_made (a int)")
        assert other.execute("select 1").fetchone() == (1,), "the session goes on"
        one.execute("discard all")
        other.execute("begin; select 1; commit")


ENDS: list[tuple[list[Any], str, list[Any]]] = [
    (["listen a", "listen b"], "listens", ["unlisten a", "unlisten *"]),
    (["create temp table t (a int)"], "temporary", ["drop table t"]),
    (["create temp view v as select 1"], "temporary", ["drop view v"]),
    (["create function pg_temp.f() returns int language sql as 'select 1'"], "temporary",
     ["drop function pg_temp.f()"]),
    (["select pg_advisory_lock(1)", "select pg_advisory_lock(1)"], "advisory",
     ["select pg_advisory_unlock(1)", "select pg_advisory_unlock(1)"]),
    (["select pg_advisory_lock_shared(1)"], "advisory", ["select pg_advisory_unlock_all()"]),
    (["declare c cursor with hold for select 1"], "WITH HOLD", ["close c"]),
    (["prepare p as select 1", "prepare q as select 2"], "PREPARE",
     ["deallocate p", "deallocate q"]),
    (["create temp table t (a int)", "listen a"], "temporary", ["discard temp", "unlisten a"]),
]  # fmt: skip


@pytest.mark.parametrize(("begins", "reason", "ends"), ENDS)
def test_a_pin_ends_with_the_last_of_its_state(
    narrow: Proxy, clean: tuple[Any, ...], begins: list[Any], reason: str, ends: list[Any]
):
    with narrow.connect(prepare_threshold=None) as connection:
        for statement in begins:
            connection.execute(statement)
        assert reason in pin(connection)
        for statement in ends:
            assert pin(connection) != NO_PIN
            connection.execute(statement)
        assert pin(connection) == NO_PIN
        connection.execute("begin")
        [state] = connection.execute(SESSION_STATE).fetchall()
        assert state == clean
        connection.execute("rollback")


@pytest.mark.parametrize(
    "statements",
    [
        ["begin", "listen a", "rollback"],
        ["begin", "create temp table t (a int) on commit drop", "commit"],
        ["begin", "create temp table t (a int)", "rollback"],
        ["begin", "savepoint s", "create temp table t (a int)", "rollback to s", "commit"],
        ["begin", "declare c cursor with hold for select 1", "rollback"],
        ["begin", "select lo_open(lo_create(0), 131072)", "commit"],
        ["begin", "select pg_export_snapshot()", "commit"],
        ["begin", "create temp table t (a int)", "drop table t", "commit"],
        ["create temp table t (a int); drop table t"],
        ["listen a; unlisten a"],
        ["select pg_advisory_lock(1); select pg_advisory_unlock(1)"],
    ],
)
def test_what_a_transaction_did_not_leave_does_not_pin(narrow: Proxy, statements: list[Any]):
    with narrow.connect(prepare_threshold=None) as connection:
        for statement in statements:
            connection.execute(statement)
        assert pin(connection) == NO_PIN


#: What asyncpg's pool says whenever a connection comes back to it.
POOL_RESET = "select pg_advisory_unlock_all();\nclose all;\nunlisten *;\nreset all;"


def test_the_reset_of_a_drivers_pool_needs_the_primary_only_where_something_is_left(
    narrow: Proxy,
):
    with narrow.connect(prepare_threshold=None) as connection, narrow.connect() as other:

        def leaves_the_primary_alone(text: str) -> bool:
            connection.execute(text.encode())
            row = connection.execute("show rwsplit.last_route").fetchone()
            assert row is not None
            return str(row[0]).startswith("replica")

        # Once the replicas are fresh.
        assert wait_until(lambda: leaves_the_primary_alone("set work_mem = '4MB'"), timeout=10)
        for text in (*POOL_RESET.splitlines(), POOL_RESET):
            assert leaves_the_primary_alone(text), text
        for statement in (
            "listen a",
            "select pg_advisory_lock(31)",
            "declare c cursor with hold for select 1",
            "set work_mem = '5MB'",
        ):
            connection.execute(statement.encode())
        connection.execute(POOL_RESET.encode())
        assert pin(connection) == NO_PIN
        assert other.execute("select pg_try_advisory_xact_lock(31)").fetchone() == (True,)
        assert wait_until(lambda: leaves_the_primary_alone(POOL_RESET), timeout=10)


def test_what_nobody_can_see_keeps_the_pin_although_something_else_has_ended(narrow: Proxy):
    with narrow.connect(prepare_threshold=None) as connection:
        connection.execute("listen a")
        connection.execute("select setseed(0.5)")
        connection.execute("unlisten a")
        assert "seed" in pin(connection)


def test_a_lock_that_is_not_got_does_not_pin(narrow: Proxy):
    with narrow.connect() as one, narrow.connect() as other:
        one.execute("select pg_advisory_lock(12)")
        assert other.execute("select pg_try_advisory_lock(12)").fetchone() == (False,)
        assert pin(other) == NO_PIN
        assert "advisory" in pin(one)


def test_a_temporary_table_shadows_only_for_its_session(narrow: Proxy):
    with narrow.connect() as one, narrow.connect() as other:
        one.execute("create table shadowed (a int)")
        one.execute("insert into shadowed values (1)")
        try:
            other.execute("create temp table shadowed (a int)")
            other.execute("insert into shadowed values (2)")
            for _ in range(6):
                assert other.execute("select a from shadowed").fetchone() == (2,)
                assert one.execute("select a from shadowed").fetchone() == (1,)
        finally:
            other.execute("drop table pg_temp.shadowed")
            one.execute("drop table shadowed")


def test_an_advisory_lock_is_held_and_let_go_with_its_session(narrow: Proxy):
    with narrow.connect() as one, narrow.connect() as other:
        one.execute("select pg_advisory_lock(99)")
        assert other.execute("select pg_try_advisory_lock(99)").fetchone() == (False,)
        other.execute("discard all")
        one.close()

        def is_free() -> bool:
            return other.execute("select pg_try_advisory_xact_lock(99)").fetchone() == (True,)

        assert wait_until(is_free, timeout=5)


def test_a_cursor_with_hold_goes_on_after_its_transaction(
    cluster: ReachableCluster[Any], narrow: Proxy
):
    compare = Differential(cluster, narrow)
    compare(
        say(query("begin")),
        say(query("declare c cursor with hold for select generate_series(1, 5)")),
        say(query("fetch 2 from c")),
        say(query("commit")),
        say(query("select 'between'")),
        say(query("fetch all from c")),
        say(query("close c")),
        say(query("fetch 1 from c")),
    )


def test_prepared_statements_of_a_pinned_session(cluster: ReachableCluster[Any], narrow: Proxy):
    compare = Differential(cluster, narrow)
    compare(
        say(query("prepare p(int) as select $1 + 1")),
        say(query("execute p(1)")),
        say(parse("select 'protocol'", "q"), SYNC),
        say(query("execute q")),
        say(bind("p", ["5"]), execute(), SYNC),
        say(query("discard all")),
        say(query("execute p(1)")),
        say(bind("q"), SYNC),
    )


def test_many_clients_of_different_users_and_settings_never_mix(
    cluster: ReachableCluster[Any], tmp_path_factory: pytest.TempPathFactory
):
    if "pinned_other" not in cluster.passwords:
        cluster.add_user("pinned_other", "other")
    zones, paths = ["Asia/Tokyo", "America/Lima", "UTC"], ["public", "pg_catalog", "a,b"]
    directory = tmp_path_factory.mktemp("mixed")
    with Proxy(cluster, directory, {"pool": {"size": 1}}) as proxy, ExitStack() as stack:
        clients = [
            (
                (user, zone, path, f"app-{number}"),
                stack.enter_context(
                    proxy.connect(
                        user=user,
                        options=f"-c search_path={path} -c TimeZone={zone}",
                        application_name=f"app-{number}",
                    )
                ),
            )
            for number, (user, zone, path) in enumerate(
                product(("app", "pinned_other"), zones, paths)
            )
        ]
        question = (
            "select current_user::text, current_setting('TimeZone'), "
            "current_setting('search_path'), current_setting('application_name')"
        )
        for turn in range(6):
            for wanted, client in clients:
                if turn == 3:
                    with client.transaction():
                        assert client.execute(question).fetchone() == wanted
                assert client.execute(question).fetchone() == wanted
