"""Which node answers statements that tell the role of their node: the primary, unless a session asks a replica.

To a driver, a pool or a health check rwsplit is one server that takes writes. What libpq makes of that
(`target_session_attrs`) is tried with libpq itself, and with psycopg, which tries several hosts one by one.
"""

from __future__ import annotations

from typing import Any, Final, LiteralString

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from rwsplit.embedded.processes import wait_until
from tests.support.postgres import MakeProxy
from tests.support.proxy import ADMIN, Proxy
from tests.support.session_attributes import ATTRIBUTES

pytestmark = pytest.mark.integration

#: What can be answered by any node, each in its own way.
ROLE: Final[list[LiteralString]] = [
    "select pg_is_in_recovery()",
    "select pg_catalog.pg_is_in_recovery()::int",
    "select not pg_is_in_recovery() as writable from pg_class limit 1",
    "select pg_last_wal_receive_lsn() is null, pg_last_wal_replay_lsn() is null",
    "select current_setting('in_hot_standby')",
    "select current_setting('In_Hot_Standby'), current_setting('transaction_read_only')",
    "show in_hot_standby",
    "show primary_conninfo",
    "with r as (select pg_is_in_recovery()) select * from r",
    "values (pg_is_in_recovery())",
]
#: What only some nodes answer, or no two alike.
OTHERS: Final[list[LiteralString]] = [
    "show transaction_read_only",
    "show default_transaction_read_only",
    "select pg_last_xact_replay_timestamp() is null",
    "select pg_is_wal_replay_paused()",
    "select pg_get_wal_replay_pause_state()",
    "select pg_current_wal_lsn() > '0/0', pg_walfile_name(pg_current_wal_insert_lsn()) > ''",
    "select count(*) from pg_stat_wal_receiver",
    "select count(*) > 0 from pg_stat_replication",
    "select pg_control_recovery()",
    "select timeline_id from pg_control_checkpoint()",
    "select setting from pg_settings where name in ('in_hot_standby', 'transaction_read_only')",
]


def answer(connection: psycopg.Connection[Any], statement: LiteralString, **how: Any) -> Any:
    try:
        return connection.execute(statement, **how).fetchall()
    except psycopg.errors.ObjectNotInPrerequisiteState as error:
        return str(error)


def last_route(connection: psycopg.Connection[Any]) -> str:
    [(route,)] = connection.execute("show rwsplit.last_route").fetchall()
    return str(route)


def read_on_a_replica(connection: psycopg.Connection[Any]) -> None:
    """Return as soon as a replica answers; the primary may while a server there is opened."""

    def reads() -> bool:
        connection.execute("select 1")
        return last_route(connection).startswith("replica")

    assert wait_until(reads, timeout=10)


@pytest.mark.parametrize("prepare", [False, True])
@pytest.mark.parametrize("begin", [False, True])
@pytest.mark.parametrize("statement", [*ROLE, *OTHERS])
def test_the_primary_says_what_role_it_has(
    proxy: Proxy, statement: LiteralString, begin: bool, prepare: bool
):
    with proxy.cluster.primary.connect("app", ADMIN) as direct:
        expected = answer(direct, statement)
    with proxy.connect(user=ADMIN) as connection:
        read_on_a_replica(connection)
        if begin:
            connection.execute("begin")
            read_on_a_replica(connection)
        assert answer(connection, statement, prepare=prepare) == expected
        if connection.info.transaction_status is not psycopg.pq.TransactionStatus.INERROR:
            assert last_route(connection).startswith("primary")


def test_it_says_why(proxy: Proxy):
    with proxy.connect() as connection:
        connection.execute("select pg_is_in_recovery()")
        assert last_route(connection).startswith("primary NODE_ROLE: ")


WAYS: Final[dict[str, tuple[list[LiteralString], LiteralString]]] = {
    "hint": ([], "/* rwsplit: replica */ "),
    "hint in a transaction": (["begin"], "/* rwsplit: replica */ "),
    "hint behind a read": (["begin", "select 1"], "/* rwsplit: replica */ "),
    "route": (["set rwsplit.route = 'replica'"], ""),
    "route in a transaction": (["set rwsplit.route = 'replica'", "begin"], ""),
    "route behind a read": (["set rwsplit.route = 'replica'", "begin", "select 1"], ""),
    "READ ONLY": (["begin read only"], ""),
    "READ ONLY behind a read": (["begin read only", "select 1"], ""),
    "READ ONLY with a snapshot": (["begin isolation level repeatable read read only"], ""),
    "READ ONLY in one string": ([], "begin read only; "),
}


@pytest.mark.parametrize("statement", ROLE)
@pytest.mark.parametrize("way", WAYS)
def test_who_asks_a_replica_is_told_what_that_is(
    proxy: Proxy, way: str, statement: LiteralString
):
    before, prefix = WAYS[way]
    with proxy.cluster.replicas[0].connect("app", ADMIN) as direct:
        expected = answer(direct, statement)
    with proxy.connect(user=ADMIN, cursor_factory=psycopg.ClientCursor) as connection:
        read_on_a_replica(connection)
        for text in before:
            connection.execute(text)
        cursor = connection.execute(prefix + statement)
        while cursor.nextset():
            pass
        found = cursor.fetchall()
        # Every node is told by its own conninfo whom to follow.
        assert [str(row)[:20] for row in found] == [str(row)[:20] for row in expected]
        assert last_route(connection).startswith("replica")


def test_a_rule_may_ask_a_replica(proxy: Proxy, make_proxy: MakeProxy):
    rule = {"to": "replica", "function": "pg_last_*"}
    ruled = make_proxy(proxy.cluster, {"routing": {"rules": [rule]}})
    with ruled.connect() as connection:
        read_on_a_replica(connection)
        replayed = "select pg_last_wal_replay_lsn() is null"
        assert connection.execute(replayed).fetchall() == [(False,)]
        assert connection.execute("select pg_is_in_recovery()").fetchall() == [(False,)]


def test_it_is_the_primarys_behind_the_end_of_a_read_only_transaction(proxy: Proxy):
    with proxy.connect(cursor_factory=psycopg.ClientCursor) as connection:
        read_on_a_replica(connection)
        for before, text in (
            ("select 1", "begin read only; commit; select pg_is_in_recovery()"),
            ("begin read only", "commit; select pg_is_in_recovery()"),
        ):
            connection.execute(before)  # type: ignore[call-overload]
            cursor = connection.execute(text)  # type: ignore[call-overload]
            while cursor.nextset():
                pass
            assert cursor.fetchall() == [(False,)], text


# What a driver is told at login, and asks before it uses a connection


def port_reached(
    hosts: list[str],
    ports: list[int],
    proxy: Proxy,
    attribute: str,
    *,
    by_psycopg: bool = False,
) -> int:
    """Return the port libpq connects to, 0 if it refuses all of them; psycopg tries several hosts by itself."""
    target = make_conninfo(
        proxy.dsn(),
        host=",".join(hosts),
        port=",".join(map(str, ports)),
        target_session_attrs=attribute,
        connect_timeout=10,
    )
    if by_psycopg:
        try:
            with psycopg.connect(target) as connected:
                return connected.info.port
        except psycopg.OperationalError as error:
            return _none_fits(str(error))
    connection = psycopg.pq.PGconn.connect(target.encode())
    try:
        if connection.status != psycopg.pq.ConnStatus.OK:
            return _none_fits(connection.error_message.decode())
        return int(connection.port)
    finally:
        connection.finish()


def _none_fits(message: str) -> int:
    assert "session is" in message or "server is" in message, message
    return 0


@pytest.mark.parametrize("by_psycopg", [False, True])
@pytest.mark.parametrize(
    ("attribute", "as_primary", "as_replica"),
    [(attribute, *fits) for attribute, fits in ATTRIBUTES.items()],
)
def test_what_libpq_takes_rwsplit_for(
    proxy: Proxy, attribute: str, as_primary: bool, as_replica: bool, by_psycopg: bool
):
    ours, replica = proxy.port, proxy.cluster.replicas[0].port

    def reached(*ports: int) -> int:
        hosts = [proxy.host] * len(ports)
        return port_reached(hosts, list(ports), proxy, attribute, by_psycopg=by_psycopg)

    assert reached(ours) == (ours if as_primary else 0)
    looks_on = not as_primary or attribute == "prefer-standby"
    assert reached(ours, replica) == (replica if looks_on else ours)
    assert reached(replica, ours) == (replica if as_replica else ours)


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_a_session_that_asks_replicas_is_a_standbys(proxy: Proxy, attribute: str):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGOPTIONS", "-c rwsplit.route=Replica")
        found = port_reached([proxy.host], [proxy.port], proxy, attribute)
    assert found == (proxy.port if ATTRIBUTES[attribute][1] else 0)
    asked = proxy.connect(options="-c rwsplit.route=replica")
    with asked as connection:
        assert connection.info.parameter_status("in_hot_standby") == "on"
        read_on_a_replica(connection)
        assert connection.execute("select pg_is_in_recovery()").fetchall() == [(True,)]
        assert connection.execute("show in_hot_standby").fetchall() == [("on",)]


def test_a_session_that_is_read_only_by_default_is_read_only(proxy: Proxy):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGOPTIONS", "-c default_transaction_read_only=on")
        for attribute, reached in (
            ("read-only", True),
            ("read-write", False),
            ("primary", True),
        ):
            found = port_reached([proxy.host], [proxy.port], proxy, attribute)
            assert bool(found) is reached, attribute


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        ("select pg_is_in_recovery()", [(False,)]),  # pgx: primary, prefer-standby
        ("select pg_catalog.pg_is_in_recovery()", [(False,)]),
        ("show transaction_read_only", [("off",)]),  # pgx: read-write; pgjdbc: primary
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_what_drivers_ask_that_do_not_look_at_what_they_are_told(
    proxy: Proxy, asked: LiteralString, fits: list[Any], first: bool
):
    with proxy.connect(cursor_factory=psycopg.ClientCursor) as connection:
        if not first:
            read_on_a_replica(connection)
        for _ in range(5):
            assert connection.execute(asked).fetchall() == fits


@pytest.mark.parametrize("asked", ["select pg_is_in_recovery()", "show transaction_read_only"])
def test_what_a_driver_asks_at_login_does_not_keep_its_reads_on_the_primary(
    proxy: Proxy, asked: LiteralString
):
    with proxy.connect() as connection:
        read_on_a_replica(connection)
        connection.execute(asked)
        assert last_route(connection).startswith("primary NODE_ROLE: ")
    for _ in range(5):
        with proxy.connect() as connection:
            connection.execute(asked)
            # Not asked for its route: that is a read, and a session that has read may be moved, and wait for that.
            connection.execute("select 1")
            route = last_route(connection)
            assert route.startswith("replica"), route
            assert "READ: " in route  # and it has not waited
