"""Nodes that owe answers are reported; what a frozen one has not begun to answer runs elsewhere."""

from __future__ import annotations

import attrs
import pytest

from rwsplit.cluster.node import Frozen, Health, NodeView, Refusal, Suspect, Up
from rwsplit.cluster.view import ClusterView
from rwsplit.config.choices import ConsistencyLevel, ReadsOnPrimary
from rwsplit.exchange.lease import CLOSED
from rwsplit.exchange.waits import Waiting
from rwsplit.relay.client import Client
from rwsplit.relay.trials import Trial
from rwsplit.routing.balancing import LeastConnections
from rwsplit.routing.route import RouteReason
from rwsplit.server.server import Server
from tests.support import frames
from tests.support.memory_relay import ANSWER, MemoryRelay, replies, wire_of
from tests.support.messages import SYNC, bind, execute, parse

BEGUN = ANSWER[:60]
"""The beginning of an answer: a RowDescription and a part of a row."""


BEGUN_AND_READ = frames.complete("BEGIN") + frames.ready("T") + ANSWER[:-1] + b"T"


class Rig(MemoryRelay):
    """A relay whose reports are kept, and whose nodes are as healthy as a test says."""

    def __init__(self, clients: int, **settings: int) -> None:
        super().__init__(clients, **settings)
        self.reports: list[tuple[str, float, float]] = []
        self.relay.report_owing = lambda *report: self.reports.append(report)

    def pass_time(self, seconds: float) -> list[tuple[str, float, float]]:
        """Let ticks go by for *seconds*; return what was reported."""
        self.reports.clear()
        for _ in range(round(seconds / 0.05)):
            self.now += 0.05
            self.relay.now = self.now
            self.relay.upkeep._overdue.look(self.now)
            self.relay.outboxes.flush()
        return self.reports

    def make(self, name: str, health: Health) -> None:
        """Have the node called *name* be in *health*."""
        view = self.relay.view
        refusal = {Suspect: Refusal.SUSPECT, Frozen: Refusal.FROZEN}.get(type(health))
        nodes = tuple(
            attrs.evolve(node, health=health, refusal=refusal) if node.name == name else node
            for node in view.nodes
        )
        self.relay.upkeep.view_changed(
            ClusterView(
                nodes=nodes,
                primary=nodes[0],
                replicas=tuple(node for node in nodes[1:] if node.refusal is None),
            )
        )

    def freeze(self, node: NodeView | str) -> None:
        """Have it be frozen, and time pass."""
        name = node if isinstance(node, str) else node.name
        self.pass_time(0.1)
        self.make(name, Frozen(since=self.now, until=self.now + 1, strikes=1))
        self.pass_time(0.1)

    def read(self, client: Client, query: bytes = b"select 1") -> Server:
        """Have *client* read; return the server that owes the answer."""
        busy = self.busy()
        self.ask(client, query)
        self.turn_clients([client])
        [server] = [server for server in self.busy() if server not in busy]
        return server


def test_a_node_is_reported_when_it_has_owed_an_answer_for_long_and_answered_nobody():
    rig = Rig(2)
    server = rig.read(rig.clients[0])
    sent = rig.relay.now

    assert rig.pass_time(0.15) == []
    reports = rig.pass_time(0.2)

    assert {report[0] for report in reports} == {server.pool.node}
    assert reports[-1][2] == pytest.approx(sent, abs=0.001)
    assert reports[-1][1] < sent

    rig.answer([server], ANSWER)
    assert rig.pass_time(1.0) == []


def test_an_answer_to_somebody_else_is_a_sign_of_life():
    rig = Rig(2)
    late = rig.read(rig.clients[0])
    other = next(s for s in rig.relay.servers.values() if s.pool is late.pool and s is not late)

    for _ in range(10):
        other.last_done = rig.now
        assert rig.pass_time(0.15) == []


def test_what_is_owed_to_rwsplit_itself_counts_as_well():
    rig = Rig(1)
    [client] = rig.clients
    rig.ask(client, b"set role app")
    rig.turn_clients([client])
    [server] = rig.busy()
    rig.answer([server], frames.complete("SET") + frames.ready())
    assert rig.busy() == [server]  # it is asked what the parameters are now

    assert {report[0] for report in rig.pass_time(0.5)} == {server.pool.node}


def test_after_rwsplit_itself_was_held_up_nobody_is_blamed():
    rig = Rig(1)
    rig.read(rig.clients[0])
    rig.pass_time(0.1)
    rig.now += 3.0  # nobody listened
    assert rig.pass_time(0.15) == []
    resumed = rig.now - 0.15
    reports = rig.pass_time(0.3)
    assert reports
    assert all(asked >= resumed - 0.1 for _, _, asked in reports)


def test_a_suspect_node_that_owes_something_is_reported_whatever_it_answers():
    rig = Rig(2)
    server = rig.read(rig.clients[0])
    rig.make(server.pool.node, Suspect(since=rig.now))
    rig.pass_time(0.05)

    assert rig.pass_time(0.05) != []


def test_reads_a_frozen_node_has_not_begun_to_answer_run_elsewhere_and_its_late_answers_reach_nobody():
    rig = Rig(2)
    client, other = rig.clients
    server = rig.read(client)
    rig.answer([rig.read(other, b"select 2")], ANSWER)
    pool = server.pool

    rig.freeze(pool.node)

    assert server.lease == CLOSED
    assert not pool.servers, "idle ones may be frozen for ever"
    [again] = rig.busy()
    assert again.pool.node != pool.node
    assert client.server is again
    assert rig.relay.counters.load[pool.node_index] == 0
    assert rig.relay.counters.retries == 1
    sent = wire_of(client).sent

    rig.turn_servers([(server, ANSWER)])
    assert wire_of(client).sent == sent
    rig.answer([again], ANSWER)
    assert wire_of(client).sent == ANSWER
    assert client.last is not None
    assert client.last[1].reason is RouteReason.RETRIED_LOST


def test_it_may_run_on_the_node_that_was_frozen_when_that_answers_again():
    rig = Rig(1)
    [client] = rig.clients
    server = rig.read(client)
    rig.freeze(server.pool.node)
    [again] = rig.busy()
    unit = again.responses.owed[0]

    assert unit.refused_by == 0  # type: ignore[attr-defined]


def test_a_read_that_has_begun_to_be_answered_stays():
    rig = Rig(1)
    [client] = rig.clients
    server = rig.read(client)
    # Only what does not fit is passed on before the whole answer is there.
    row = frames.row("x" * 70_000)
    rig.turn_servers([(server, frames.COLUMNS + row)])
    assert server.responses.owed[0].forwarded  # type: ignore[attr-defined]

    rig.freeze(server.pool.node)

    assert rig.busy() == [server]
    rig.turn_servers([(server, frames.complete() + frames.ready())])
    assert client.server is None
    assert not client.closed


def test_lanes_are_left_by_everybody():
    rig = Rig(6, size=1, lane_depth=4)
    for client in rig.clients:  # what the shape costs must be known
        rig.ask(client, b"select 1")
        rig.turn_clients([client])
        rig.answer(rig.busy(), ANSWER)
    for client in rig.clients:
        rig.ask(client, b"select 1")
    rig.turn_clients(rig.clients)
    lane = next(s for s in rig.busy() if s.pool.node != "n0" and len(s.responses.owed) == 2)

    rig.freeze(lane.pool.node)

    assert lane.lease == CLOSED
    assert all(client.server is not lane for client in rig.clients)
    while rig.busy():
        rig.answer(rig.busy(), ANSWER)
    assert all(wire_of(client).sent == ANSWER for client in rig.clients)


def test_a_transaction_that_only_reads_goes_on_elsewhere():
    rig = Rig(1)
    [client] = rig.clients
    rig.ask(client, b"begin")
    rig.turn_clients([client])
    server = rig.read(client)
    rig.turn_servers([(server, BEGUN_AND_READ)])

    rig.freeze(server.pool.node)
    assert server.lease == CLOSED
    assert client.server is None

    again = rig.read(client)
    assert again.pool.node != server.pool.node


def test_a_read_only_transaction_stays():
    rig = Rig(1)
    [client] = rig.clients
    server = rig.read(
        client, b"begin transaction isolation level repeatable read read only; select 1"
    )
    rig.answer([server], frames.complete("BEGIN") + ANSWER[:-1] + b"T")
    assert rig.read(client) is server

    rig.freeze(server.pool.node)

    assert server.lease != CLOSED
    assert client.server is server


def test_a_statement_that_is_tried_on_a_frozen_node_is_tried_elsewhere():
    rig = Rig(1)
    [client] = rig.clients
    client.level = ConsistencyLevel.EVENTUAL  # any replica may answer
    rig.say(client, parse("select 1", "s") + SYNC)
    rig.turn_clients([client])
    [taught] = rig.busy()
    rig.reply([taught])
    rig.freeze(taught.pool.node)

    rig.say(client, bind("s") + execute() + SYNC)
    rig.turn_clients([client])
    [tried] = rig.busy()
    assert isinstance(client.settling, Trial)
    rig.freeze(tried.pool.node)

    [again] = rig.busy()
    assert client.pending[0].refused_by == 0  # type: ignore[union-attr]  # it may answer again
    assert again.pool.node not in {taught.pool.node, tried.pool.node}
    rig.reply([again])  # what it returns
    rig.reply([again])
    assert wire_of(client).sent == replies(bind("s") + execute() + SYNC)
    assert client.settling is None
    assert client.server is None


def test_a_savepoint_a_frozen_replica_does_not_set_is_set_elsewhere():
    rig = Rig(1)
    [client] = rig.clients
    rig.ask(client, b"begin read only")
    rig.turn_clients([client])
    server = rig.read(client)
    rig.turn_servers([(server, BEGUN_AND_READ)])
    rig.ask(client, b"savepoint a")
    rig.turn_clients([client])
    assert rig.busy() == [server]

    rig.freeze(server.pool.node)

    assert server.lease == CLOSED
    [again] = rig.busy()
    assert again.pool.node != server.pool.node
    assert b"savepoint a" in wire_of(again).sent
    assert not client.closed


def test_servers_that_only_clean_up_are_closed():
    rig = Rig(1)
    [client] = rig.clients
    server = rig.read(client)
    rig.relay.loss.client_gone(client)
    rig.freeze(server.pool.node)
    assert server.lease == CLOSED


def test_those_who_wait_for_a_server_of_a_frozen_node_look_elsewhere():
    rig = Rig(9, size=1)
    servers = [rig.read(client) for client in rig.clients[:3]]
    waiting = rig.clients[3]
    rig.ask(waiting, b"select 1")
    rig.turn_clients([waiting])
    assert waiting.waits_for is Waiting.SERVER
    assert waiting.line is not None

    rig.freeze(waiting.line.node)

    assert waiting.line is None or waiting.line.node not in {
        server.pool.node for server in servers if server.lease == CLOSED
    }


def test_reads_do_not_wait_long_for_a_server_to_be_opened():
    rig = Rig(2)
    client, writer = rig.clients
    for pool in rig.relay.pools:
        for server in list(pool.servers):
            if pool.node != "n3":
                rig.relay.close_server(server)
    rig.relay.chooser = LeastConnections()
    rig.ask(client, b"select 1")
    rig.ask(writer, b"insert into t values (1)")
    rig.turn_clients([client, writer])
    assert client.line is not None
    assert client.line.node == "n1"
    client.line.starting = 1

    rig.pass_time(0.4)
    assert client.line.node == "n1"
    rig.pass_time(0.2)

    assert client.line is not None
    assert client.line.node == "n2"
    assert writer.line is not None
    assert writer.line.node == "n0", "there is nobody else to write to"


def share(rig: Rig) -> None:
    routing = attrs.evolve(rig.relay.config.routing, reads_on_primary=ReadsOnPrimary.SHARE)
    rig.relay.reconfigure(attrs.evolve(rig.relay.config, routing=routing), rig.relay.chooser)


def read_on_primary(rig: Rig) -> tuple[Client, Server]:
    for client in rig.clients:
        server = rig.read(client)
        if server.pool.node == "n0":
            return client, server
    raise AssertionError("the primary takes no part")


def test_the_primary_keeps_what_no_replica_is_fresh_enough_for():
    rig = Rig(4)
    share(rig)
    client, server = read_on_primary(rig)
    client.last_read = rig.now
    idle = len(server.pool.idle)

    rig.freeze("n0")

    assert server in rig.busy()
    assert len(server.pool.idle) == idle


def test_the_primary_is_left_by_reads_a_replica_may_answer():
    rig = Rig(4)
    share(rig)
    client, server = read_on_primary(rig)

    rig.freeze("n0")

    assert server.lease == CLOSED
    assert client.server is not None
    assert client.server.pool.node != "n0"


def test_the_primary_keeps_transactions_and_writes():
    rig = Rig(1)
    [client] = rig.clients
    server = rig.read(client, b"insert into t values (1)")
    rig.freeze("n0")
    assert rig.busy() == [server]


def test_all_is_as_before_when_a_node_answers_again():
    rig = Rig(1)
    rig.freeze("n1")
    rig.make("n1", Up())
    assert rig.pass_time(1.0) == []
