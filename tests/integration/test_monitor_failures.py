"""The monitor while nodes lag, hang, die, come back and are promoted."""

from __future__ import annotations

import threading

import pytest
import trio

from rwsplit.cluster.node import Banned, Down, Refusal, Role, Up
from rwsplit.cluster.observation import Observation, Source
from rwsplit.cluster.view import ClusterView
from rwsplit.config.model import MonitorConfig, NodeConfig, TlsConfig
from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.node import EmbeddedNode
from rwsplit.embedded.processes import wait_until
from rwsplit.monitor.link import ProbeFailed
from rwsplit.monitor.probe import Probe
from tests.support.watching import see, watching

pytestmark = pytest.mark.integration

in_thread = trio.to_thread.run_sync


def refusal(view: ClusterView, name: str) -> Refusal | None:
    node = view.node(name)
    assert node is not None
    return node.refusal


async def test_a_replica_that_stops_replaying_lags_and_comes_back(
    fragile_cluster: EmbeddedCluster,
):
    replica = fragile_cluster.nodes["replica2"]
    async with watching(fragile_cluster, max_lag=0.5) as board:
        fragile_cluster.primary.query("create table if not exists monitor_lag (i int)")
        fragile_cluster.wait_until_replayed()
        replica.query("select pg_wal_replay_pause()")
        fragile_cluster.primary.query(
            "insert into monitor_lag select generate_series(1, 10000)"
        )
        begun = trio.current_time()

        view = await see(board, lambda v: refusal(v, "replica2") is Refusal.LAGGING)
        assert trio.current_time() - begun < 0.5 + 1.0
        lagging = view.node("replica2")
        assert lagging is not None
        assert lagging.lag_bytes is not None
        assert lagging.lag_bytes > 10_000
        assert lagging.lag_seconds is not None
        assert lagging.lag_seconds > 0.3
        assert [n.name for n in view.replicas] == ["replica1", "replica3"]

        replica.query("select pg_wal_replay_resume()")
        view = await see(board, lambda v: len(v.replicas) == 3)
        assert view.replicas[1].fresh_until > begun


async def test_a_killed_replica_is_down_and_comes_back(fragile_cluster: EmbeddedCluster):
    replica = fragile_cluster.nodes["replica1"]
    async with watching(fragile_cluster) as board:
        await in_thread(replica.kill)
        view = await see(board, lambda v: isinstance(v.nodes[1].health, Down), within=1.0)
        assert refusal(view, "replica1") is Refusal.DOWN
        assert len(view.replicas) == 2

        await in_thread(replica.start)
        await see(board, lambda v: len(v.replicas) == 3, within=2.0)


async def test_a_reported_failure_keeps_a_healthy_replica_out_for_a_second(
    fragile_cluster: EmbeddedCluster,
):
    async with watching(fragile_cluster) as board:
        begun = trio.current_time()
        board.report_failure("replica1", "connection lost", begun)
        assert isinstance(board.view.nodes[1].health, Banned)

        await see(board, lambda v: v.nodes[1].health == Up())

        assert 1.0 <= trio.current_time() - begun < 1.5
        await see(board, lambda v: len(v.replicas) == 3)


async def test_a_hanging_replica_is_down_and_holds_no_thread(
    fragile_cluster: EmbeddedCluster,
):
    replica = fragile_cluster.nodes["replica3"]
    async with watching(fragile_cluster, probe_timeout=0.3) as board:
        before = threading.active_count()
        replica.pause()
        view = await see(board, lambda v: isinstance(v.nodes[3].health, Down))
        health = view.nodes[3].health
        assert isinstance(health, Down)
        assert health.reason == "no answer in 0.3 s"
        assert threading.active_count() <= before

        replica.resume()
        await see(board, lambda v: len(v.replicas) == 3)


async def test_a_probe_that_the_node_ends_is_told_why_and_connects_again(
    fragile_cluster: EmbeddedCluster,
):
    replica = fragile_cluster.nodes["replica1"]
    async with watching(fragile_cluster) as board:
        reasons: list[str] = []
        failed = board.failed

        def note(name: str, reason: str, *, lost: bool, silent: bool) -> None:
            assert lost
            assert not silent
            reasons.append(reason)
            failed(name, reason, lost=lost, silent=silent)

        board.failed = note  # type: ignore[method-assign]
        ended = trio.current_time()
        await in_thread(
            replica.query,
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'rwsplit monitor'",
        )
        await see(board, lambda v: v.nodes[1].lost_at >= ended)
        back = trio.current_time()
        view = await see(board, lambda v: v.nodes[1].fresh_until > back)

    assert reasons == ["terminating connection due to administrator command"]
    assert view.nodes[1].health == Up()


async def test_a_role_that_may_not_ask_who_a_node_is_fails_every_look_alike(
    fragile_cluster: EmbeddedCluster,
):
    """The second look used to end in an AssertionError, and rwsplit with it."""
    primary = fragile_cluster.primary
    monitor = MonitorConfig(user="app", password=fragile_cluster.passwords["app"])
    node = NodeConfig(name=primary.name, host=primary.host, port=primary.port)
    probe = Probe(node, monitor, TlsConfig())
    function = "execute on function pg_control_system()"
    await in_thread(primary.query, f"revoke {function} from public")
    try:
        for _ in range(2):
            with pytest.raises(ProbeFailed, match="permission denied") as caught:
                await probe.look()
            assert not caught.value.lost
    finally:
        await in_thread(primary.query, f"grant {function} to public")

    assert (await probe.look()).role is Role.PRIMARY
    probe.close()


async def test_reads_go_on_without_the_primary_for_longer_than_max_lag(
    fragile_cluster: EmbeddedCluster,
):
    async with watching(fragile_cluster, max_lag=0.5) as board:
        await in_thread(fragile_cluster.primary.kill)
        view = await see(board, lambda v: v.primary is None, within=1.0)
        gone = trio.current_time()
        assert view.stopped_at is not None

        publications = view.generation
        later = gone + 1.0
        view = await see(
            board,
            lambda v: v.generation > publications + 10 and trio.current_time() > later,
        )
        assert len(view.replicas) == 3
        assert all(view.staleness(n, later) < 0.5 for n in view.replicas)

        await in_thread(fragile_cluster.primary.start)
        view = await see(board, lambda v: v.primary is not None and v.stopped_at is None)
        back = trio.current_time()
        await see(
            board,
            lambda v: len(v.replicas) == 3 and all(n.fresh_until > back for n in v.replicas),
        )


async def test_a_promotion_is_followed_within_a_second(fragile_cluster: EmbeddedCluster):
    first, second = fragile_cluster.nodes["replica1"], fragile_cluster.nodes["replica2"]
    async with watching(fragile_cluster, interval=0.1) as board:
        await in_thread(fragile_cluster.primary.kill)
        await in_thread(first.promote)
        promoted = trio.current_time()

        view = await see(
            board, lambda v: v.primary is not None and v.primary.name == "replica1", within=1.0
        )
        assert view.primary is not None
        assert view.primary.timeline == 2
        assert refusal(view, "replica2") is Refusal.OTHER_TIMELINE

        await in_thread(second.follow, first)
        view = await see(board, lambda v: [n.name for n in v.replicas] == ["replica2"])
        assert view.replicas[0].fresh_until > promoted
        assert view.replicas[0].timeline == 2


async def test_an_old_primary_that_comes_back_gets_nothing(fragile_cluster: EmbeddedCluster):
    async with watching(fragile_cluster, interval=0.1) as board:
        await in_thread(fragile_cluster.nodes["replica3"].promote)

        view = await see(
            board, lambda v: v.primary is not None and v.primary.name == "replica3", within=1.0
        )
        old = view.node("primary")
        assert old is not None
        assert old.role is Role.PRIMARY
        assert old.health == Up()
        assert old.refusal is Refusal.OTHER_TIMELINE

        await in_thread(fragile_cluster.primary.kill)
        await see(board, lambda v: isinstance(v.nodes[0].health, Down))
        await in_thread(fragile_cluster.primary.start)
        view = await see(board, lambda v: v.nodes[0].health == Up())
        assert view.primary is not None
        assert view.primary.name == "replica3"
        assert refusal(view, "primary") is Refusal.OTHER_TIMELINE


async def test_without_pg_monitor_a_replica_proves_its_timeline_at_its_next_restartpoint(
    fragile_cluster: EmbeddedCluster,
):
    first, second = fragile_cluster.nodes["replica1"], fragile_cluster.nodes["replica2"]
    async with watching(fragile_cluster, user="app") as board:
        await in_thread(fragile_cluster.primary.kill)
        await in_thread(first.promote)
        await in_thread(second.follow, first)
        await in_thread(first.query, "checkpoint")

        def replayed() -> bool:
            (position,) = first.query("select pg_current_wal_flush_lsn()")[0]
            return second.query("select pg_last_wal_replay_lsn() >= %s", position) == [(True,)]

        while not await in_thread(replayed):
            await trio.lowlevel.checkpoint()
        await in_thread(second.query, "checkpoint")

        view = await see(board, lambda v: [n.name for n in v.replicas] == ["replica2"])
        assert view.primary is not None
        assert view.primary.name == "replica1"


async def look_as(node: EmbeddedNode, user: str, password: str) -> Observation:
    """Look at *node* once as *user*."""
    monitor = MonitorConfig(user=user, password=password)
    config = NodeConfig(name=node.name, host=node.host, port=node.port)
    probe = Probe(config, monitor, TlsConfig())
    try:
        return await probe.look()
    finally:
        probe.close()


async def test_what_a_probe_sees_depends_on_its_role(fragile_cluster: EmbeddedCluster):
    old, (new, other, _) = fragile_cluster.primary, fragile_cluster.replicas
    await in_thread(old.query, "drop role if exists plain")
    await in_thread(old.query, "create role plain login password 'plain'")
    await in_thread(fragile_cluster.wait_until_replayed)
    await in_thread(old.kill)
    await in_thread(new.promote)
    await in_thread(other.follow, new)
    assert await in_thread(lambda: wait_until(lambda: other.streams_from(new), timeout=15))
    password = fragile_cluster.passwords["rwsplit"]

    primary = await look_as(new, "rwsplit", password)
    replica = await look_as(other, "rwsplit", password)
    assert (primary.timeline, primary.history) == (2, None)
    assert primary.promoted_at is not None
    assert 0 < trio.current_time() - primary.promoted_at < 120
    assert (replica.source, replica.upstream) == (Source.STREAM, (new.host, new.port))
    assert replica.upstream in primary.places
    assert replica.received is not None

    primary = await look_as(new, "plain", "plain")
    replica = await look_as(other, "plain", "plain")
    assert (primary.history, primary.promoted_at, primary.examined) == (None, None, True)
    assert (replica.source, replica.upstream) == (Source.UNSEEN, None)

    await in_thread(new.query, "grant execute on function pg_read_file(text) to plain")
    primary = await look_as(new, "plain", "plain")
    assert primary.history is not None
    assert [fork.timeline for fork in primary.history] == [1]
    assert primary.history[0].lsn <= primary.lsn
