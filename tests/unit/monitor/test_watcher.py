"""Watchers probe in time, on request, and one probe at a time; rounds sample before they prove."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import trio
import trio.testing

from rwsplit.cluster.node import NEVER, Role
from rwsplit.cluster.observation import Observation
from rwsplit.config.model import Config, MonitorConfig, NodeConfig
from rwsplit.lsn import LSN
from rwsplit.monitor.board import Board
from rwsplit.monitor.link import ProbeFailed
from rwsplit.monitor.watcher import (
    ROUND_SPACING,
    Assignment,
    Watcher,
    make_round,
    serve_hurries,
)

INTERVAL = 1.0


class FakeCluster:
    """A primary and replicas that answer after *delay*; remembers who was asked when."""

    def __init__(self) -> None:
        self.lsn = {"pg0": 1000, "pg1": 1000, "pg2": 1000}
        self.delay = {"pg0": 0.0, "pg1": 0.0, "pg2": 0.0}
        self.failing: dict[str, bool] = {}
        self.asked: list[tuple[str, float]] = []
        self.in_flight: set[str] = set()
        self.closed: list[str] = []
        self.unasked = {name: trio.Event() for name in self.lsn}
        """Set when a node says something between two probes."""
        self.on_look: Callable[[str], None] = lambda _name: None

    def times(self, name: str) -> list[float]:
        return [at for who, at in self.asked if who == name]


class FakeProbe:
    def __init__(self, name: str, cluster: FakeCluster) -> None:
        self.name = name
        self.cluster = cluster

    async def look(self) -> Observation:
        cluster, name = self.cluster, self.name
        assert name not in cluster.in_flight
        cluster.in_flight.add(name)
        cluster.asked.append((name, trio.current_time()))
        cluster.on_look(name)
        try:
            await trio.sleep(cluster.delay[name])
        finally:
            cluster.in_flight.discard(name)
        if name in cluster.failing:
            raise ProbeFailed("refused", lost=cluster.failing[name])
        return Observation(
            role=Role.PRIMARY if name == "pg0" else Role.REPLICA,
            timeline=1,
            lsn=LSN(cluster.lsn[name]),
            system_identifier="7",
            server_version="16.4",
        )

    async def rest(self) -> None:
        await self.cluster.unasked[self.name].wait()
        self.cluster.unasked[self.name] = trio.Event()

    def close(self) -> None:
        self.cluster.closed.append(self.name)


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def configure() -> Config:
    return Config(
        nodes=tuple(
            NodeConfig(name=f"pg{i}", host="10.0.0.1", port=5000 + i) for i in range(3)
        ),
        monitor=MonitorConfig(interval=INTERVAL, fall=2),
    )


def watch(board: Board, cluster: FakeCluster) -> dict[str, Watcher]:
    return {
        node.name: Watcher(node.name, board, FakeProbe(node.name, cluster), interval=INTERVAL)
        for node in board.view.nodes
    }


async def start(
    nursery: trio.Nursery, cluster: FakeCluster
) -> tuple[Board, dict[str, Watcher]]:
    """Return a board that knows the cluster, and its watchers, just after they have probed."""
    board = Board(configure())
    watchers = watch(board, cluster)
    for watcher in watchers.values():
        nursery.start_soon(watcher.run)
    await board.wait_for(lambda view: view.primary is not None)
    await trio.testing.wait_all_tasks_blocked()
    await make_round(board, watchers)
    await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(0.01)
    cluster.asked.clear()
    return board, watchers


async def test_a_node_is_probed_once_an_interval(cluster: FakeCluster, autojump_clock):
    async with trio.open_nursery() as nursery:
        await start(nursery, cluster)
        await trio.sleep(5.5 * INTERVAL)

        # On a grid, replicas a tenth behind the primary.
        for node, phase in (("pg0", 0.0), ("pg1", 0.1), ("pg2", 0.1)):
            asked = [at / INTERVAL for at in cluster.times(node)]
            assert len(asked) == 5
            assert [round(at % 1, 6) % 1 for at in asked] == [phase] * 5
            assert [round(b - a, 6) for a, b in pairwise(asked)] == [1.0] * 4
        nursery.cancel_scope.cancel()
    assert sorted(cluster.closed) == ["pg0", "pg1", "pg2"]


async def test_a_failed_probe_is_told_and_the_watching_goes_on(
    cluster: FakeCluster, autojump_clock
):
    async with trio.open_nursery() as nursery:
        board, _ = await start(nursery, cluster)
        cluster.failing["pg1"] = True

        view = await board.wait_for(lambda view: len(view.replicas) == 1)
        assert view.replicas[0].name == "pg2"
        del cluster.failing["pg1"]
        await board.wait_for(lambda view: len(view.replicas) == 2)
        nursery.cancel_scope.cancel()


async def test_the_sample_is_dated_before_it_was_sent(cluster: FakeCluster, autojump_clock):
    async with trio.open_nursery() as nursery:
        board, watchers = await start(nursery, cluster)
        cluster.delay["pg0"] = 0.3
        sent = trio.current_time()

        await watchers["pg0"].wait_probed()

        assert board.picture.clock.last_sample == (sent, 1000)
        nursery.cancel_scope.cancel()


async def test_a_kick_during_a_probe_is_served_right_after_it(
    cluster: FakeCluster, autojump_clock
):
    async with trio.open_nursery() as nursery:
        _, watchers = await start(nursery, cluster)
        cluster.delay["pg1"] = 0.2
        begun = trio.current_time()
        watchers["pg1"].kick()
        await trio.sleep(0.1)

        watchers["pg1"].kick()
        watchers["pg1"].kick()
        await trio.sleep(0.5)

        assert [round(at - begun, 6) for at in cluster.times("pg1")] == [0.0, 0.2]
        nursery.cancel_scope.cancel()


async def test_a_node_that_leaves_between_two_probes_is_looked_at_at_once(
    cluster: FakeCluster, autojump_clock
):
    async with trio.open_nursery() as nursery:
        board, _ = await start(nursery, cluster)
        now = trio.current_time()
        cluster.failing["pg1"] = True
        cluster.unasked["pg1"].set()
        await trio.testing.wait_all_tasks_blocked()

        assert cluster.times("pg1")[0] == now
        assert board.picture.clock.fresh_until("pg1") == NEVER
        nursery.cancel_scope.cancel()


async def test_waiting_is_for_a_probe_that_starts_later(cluster: FakeCluster, autojump_clock):
    async with trio.open_nursery() as nursery:
        _, watchers = await start(nursery, cluster)
        cluster.delay["pg1"] = 0.2
        begun = trio.current_time()
        watchers["pg1"].kick()
        await trio.sleep(0.1)

        await watchers["pg1"].wait_probed()

        assert trio.current_time() - begun == pytest.approx(0.4)
        nursery.cancel_scope.cancel()


async def test_nobody_waits_for_a_watcher_that_was_stopped(
    cluster: FakeCluster, autojump_clock
):
    async with trio.open_nursery() as nursery:
        _, watchers = await start(nursery, cluster)
        cluster.delay["pg1"] = 60.0
        nursery.start_soon(watchers["pg1"].wait_probed)
        await trio.sleep(0.1)

        watchers["pg1"].stop()
        with trio.fail_after(1.0):
            await watchers["pg1"].wait_probed()
        assert cluster.closed == ["pg1"]
        nursery.cancel_scope.cancel()


async def test_a_round_samples_and_needs_no_probe_on_an_idle_cluster(
    cluster: FakeCluster, autojump_clock
):
    async with trio.open_nursery() as nursery:
        board, watchers = await start(nursery, cluster)
        wanted = trio.current_time()

        await make_round(board, watchers)

        assert [who for who, _ in cluster.asked] == ["pg0"]
        assert all(node.fresh_until >= wanted for node in board.view.replicas)
        nursery.cancel_scope.cancel()


async def test_a_round_probes_those_behind_only_after_the_sample(
    cluster: FakeCluster, autojump_clock
):
    async with trio.open_nursery() as nursery:
        board, watchers = await start(nursery, cluster)
        cluster.lsn.update(pg0=2000, pg1=2000, pg2=2000)
        cluster.delay["pg0"] = 0.1
        wanted = trio.current_time()

        await make_round(board, watchers)
        view = await board.wait_for(
            lambda view: all(node.fresh_until >= wanted for node in view.replicas)
        )

        assert cluster.asked[0][0] == "pg0"
        assert cluster.times("pg1") == cluster.times("pg2") == [wanted + 0.1]
        assert len(view.replicas) == 2
        nursery.cancel_scope.cancel()


async def test_a_replica_that_is_still_behind_is_chased(cluster: FakeCluster, autojump_clock):
    async with trio.open_nursery() as nursery:
        board, watchers = await start(nursery, cluster)
        cluster.lsn.update(pg0=2000, pg2=2000)
        wanted = trio.current_time()

        await make_round(board, watchers)
        await trio.sleep(0.0115)
        cluster.lsn["pg1"] = 2000
        await board.wait_for(lambda view: view.nodes[1].fresh_until >= wanted)

        asked = [round((at - wanted) * 1000) for at in cluster.times("pg1")]
        assert asked == [0, 1, 3, 7, 15]
        await trio.sleep(INTERVAL / 2)
        assert len(cluster.times("pg1")) == len(asked)
        nursery.cancel_scope.cancel()


async def test_a_replica_that_never_catches_up_is_chased_for_an_interval_only(
    cluster: FakeCluster, autojump_clock
):
    async with trio.open_nursery() as nursery:
        board, watchers = await start(nursery, cluster)
        cluster.lsn["pg0"] = 2000
        begun = trio.current_time()

        await make_round(board, watchers)
        await trio.sleep(5 * INTERVAL)

        late = [at for at in cluster.times("pg1") if at - begun > 2 * INTERVAL]
        assert len(late) <= 3
        nursery.cancel_scope.cancel()


async def test_a_round_without_a_primary_asks_everybody(cluster: FakeCluster, autojump_clock):
    async with trio.open_nursery() as nursery:
        board = Board(configure())
        watchers = watch(board, cluster)
        for watcher in watchers.values():
            nursery.start_soon(watcher.run)
        await trio.testing.wait_all_tasks_blocked()
        board.picture.topology.primary = None
        cluster.asked.clear()

        await make_round(board, watchers)
        await trio.testing.wait_all_tasks_blocked()

        assert sorted(who for who, _ in cluster.asked) == ["pg0", "pg1", "pg2"]
        nursery.cancel_scope.cancel()


async def test_a_round_whose_sample_failed_proves_nothing(cluster: FakeCluster, autojump_clock):
    async with trio.open_nursery() as nursery:
        board, watchers = await start(nursery, cluster)
        cluster.failing["pg0"] = True
        cluster.lsn.update(pg1=2000, pg2=2000)

        await make_round(board, watchers)
        await trio.testing.wait_all_tasks_blocked()

        assert [who for who, _ in cluster.asked] == ["pg0"]
        nursery.cancel_scope.cancel()


async def test_a_round_leaves_out_nodes_that_nobody_watches_any_more(
    cluster: FakeCluster, autojump_clock
):
    async with trio.open_nursery() as nursery:
        board, watchers = await start(nursery, cluster)
        watchers.pop("pg1").stop()
        cluster.lsn["pg0"] = 2000

        await make_round(board, watchers)
        await trio.testing.wait_all_tasks_blocked()

        assert [who for who, _ in cluster.asked][:2] == ["pg0", "pg2"]
        nursery.cancel_scope.cancel()


async def test_hurries_during_a_round_make_exactly_one_more(
    cluster: FakeCluster, autojump_clock
):
    async with trio.open_nursery() as nursery:
        board, watchers = await start(nursery, cluster)
        board.hurried = trio.Event()
        nursery.start_soon(serve_hurries, board, watchers)
        cluster.delay["pg0"] = 0.05
        begun = trio.current_time()

        board.hurry()
        for _ in range(7):
            await trio.sleep(0.005)
            board.hurry()
        await trio.sleep(0.5)

        assert [round(at - begun, 6) for at in cluster.times("pg0")] == [0.0, 0.05]
        nursery.cancel_scope.cancel()


async def test_rounds_keep_a_distance(cluster: FakeCluster, autojump_clock):
    async with trio.open_nursery() as nursery:
        board, watchers = await start(nursery, cluster)
        board.hurried = trio.Event()
        nursery.start_soon(serve_hurries, board, watchers)
        board.on_publish.append(lambda _view: board.hurry())

        board.hurry()
        await trio.sleep(10.5 * ROUND_SPACING)

        assert len(cluster.times("pg0")) == 11
        nursery.cancel_scope.cancel()


def test_a_watcher_is_replaced_when_its_address_or_login_changes():
    config = configure()
    node = config.nodes[0]

    assert Assignment.from_config(node, config) == Assignment.from_config(node, configure())
    moved = NodeConfig(name="pg0", host="10.0.0.2", port=5000)
    assert Assignment.from_config(moved, config) != Assignment.from_config(node, config)
