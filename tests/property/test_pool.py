"""After any sequence of events a pool keeps to its size and never loses a server."""

from __future__ import annotations

from types import SimpleNamespace

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rwsplit.config.model import PoolConfig
from rwsplit.errors import NodeUnreachable
from rwsplit.exchange.lease import HELD, IDLE, LANE
from rwsplit.server.janitor import due
from rwsplit.server.pool import Pool
from rwsplit.server.server import Server
from tests.support.silent_wire import SilentWire


class PoolModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.dials = 0
        self.open: list[Server] = []
        self.held: list[Server] = []

    @initialize(size=st.integers(1, 4), min_size=st.integers(0, 2), reserve=st.integers(0, 2))
    def begin(self, size: int, min_size: int, reserve: int) -> None:
        self.reserve = reserve
        self.size = size
        self.largest = size + reserve
        config = self.config(size, min(size, min_size))
        self.pool = Pool("pg0", 0, "shop", "app", config, self.dial)

    def config(self, size: int, min_size: int = 0) -> PoolConfig:
        return PoolConfig(
            size=size,
            min_size=min_size,
            reserve_size=self.reserve,
            reserve_timeout=3,
            server_idle_timeout=5,
            server_lifetime=20,
        )

    def dial(self, pool: Pool) -> None:
        assert len(pool.servers) + pool.starting <= pool.config.size + self.reserve
        self.dials += 1

    @rule(seconds=st.floats(0.01, 8.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def a_session_comes(self) -> None:
        server = self.pool.acquire(SimpleNamespace(pin=None))  # type: ignore[arg-type]
        if server is None:
            self.pool.waiters.append(
                SimpleNamespace(pin=None, pending=[SimpleNamespace(arrived=self.now)])
            )  # type: ignore[arg-type]
        else:
            self.held.append(server)
        self.pool.ask(self.now)

    @precondition(lambda self: self.pool.waiters)
    @rule()
    def a_waiting_session_leaves(self) -> None:
        self.pool.waiters.pop()

    @precondition(lambda self: self.dials)
    @rule()
    def a_server_opens(self) -> None:
        self.dials -= 1
        server = Server(self.pool, SilentWire(), pid=1, cancel_key=b"", now=self.now)
        self.pool.adopt(server)
        self.open.append(server)
        self.give(server)

    @precondition(lambda self: self.dials)
    @rule()
    def a_server_does_not_open(self) -> None:
        self.dials -= 1
        self.pool.dial_failed(NodeUnreachable("no"), self.now)

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 9))
    def a_session_is_done(self, which: int) -> None:
        server = self.held.pop(which % len(self.held))
        server.leave()
        self.give(server)

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 9))
    def a_server_is_shared(self, which: int) -> None:
        server = self.held[which % len(self.held)]
        if server.lease == HELD:
            server.share()
            self.pool.lanes.append(server)

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 9))
    def a_server_is_lost(self, which: int) -> None:
        server = self.open[which % len(self.open)]
        self.open.remove(server)
        if server in self.held:
            self.held.remove(server)
        self.pool.remove(server)
        self.pool.ask(self.now)

    @rule()
    def the_janitor_comes(self) -> None:
        for server in due(self.pool, self.now):
            self.open.remove(server)
            self.pool.remove(server)
        self.pool.prewarm(self.now)

    @rule(size=st.integers(1, 4))
    def the_size_changes(self, size: int) -> None:
        self.pool.config = self.config(size)
        self.largest = max(self.largest, size + self.reserve)

    def give(self, server: Server) -> None:
        """Give a server to the next who waits, else back to the pool."""
        if server.lease == LANE:
            self.pool.lanes.remove(server)
            server.end_lane()
        if self.pool.waiters:
            server.take(self.pool.waiters.popleft())
            self.held.append(server)
        else:
            self.pool.release(server, self.now)

    @invariant()
    def no_server_is_lost(self) -> None:
        if not hasattr(self, "pool"):
            return
        assert self.pool.servers == set(self.open)
        assert self.pool.starting == self.dials
        assert set(self.pool.idle) == set(self.open) - set(self.held)
        assert len(self.pool.idle) == len(set(self.pool.idle))
        assert all(server.lease == IDLE for server in self.pool.idle)

    @invariant()
    def it_keeps_to_its_size(self) -> None:
        if not hasattr(self, "pool"):
            return
        counts = self.pool.statistics()
        total = counts.idle + counts.active + counts.lanes + counts.resetting
        total += counts.cancelled + counts.starting
        assert total == len(self.pool.servers) + self.pool.starting <= self.largest


TestPool = PoolModel.TestCase
TestPool.settings = settings(deadline=None)
