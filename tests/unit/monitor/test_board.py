"""The board publishes at once, tells everybody, and logs changes only."""

from __future__ import annotations

import attrs
import pytest
import structlog
import trio
import trio.testing
from structlog.testing import LogCapture

from rwsplit.cluster.node import AdminState, Down, Refusal, Role
from rwsplit.cluster.observation import Observation
from rwsplit.cluster.view import ClusterView
from rwsplit.config.model import Config, ConsistencyConfig, MonitorConfig, NodeConfig
from rwsplit.lsn import LSN
from rwsplit.monitor.board import Board
from rwsplit.monitor.outages import FRESH_AGAIN


class Clock:
    """Monotonic seconds that stand still."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log() -> LogCapture:
    return LogCapture()


@pytest.fixture(autouse=True)
def captured(log: LogCapture) -> object:
    before = structlog.get_config()
    structlog.configure(processors=[log])
    yield
    structlog.configure(**before)


def configure(*names: str) -> Config:
    return Config(
        nodes=tuple(
            NodeConfig(name=name, host="10.0.0.1", port=5000 + i)
            for i, name in enumerate(names or ("pg0", "pg1", "pg2"))
        ),
        monitor=MonitorConfig(rise=2, fall=2),
        consistency=ConsistencyConfig(max_lag=10.0),
    )


def look(role: Role = Role.REPLICA, lsn: int = 1000, timeline: int = 1) -> Observation:
    return Observation(
        role=role,
        timeline=timeline,
        lsn=LSN(lsn),
        system_identifier="7",
        server_version="16.4",
    )


def running(clock: Clock) -> Board:
    board = Board(configure(), clock=clock)
    for _ in range(2):
        clock.now += 0.1
        board.observed("pg0", look(Role.PRIMARY), clock.now - 0.01)
        board.observed("pg1", look(), clock.now)
        board.observed("pg2", look(), clock.now)
    board.hurried = trio.Event()
    return board


def events(log: LogCapture) -> list[str]:
    return [entry["event"] for entry in log.entries]


def test_a_probe_is_published_before_the_call_returns(clock: Clock):
    board = Board(configure(), clock=clock)
    seen: list[ClusterView] = []
    board.on_publish.append(seen.append)

    board.observed("pg0", look(Role.PRIMARY), 99.9)

    assert seen == [board.view]
    assert board.view.nodes[0].role is Role.PRIMARY


def test_a_running_cluster_is_known(clock: Clock):
    view = running(clock).view

    assert view.primary is not None
    assert view.primary.name == "pg0"
    assert [node.name for node in view.replicas] == ["pg1", "pg2"]


def test_a_reported_failure_is_published_at_once_and_looked_into(clock: Clock):
    board = running(clock)

    board.report_failure("pg1", "connection lost", clock.now)

    assert [node.name for node in board.view.replicas] == ["pg2"]
    assert board.hurried.is_set()


def test_news_of_a_node_that_was_removed_are_ignored(clock: Clock):
    board = running(clock)
    before = board.view

    board.observed("gone", look(), clock.now)
    board.failed("gone", "refused", lost=True)
    board.report_failure("gone", "refused", clock.now)

    assert board.view is before


def test_the_operators_wish_is_published_and_saved_once(clock: Clock):
    board = running(clock)
    saved: list[tuple[str, AdminState]] = []
    board.on_admin.append(lambda name, state: saved.append((name, state)))

    board.set_admin("pg1", AdminState.DETACHED)
    board.set_admin("pg1", AdminState.DETACHED)

    assert board.view.nodes[1].refusal is Refusal.DETACHED
    assert saved == [("pg1", AdminState.DETACHED)]
    with pytest.raises(KeyError):
        board.set_admin("pg9", AdminState.DETACHED)


def test_a_draining_node_becomes_detached_when_nothing_is_in_flight(clock: Clock):
    board = running(clock)
    busy = {"pg1": 2, "pg2": 0}
    board.in_flight = busy.__getitem__

    board.set_admin("pg1", AdminState.DRAINING)
    assert board.view.nodes[1].admin is AdminState.DRAINING

    busy["pg1"] = 0
    board.observed("pg2", look(), clock.now)
    assert board.view.nodes[1].admin is AdminState.DETACHED


def test_several_idle_nodes_are_drained_together(clock: Clock):
    board = running(clock)
    board.set_admin("pg1", AdminState.DRAINING)
    board.set_admin("pg2", AdminState.DRAINING)

    board.in_flight = lambda _name: 0
    board.observed("pg0", look(Role.PRIMARY), clock.now)

    assert [n.admin for n in board.view.nodes[1:]] == [AdminState.DETACHED] * 2


def test_what_the_operator_wanted_before_a_restart_still_holds(clock: Clock):
    board = Board(configure(), admin={"pg1": AdminState.DETACHED}, clock=clock)

    assert board.view.nodes[1].admin is AdminState.DETACHED


@pytest.mark.parametrize("silent", [False, True])
def test_the_view_tells_whether_a_node_that_is_down_is_silent(clock: Clock, silent: bool):
    board = running(clock)
    for _ in range(2):
        board.failed("pg1", "down", lost=True, silent=silent)
    node = board.view.node("pg1")
    assert node is not None
    assert isinstance(node.health, Down)
    assert node.health.silent is silent


def test_statistics_tell_what_was_done(clock: Clock):
    board = running(clock)
    board.failed("pg2", "refused", lost=True)
    board.report_failure("pg1", "lost", clock.now)

    statistics = board.statistics()

    assert statistics.publications == board.view.generation
    assert statistics.nodes["pg0"].probes == 2
    assert statistics.nodes["pg0"].probe_seconds == pytest.approx(0.01)
    assert (statistics.nodes["pg2"].probes, statistics.nodes["pg2"].failed_probes) == (3, 1)
    assert statistics.nodes["pg2"].probe_seconds == pytest.approx(0.0)
    assert statistics.nodes["pg1"].reported_failures == 1
    assert statistics.hurries == 2
    assert statistics.primary_changes == 0
    assert statistics.samples_kept == 1


def test_a_new_configuration_is_published_and_announced(clock: Clock):
    board = running(clock)

    board.reconfigure(configure("pg0", "pg2"))

    assert [node.name for node in board.view.nodes] == ["pg0", "pg2"]
    assert board.reconfigured.is_set()
    assert set(board.statistics().nodes) == {"pg0", "pg2"}


async def test_waiting_ends_with_the_view_that_was_waited_for(clock: Clock):
    board = Board(configure(), clock=clock)
    found: list[ClusterView] = []

    async def wait() -> None:
        found.append(await board.wait_for(lambda view: view.primary is not None))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        for name in ("pg1", "pg2", "pg0"):
            await trio.testing.wait_all_tasks_blocked()
            assert not found
            board.observed(name, look(Role.PRIMARY if name == "pg0" else Role.REPLICA), 99.0)

    assert found == [board.view]


async def test_waiting_for_what_is_so_already_does_not_block(clock: Clock):
    board = Board(configure(), clock=clock)

    assert await board.wait_for(lambda _view: True) is board.view


async def test_the_clock_is_trios_by_default():
    board = Board(configure())

    assert abs(board.now() - trio.current_time()) < 60


def test_a_quiet_cluster_logs_nothing(clock: Clock, log: LogCapture):
    board = running(clock)
    log.entries.clear()

    for _ in range(10):
        clock.now += 0.1
        board.observed("pg0", look(Role.PRIMARY), clock.now)
        board.observed("pg1", look(), clock.now)

    assert log.entries == []


def test_starting_up_is_logged(clock: Clock, log: LogCapture):
    running(clock)

    assert sorted(events(log)) == ["node_up", "node_up", "node_up", "primary_changed"]
    assert {entry["log_level"] for entry in log.entries} == {"info"}


def test_health_is_logged_when_it_changes(clock: Clock, log: LogCapture):
    board = running(clock)
    log.entries.clear()

    board.report_failure("pg1", "connection lost", clock.now)
    board.report_failure("pg1", "connection lost", clock.now)
    board.failed("pg1", "connection refused", lost=True)
    board.failed("pg1", "connection refused", lost=True)
    for reason in ("starting up", "connection refused", "starting up"):
        clock.now += 1
        board.failed("pg1", reason, lost=True)
    clock.now += 1
    board.observed("pg1", look(), clock.now)
    board.observed("pg1", look(), clock.now)

    assert events(log) == ["node_banned", "node_down", "node_still_down", "node_up"]
    assert {entry["log_level"] for entry in log.entries} == {"warning"}
    assert log.entries[1]["reason"] == "connection refused"
    assert log.entries[2]["reason"] == "starting up"
    assert log.entries[3]["after_seconds"] == 4.0
    assert log.entries[0] == {
        "event": "node_banned",
        "log_level": "warning",
        "node": "pg1",
        "reason": "connection lost",
        "seconds": 1.0,
    }


def test_a_promotion_is_logged_counted_and_sampled_at_once(clock: Clock, log: LogCapture):
    board = running(clock)
    log.entries.clear()

    board.observed("pg1", look(Role.PRIMARY, timeline=2), clock.now)

    assert log.entries[0] == {
        "event": "primary_changed",
        "log_level": "warning",
        "node": "pg1",
        "before": "pg0",
        "timeline": 2,
    }
    left = [(entry["event"], entry["node"], entry["refusal"]) for entry in log.entries[1:]]
    assert left == [("replica_refused", "pg2", "OTHER_TIMELINE")]
    assert board.statistics().primary_changes == 1
    assert board.hurried.is_set()


def test_a_split_brain_is_an_error_and_its_end_is_told(clock: Clock, log: LogCapture):
    board = running(clock)
    log.entries.clear()

    for _ in range(3):
        board.observed("pg1", look(Role.PRIMARY), clock.now)
    board.observed("pg1", look(), clock.now)

    assert events(log) == ["split_brain", "split_brain_over"]
    assert log.entries[0]["log_level"] == "error"
    assert log.entries[0]["refused"] == ["pg1"]


def told_of_pg1(log: LogCapture) -> list[str]:
    return [e["event"] for e in log.entries if e.get("node") == "pg1"]


def test_lag_is_logged_once_and_freshness_after_a_while(clock: Clock, log: LogCapture):
    board = running(clock)
    log.entries.clear()

    board.observed("pg0", look(Role.PRIMARY, 9000), clock.now)
    clock.now += 10.5
    board.observed("pg1", look(lsn=8000), clock.now)
    board.observed("pg1", look(lsn=8001), clock.now)
    assert told_of_pg1(log) == ["replica_lagging"]
    (entry,) = [e for e in log.entries if e.get("node") == "pg1"]
    assert (entry["lag_bytes"], entry["staleness_seconds"]) == (1000, pytest.approx(10.51))

    board.observed("pg0", look(Role.PRIMARY, 9000), clock.now)
    board.observed("pg1", look(lsn=9000), clock.now)
    clock.now += FRESH_AGAIN - 0.1
    board.observed("pg1", look(lsn=9000), clock.now)
    assert told_of_pg1(log) == ["replica_lagging"]

    clock.now += 0.2
    board.observed("pg1", look(lsn=9000), clock.now)
    assert told_of_pg1(log) == ["replica_lagging", "replica_fresh"]
    assert {e["log_level"] for e in log.entries if e.get("node") == "pg1"} == {"warning"}


def test_a_replica_that_dithers_is_logged_once(clock: Clock, log: LogCapture):
    board = running(clock)
    log.entries.clear()
    lsn = 9000

    for _ in range(5):
        lsn += 1000
        board.observed("pg0", look(Role.PRIMARY, lsn), clock.now)
        clock.now += 10.5
        board.observed("pg1", look(lsn=lsn - 1), clock.now)
        board.observed("pg0", look(Role.PRIMARY, lsn), clock.now)
        board.observed("pg1", look(lsn=lsn), clock.now)
        clock.now += 1.0

    assert told_of_pg1(log) == ["replica_lagging"]


def test_a_lagging_node_that_was_removed_is_forgotten(clock: Clock, log: LogCapture):
    board = running(clock)
    board.observed("pg0", look(Role.PRIMARY, 9000), clock.now)
    clock.now += 10.5
    board.observed("pg1", look(lsn=8000), clock.now)

    board.reconfigure(configure("pg0", "pg2"))
    board.reconfigure(configure())

    assert board.view.nodes[1].refusal is Refusal.DOWN


def test_a_callback_is_called_with_the_new_view_in_place(clock: Clock):
    board = running(clock)
    matches: list[bool] = []
    board.on_publish.append(lambda view: matches.append(view is board.view))

    board.observed("pg1", look(), clock.now)

    assert matches == [True]


def test_a_configuration_that_was_read_again_is_told_once(clock: Clock):
    board = running(clock)
    told: list[str] = []
    board.on_reload.append(told.append)
    for reloads in (0, 1, 1, 2):
        board.observed("pg1", attrs.evolve(look(), reloads=reloads), clock.now)
    assert told == ["pg1", "pg1"]


def test_a_node_that_owes_an_answer_is_looked_at_then_suspect_then_frozen(
    clock: Clock, log: LogCapture
):
    board = running(clock)
    doubted: list[str] = []
    board.on_doubt.append(doubted.append)
    heard = clock.now

    def wait(seconds: float) -> None:
        end = clock.now + seconds
        while clock.now < end:
            clock.now += 0.05
            board.report_owing("pg1", heard, heard, clock.now)

    wait(0.2)
    assert doubted == ["pg1"]
    assert board.view.nodes[1].refusal is None
    wait(0.05)
    assert board.view.nodes[1].refusal is Refusal.SUSPECT
    assert [node.name for node in board.view.replicas] == ["pg2"]
    wait(0.3)
    assert board.view.nodes[1].refusal is Refusal.FROZEN
    assert doubted == ["pg1"]
    clock.now += 2.0
    board.observed("pg1", look(), clock.now)
    assert [node.name for node in board.view.replicas] == ["pg1", "pg2"]
    assert events(log)[-2:] == ["node_frozen", "node_up"]


def test_a_moment_of_doubt_is_not_worth_a_line(clock: Clock, log: LogCapture):
    board = running(clock)
    before = events(log)
    for _ in range(2):
        clock.now += 0.3
        board.report_owing("pg1", 0.0, 0.0, clock.now)
    assert board.view.nodes[1].refusal is Refusal.SUSPECT
    board.observed("pg1", look(), clock.now)
    assert board.view.nodes[1].refusal is None
    assert events(log) == before


def test_owing_nodes_that_were_removed_are_nobodys_business(clock: Clock):
    board = running(clock)
    before = board.view
    board.report_owing("gone", 0.0, 0.0, clock.now + 9)
    assert board.view is before
