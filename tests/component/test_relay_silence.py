"""Servers that say nothing and cannot be at work are given up; those that may be at work never are."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from rwsplit.cluster.node import Down, Health, Up
from rwsplit.cluster.view import ClusterView
from rwsplit.exchange.lease import CLOSED
from rwsplit.relay.silence import SEND_BUFFER
from rwsplit.server.server import Server
from tests.support import frames
from tests.support.memory_relay import ANSWER, MemoryRelay, wire_of

DOWN = Down(since=1.0, reason="no answer in 2 s", silent=True)
REFUSES = Down(since=1.0, reason="password authentication failed")
TIMEOUT = 120.0


class Rig(MemoryRelay):
    """A relay whose primary, "n0", is as healthy as a test says."""

    def __init__(self, clients: int = 1) -> None:
        super().__init__(clients)
        self.pass_time(0.0)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds) or 1):
            self.now += min(seconds, 1.0)
            self.relay.now = self.now
            self.relay.deadlines.look(self.now)
            self.relay.outboxes.flush()

    def primary_is(self, health: Health) -> None:
        """Have "n0" be as *health* says; while it is down, there is no primary."""
        view = self.relay.view
        nodes = (attrs.evolve(view.nodes[0], health=health), *view.nodes[1:])
        primary = nodes[0] if isinstance(health, Up) else None
        self.relay.upkeep.view_changed(
            ClusterView(nodes=nodes, primary=primary, replicas=nodes[1:])
        )

    def runs(self, sql: str, number: int = 0) -> Server:
        """Have a client run *sql*; return its server."""
        busy = self.busy()
        self.ask(self.clients[number], sql.encode())
        self.turn_clients([self.clients[number]])
        [server] = [server for server in self.busy() if server not in busy]
        return server

    def heard(self, number: int = 0) -> bytes:
        return wire_of(self.clients[number]).sent


# A node that is down...


def writes(rig: Rig) -> Server:
    return rig.runs("update t set a = 1")


def copies(rig: Rig) -> Server:
    server = rig.runs("copy t from stdin")
    rig.turn_servers([(server, frames.COPY_IN)])
    rig.say(rig.clients[0], frames.copy_data(b"1\n"))
    rig.turn_clients(rig.clients[:1])
    return server


def commits(rig: Rig) -> Server:
    server = rig.runs("begin isolation level serializable")
    rig.turn_servers([(server, frames.complete("BEGIN") + frames.ready("T"))])
    return rig.runs("commit")


@pytest.mark.parametrize("work", [writes, copies, commits])
def test_what_runs_on_a_primary_that_is_down_is_waited_for_but_not_for_ever(
    work: Callable[[Rig], Server],
):
    rig = Rig()
    server = work(rig)
    rig.primary_is(DOWN)
    rig.pass_time(TIMEOUT - 1)
    assert server.lease != CLOSED
    rig.pass_time(3)
    assert server.lease == CLOSED
    assert b"08006" in rig.heard()
    assert b"server_silence_timeout (120 s)" in rig.heard()
    assert rig.clients[0].closed


def test_one_that_comes_back_is_given_all_the_time_again():
    rig = Rig()
    server = writes(rig)
    for _ in range(5):
        rig.primary_is(DOWN)
        rig.pass_time(TIMEOUT - 10)
        rig.primary_is(Up())
        rig.pass_time(2)
    assert server.lease != CLOSED


def test_a_node_that_only_refuses_the_monitor_is_at_work():
    rig = Rig()
    server = writes(rig)
    rig.primary_is(REFUSES)
    rig.pass_time(10 * TIMEOUT)
    assert server.lease != CLOSED


def test_so_is_one_that_answers_anybody():
    rig = Rig(2)
    server = writes(rig)
    other = rig.runs("update t set a = 2", 1)
    rig.primary_is(DOWN)
    for _ in range(5):
        rig.pass_time(TIMEOUT - 10)
        rig.turn_servers([(other, frames.complete("UPDATE 1") + frames.ready("T"))])
        rig.ask(rig.clients[1], b"update t set a = 2")
        rig.turn_clients(rig.clients[1:])
    assert server.lease != CLOSED


def test_a_long_statement_on_a_node_that_is_up_says_nothing_for_hours():
    rig = Rig()
    server = writes(rig)
    rig.pass_time(20 * TIMEOUT)
    assert server.lease != CLOSED


# A message that breaks off...


def begun(missing: int) -> bytes:
    """The beginning of an answer that lacks so many bytes of a row."""
    return frames.COLUMNS + frames.row(2 * missing * "x")[:-missing]


@pytest.mark.parametrize("missing", [SEND_BUFFER + 1, 100_000_000])
def test_a_server_that_announces_a_long_row_and_falls_silent_is_given_up(missing: int):
    rig = Rig()
    server = rig.runs("update t set a = 1 returning b")
    header = b"D" + (missing + 4).to_bytes(4, "big")
    rig.turn_servers([(server, frames.COLUMNS + header)])
    assert server.responses.missing == missing
    rig.pass_time(TIMEOUT - 1)
    assert server.lease != CLOSED
    rig.pass_time(3)
    assert server.lease == CLOSED
    assert b"broke off in the middle of a message" in rig.heard()


def test_what_postgresql_keeps_in_its_send_buffer_may_be_missing_for_hours():
    # A row that began at the end of one buffer goes on when the next one is full, or the statement is over.
    rig = Rig()
    server = rig.runs("update t set a = 1 returning b")
    rig.turn_servers([(server, begun(8192))])
    assert server.responses.missing == 8192
    rig.pass_time(20 * TIMEOUT)
    assert server.lease != CLOSED


def test_a_long_row_that_comes_slowly_is_awaited():
    rig = Rig()
    server = rig.runs("update t set a = 1 returning b")
    rig.turn_servers([(server, begun(SEND_BUFFER + 1000))])
    for _ in range(10):
        rig.pass_time(TIMEOUT - 10)
        rig.turn_servers([(server, b"x")])
    assert server.lease != CLOSED
    rig.turn_servers(
        [(server, (SEND_BUFFER + 990) * b"x" + frames.complete() + frames.ready())]
    )
    assert not rig.busy()


def test_a_server_that_is_not_read_cannot_go_on():
    rig = Rig()
    [client] = rig.clients
    wire_of(client).room = 0
    server = rig.runs("update t set a = 1 returning b")
    rig.turn_servers([(server, begun(1_000_000))])
    assert server.paused
    rig.pass_time(4 * TIMEOUT)
    assert server.lease != CLOSED


def test_nobody_is_given_up_where_it_is_turned_off():
    rig = Rig()
    pool = attrs.evolve(rig.relay.config.pool, server_silence_timeout=0.0)
    rig.relay.reconfigure(attrs.evolve(rig.relay.config, pool=pool), rig.relay.chooser)
    server = writes(rig)
    rig.primary_is(DOWN)
    rig.pass_time(10 * TIMEOUT)
    assert server.lease != CLOSED
    rig.primary_is(Up())
    rig.turn_servers([(server, ANSWER)])


def test_time_in_which_rwsplit_itself_did_not_run_does_not_count():
    rig = Rig()
    server = rig.runs("update t set a = 1 returning b")
    rig.turn_servers([(server, begun(1_000_000))])
    rig.pass_time(10)
    rig.now += 10 * TIMEOUT
    rig.pass_time(TIMEOUT - 15)
    assert server.lease != CLOSED
    rig.pass_time(10)
    assert server.lease == CLOSED


def test_a_server_of_a_node_that_is_down_is_not_silent_while_it_is_not_read():
    rig = Rig()
    [client] = rig.clients
    wire_of(client).room = 0
    server = rig.runs("update t set a = 1 returning b")
    rig.turn_servers([(server, frames.COLUMNS + frames.row(1_000_000 * "x"))])
    assert server.paused
    rig.primary_is(DOWN)
    rig.pass_time(4 * TIMEOUT)
    assert server.lease != CLOSED


def test_servers_that_owe_nothing_have_nothing_to_say():
    rig = Rig()
    server = rig.runs("begin isolation level serializable")
    rig.turn_servers([(server, frames.complete("BEGIN") + frames.ready("T"))])
    rig.primary_is(DOWN)
    rig.pass_time(4 * TIMEOUT)
    assert server.lease != CLOSED
    assert server.pool.idle
