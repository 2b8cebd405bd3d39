"""What a server is about is read off what it owes and who has it."""

from __future__ import annotations

from rwsplit.config.choices import ConsistencyLevel
from rwsplit.exchange.lease import COOLING
from rwsplit.relay.standing import Standing, client_of, standing, unit_of
from rwsplit.relay.trials import Trial
from rwsplit.server.server import Server
from rwsplit.session.chunk import Chunk, ChunkKind
from tests.support import frames
from tests.support.memory_relay import ANSWER, MemoryRelay, wire_of

WRITE = frames.parse("", "insert into t values (1)") + frames.bind() + frames.execute()
WRITTEN = frames.PARSE_COMPLETE + frames.BIND_COMPLETE + frames.complete("INSERT 0 1")


def says(rig: MemoryRelay, messages: bytes) -> Server:
    """Have the only client send *messages*; return the server that owes something then."""
    rig.say(rig.clients[0], messages)
    rig.turn_clients(rig.clients[:1])
    [server] = rig.busy()
    return server


def begins(rig: MemoryRelay) -> Server:
    """Have the only client begin a transaction on the primary; return its server."""
    server = says(rig, frames.query("begin isolation level serializable"))
    rig.turn_servers([(server, frames.complete("BEGIN") + frames.ready("T"))])
    return server


def flushes(rig: MemoryRelay) -> Server:
    """Have the only client run something, and say Flush; return its server, which has answered it."""
    server = says(rig, WRITE + frames.FLUSH)
    rig.turn_servers([(server, WRITTEN)])
    assert standing(server) is Standing.UNFINISHED
    return server


def half(message: bytes) -> bytes:
    return message[:-100]


LONG = 1_100_000 * "x"


def test_a_server_is_pooled_runs_and_is_pooled_again():
    rig = MemoryRelay(1)
    assert {standing(server) for server in rig.relay.servers.values()} == {Standing.POOLED}
    server = says(rig, frames.query("select 1"))
    assert standing(server) is Standing.RUNNING
    assert client_of(server) is rig.clients[0]
    assert unit_of(server) is server.responses.owed[0]
    rig.turn_servers([(server, ANSWER)])
    assert standing(server) is Standing.POOLED
    assert client_of(server) is None


def test_its_session_idles_in_a_transaction_or_outside_one():
    rig = MemoryRelay(1)
    server = begins(rig)
    assert standing(server) is Standing.IN_TRANSACTION
    says(rig, frames.query("commit"))
    rig.turn_servers([(server, frames.complete("COMMIT") + frames.ready())])
    assert standing(server) is Standing.POOLED
    server = says(rig, frames.query("listen a"))
    rig.turn_servers([(server, frames.complete("LISTEN") + frames.ready())])
    assert standing(server) is Standing.IDLE, "it listens"
    assert client_of(server) is rig.clients[0]


def test_it_is_kept_until_a_cancel_request_is_through():
    rig = MemoryRelay(1)
    server = says(rig, frames.query("select 1"))
    server.cancels += 1
    rig.turn_servers([(server, ANSWER)])
    assert server.lease == COOLING
    assert standing(server) is Standing.CANCELLING


def test_what_is_behind_a_statement_that_runs_does_not_count():
    rig = MemoryRelay(1)
    server = begins(rig)
    rig.say(rig.clients[0], frames.query("update t set a = 1") + half(frames.query(LONG)))
    rig.turn_clients(rig.clients)
    assert server.owed_count == 2
    assert rig.clients[0].is_mid_frame
    assert standing(server) is Standing.RUNNING

    rig.turn_servers([(server, frames.complete("UPDATE 1") + frames.ready("T"))])
    assert standing(server) is Standing.UNFINISHED


def test_nor_does_half_a_message_behind_others_of_its_unit_that_run():
    rig = MemoryRelay(1)
    server = says(rig, WRITE + half(frames.bind(value=LONG.encode())))
    assert rig.clients[0].is_mid_frame
    assert standing(server) is Standing.RUNNING

    rig.turn_servers([(server, WRITTEN)])
    assert standing(server) is Standing.UNFINISHED


def test_half_a_row_of_a_copy_is_part_of_the_copy():
    rig = MemoryRelay(1)
    server = says(rig, frames.query("copy t from stdin"))
    rig.turn_servers([(server, frames.COPY_IN)])
    rig.say(rig.clients[0], half(frames.copy_data(LONG.encode())))
    rig.turn_clients(rig.clients)
    assert rig.clients[0].is_mid_frame
    assert standing(server) is Standing.RUNNING


def test_a_server_that_takes_nothing_has_something_to_do():
    rig = MemoryRelay(1)
    for server in rig.relay.servers.values():
        wire_of(server).room = len(LONG) - 1000
    server = says(rig, half(frames.query(LONG)))
    assert server.armed
    assert not rig.clients[0].paused
    assert standing(server) is Standing.RUNNING


def test_a_session_that_is_not_read_cannot_go_on():
    rig = MemoryRelay(1)
    server = flushes(rig)
    rig.clients[0].paused = True
    assert standing(server) is Standing.RUNNING


def test_one_whose_words_wait_here_has_gone_on():
    rig = MemoryRelay(1)
    server = flushes(rig)
    rig.clients[0].pending.append(Chunk(ChunkKind.MORE, []))
    assert standing(server) is Standing.RUNNING


def test_a_failed_unit_waits_for_its_sync():
    rig = MemoryRelay(1)
    server = says(rig, WRITE + frames.FLUSH)
    rig.turn_servers([(server, frames.error())])
    assert standing(server) is Standing.UNFINISHED


def tries(rig: MemoryRelay) -> Server:
    """Have the only client's statement be tried on a server that does not know it."""
    [client] = rig.clients
    client.level = ConsistencyLevel.EVENTUAL  # any replica may answer
    server = says(rig, frames.parse("s", "select 1") + frames.SYNC)
    rig.reply([server])
    for other in list(server.pool.servers):
        rig.relay.close_server(other)
    server = says(rig, frames.bind("s") + frames.execute() + frames.SYNC)
    assert isinstance(server.responses.owed[0], Trial)
    return server


def test_a_statement_that_is_tried_runs():
    rig = MemoryRelay(1)
    server = tries(rig)
    assert standing(server) is Standing.RUNNING
    assert client_of(server) is rig.clients[0]


def test_nobody_waits_for_it_when_its_client_is_gone():
    rig = MemoryRelay(1)
    server = tries(rig)
    rig.relay.loss.client_gone(rig.clients[0])
    assert standing(server) is Standing.ABANDONED
    assert client_of(server) is None


def test_what_rwsplit_asks_is_for_a_session_or_for_none():
    rig = MemoryRelay(1)
    server = says(rig, frames.query("select set_config('a.b', '1', false)"))
    rig.turn_servers([(server, ANSWER)])
    assert standing(server) is Standing.PREPARING
    rig.relay.loss.client_gone(rig.clients[0])
    assert standing(server) is Standing.CLEANING
