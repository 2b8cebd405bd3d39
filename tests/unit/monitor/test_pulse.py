"""A pulse looks at a node from the turn loop, and ends as soon as anything is out of the ordinary."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncGenerator

import pytest
import trio

from rwsplit.config.choices import SslMode
from rwsplit.config.model import Config, MonitorConfig, NodeConfig, TlsConfig
from rwsplit.monitor.board import Board, NodeStatistics
from rwsplit.monitor.probe import Probe
from rwsplit.monitor.pulse import Pulse
from rwsplit.monitor.watcher import Watcher
from rwsplit.protocol import backend
from rwsplit.relay.driving import Events, TrioDriver
from rwsplit.server.stream import WireStream
from tests.support.probed import IDENTITY, PRIMARY, answer, probed
from tests.support.scripted import KEY, OK, READY, Script, node, read_question

INTERVAL = 0.02
DEADLINE = 10.0
CANCELLED = backend.error_response("ERROR", "57014", "canceling statement due to user request")
NONSENSE = ("f", "no LSN", "1", None)


class Watched:
    """A node that follows a script, linked to, and a pulse on it."""

    def __init__(self, port: int, timeout: float) -> None:
        config = NodeConfig(name="pg0", host="127.0.0.1", port=port)
        monitor = MonitorConfig(timeout=timeout, interval=INTERVAL)
        self.board = Board(Config(nodes=(config,), monitor=monitor))
        self.probe = Probe(config, monitor, TlsConfig(server_tls_sslmode=SslMode.DISABLE))
        self.driver = TrioDriver()
        self.pulse = Pulse("pg0", self.board, self.probe, self.driver)

    @property
    def statistics(self) -> NodeStatistics:
        return self.board.statistics().nodes["pg0"]

    async def beat(self, looks: int = 1_000) -> float:
        """Look again and again, *looks* times; then only wait for what the node does unasked."""
        pauses = itertools.repeat(INTERVAL, looks)
        with trio.fail_after(DEADLINE):
            asked = await self.pulse.beat(
                trio.current_time(), lambda at: at + next(pauses, 2 * DEADLINE)
            )
        assert not self.driver.watched
        assert not self.pulse.is_beating
        return asked

    def turn(self, events: Events) -> None:
        for fd, _ in events:
            self.driver.watched[fd]()


@contextlib.asynccontextmanager
async def watched(script: Script, *, patience: float = 5.0) -> AsyncGenerator[Watched]:
    """Have a node follow *script*, whose first look has been taken when the block begins."""
    async with node(script) as port, trio.open_nursery() as nursery:
        made = Watched(port, patience)
        nursery.start_soon(made.driver.drive, made.turn)
        await made.probe.look()
        yield made
        made.probe.close()
        nursery.cancel_scope.cancel()
    made.driver.close()


async def test_it_looks_again_and_again_and_ends_when_the_node_leaves():
    async with watched(probed(*[PRIMARY] * 6, stays=False)) as made:
        begun = trio.current_time()
        asked = await made.beat(looks=5)
        assert made.statistics.probes == 5
        assert asked - begun >= 4 * INTERVAL
        assert made.board.view.primary is not None


async def test_an_answer_that_is_an_error_ends_it_and_not_the_link():
    async with watched(probed(PRIMARY, PRIMARY, CANCELLED + READY, PRIMARY)) as made:
        await made.beat()
        assert (made.statistics.probes, made.statistics.failed_probes) == (2, 1)
        assert (await made.probe.look()).lsn == 0x3000140


async def test_an_answer_that_makes_no_sense_ends_it():
    async with watched(probed(PRIMARY, NONSENSE)) as made:
        await made.beat()
        assert (made.statistics.probes, made.statistics.failed_probes) == (1, 1)


async def test_an_answer_that_does_not_come_ends_it_and_the_link():
    async with watched(probed(PRIMARY), patience=0.1) as made:
        begun = trio.current_time()
        await made.beat()
        assert trio.current_time() - begun >= 0.1
        assert made.statistics.failed_probes == 1
        assert made.probe.fileno() == -1
        # It may restart unnoticed now, so what it had proved is worth nothing.
        assert made.board.view.nodes[0].lost_at >= begun


async def test_an_answer_may_come_in_pieces():
    async def script(stream: WireStream) -> None:
        await stream.receive_some()
        await stream.send_all(OK + KEY + READY)
        for values in (IDENTITY, PRIMARY, PRIMARY):
            await read_question(stream)
            for byte in answer(values):
                await stream.send_all(bytes([byte]))
                await trio.lowlevel.checkpoint()

    async with watched(script) as made:
        await made.beat(looks=1)
        assert (made.statistics.probes, made.statistics.failed_probes) == (1, 0)


@pytest.mark.parametrize("is_out", [False, True], ids=["at rest", "a question is out"])
async def test_stopped_it_ends_at_rest(is_out: bool):
    answers = trio.Event()

    async def script(stream: WireStream) -> None:
        await stream.receive_some()
        await stream.send_all(OK + KEY + READY)
        for values in (IDENTITY, PRIMARY, PRIMARY, PRIMARY):
            await read_question(stream)
            if values is PRIMARY and made_one:
                asked.set()
                await answers.wait()
            if values is PRIMARY:
                made_one.append(True)
            await stream.send_all(answer(values))
        await stream.receive_some()

    made_one: list[bool] = []
    asked = trio.Event()
    async with watched(script) as made, trio.open_nursery() as nursery:
        nursery.start_soon(made.beat)
        await (asked.wait() if is_out else trio.testing.wait_all_tasks_blocked(0.001))
        made.pulse.stop()
        assert made.pulse.is_beating is is_out
        answers.set()
        nursery.cancel_scope.deadline = trio.current_time() + DEADLINE
    assert made.statistics.probes == is_out


async def test_cancelled_while_a_question_is_out_it_closes_the_link():
    async with watched(probed(PRIMARY)) as made:
        with trio.move_on_after(5 * INTERVAL):
            await made.beat()
        assert made.probe.fileno() == -1
        assert not made.driver.watched


async def test_a_watcher_that_is_kicked_looks_at_once_and_goes_on_beating():
    async with watched(probed(*[PRIMARY] * 100)) as made, trio.open_nursery() as nursery:
        watcher = Watcher("pg0", made.board, made.probe, interval=60.0, pulse=made.pulse)
        nursery.start_soon(watcher.run)
        with trio.fail_after(DEADLINE):
            await made.board.wait_for(lambda view: view.primary is not None)
            for _ in range(3):
                await trio.testing.wait_all_tasks_blocked(0.001)
                assert made.pulse.is_beating
                before = made.statistics.probes
                await watcher.wait_probed()
                assert made.statistics.probes == before + 1
        watcher.stop()
