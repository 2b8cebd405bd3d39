"""What a session may rely on, whatever the replicas do: its own writes, and reads that never go back."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.node import EmbeddedNode
from rwsplit.embedded.processes import wait_until
from tests.support.guarantees import Event, Sessions, missed_writes, violations
from tests.support.load import Connection, Load, where
from tests.support.postgres import MakeProxy

pytestmark = pytest.mark.integration


@contextmanager
def delayed(node: EmbeddedNode, delay: str) -> Iterator[None]:
    node.configure({"recovery_min_apply_delay": delay})
    assert wait_until(
        lambda: node.query("show recovery_min_apply_delay") == [(delay,)], timeout=10
    )
    try:
        yield
    finally:
        node.configure({"recovery_min_apply_delay": "0"})
        assert wait_until(
            lambda: node.query("show recovery_min_apply_delay") == [("0",)], timeout=10
        )


@contextmanager
def replay_paused(*nodes: EmbeddedNode) -> Iterator[None]:
    for node in nodes:
        node.query("select pg_wal_replay_pause()")
    try:
        yield
    finally:
        for node in nodes:
            node.query("select pg_wal_replay_resume()")


def event(kind: str, value: int, *, session: int = 1) -> Event:
    return Event(session, kind, 0, value, 0.0, 0.0, "")  # type: ignore[arg-type]


def test_the_checker_finds_a_missed_write_and_a_read_that_goes_back():
    assert not violations([event("write", 1), event("read", 1), event("read", 2)])
    assert not violations([event("write", 2), event("read", 1, session=2)])
    [missed] = violations([event("write", 2), event("read", 1)])
    assert missed.rule == "read your writes"
    [back] = violations([event("read", 2), event("read", 1)])
    assert back.rule == "monotonic reads"


def test_the_checker_finds_a_read_older_than_what_was_acknowledged_before_it_began():
    write = Event(1, "write", 0, 2, 0.0, 1.0, "")
    early, late = (Event(2, "read", 0, 1, began, 3.0, "") for began in (0.5, 1.5))

    assert [violation.event for violation in missed_writes([write, early, late])] == [late]


def test_a_read_after_a_write_never_misses_it_with_one_replica_two_seconds_late(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster)
    with (
        Sessions(proxy, clients=12, seed=1) as sessions,
        delayed(fragile_cluster.replicas[2], "2s"),
    ):
        time.sleep(3)  # noqa: TID251 - the history is as long as this
    history = sessions.history()

    assert not sessions.errors
    assert violations(history) == []
    assert len(history) > 300
    nodes = Counter(e.node for e in history if e.kind == "read")
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
    history = sessions.history()

    assert not sessions.errors
    assert violations(history) == []
    read_on = {e.node for e in history if e.kind == "read"}
    assert {"replica1", "replica2", "replica3", "primary"} <= read_on


def test_nor_with_replicas_killed_and_restarted(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster)
    with Sessions(proxy, clients=10, seed=3) as sessions:
        for node in fragile_cluster.replicas[:2]:
            node.kill()
            node.start()
            assert wait_until(lambda n=node: proxy.nodes()[n.name]["eligible"], timeout=15)  # type: ignore[misc]
    history = sessions.history()

    assert sessions.errors == sessions.read_only_errors
    assert violations(history) == []


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
        assert wait_until(lambda: len(sessions.history()) > 100, timeout=20)
        old.stop()  # a fast shutdown: it streams everything before it ends
        new.promote()
        for node in fragile_cluster.replicas[1:]:
            node.follow(new)
        before = len(sessions.history())
        assert wait_until(lambda: len(sessions.history()) > before + 200, timeout=20)
    history = sessions.history()

    # Only sessions that were writing when the primary went saw it.
    assert len(sessions.errors) <= 8
    assert violations(history) == []
    kept = dict(new.query("select register, value from guarantees", database="app"))
    for register, value in sessions.last_acknowledged().items():
        assert kept[register] >= value


def test_at_level_eventual_the_checker_finds_violations(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster, {"consistency": {"level": "eventual"}})
    with (
        Sessions(proxy, clients=12, seed=5) as sessions,
        delayed(fragile_cluster.replicas[2], "2s"),
    ):
        assert wait_until(lambda: bool(violations(sessions.history())), timeout=15)
    assert {v.rule for v in violations(sessions.history())}


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
    with Sessions(proxy, clients=8, seed=7) as sessions:
        for nodes in ((0,), (0, 1, 2), (1, 2)):
            with replay_paused(*(fragile_cluster.replicas[n] for n in nodes)):
                time.sleep(0.3)  # noqa: TID251 - the history is as long as this
            time.sleep(0.2)  # noqa: TID251 - as above
    history = sessions.history()

    assert not sessions.errors
    assert violations(history) == []
    assert missed_writes(history) == []
    assert any(e.node.startswith("replica") for e in history if e.kind == "read")


def test_at_level_session_a_session_reads_less_than_others_have_written(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster)
    with (
        Sessions(proxy, clients=8, seed=7) as sessions,
        replay_paused(*fragile_cluster.replicas),
    ):
        assert wait_until(lambda: bool(missed_writes(sessions.history())), timeout=15)
    assert not sessions.errors
    assert violations(sessions.history()) == []


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
