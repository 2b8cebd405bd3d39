"""Values that one server has and another refuses, and SETs that fail: nobody's session ends, no stranger notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from rwsplit.embedded.reachable import ReachableCluster
from rwsplit.session.acceptance import PRIVILEGED, is_custom
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy
from tests.support.raw_client import rows

pytestmark = pytest.mark.integration

READ, WRITE = "select 1", "insert into refused values (1)"

#: What an ordinary user may not set, what nobody may set in a session, and what is no value.
REFUSED = (
    "set session_replication_role = replica",
    "set log_statement = 'all'",
    "set lc_messages = 'C'",
    "set max_connections = 5",
    "set log_connections = on",
    "set server_version = '9'",
    "set shared_preload_libraries = 'x'",
    "set dynamic_library_path = 'x'",
    "select set_config('log_statement', 'all', false)",
    "set nosuch = 1",
    "set statement_timeout = 'x'",
    "set timezone = 'Nowhere'",
    "set default_tablespace = 'nosuch'",
    "set session characteristics as transaction isolation level serializable; select 1/0",
    "begin; set log_statement = 'all'; rollback",
    "set work_mem = '5MB'; set log_statement = 'all'",
)


def did(connection: psycopg.Connection[Any], text: str) -> str:
    """Run *text*; return its value, tag or error."""
    try:
        cursor = connection.execute(text)  # type: ignore[call-overload]
        while cursor.nextset():
            pass
        row = cursor.fetchone() if cursor.description else None
    except psycopg.Error as error:
        if not connection.closed and connection.info.transaction_status.name != "IDLE":
            connection.rollback()
        return f"{error.sqlstate} {error}".splitlines()[0]
    return str(row[0] if row else cursor.statusmessage)


@pytest.fixture(scope="module")
def table(cluster: ReachableCluster[Any]) -> Iterator[ReachableCluster[Any]]:
    with cluster.primary.connect("app") as admin:
        admin.execute("create table refused (n int)")
        admin.execute("grant all on refused to app")
        admin.execute(
            "create function refused_definer() returns text language sql security definer "
            "as $$ select set_config('log_statement', 'ddl', false) $$"
        )
        admin.execute(
            "create function refused_plpgsql() returns text language plpgsql volatile as "
            "$$ begin return current_setting('plpgsql.extra_warnings', true); end $$"
        )
    cluster.wait_until_replayed()
    yield cluster
    with cluster.primary.connect("app") as admin:
        admin.execute("drop table refused")
        admin.execute("drop function refused_definer, refused_plpgsql")


@pytest.fixture(scope="module")
def small(
    table: ReachableCluster[Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A proxy whose servers are few, so that what is left in one is met by the next."""
    settings = {"pool": {"size": 2}, "monitor": {"catalog_interval": "200ms"}}
    with Proxy(table, tmp_path_factory.mktemp("refused"), settings) as running:
        yield running


def as_directly(
    cluster: ReachableCluster[Any], proxy: Proxy, talk: Callable[[str], Any], user: str = "app"
) -> None:
    """Have *talk* lead the same conversation directly and through *proxy*."""
    node, password = cluster.primary, cluster.passwords[user]
    direct = f"postgresql://{user}:{password}@{node.host}:{node.port}/app"
    assert talk(proxy.dsn(user=user)) == talk(direct)


def others(dsn: str) -> set[str]:
    """What strangers get afterwards."""
    found = set()
    for _ in range(8):
        with psycopg.connect(dsn, autocommit=True) as connection:
            found |= {did(connection, READ), did(connection, WRITE)}
            found.add(did(connection, "show log_statement"))
    return found


@pytest.mark.parametrize("text", REFUSED)
def test_a_set_that_fails_changes_nothing(
    table: ReachableCluster[Any], small: Proxy, text: str
):
    def talk(dsn: str) -> Any:
        with psycopg.connect(dsn, autocommit=True) as connection:
            said = [did(connection, each) for each in (text, READ, WRITE, READ, WRITE)]
            said += [did(connection, f"show {name}") for name in ("log_statement", "work_mem")]
        return said, others(dsn)

    as_directly(table, small, talk)


def test_what_a_function_of_the_owner_sets_stays_with_its_session(
    table: ReachableCluster[Any], small: Proxy
):
    show = "select current_setting('log_statement')"

    def talk(dsn: str) -> Any:
        with psycopg.connect(dsn, autocommit=True) as connection:
            texts = ("select refused_definer()", show, READ, WRITE, show, "set work_mem='3MB'")
            said = [did(connection, each) for each in (*texts, show, "show work_mem")]
            said.append(str(others(dsn)))
            said += [did(connection, each) for each in ("reset log_statement", show, WRITE)]
        return said, others(dsn)

    as_directly(table, small, talk)


def test_what_a_role_has_set_stays_when_the_role_is_left(
    table: ReachableCluster[Any], small: Proxy
):
    """Its login may not set it by itself, so no other server would take it."""
    show = "select current_setting('log_statement')"

    def talk(dsn: str) -> Any:
        with psycopg.connect(dsn, autocommit=True) as connection:
            texts = ("set role refused_boss", "set log_statement = 'ddl'", "reset role", show)
            said = [did(connection, each) for each in (*texts, READ, WRITE, show)]
            said.append(str(others(dsn)))
            said += [did(connection, each) for each in ("reset all", show, READ, WRITE)]
        return said, others(dsn)

    with table.primary.connect("app") as admin:
        admin.execute("create role refused_boss superuser")
        admin.execute("grant refused_boss to app")
        table.wait_until_replayed()
        as_directly(table, small, talk)
        with small.connect() as connection:
            for text in ("set role refused_boss", "set log_statement = 'ddl'", "reset role"):
                connection.execute(text)
            [client] = [c for c in small.console("SHOW CLIENTS") if c["pinned"]]
            assert client["pinned"] == "it has a parameter that its role may not set"
            connection.execute("reset all")
            connection.execute("select 1")
            assert not [c for c in small.console("SHOW CLIENTS") if c["pinned"]]
        admin.execute("drop role refused_boss")


def test_a_superusers_value_holds_for_the_user_it_becomes(
    table: ReachableCluster[Any], small: Proxy
):
    show = "select current_setting('log_statement') || current_user"

    def talk(dsn: str) -> Any:
        with psycopg.connect(dsn, autocommit=True) as connection:
            texts = ("set log_statement = 'ddl'", "set session authorization app", show, READ)
            texts = (*texts, WRITE, show, READ, "reset session authorization", show)
            return [did(connection, each) for each in texts]

    as_directly(table, small, talk, user="postgres")


@pytest.mark.parametrize(
    "setting",
    ["set plpgsql.extra_warnings = 'x y'", "set plpgsql.nosuch = 1", "set my.own = 'x y'"],
)
def test_a_custom_parameter_that_a_loaded_library_refuses_ends_nobodys_session(
    table: ReachableCluster[Any], small: Proxy, setting: str
):
    def talk(dsn: str) -> Any:
        said = []
        with psycopg.connect(dsn, autocommit=True) as connection:
            texts = (setting, READ, "do $$ begin perform 1; end $$", READ, WRITE)
            said += [did(connection, each) for each in texts]
            said.append(str(did(connection, "select refused_plpgsql()") in ("SELECT 1", "")))
            said += [
                did(connection, READ),
                did(connection, "reset all"),
                did(connection, WRITE),
            ]
        return said[:5] + said[6:], others(dsn)

    for _ in range(4):
        as_directly(table, small, talk)


def test_a_privilege_taken_back_is_an_error_the_session_gets_out_of(
    table: ReachableCluster[Any], make_proxy: MakeProxy
):
    proxy = make_proxy(table, {"pool": {"size": 1}})
    with table.primary.connect("app") as admin, proxy.connect() as connection:
        admin.execute("grant set on parameter log_statement to app")
        table.wait_until_replayed()
        connection.execute("set log_statement = 'ddl'")
        assert not [c for c in proxy.console("SHOW CLIENTS") if c["pinned"]]
        admin.execute("revoke set on parameter log_statement from app")
        table.wait_until_replayed()
        with proxy.connect() as other:  # everybody's servers are as they were
            for text in (READ, WRITE, *["/* rwsplit: node=replica1 */ select 1"] * 2):
                other.execute(text)
            assert {str(did(other, "show log_statement")) for _ in range(4)} == {"none"}
        said = {did(connection, text) for text in (WRITE, WRITE)}
        assert said == {'42501 permission denied to set parameter "log_statement"'}
        # That is refused too, as by PostgreSQL, but the value is gone.
        assert did(connection, "reset log_statement").startswith("42501")
        assert [did(connection, text) for text in (WRITE, READ)] == ["INSERT 0 1", "1"]


def test_a_statement_that_cannot_run_again_never_runs_by_a_privilege_taken_back(
    table: ReachableCluster[Any], make_proxy: MakeProxy
):
    proxy = make_proxy(table, {"pool": {"size": 1}})
    with (
        table.primary.connect("app") as admin,
        proxy.connect() as connection,
        proxy.connect() as other,
    ):
        admin.execute("grant set on parameter log_statement to app")
        connection.execute("set log_statement = 'ddl'")
        for _ in range(2):  # the one server takes it on, and is rid of it again
            assert [did(who, WRITE) for who in (other, connection)] == ["INSERT 0 1"] * 2
        other.execute(WRITE)
        admin.execute("revoke set on parameter log_statement from app")
        before = did(admin, "select count(*) from refused")
        said = did(connection, WRITE)
        assert said == '42501 permission denied to set parameter "log_statement"'
        assert did(admin, "select count(*) from refused") == before
        assert did(connection, "discard all") == "DISCARD ALL"
        assert did(connection, WRITE) == "INSERT 0 1"


@pytest.mark.parametrize("first", [WRITE, "begin", "reset log_statement", "show log_statement"])
def test_a_server_that_does_not_give_up_a_value_any_more_is_nobodys_trouble(
    table: ReachableCluster[Any], make_proxy: MakeProxy, first: str
):
    """Its session has set it while it might, and is gone; the next one never had it."""
    proxy = make_proxy(table, {"pool": {"size": 1}})
    with table.primary.connect("app") as admin, proxy.connect() as other:
        admin.execute("grant set on parameter log_statement to app")
        table.wait_until_replayed()
        with proxy.connect() as connection:
            connection.execute("set log_statement = 'ddl'")
            for text in (READ, WRITE, READ):  # here and there
                connection.execute(text)
        admin.execute("revoke set on parameter log_statement from app")
        table.wait_until_replayed()
        said = did(other, first)
        assert said in {"INSERT 0 1", "BEGIN", "none"} or said.startswith("42501"), said
        assert did(other, WRITE) == "INSERT 0 1"
        other.execute("rollback")
        assert [did(other, text) for text in (WRITE, "show log_statement", READ)] == [
            *("INSERT 0 1", "none", "1")
        ]


def test_every_parameter_that_takes_a_privilege_is_known(table: ReachableCluster[Any]):
    with table.primary.connect("app") as admin:
        found = admin.execute(
            "select name from pg_settings where context in ('superuser', 'superuser-backend')"
        )
        named = {name for (name,) in found if not is_custom(name)}
    assert {"log_statement", "session_replication_role"} <= named
    assert named <= PRIVILEGED


@pytest.mark.parametrize(
    "ways",
    [
        ["discard all"],
        ["reset all"],
        [
            "set application_name = 'x'",
            "reset log_min_duration_statement",
            "reset log_statement",
        ],
        ["reset log_min_duration_statement", "reset log_statement"],
        ["set log_min_duration_statement = 7", "set log_statement = 'none'"],
    ],
)
def test_a_session_gets_out_of_two_privileges_taken_back(
    table: ReachableCluster[Any], make_proxy: MakeProxy, ways: list[str]
):
    privileged = ("log_min_duration_statement", "log_statement")
    proxy = make_proxy(table, {"pool": {"size": 1}})
    with table.primary.connect("app") as admin, proxy.connect() as connection:
        for name in privileged:
            admin.execute(f"grant set on parameter {name} to app".encode())
        table.wait_until_replayed()
        connection.execute("set log_min_duration_statement = 60000")
        connection.execute("set log_statement = 'ddl'")
        for node in table.nodes:  # all are sure of them
            assert did(connection, f"/* rwsplit: node={node} */ {READ}") == "1"
        for name in privileged:
            admin.execute(f"revoke set on parameter {name} from app".encode())
        table.wait_until_replayed()
        with proxy.connect() as other:
            for node in table.nodes:
                other.execute(f"/* rwsplit: node={node} */ {READ}".encode())
            other.execute(WRITE)
        assert did(connection, WRITE).startswith("42501")
        for way in ways:
            did(connection, way)
        said = [did(connection, text) for text in (WRITE, READ)]
        assert said == ["INSERT 0 1", "1"]


def test_a_value_one_replica_refuses_is_read_under_elsewhere(
    table: ReachableCluster[Any], make_proxy: MakeProxy
):
    """A library loaded by one replica's configuration judges a name that means nothing to the others."""
    replica = table.replicas[0]
    try:
        replica.query("alter system set session_preload_libraries = 'plpgsql'")
        replica.query("select pg_reload_conf()")
        proxy = make_proxy(table, {"pool": {"size": 2}})
        taken = 0
        for _ in range(12):
            with proxy.connect() as connection:
                if did(connection, "set plpgsql.nosuch = 1") != "SET":
                    continue  # it asked that replica first
                taken += 1
                said = {did(connection, f"/* rwsplit: node={n} */ {READ}") for n in table.nodes}
                assert said == {"1"}
                assert [did(connection, text) for text in (WRITE, READ)] == ["INSERT 0 1", "1"]
        assert taken
        assert others(proxy.dsn()) == {"1", "INSERT 0 1", "none"}
    finally:
        replica.query("alter system reset session_preload_libraries")
        replica.query("select pg_reload_conf()")


def test_a_role_is_left_though_no_other_server_takes_what_it_has_set(
    table: ReachableCluster[Any], small: Proxy
):
    """It is brought to another server between the two, and answers within the client's patience."""
    with table.primary.connect("app") as admin:
        admin.execute("create role refused_chief superuser")
        admin.execute("grant refused_chief to app")
        table.wait_until_replayed()
        with small.raw(timeout=10) as client:
            for text in ("set role refused_chief", "set log_statement = 'ddl'"):
                assert client.query(text)[-1].payload == b"I"
            small.console("RECONNECT")
            for text in ("reset role", "reset all", "select 1", "select 1"):
                assert client.query(text)[-1].payload == b"I"
            assert rows(client.query("select current_user, 1")) == [(b"app", b"1")]
        admin.execute("drop role refused_chief")
