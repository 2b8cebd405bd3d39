"""While rwsplit itself does not run nobody is late: not nodes that are probed, nor servers being opened, nor clients."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from rwsplit.cluster.health import HealthTracker
from rwsplit.cluster.node import Suspect, Up
from rwsplit.cluster.observation import Observation
from rwsplit.config.choices import SslMode
from rwsplit.config.model import Config, MonitorConfig, NodeConfig
from rwsplit.errors import NodeUnreachable
from rwsplit.monitor.board import Board
from rwsplit.monitor.link import ProbeFailed
from rwsplit.monitor.pulse import Pulse
from rwsplit.monitor.watcher import MOST_EXCUSED, Watcher
from rwsplit.relay.driving import Driver, Events
from rwsplit.relay.relay import TICK
from rwsplit.relay.stalls import HELD_UP, Stalls
from rwsplit.server.dialer import dial
from rwsplit.server.endpoint import Endpoint
from tests.support.memory_relay import MemoryRelay
from tests.support.scripted import KEY, OK, READY, node, says, silent

PATIENCE = 20.0
STALL = 3.0


# The tick...


def test_the_first_tick_behind_a_stall_judges_nobody():
    stalls = Stalls()
    assert not stalls.excuses(TICK, 1.0)
    assert stalls.excuses(STALL, 4.0)
    assert (stalls.number, stalls.seconds, stalls.longest) == (1, STALL, STALL)


def test_who_is_always_late_judges_every_other_time():
    stalls = Stalls()
    assert [stalls.excuses(1.0, now) for now in range(6)] == [True, False] * 3
    assert stalls.number == 6


def test_a_relay_that_was_held_up_reads_before_it_ends_anything():
    rig = MemoryRelay(1)
    relay = rig.relay
    looked: list[float] = []
    told: list[None] = []
    relay.upkeep.tick = lambda: looked.append(relay.now)  # type: ignore[method-assign]
    relay.report_stall = lambda: told.append(None)
    relay._next_tick()
    rig.now = relay._due + STALL
    relay._tick()
    assert (len(looked), len(told)) == (0, 1)
    rig.now = relay._due
    relay._tick()
    assert (len(looked), len(told)) == (1, 1)
    assert relay.stalls.longest == pytest.approx(STALL, abs=0.01)


@pytest.mark.parametrize("stalls", [0, 1])
async def test_a_login_that_fails_beside_a_stall_is_not_held_against_its_node(stalls: int):
    rig = MemoryRelay(1)
    relay = rig.relay
    told: list[str] = []

    async def fails(_: object) -> NoReturn:
        await trio.lowlevel.checkpoint()
        relay.stalls.number += stalls
        raise NodeUnreachable("no answer within 5 s")

    relay._open_server = fails  # type: ignore[assignment]
    relay.report_failure = lambda node, _: told.append(node)
    pool = next(iter(relay.pools))
    pool.starting += 1
    await relay._open(pool)
    assert told == [pool.node] * (1 - stalls)
    assert pool.failures == 1  # it tries again, a little later


# Nodes...


def test_a_node_is_not_silent_while_nobody_listens():
    tracker = HealthTracker(rise=1, fall=3, now=0.0)
    tracker.succeeded(1.0)
    for step in range(5):
        tracker.owes(1.2 + step * 0.05, heard=0.0, asked=0.9)
    assert isinstance(tracker.health, Suspect)

    tracker.held_up(1.5 + STALL)
    assert tracker.health == Suspect(1.5 + STALL)
    for step in range(5):
        tracker.owes(1.5 + STALL + step * 0.05, heard=0.0, asked=1.5 + STALL)
    assert isinstance(tracker.health, Suspect)  # not frozen: it was given the time it has
    tracker.succeeded(2.0 + STALL)
    assert isinstance(tracker.health, Up)


class QuietDriver(Driver):
    """Rings only when told."""

    def watch(self, fd: int, call: Callable[[], None]) -> None:
        self.watched[fd] = call

    def unwatch(self, fd: int) -> None:
        self.watched.pop(fd, None)

    async def drive(self, turn: Callable[[Events], None]) -> NoReturn:
        await trio.sleep_forever()
        raise AssertionError

    def close(self) -> None:
        self.epoll.close()


class Asked:
    """A link to a node whose answer has not been read."""

    timeout = 2.0

    def __init__(self) -> None:
        self.asked = 0
        self.is_closed = False

    def fileno(self) -> int:
        return 99

    def ask(self) -> None:
        self.asked += 1

    def answer(self) -> Observation | None:
        return None

    def too_late(self) -> ProbeFailed:
        self.is_closed = True
        return ProbeFailed("no answer in 2 s", lost=True)

    def close(self) -> None:
        self.is_closed = True


async def beating(step: Callable[[QuietDriver, list[float], Asked, Board], None]) -> None:
    """Have a pulse beat, and *step* play with it."""
    now = [100.0]
    config = Config(
        nodes=(NodeConfig(name="pg0", host="10.0.0.1"),), monitor=MonitorConfig(fall=1)
    )
    board = Board(config, clock=lambda: now[0])
    driver, probe = QuietDriver(), Asked()
    pulse = Pulse("pg0", board, probe, driver)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pulse.beat, 100.0, lambda at: at + 0.1)
            await wait_all_tasks_blocked()
            now[0] = 100.1
            driver.alarms.ring(now[0])
            assert probe.asked == 1
            step(driver, now, probe, board)
            nursery.cancel_scope.cancel()
    driver.close()


async def test_a_probe_is_given_the_time_in_which_nobody_could_read_its_answer():
    def step(driver: QuietDriver, now: list[float], probe: Asked, board: Board) -> None:
        now[0] = 100.1 + 2.0 + 1.0  # noticed a second too late
        driver.alarms.ring(now[0])
        assert not probe.is_closed
        assert board.statistics().nodes["pg0"].failed_probes == 0
        assert driver.alarms.next == pytest.approx(now[0] + 1.0)
        now[0] = driver.alarms.next
        driver.alarms.ring(now[0])
        assert board.statistics().nodes["pg0"].failed_probes == 1

    await beating(step)


async def test_a_probe_that_is_late_by_itself_fails_at_once():
    def step(driver: QuietDriver, now: list[float], probe: Asked, board: Board) -> None:
        now[0] = 100.1 + 2.0 + HELD_UP / 2
        driver.alarms.ring(now[0])
        assert probe.is_closed
        assert board.statistics().nodes["pg0"].failed_probes == 1

    await beating(step)


class LateProbe:
    """Fails each time, and was noticed to be overdue so much too late."""

    def __init__(self, overdue: float) -> None:
        self.looks = 0
        self.overdue = overdue

    async def look(self) -> Observation:
        await trio.sleep(0.5)
        self.looks += 1
        failure = ProbeFailed("no answer in 2 s", lost=True)
        failure.overdue = self.overdue
        raise failure

    async def rest(self) -> None:
        await trio.sleep_forever()

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize(("overdue", "excused"), [(STALL, MOST_EXCUSED), (0.01, 0), (-1.0, 0)])
async def test_failures_that_were_noticed_too_late_are_not_the_node_s(
    overdue: float, excused: int, autojump_clock
):
    board = Board(Config(nodes=(NodeConfig(name="pg0", host="10.0.0.1"),)))
    probe = LateProbe(overdue)
    watcher = Watcher("pg0", board, probe, interval=0.1)
    failures: list[int] = []
    board.on_publish.append(lambda _: failures.append(probe.looks))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watcher.run)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert failures[0] == excused + 1
    assert failures[1] == 2 * (excused + 1)


# Servers...


async def open_server(port: int, seconds: float) -> None:
    dialed = await dial(
        Endpoint(host="127.0.0.1", port=port, sslmode=SslMode.DISABLE),
        database="shop",
        user="app",
        parameters={},
        credentials=None,
        timeout=seconds,
    )
    dialed.wire.close()


async def test_a_server_is_dialed_again_where_rwsplit_was_too_late():
    """The stall takes more than the time there is; the node could not be heard meanwhile."""

    async def stall() -> None:
        time.sleep(0.5 + 2 * HELD_UP)  # noqa: ASYNC251, TID251 - that is the stall

    with trio.fail_after(PATIENCE):
        answers = says(OK, KEY, READY)
        async with node(answers, answers) as port, trio.open_nursery() as nursery:
            nursery.start_soon(stall)
            await open_server(port, 0.5)


async def test_a_node_that_says_nothing_is_dialed_once(autojump_clock):
    async with node(silent) as port:
        began = trio.current_time()
        with pytest.raises(NodeUnreachable, match="no answer within 5 s"):
            await open_server(port, 5.0)
        assert trio.current_time() - began < 6.0
