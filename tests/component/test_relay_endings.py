"""Sessions that end in the middle of something: what they used is free again, and the books agree."""

from __future__ import annotations

import select

import pytest

from rwsplit.exchange.lease import CLOSED
from rwsplit.protocol import codes
from rwsplit.relay.client import Client
from rwsplit.relay.slices import SLICE
from rwsplit.server.server import Server
from tests.support.counted_turns import answers
from tests.support.frames import (
    BIND_COMPLETE,
    FLUSH,
    PARSE_COMPLETE,
    SYNC,
    bind,
    complete,
    error,
    execute,
    message,
    parse,
    query,
    ready,
)
from tests.support.memory_relay import ANSWER, MemoryRelay, wire_of

TERMINATE = message("X")
SHUT_DOWN = error("57P01", severity="FATAL")
COPY_IN = message("G", b"\0\0\1\0\0")


def answered(rig: MemoryRelay, client: Client) -> bytes:
    """Answer all that servers are sent, while *client* has closed its end; return what they were sent."""
    sent: list[bytes] = []
    while True:
        said = [(each, wire_of(each).log) for each in rig.relay.servers.values()]
        due = [(each, answers(b"".join(log))) for each, log in said if log]
        sent += [data for _, log in said if log for data in log]
        for _, log in said:
            if log:
                log.clear()
        if due:
            rig.turn_servers(due)
        elif rig.relay.driver.pressed:
            rig.relay.turn([])
        elif not (client.paused or client.closed):
            rig.say(client, b"")  # it is at its end as often as it is read
            rig.turn_clients([client])
        else:
            return b"".join(sent)


@pytest.fixture
def rig() -> MemoryRelay:
    return MemoryRelay(2, size=1)


def shut_down(rig: MemoryRelay, server: Server) -> None:
    """Have *server* say that it is shut down, and end."""
    rig.turn_servers([(server, SHUT_DOWN)])
    rig.turn_servers([(server, b"")])


def test_a_goodbye_in_the_middle_of_a_copy_ends_session_and_server(rig: MemoryRelay):
    client = rig.clients[0]
    rig.ask(client, b"copy t from stdin")
    rig.turn_clients([client])
    [server] = rig.busy()
    rig.turn_servers([(server, COPY_IN)])
    wire_of(client).incoming = message("d", b"1\n") + TERMINATE
    rig.turn_clients([client])
    assert client.closed
    assert server.lease == CLOSED
    assert not any(rig.relay.counters.load)


def test_a_goodbye_behind_a_copy_that_has_not_begun_ends_session_and_server(rig: MemoryRelay):
    client = rig.clients[0]
    wire_of(client).incoming = query("copy t from stdin") + TERMINATE
    rig.turn_clients([client])
    [server] = rig.busy()
    assert not client.closed, "the COPY may be answered by an error"
    rig.turn_servers([(server, COPY_IN)])
    assert client.closed
    assert server.lease == CLOSED
    assert not any(rig.relay.counters.load)


def test_a_goodbye_behind_the_end_of_a_copy_waits_for_its_answer(rig: MemoryRelay):
    client = rig.clients[0]
    rig.ask(client, b"copy t from stdin")
    rig.turn_clients([client])
    [server] = rig.busy()
    rig.turn_servers([(server, COPY_IN)])
    wire_of(client).incoming = message("d", b"1\n") + message("c") + TERMINATE
    rig.turn_clients([client])
    assert not client.closed
    rig.turn_servers([(server, complete("COPY 1") + ready())])
    assert client.closed
    assert server.lease != CLOSED
    assert not any(rig.relay.counters.load)


def test_a_goodbye_that_comes_together_with_the_answer_to_a_flush_ends_the_session(
    rig: MemoryRelay,
):
    """Else nothing would ever end it: what it has written stays locked, and it does not idle either."""
    client = rig.clients[0]
    rig.ask(client, b"begin isolation level serializable")
    rig.turn_clients([client])
    [server] = rig.busy()
    rig.turn_servers([(server, complete("BEGIN") + ready("T"))])
    update = parse("", "update t set a = 1") + bind() + execute() + FLUSH
    rig.say(client, update)
    rig.turn_clients([client])
    wire_of(server).incoming = PARSE_COMPLETE + BIND_COMPLETE + complete("UPDATE 1")
    rig.say(client, TERMINATE)
    rig.relay.turn([(server.fd, select.EPOLLIN), (client.fd, select.EPOLLIN)])
    assert wire_of(client).sent.endswith(complete("UPDATE 1"))
    assert client.closed
    assert server.lease == CLOSED
    assert not any(rig.relay.counters.load)


def test_what_was_said_before_a_goodbye_is_done_however_many_slices_that_takes(
    rig: MemoryRelay,
):
    """It is held until its name is settled; meanwhile the client closes its end of the connection."""
    client = rig.clients[0]
    for server in rig.relay.servers.values():
        wire_of(server).log = []
    wrote = bind("s") + execute() + SYNC
    many = 3 * SLICE
    rig.say(client, parse("s", "insert into t values (1)") + SYNC + many * wrote + TERMINATE)
    rig.turn_clients([client])
    rig.say(client, b"")
    rig.turn_clients([client])
    assert not client.closed, "its statements wait"
    assert answered(rig, client).count(execute()) == many
    assert client.closed


def test_a_server_closed_in_the_middle_of_a_copy_is_busy_with_nothing(rig: MemoryRelay):
    client = rig.clients[0]
    rig.ask(client, b"copy t from stdin")
    rig.turn_clients([client])
    [server] = rig.busy()
    rig.turn_servers([(server, COPY_IN)])
    rig.relay.loss.client_gone(client)
    assert server.lease == CLOSED
    assert not any(rig.relay.counters.load)


def test_a_cancel_for_what_is_answered_together_with_what_went_ahead_of_it_is_late(
    rig: MemoryRelay,
):
    client = rig.clients[0]
    client.adopt_parameters(rig.knowledge.parameters.intern({"search_path": "a"}))
    rig.ask(client, b"insert into t values (1)")
    rig.turn_clients([client])
    [server] = rig.busy()
    rig.relay.canceller.cancel(client.pid, client.cancel_key)
    change, answer = complete("SELECT 1") + ready(), complete("INSERT 0 1") + ready()
    rig.turn_servers([(server, change + answer)])
    assert wire_of(client).sent == answer
    assert not client.in_flight
    assert server.lease != CLOSED


def test_a_read_whose_server_is_shut_down_under_its_parameters_runs_elsewhere(rig: MemoryRelay):
    client = rig.clients[0]
    client.adopt_parameters(rig.knowledge.parameters.intern({"search_path": "a"}))
    rig.ask(client, b"select 1")
    rig.turn_clients([client])
    [server] = rig.busy()
    assert server.is_replica
    shut_down(rig, server)
    [other] = rig.busy()
    assert other is not server
    rig.turn_servers([(other, complete("SELECT 1") + ready() + ANSWER)])
    assert wire_of(client).sent == ANSWER


def test_a_write_whose_server_is_shut_down_under_its_parameters_is_told_so(rig: MemoryRelay):
    client = rig.clients[0]
    client.adopt_parameters(rig.knowledge.parameters.intern({"search_path": "a"}))
    rig.ask(client, b"insert into t values (1)")
    rig.turn_clients([client])
    [server] = rig.busy()
    shut_down(rig, server)
    assert client.closed
    assert wire_of(client).sent == SHUT_DOWN


def test_the_end_of_a_transaction_that_has_read_survives_its_replica(rig: MemoryRelay):
    client = rig.clients[0]
    rig.ask(client, b"begin")
    rig.turn_clients([client])
    rig.ask(client, b"select 1")
    rig.turn_clients([client])
    [server] = rig.busy()
    assert server.is_replica
    rig.turn_servers([(server, complete("BEGIN") + ready("T") + ANSWER[:-1] + b"T")])
    rig.ask(client, b"commit")
    rig.turn_clients([client])
    reads = sum(rig.relay.counters.reads)
    shut_down(rig, server)
    assert wire_of(client).sent == complete("COMMIT") + ready()
    assert client.tx == codes.IDLE
    assert sum(rig.relay.counters.reads) == reads
    assert not any(rig.relay.counters.load)
