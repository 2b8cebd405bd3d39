"""Watchers: one loop per node that probes it, and the rounds that hurry them.

A watcher probes its node every `interval`, and at once when it is kicked; one probe at a time. The
moment a probe was sent is read before anything is sent, so it is early rather than late, which is the
safe side (`cluster.freshness`).

Regular probes keep to one grid, so that the process wakes up once for all of them, and replicas are probed a little
after the primary: what its sample saw has reached them by then, and proves them fresh up to that sample.

A *round* serves `Board.hurry`: it samples the primary by a probe started after the request, and
then kicks those replicas that are not known to have replayed that sample, so that their answers can
prove it. A kicked replica that is still behind is looked at again after 1, 2, 4... ms until it has
caught up or `interval` is reached. Requests that arrive while a round waits for the sample are
served by the next one: they may be about writes made after the sample was sent.

While nothing is out of the ordinary the regular probes are a `Pulse` in the turn loop, and the watcher's task sleeps.

A connection that ends between two probes is noticed at once, not by the next one: a replica may be back by then, and
behind what it had replayed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import attrs
import structlog
import trio

from rwsplit.cluster.node import NEVER
from rwsplit.cluster.observation import Observation
from rwsplit.config.model import AuthConfig, Config, MonitorConfig, NodeConfig, TlsConfig
from rwsplit.errors import OutOfFiles
from rwsplit.monitor.board import Board
from rwsplit.monitor.link import ProbeFailed
from rwsplit.monitor.probe import Probe
from rwsplit.monitor.pulse import Pulse
from rwsplit.relay.driving import Driver
from rwsplit.server.files import Seldom
from rwsplit.server.patience import HELD_UP

#: Seconds after which a replica that is chased is looked at again; doubles each time.
CHASE_DELAY: Final = 0.001
#: Part of the interval by which replicas are probed after the primary.
REPLICA_PHASE: Final = 0.1
#: Failed probes in a row that do not count against a node because rwsplit itself was held up.
MOST_EXCUSED: Final = 3
#: Seconds between the starts of two rounds at least, however many ask for them.
ROUND_SPACING: Final = 0.005

_log = structlog.get_logger("rwsplit.monitor")


class Looker(Protocol):
    """What a watcher needs of a `Probe`."""

    async def look(self) -> Observation:
        """Look at the node once. Raises ProbeFailed, OutOfFiles."""

    async def rest(self) -> None:
        """Block until the node says something unasked, such as that it leaves; for ever without a connection."""

    def fileno(self) -> int:
        """Return the connection's file descriptor, -1 if there is none."""

    def close(self) -> None:
        """Give up the connection."""


@attrs.frozen
class Assignment:
    """What a watcher was made for; it is replaced when this changes."""

    host: str
    port: int
    monitor: MonitorConfig
    tls: TlsConfig
    auth: AuthConfig

    @classmethod
    def from_config(cls, node: NodeConfig, config: Config) -> Assignment:
        """Return what matters to the watcher of *node*."""
        return cls(node.host, node.port, config.monitor, config.tls, config.auth)


class Watcher:
    """Probes one node again and again and tells the board."""

    def __init__(
        self,
        name: str,
        board: Board,
        probe: Looker,
        *,
        interval: float,
        pulse: Pulse | None = None,
    ) -> None:
        """Without a *pulse* the regular probes are made by the task, too."""
        self.name = name
        self.interval = interval
        self._board = board
        self._probe = probe
        self._pulse = pulse
        self._kicked = False
        """A session or task has asked for a probe since the last one was started."""
        self._resting: trio.CancelScope | None = None
        self._next_done = trio.Event()
        """Set when the next probe to be started is over."""
        self._scope = trio.CancelScope()
        self._chased = NEVER
        self._chase_delay = CHASE_DELAY
        self._out_of_files = Seldom()
        self._excused = 0
        """Failed probes in a row that did not count against the node."""

    def kick(self, *, until_fresh: float = NEVER) -> None:
        """Probe at once, or right after the probe in flight.

        Look again in short intervals while the node is not fresh until *until_fresh*.
        """
        if until_fresh > self._chased:
            self._chased = until_fresh
            self._chase_delay = CHASE_DELAY
        self._kicked = True
        if self._pulse is not None and self._pulse.is_beating:
            self._pulse.stop()
        elif self._resting is not None:
            self._resting.cancel()

    async def wait_probed(self) -> None:
        """Block until a probe that starts after this call is over, and have it start at once."""
        done = self._next_done
        self.kick()
        await done.wait()

    async def run(self) -> None:
        """Probe for ever, or until stopped."""
        with self._scope:
            try:
                while True:
                    started = trio.current_time()
                    await self._look(started)
                    if self._pulse is not None and self._is_steady():
                        started = await self._pulse.beat(started, self._next_on_grid)
                    if not self._kicked:
                        with trio.move_on_at(self._due(started)) as self._resting:
                            await self._probe.rest()
                        self._resting = None
            finally:
                self._next_done.set()
                self._probe.close()

    def stop(self) -> None:
        """End `run`."""
        self._scope.cancel()

    async def _look(self, started: float) -> None:
        done, self._next_done = self._next_done, trio.Event()
        self._kicked = False
        try:
            look = await self._probe.look()
        except ProbeFailed as failure:
            if failure.overdue > HELD_UP and self._excused < MOST_EXCUSED:
                self._excused += 1
                self._kicked = True  # rwsplit was late, not the node: probe again
                return
            self._excused = 0
            self._board.failed(
                self.name, str(failure), lost=failure.lost, silent=failure.silent
            )
        except OutOfFiles as error:
            # The node was not probed, so what is known of it stays.
            if self._out_of_files.is_due(started):
                _log.warning("node_not_probed", node=self.name, reason=str(error))
        else:
            self._excused = 0
            self._board.observed(self.name, look, started)
        finally:
            done.set()

    def _is_steady(self) -> bool:
        """Return whether the next probe is a regular one, over a connection there is."""
        if self._kicked or self._probe.fileno() < 0:
            return False
        return self._board.picture.clock.fresh_until(self.name) >= self._chased

    def _next_on_grid(self, started: float) -> float:
        """Return the moment of the next regular probe after one at *started*."""
        is_primary = self._board.picture.topology.primary == self.name
        phase = 0.0 if is_primary else self.interval * REPLICA_PHASE
        due = ((started - phase) // self.interval + 1) * self.interval + phase
        # Not one right behind another, nor, by a rounding error, at the same moment.
        return due if due - started > self.interval * REPLICA_PHASE else due + self.interval

    def _due(self, started: float) -> float:
        """Return when the next probe is due if nobody asks for one."""
        regular = self._next_on_grid(started)
        if self._board.picture.clock.fresh_until(self.name) >= self._chased:
            return regular
        delay = self._chase_delay
        if delay >= self.interval:
            self._chased = NEVER
            return regular
        self._chase_delay = delay * 2
        return min(regular, trio.current_time() + delay)


async def run_monitor(
    board: Board,
    driver: Driver | None = None,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Watch every configured node and keep *board* up to date, for ever; regular probes in the turns of *driver*."""
    watchers: dict[str, Watcher] = {}
    assigned: dict[str, Assignment] = {}

    def look_at(name: str) -> None:
        if name in watchers:
            watchers[name].kick()

    board.on_doubt.append(look_at)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_hurries, board, watchers, name="monitor rounds")
        task_status.started()
        while True:
            board.reconfigured = trio.Event()
            config = board.config
            wanted = {n.name: Assignment.from_config(n, config) for n in config.nodes}
            for name in [n for n in watchers if wanted.get(n) != assigned[n]]:
                watchers.pop(name).stop()
            for node in config.nodes:
                if node.name not in watchers:
                    probe = Probe(node, config.monitor, config.tls, config.auth)
                    watcher = Watcher(
                        node.name,
                        board,
                        probe,
                        interval=config.monitor.interval,
                        pulse=Pulse(node.name, board, probe, driver) if driver else None,
                    )
                    watchers[node.name] = watcher
                    nursery.start_soon(watcher.run, name=f"monitor {node.name}")
            assigned = wanted
            await board.reconfigured.wait()


async def serve_hurries(board: Board, watchers: Mapping[str, Watcher]) -> None:
    """Make a round whenever a session is in a hurry."""
    while True:
        await board.hurried.wait()
        board.hurried = trio.Event()
        earliest = trio.current_time() + ROUND_SPACING
        await make_round(board, watchers)
        await trio.sleep_until(earliest)


async def make_round(board: Board, watchers: Mapping[str, Watcher]) -> None:
    """Sample the primary now, then have those probed that are behind it."""
    primary = watchers.get(board.picture.topology.primary or "")
    if primary is None:
        for watcher in watchers.values():
            watcher.kick()
        return

    asked = trio.current_time()
    await primary.wait_probed()

    sample = board.picture.clock.last_sample
    if sample is not None and sample[0] >= asked:
        for name in board.picture.behind():
            if name in watchers:
                watchers[name].kick(until_fresh=sample[0])
