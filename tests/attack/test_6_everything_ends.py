"""Whatever clients have said and servers have answered: when nobody says anything more, everything comes to its end."""

from __future__ import annotations

from typing import Any, Final

import attrs
import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

from rwsplit.cluster.node import Down
from rwsplit.cluster.view import ClusterView
from rwsplit.config.model import PoolConfig
from rwsplit.exchange.lease import CLOSED
from rwsplit.relay.client import Client
from rwsplit.relay.standing import Standing, standing
from rwsplit.server.server import Server
from tests.support import frames
from tests.support.attack_length import TIMES
from tests.support.memory_relay import MemoryRelay, wire_of

#: Seconds each timer has; and how many of them may follow one on another.
TIMER: Final = 10.0
LONGEST: Final = 8 * TIMER
POOL: Final = PoolConfig(
    size=2,
    query_timeout=TIMER,
    transaction_timeout=TIMER,
    idle_transaction_timeout=TIMER,
    client_idle_timeout=TIMER,
    client_write_timeout=TIMER,
    query_wait_timeout=TIMER,
    server_silence_timeout=TIMER,
    server_idle_timeout=TIMER,
)
LONG: Final = 1_100_000 * "x"
DEFAULTS: Final = attrs.evolve(
    POOL,
    query_timeout=0.0,
    transaction_timeout=0.0,
    idle_transaction_timeout=0.0,
    client_idle_timeout=0.0,
)
"""What is off by default is off."""
LEFT: Final = frozenset(
    {
        *(Standing.POOLED, Standing.IDLE, Standing.IN_TRANSACTION, Standing.UNFINISHED),
        *(Standing.RUNNING, Standing.ABANDONED),
    }
)
"""What may go on as long as the application likes."""
WORDS: Final = {
    "read": frames.query("select 1"),
    "write": frames.query("update t set a = 1"),
    "begin": frames.query("begin"),
    "begin on the primary": frames.query("begin isolation level serializable"),
    "end": frames.query("commit"),
    "listen": frames.query("listen a"),
    "set": frames.query("select set_config('a.b', '1', false)"),
    "reset": frames.query("discard all"),
    "parse": frames.parse("s", "select 1") + frames.SYNC,
    "run": frames.bind("s") + frames.execute() + frames.SYNC,
    "run by name": frames.query("execute s"),
    "flush": frames.parse("", "update t set a = 1")
    + frames.bind()
    + frames.execute()
    + frames.FLUSH,
    "no end": frames.bind("s") + frames.execute(),
    "sync": frames.SYNC,
    "function call": frames.call(1299),
    "a goodbye": frames.message("X"),
    "half a query": frames.query(LONG)[:-1000],
    "half a header": b"Q\0\0",
    "copy": frames.query("copy t from stdin"),
    "data": frames.copy_data(b"1\n"),
    "half a row": frames.copy_data(LONG.encode())[:-1000],
}
ANSWERS: Final = {
    "columns": frames.COLUMNS,
    "a row": frames.row(),
    "long rows": frames.COLUMNS + frames.row(300_000 * "x"),
    "half a row": frames.COLUMNS + frames.row(100_000 * "x")[:-50_000],
    "an end": frames.complete() + frames.ready(),
    "an end in a transaction": frames.complete() + frames.ready("T"),
    "a failure": frames.error() + frames.ready(),
    "a failure in a transaction": frames.error() + frames.ready("E"),
    "parsed": frames.PARSE_COMPLETE + frames.BIND_COMPLETE + frames.complete(),
    "copying": frames.COPY_IN,
}
STEPS: Final = st.lists(
    st.one_of(
        st.tuples(st.just("says"), st.integers(0, 3), st.sampled_from(sorted(WORDS))),
        st.tuples(st.just("hears"), st.integers(0, 7), st.sampled_from(sorted(ANSWERS))),
        st.tuples(st.just("leaves"), st.integers(0, 3), st.none()),
        st.tuples(st.just("closes its end"), st.integers(0, 3), st.none()),
        st.tuples(st.just("waits"), st.integers(1, 5), st.none()),
    ),
    max_size=25,
)


class Rig(MemoryRelay):
    """A relay in which all timers are set, and cancel requests get through and do nothing."""

    def __init__(self, pool: PoolConfig = POOL) -> None:
        super().__init__(4, size=pool.size)
        self.relay.reconfigure(attrs.evolve(self.relay.config, pool=pool), self.relay.chooser)
        self.relay.start_task = self._cancelled  # type: ignore[method-assign]

    def _cancelled(self, _task: Any, server: Server) -> None:
        server.cancels -= 1

    def do(self, what: str, number: int, which: str | None) -> None:
        """Take one step of a test."""
        client = self.clients[number % len(self.clients)]
        if what == "waits":
            self.pass_time(number)
        elif what == "leaves":
            self.relay.loss.client_gone(client)
            self.relay.outboxes.flush()
        elif what == "closes its end" and not (client.closed or client.paused):
            self.say(client, b"")
            self.turn_clients([client])
        elif what == "says" and not (client.closed or client.paused):
            assert which is not None
            self.say(client, WORDS[which])
            self.turn_clients([client])
        elif what == "hears" and (busy := self.busy()):
            assert which is not None
            server = busy[number % len(busy)]
            if not server.paused:
                self.turn_servers([(server, ANSWERS[which])])

    def pass_time(self, seconds: float) -> None:
        """Let it pass as the relay's alarm does."""
        for _ in range(round(seconds)):
            self.now += 1.0
            self.relay.now = self.now
            self.relay.upkeep.tick()
            self.relay.outboxes.flush()

    def primary_falls_silent(self) -> None:
        view = self.relay.view
        down = Down(since=self.now, reason="no answer", silent=True)
        nodes = (attrs.evolve(view.nodes[0], health=down), *view.nodes[1:])
        self.relay.upkeep.view_changed(
            ClusterView(nodes=nodes, primary=None, replicas=view.replicas)
        )

    def about(self) -> set[tuple[Standing, str]]:
        """What the servers that are left are about."""
        return {(standing(server), repr(server)) for server in self.relay.servers.values()}


@given(steps=STEPS, reads=st.booleans(), falls_silent=st.booleans())
@settings(max_examples=100 * TIMES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_session_and_whatever_servers_do_comes_to_its_end(
    steps: list[tuple[str, int, str | None]], reads: bool, falls_silent: bool
):
    rig = Rig()
    if not reads:
        for client in rig.clients:
            wire_of(client).room = 100
    for step in steps:
        rig.do(*step)
    if falls_silent:
        rig.primary_falls_silent()

    rig.pass_time(LONGEST)

    left: list[Client] = [client for client in rig.clients if not client.closed]
    assert not left, (left, [standing(s) for s in rig.busy()])
    assert not rig.busy(), rig.about()
    assert all(
        server.lease == CLOSED or standing(server) is Standing.POOLED
        for server in rig.relay.servers.values()
    )
    assert not any(pool.waiters for pool in rig.relay.pools)
    assert not rig.relay.waits.homeless
    assert not rig.relay.waits.parked


@given(steps=STEPS)
@settings(max_examples=50 * TIMES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_by_default_nothing_is_left_but_what_the_application_may_do_as_long_as_it_likes(
    steps: list[tuple[str, int, str | None]],
):
    rig = Rig(DEFAULTS)
    for step in steps:
        rig.do(*step)
    for client in rig.clients:
        wire_of(client).room = 0

    rig.pass_time(LONGEST)

    for server in rig.relay.servers.values():
        assert standing(server) in LEFT, rig.about()
        if standing(server) is Standing.ABANDONED:
            assert not server.responses.owed[0].guarded, "a read is cancelled"
    for client in rig.clients:
        assert client.closed or not (client.blocked or client.wait)
