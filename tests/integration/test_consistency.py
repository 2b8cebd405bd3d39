"""What a session may rely on, whatever the replicas do: its own writes, and reads that never go back."""

from __future__ import annotations

import re
import time
from typing import Any

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from tests.support.guarantees.clients import Sessions
from tests.support.guarantees.faults import delayed, replay_paused
from tests.support.guarantees.history import Level
from tests.support.guarantees.report import report, trouble_report
from tests.support.guarantees.rules import Rule, violations
from tests.support.load import Connection, Load, where
from tests.support.postgres import MakeProxy

pytestmark = pytest.mark.integration


def assert_sound(sessions: Sessions) -> None:
    """Assert that no read was older than its level allows."""
    found = violations(sessions.history(), sessions.level)
    assert not found, report(sessions, found)


def assert_all_is_well(sessions: Sessions) -> None:
    """Assert that, and that no error was met but those that end with a replica, no write was lost and none doubled."""
    assert_sound(sessions)
    unexpected = [trouble for trouble in sessions.troubles if not trouble.is_excused]
    assert not unexpected, trouble_report(unexpected)
    assert sessions.misbookings(sessions.proxy.cluster.primary) == []


def test_a_read_after_a_write_never_misses_it_with_one_replica_two_seconds_late(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster)
    with (
        Sessions(proxy, clients=12, seed=1) as sessions,
        delayed(fragile_cluster.replicas[2], "2s"),
    ):
        time.sleep(3)  # noqa: TID251 - the history is as long as this

    assert_all_is_well(sessions)
    assert sessions.reads() > 300
    nodes = sessions.read_on()
    assert nodes["replica1"]
    assert nodes["replica2"]


@pytest.mark.parametrize("pool", [{}, {"size": 2, "lane_depth": 8}], ids=["", "lanes"])
def test_nor_with_replicas_paused_and_resumed_all_the_time(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy, pool: dict[str, int]
):
    proxy = make_proxy(fragile_cluster, {"pool": pool})
    with Sessions(proxy, clients=12, seed=2) as sessions:
        for nodes in ((0,), (0, 1), (2,), (0, 1, 2), (1, 2)):
            with replay_paused(*(fragile_cluster.replicas[n] for n in nodes)):
                time.sleep(0.3)  # noqa: TID251 - as above
            time.sleep(0.2)  # noqa: TID251 - as above

    assert_all_is_well(sessions)
    assert {"replica1", "replica2", "replica3", "primary"} <= sessions.read_on().keys()


def test_nor_with_replicas_killed_and_restarted(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster)
    with Sessions(proxy, clients=10, seed=3) as sessions:
        for node in fragile_cluster.replicas[:2]:
            node.kill()
            node.start()
            assert wait_until(lambda n=node: proxy.nodes()[n.name]["eligible"], timeout=15)  # type: ignore[misc]

    assert_all_is_well(sessions)


def test_a_replica_that_restarted_between_two_probes_proves_its_freshness_again(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster, {"monitor": {"interval": "5s"}})
    replica, *others = fragile_cluster.replicas
    for other in others:
        proxy.console(f"DETACH NODE {other.name}")  # type: ignore[arg-type]
    with proxy.connect(prepare_threshold=None) as connection:
        connection.execute("drop table if exists rewound")
        connection.execute("create table rewound as select 0 as a")
        fragile_cluster.primary.query("checkpoint")
        fragile_cluster.wait_until_replayed()
        replica.query(
            "checkpoint"
        )  # what it replays from here it replays again when it is back
        connection.execute("update rewound set a = 1")
        assert wait_until(lambda: where(connection) == replica.name, timeout=15)
        replica.configure({"recovery_min_apply_delay": "1min"})
        try:
            replica.kill()
            replica.start()
            assert replica.query("select a from rewound", database="app") == [(0,)]
            assert connection.execute("select a from rewound").fetchall() == [(1,)]
        finally:
            replica.configure({"recovery_min_apply_delay": "0"})


def test_no_acknowledged_write_is_forgotten_and_no_session_goes_back_in_a_switchover(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster)
    old, new = fragile_cluster.primary, fragile_cluster.replicas[0]
    with Sessions(proxy, clients=8, seed=4) as sessions:
        sessions.go_on(100)
        old.stop()  # a fast shutdown: it streams everything before it ends
        new.promote()
        for node in fragile_cluster.replicas[1:]:
            node.follow(new)
        sessions.go_on(200)

    # Only sessions that were busy on the primary when it went saw it.
    assert len(sessions.troubles) <= 8, trouble_report(sessions.troubles)
    assert_sound(sessions)
    assert sessions.misbookings(new) == []


def test_at_level_eventual_the_checker_finds_violations(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster, {"consistency": {"level": "eventual"}})
    with (
        Sessions(proxy, clients=12, seed=5, level=Level.EVENTUAL) as sessions,
        delayed(fragile_cluster.replicas[2], "2s"),
    ):
        assert wait_until(
            lambda: bool(violations(sessions.history(), Level.SESSION)), timeout=15
        )
    assert_sound(sessions)


def test_reads_return_to_the_replicas_when_the_writes_stop(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster)
    with proxy.connect() as connection:
        connection.execute("create table if not exists returning_reads (n int)")

    def step(connection: Connection) -> object:
        if not quiet:
            connection.execute("insert into returning_reads values (1)")
        return where(connection)

    quiet = False
    with Load(proxy, step, clients=6) as load:
        load.go_on(100)
        quiet = True
        assert wait_until(lambda: "primary" not in load.answered(60), timeout=5)
        assert wait_until(
            lambda: set(load.answered(100)) == {"replica1", "replica2", "replica3"}, timeout=10
        )
    assert not load.errors


def test_with_all_replicas_paused_the_session_reads_its_write_from_the_primary_others_do_not(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster)
    with proxy.connect() as writer, proxy.connect() as other:
        writer.execute("drop table if exists paused")
        writer.execute("create table paused (n int)")
        fragile_cluster.wait_until_replayed()
        with replay_paused(*fragile_cluster.replicas):
            writer.execute("insert into paused values (1)")
            assert writer.execute("select n from paused").fetchall() == [(1,)]
            [route] = writer.execute("show rwsplit.last_route").fetchone() or [""]
            assert "primary NO_FRESH_REPLICA" in route
            assert other.execute("select n from paused").fetchall() == []
            assert where(other).startswith("replica")  # type: ignore[attr-defined]
            writer.execute("set rwsplit.consistency = 'eventual'")
            assert writer.execute("select n from paused").fetchall() == []
        assert wait_until(
            lambda: other.execute("select n from paused").fetchall() == [(1,)], timeout=5
        )


def test_at_level_cluster_every_session_reads_what_any_has_written(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster, {"consistency": {"level": "cluster"}})
    with proxy.connect() as writer, proxy.connect() as other, proxy.connect() as third:
        writer.execute("drop table if exists paused")
        writer.execute("create table paused (n int)")
        fragile_cluster.wait_until_replayed()
        assert wait_until(lambda: str(where(third)).startswith("replica"), timeout=5)
        with replay_paused(*fragile_cluster.replicas), third.transaction():
            assert third.execute("select count(*) from paused").fetchone() == (0,)
            writer.execute("insert into paused values (1)")
            assert other.execute("select n from paused").fetchall() == [(1,)]
            assert third.execute("select n from paused").fetchall() == [(1,)]
            other.execute("set rwsplit.consistency = 'session'")
            other.execute("/* rwsplit: consistency=cluster */ select n from paused")
        assert wait_until(lambda: str(where(third)).startswith("replica"), timeout=5)


def test_and_never_an_older_one_while_replicas_pause_and_resume(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster, {"consistency": {"level": "cluster"}})
    with Sessions(proxy, clients=8, seed=7, level=Level.CLUSTER) as sessions:
        for nodes in ((0,), (0, 1, 2), (1, 2)):
            with replay_paused(*(fragile_cluster.replicas[n] for n in nodes)):
                time.sleep(0.3)  # noqa: TID251 - the history is as long as this
            time.sleep(0.2)  # noqa: TID251 - as above

    assert_all_is_well(sessions)
    assert any(node.startswith("replica") for node in sessions.read_on())


def test_at_level_session_a_session_reads_less_than_others_have_written(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster)
    with Sessions(proxy, clients=8, seed=7) as sessions:

        def is_found() -> bool:
            found = violations(sessions.history(), Level.CLUSTER)
            return any(violation.rule is Rule.REAL_TIME_ORDER for violation in found)

        # A session reads so until it writes: those that read on replicas when the replay stops.
        for _ in range(10):
            if is_found():
                break
            with replay_paused(*fragile_cluster.replicas):
                wait_until(is_found, timeout=1.5)
            reads = sum(sessions.read_on().values())
            assert wait_until(
                lambda n=reads: sum(sessions.read_on().values()) > n + 200, timeout=15
            )
        assert is_found()
    assert_all_is_well(sessions)


def test_a_read_waits_for_a_replica_where_that_is_asked_for(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster, {"consistency": {"wait": "5s"}})
    with proxy.connect() as connection:
        connection.execute("create table if not exists waiting (n int)")
        for _ in range(20):
            connection.execute("insert into waiting values (1)")
            assert str(where(connection)).startswith("replica")


def test_without_reads_on_the_primary_a_read_waits_until_a_replica_has_the_write(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(
        fragile_cluster,
        {"routing": {"reads_on_primary": "never"}, "pool": {"query_wait_timeout": "2s"}},
    )
    with proxy.connect() as connection:
        connection.execute("create table if not exists waiting (n int)")
        for _ in range(10):
            connection.execute("insert into waiting values (1)")
            assert str(where(connection)).startswith("replica")
        with replay_paused(*fragile_cluster.replicas):
            connection.execute("insert into waiting values (1)")
            with pytest.raises(Exception, match="replica1: ") as refused:
                connection.execute("select * from waiting")
            assert getattr(refused.value, "sqlstate", None) == "57P03"
            assert "behind what this session has written" in str(refused.value)
            for text in ("unlisten *", "reset all", "set work_mem = '5MB'", "close all"):
                connection.execute(text)  # no replica is needed for it
        assert str(where(connection)).startswith("replica")


def test_an_update_without_rows_a_function_and_a_transaction_count_as_writes(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster)
    with proxy.connect() as connection:
        connection.execute("drop table if exists kinds")
        connection.execute("create table kinds (n int)")
        connection.execute(
            "create or replace function put(n int) returns void language sql "
            "as 'insert into kinds values (n)'"
        )
        fragile_cluster.wait_until_replayed()
        with replay_paused(*fragile_cluster.replicas):
            with proxy.connect() as session:
                session.execute("select put(1)")
                assert session.execute("select n from kinds").fetchall() == [(1,)]
            with proxy.connect() as session:
                with session.transaction():
                    session.execute("insert into kinds values (2)")
                assert session.execute("select count(*) from kinds").fetchall() == [(2,)]
            with proxy.connect() as session:
                session.execute("do $$ begin insert into kinds values (3); end $$")
                assert session.execute("select count(*) from kinds").fetchall() == [(3,)]
            with proxy.connect() as session:
                with session.cursor().copy("copy kinds from stdin") as copy:
                    copy.write("4\n")
                assert session.execute("select count(*) from kinds").fetchall() == [(4,)]
            with proxy.connect() as session:
                with session.pipeline():
                    session.execute("insert into kinds values (5)")
                    counted = session.execute("select count(*) from kinds")
                assert counted.fetchall() == [(5,)]


def test_the_route_of_a_read_after_a_write_names_the_nearest_replica(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    """It said "no replica is eligible", and told of BEGIN where a driver begins transactions by itself."""
    proxy = make_proxy(fragile_cluster)

    def last_route(client: psycopg.Connection[Any]) -> str:
        [(route,)] = client.execute("show rwsplit.last_route").fetchall()
        return str(route)

    nearest = (
        r"primary NO_FRESH_REPLICA: no replica has replayed this session's last write yet "
        r"\(nearest: replica\d, \d+\.\d+ s\)"
    )
    with proxy.connect() as client:
        client.execute("drop table if exists nearest")
        client.execute("create table nearest (n int)")
        fragile_cluster.wait_until_replayed()
        with replay_paused(*fragile_cluster.replicas):
            client.execute("insert into nearest values (1)")
            client.execute("select n from nearest")
            assert re.fullmatch(nearest, last_route(client))

            client.autocommit = False
            client.execute("select n from nearest")
            client.commit()  # and now BEGIN goes ahead of the SHOW
            assert re.fullmatch(nearest, last_route(client))
            client.rollback()
            assert re.fullmatch(nearest, last_route(client))
            client.rollback()
        with pytest.raises(psycopg.errors.UndefinedObject) as unknown:
            client.execute("show rwsplit.lastroute")
        assert unknown.value.diag.message_primary == (
            'unrecognized configuration parameter "rwsplit.lastroute"'
        )
        assert unknown.value.diag.context is None
