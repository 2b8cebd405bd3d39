"""What rwsplit asks and changes on its own account: in which write, what waits for it, what becomes of failures."""

from __future__ import annotations

import struct

import pytest

from rwsplit.exchange.lease import CLOSED, IDLE
from rwsplit.relay.client import Client
from rwsplit.relay.readback import ATTEMPTS
from rwsplit.relay.resetting import Reset
from rwsplit.server.pool import Pool
from rwsplit.server.server import Server
from rwsplit.session import audit
from rwsplit.session.inband_settings import InBandSettings
from rwsplit.session.journal import MOST_LENGTH, MOST_SET
from rwsplit.session.parameters import MOST_COLUMNS, NONE
from rwsplit.session.pinning import PinReason
from tests.support import frames
from tests.support.frames import complete, error, message, query, ready
from tests.support.memory_relay import ANSWER, MemoryRelay, replies, wire_of

SET = complete("SET") + ready()
CANCELLED = error("57014") + ready()


def values(*columns: str | bytes | None) -> bytes:
    """Return the answer to a question."""
    data = b""
    for column in columns:
        text = column.encode() if isinstance(column, str) else column
        data += struct.pack("!i", -1 if text is None else len(text)) + (text or b"")
    return message("D", struct.pack("!h", len(columns)) + data) + complete() + ready()


def hexed(text: str) -> str:
    return text.encode().hex()


def left(reason: PinReason | None) -> list[bytes]:
    """Return the columns of an audit that finds *reason*."""
    rows = [[b"t" if n == i else b"f" for n in range(len(audit.COLUMNS))] for i in range(-1, 9)]
    return next(row for row in rows if audit.left(row) == ([] if reason is None else [reason]))


def says(rig: MemoryRelay, client: Client, text: bytes) -> Server:
    """Have *client* send *text*; return the server that got it."""
    rig.ask(client, text)
    rig.turn_clients([client])
    assert client.server is not None
    return client.server


def answers(rig: MemoryRelay, server: Server, data: bytes) -> None:
    rig.turn_servers([(server, data)])


@pytest.fixture
def rig() -> MemoryRelay:
    return MemoryRelay(2, size=1)


def acting_as(rig: MemoryRelay, client: Client, role: str) -> None:
    parameters = rig.knowledge.parameters.intern({"role": role})
    client.adopt_parameters(parameters)


def pools(rig: MemoryRelay) -> list[Pool]:
    """Return the pools, the primary's first."""
    nodes = rig.relay.view.nodes
    return [rig.relay.pools.get(node.name, node.index, "app", "app") for node in nodes]


# Questions...


def test_a_set_and_the_question_leave_in_one_write_and_the_next_unit_waits(rig: MemoryRelay):
    client = rig.clients[0]
    server = says(rig, client, b"set timezone = 'utc'")
    assert wire_of(server).sends == 1
    assert wire_of(server).sent.startswith(query("set timezone = 'utc'"))
    assert b"current_setting(E'timezone', true)" in wire_of(server).sent

    answers(rig, server, SET)
    assert wire_of(client).sent == SET
    rig.ask(client, b"select 1")
    rig.turn_clients([client])
    assert len(client.pending) == 1

    answers(rig, server, values("UTF8", hexed("UTC")))
    assert wire_of(client).sends == 1, "the client sees nothing of it"
    assert client.parameters.values == (("timezone", "UTC"),)
    assert not client.pending
    [reader] = rig.busy()
    assert reader is server, "it has the parameters already"
    assert wire_of(server).sent == query("select 1")


def test_whether_a_session_wants_warnings_is_judged_by_what_it_has_set_just_before(
    rig: MemoryRelay,
):
    client = rig.clients[0]
    server = says(rig, client, b"set client_min_messages = error")
    answers(rig, server, SET)
    rig.ask(client, b"/* rwsplit: nonsense */ select 1")
    rig.turn_clients([client])
    answers(rig, server, values("UTF8", hexed("error")))
    assert wire_of(client).sends == 1, "it has set not to be warned"
    assert rig.relay.hinting.misspelt == {"app": 1}


def test_in_a_transaction_the_question_waits_for_its_end(rig: MemoryRelay):
    client = rig.clients[0]
    server = says(rig, client, b"begin; insert into t values (1)")
    answers(rig, server, complete("BEGIN") + complete("INSERT 0 1") + ready("T"))
    says(rig, client, b"set timezone = 'utc'")
    assert wire_of(server).sent == query("set timezone = 'utc'")
    answers(rig, server, complete("SET") + ready("T"))
    says(rig, client, b"rollback")
    answers(rig, server, complete("ROLLBACK") + ready())
    assert b"current_setting" in wire_of(server).sent
    answers(rig, server, values("UTF8", hexed("GMT")))
    assert client.parameters.values == (("timezone", "GMT"),)
    assert server.lease == IDLE


def test_a_question_that_is_cancelled_is_asked_again(rig: MemoryRelay):
    client = rig.clients[0]
    server = says(rig, client, b"set timezone = 'utc'")
    answers(rig, server, SET + CANCELLED)
    assert client.settling is not None
    answers(rig, server, values("UTF8", hexed("UTC")))
    assert (client.settling, client.server) == (None, None)
    assert client.parameters.values == (("timezone", "UTC"),)


def test_a_question_that_is_never_answered_ends_the_session(rig: MemoryRelay):
    client = rig.clients[0]
    server = says(rig, client, b"set timezone = 'utc'")
    answers(rig, server, SET)
    for _ in range(ATTEMPTS):
        assert not client.closed
        answers(rig, server, CANCELLED)
    assert client.closed
    assert b"C08006" in wire_of(client).sent
    assert wire_of(server).sent == query("DISCARD ALL"), "nobody knows what it has"


def test_the_server_of_a_client_that_is_gone_is_wiped(rig: MemoryRelay):
    client, other = rig.clients
    server = says(rig, client, b"set role clerk")
    answers(rig, server, SET)
    rig.relay.loss.client_gone(client)
    answers(rig, server, values("UTF8", hexed("clerk")))
    assert wire_of(server).sent == query("DISCARD ALL")
    rig.ask(other, b"insert into t values (1)")
    rig.turn_clients([other])
    assert other.server is None
    answers(rig, server, complete("DISCARD ALL") + ready())
    assert other.server is server


def test_a_session_whose_server_is_lost_with_its_answer_ends(rig: MemoryRelay):
    client = rig.clients[0]
    server = says(rig, client, b"set role clerk")
    answers(rig, server, SET)
    rig.relay.lose_server(server, None)
    assert client.closed


def discards_and(rig: MemoryRelay, client: Client, text: str) -> tuple[Server, bytes]:
    """Have *client*, which has set work_mem, send DISCARD ALL and *text* in one pipeline; return its server and what both are answered."""
    client.adopt_parameters(rig.knowledge.parameters.intern({"work_mem": "9MB"}))
    pipeline = b"".join(
        frames.parse("", each) + frames.bind("") + frames.execute()
        for each in ("discard all", text)
    )
    rig.say(client, pipeline + frames.SYNC)
    rig.turn_clients([client])
    assert client.server is not None
    return client.server, replies(pipeline + frames.SYNC)


def test_what_a_discard_all_has_put_back_is_not_asked_for_whatever_runs_behind_it(
    rig: MemoryRelay,
):
    client = rig.clients[0]
    server, answer = discards_and(rig, client, "select 1")
    assert b"current_setting" not in wire_of(server).sent
    rig.turn_servers([(server, complete("SELECT 1") + ready() + answer)])
    assert client.parameters is NONE
    assert (client.server, client.settling) == (None, None)


def test_a_discard_all_that_fails_leaves_the_parameters_in_doubt(rig: MemoryRelay):
    client = rig.clients[0]
    server, _ = discards_and(rig, client, "select 1/0")
    rig.turn_servers([(server, complete("SELECT 1") + ready() + error("22012") + ready())])
    assert b"current_setting" in wire_of(server).sent
    rig.turn_servers([(server, values("UTF8", None))])
    assert client.parameters is NONE
    assert (client.server, client.settling) == (None, None)


# Pins...


def test_what_is_left_is_asked_after_what_may_have_ended_it(rig: MemoryRelay):
    client = rig.clients[0]
    server = says(rig, client, b"listen news")
    answers(rig, server, complete("LISTEN") + ready())
    assert (client.pin, client.settling) == (PinReason.LISTEN, None), "it is sure to listen"
    says(rig, client, b"unlisten news")
    answers(rig, server, complete("UNLISTEN") + ready() + values(*left(PinReason.TEMP_TABLE)))
    assert client.pin is PinReason.TEMP_TABLE
    says(rig, client, b"drop table t")
    answers(rig, server, complete("DROP TABLE") + ready() + values(*left(None)))
    assert (client.pin, client.server, server.lease) == (None, None, IDLE)
    assert not server.soiled


def test_what_cannot_be_seen_is_not_asked_about(rig: MemoryRelay):
    client = rig.clients[0]
    server = says(rig, client, b"select setseed(0.5)")
    answers(rig, server, ANSWER)
    says(rig, client, b"drop table t")
    assert wire_of(server).sent == query("drop table t")
    answers(rig, server, complete("DROP TABLE") + ready())
    assert (client.pin, client.settling) == (PinReason.SEED, None)


# Changes that must be awaited...


def test_a_unit_waits_until_its_server_acts_as_its_role(rig: MemoryRelay):
    client = rig.clients[0]
    acting_as(rig, client, "clerk")
    server = says(rig, client, b"insert into t values (1)")
    assert b"E'clerk'" in wire_of(server).sent
    assert b"insert" not in wire_of(server).sent
    answers(rig, server, complete() + ready())
    assert wire_of(server).sent == query("insert into t values (1)")
    assert server.parameters is client.parameters
    answers(rig, server, complete("INSERT 0 1") + ready())
    assert server.lease == IDLE

    says(rig, client, b"insert into t values (2)")
    assert wire_of(server).sent == query("insert into t values (2)")


def test_the_way_out_of_a_role_is_refused_once_if_the_fault_is_another_parameters(
    rig: MemoryRelay,
):
    client = rig.clients[0]
    had = {"log_statement": "ddl"}
    client.adopt_parameters(rig.knowledge.parameters.intern(had))
    rig.ask(client, b"reset role")
    for pool in pools(rig):
        pool.acceptance.refused(client.parameters)
    rig.turn_clients([client])
    refusal = error("42501", 'permission denied to set parameter "log_statement"') + ready()
    asked = []
    while (server := client.server) is not None and len(asked) < 9:
        asked.append(server.pool.node)
        answers(rig, server, refusal)
    assert asked == ["n0"], "the primary"
    assert wire_of(client).sent == refusal
    assert dict(client.parameters.values) == had


@pytest.mark.parametrize("text", [b"reset log_statement", b"set log_statement = 'none'"])
def test_what_the_primary_refuses_is_given_up_there_not_where_it_is_still_in_force(
    rig: MemoryRelay, text: bytes
):
    client = rig.clients[0]
    client.adopt_parameters(rig.knowledge.parameters.intern({"log_statement": "ddl"}))
    primary, *replicas = pools(rig)
    for pool in replicas:
        pool.idle[0].parameters = client.parameters
    primary.acceptance.refused(client.parameters)
    server = says(rig, client, text)
    assert server.pool is primary
    answers(rig, server, error("42501", 'permission denied to "log_statement"') + ready())
    assert client.parameters is NONE, "its way out"
    assert client.server is not None, "the statement runs now"


def test_discard_all_is_the_way_out_of_whatever_is_refused(rig: MemoryRelay):
    client = rig.clients[0]
    had = {"log_statement": "ddl", "log_min_duration_statement": "1", "role": "clerk"}
    client.adopt_parameters(rig.knowledge.parameters.intern(had))
    server = says(rig, client, b"discard all")
    assert b"log_statement" in wire_of(server).sent
    answers(rig, server, error("42501", 'permission denied to "log_statement"') + ready())
    assert client.parameters is NONE
    assert client.server is not None
    assert wire_of(client.server).sent == query("discard all")


def test_what_the_primary_refuses_other_nodes_are_not_sure_of_any_more(rig: MemoryRelay):
    client = rig.clients[0]
    client.adopt_parameters(rig.knowledge.parameters.intern({"log_statement": "ddl"}))
    _, *replicas = pools(rig)
    for pool in replicas:
        pool.acceptance.took(client.parameters)
    server = says(rig, client, b"insert into t values (1)")
    answers(rig, server, error("42501", 'permission denied to "log_statement"') + ready())
    assert not any(pool.acceptance.is_sure(client.parameters) for pool in replicas)


def test_a_role_the_primary_refuses_is_the_answer_and_the_unit_does_not_run(rig: MemoryRelay):
    client = rig.clients[0]
    acting_as(rig, client, "clerk")
    server = says(rig, client, b"insert into t values (1)")
    answers(rig, server, error("22023", "role is gone") + ready())
    assert wire_of(client).sent == error("22023", "role is gone") + ready()
    assert (server.lease, server.parameters) == (IDLE, NONE), "one Query: it changed nothing"
    assert (client.server, client.closed) == (None, False)


def test_a_role_a_replica_does_not_know_is_asked_for_on_the_primary(rig: MemoryRelay):
    client = rig.clients[0]
    acting_as(rig, client, "clerk")
    replica = says(rig, client, b"select 1")
    assert replica.is_replica
    answers(rig, replica, error("22023") + ready())
    server = client.server
    assert server is not None
    assert not server.is_replica
    answers(rig, server, complete() + ready())
    assert wire_of(server).sent == query("select 1")
    answers(rig, server, ANSWER)
    assert wire_of(client).sent == ANSWER


def test_a_role_that_is_refused_fails_the_transaction_that_was_nowhere_yet(rig: MemoryRelay):
    client = rig.clients[0]
    acting_as(rig, client, "clerk")
    rig.ask(client, b"begin")
    rig.turn_clients([client])
    assert wire_of(client).sent == complete("BEGIN") + ready("T")
    server = says(rig, client, b"insert into t values (1)")
    answers(rig, server, error("22023") + ready())
    assert wire_of(client).sent == error("22023") + ready("E")
    rig.ask(client, b"rollback")
    rig.turn_clients([client])
    assert wire_of(client).sent == complete("ROLLBACK") + ready()


@pytest.mark.parametrize("text", [b"reset role", b"set role none", b"discard all"])
def test_one_gets_out_of_a_role_that_is_gone(rig: MemoryRelay, text: bytes):
    client = rig.clients[0]
    acting_as(rig, client, "clerk")
    server = says(rig, client, text)
    answers(rig, server, error("22023") + ready())
    answers(rig, server, complete("DISCARD ALL") + ready())
    assert wire_of(server).sent.startswith(query(text.decode()))


def test_a_server_lost_while_it_is_changed_costs_nothing(rig: MemoryRelay):
    client = rig.clients[0]
    acting_as(rig, client, "clerk")
    replica = says(rig, client, b"select 1")
    rig.relay.lose_server(replica, None)
    assert not client.closed
    assert client.server is not None
    assert client.server.pool.node != replica.pool.node


def test_a_unit_that_is_cancelled_while_it_waits_for_a_change_never_runs(rig: MemoryRelay):
    client = rig.clients[0]
    acting_as(rig, client, "clerk")
    server = says(rig, client, b"insert into t values (1)")
    rig.relay.canceller.cancel(client.pid, client.cancel_key)
    assert b"C57014" in wire_of(client).sent
    answers(rig, server, complete() + ready())
    assert (client.server, server.lease) == (None, IDLE)
    assert b"insert" not in wire_of(server).sent


def test_a_session_that_leaves_while_its_server_is_changed_leaves_it_as_it_is(rig: MemoryRelay):
    client = rig.clients[0]
    acting_as(rig, client, "clerk")
    server = says(rig, client, b"insert into t values (1)")
    rig.relay.loss.client_gone(client)
    answers(rig, server, complete() + ready())
    assert (server.lease, server.parameters) == (IDLE, client.parameters)


def test_a_lane_is_opened_for_a_waiter_only_when_its_server_needs_no_answer():
    rig = MemoryRelay(3, size=1, lane_depth=8)
    for _ in range(2):  # what the shape costs
        rig.ask(rig.clients[0], b"select 1")
        rig.turn_clients(rig.clients[:1])
        rig.answer(rig.busy(), ANSWER)
    for client in rig.clients[1:]:
        acting_as(rig, client, "clerk")
        client.set_in_band(InBandSettings(route="primary"))
    rig.clients[0].set_in_band(InBandSettings(route="primary"))
    server = says(rig, rig.clients[0], b"insert into t values (1)")
    for client in rig.clients[1:]:
        rig.ask(client, b"select 1")
    rig.turn_clients(rig.clients[1:])
    answers(rig, server, complete("INSERT 0 1") + ready())
    assert b"select 1" not in wire_of(server).sent
    answers(rig, server, complete() + ready())
    while rig.busy():
        rig.answer(rig.busy(), ANSWER)
    assert [client.statements for client in rig.clients] == [3, 1, 1]


def test_a_cancel_request_waits_until_the_change_in_front_of_its_unit_is_made(rig: MemoryRelay):
    client = rig.clients[0]
    client.adopt_parameters(rig.knowledge.parameters.intern({"search_path": "a"}))
    server = says(rig, client, b"insert into t values (1)")
    assert wire_of(server).sends == 1, "change and unit in one write"
    rig.relay.canceller.cancel(client.pid, client.cancel_key)
    assert not server.cancels
    answers(rig, server, complete() + ready())
    assert server.cancels


def test_less_than_discard_all_does_not_clean_a_server_that_acts_as_a_role(rig: MemoryRelay):
    server = next(iter(rig.relay.servers.values()))
    for sql, left_as in (("reset all", None), ("discard all", NONE)):
        server.parameters = rig.knowledge.parameters.intern({"role": "clerk"})
        Reset(sql).done(server)
        assert server.parameters is left_as
    server.parameters = rig.knowledge.parameters.intern({"timezone": "UTC"})
    Reset("reset all").done(server)
    assert server.parameters is NONE


def reads_in_transaction(rig: MemoryRelay, client: Client) -> Server:
    """Have *client*, which has parameters, read in a READ ONLY transaction; return the replica."""
    rig.ask(client, b"begin read only")
    rig.turn_clients([client])
    replica = says(rig, client, b"select 1")
    answers(rig, replica, complete() + ready())
    answers(rig, replica, complete("BEGIN") + ready("T") + complete("SELECT 1") + ready("T"))
    return replica


def test_a_move_whose_role_the_primary_refuses_fails_the_transaction(rig: MemoryRelay):
    client = rig.clients[0]
    acting_as(rig, client, "clerk")
    replica = reads_in_transaction(rig, client)
    primary = says(rig, client, b"select pg_advisory_xact_lock(1)")
    assert primary is not replica
    assert b"pg_advisory" not in wire_of(primary).sent
    answers(rig, primary, error("22023", "role is gone") + ready())
    assert wire_of(client).sent == error("22023", "role is gone") + ready("E")
    rig.ask(client, b"rollback")
    rig.turn_clients([client])
    assert wire_of(client).sent == complete("ROLLBACK") + ready()
    assert (client.server, primary.lease, client.closed) == (None, IDLE, False)


# Values that a server refuses...


def having(rig: MemoryRelay, client: Client, **values: str) -> None:
    named = {name.replace("__", "."): value for name, value in values.items()}
    client.adopt_parameters(rig.knowledge.parameters.intern(named))


def test_a_write_waits_until_its_pool_is_known_to_take_the_value(rig: MemoryRelay):
    first, second = rig.clients
    for client in (first, second):
        having(rig, client, timezone="UTC")
    server = says(rig, first, b"insert into t values (1)")
    assert b"insert" not in wire_of(server).sent
    answers(rig, server, complete() + ready())
    assert wire_of(server).sent == query("insert into t values (1)")
    answers(rig, server, complete("INSERT 0 1") + ready())
    server.parameters = NONE
    assert b"insert" in wire_of(says(rig, second, b"insert into t values (2)")).sent


def test_a_read_behind_a_change_that_fails_runs_again_and_its_server_is_nobodys(
    rig: MemoryRelay,
):
    client, stranger = rig.clients
    having(rig, client, timezone="UTC")
    replica = says(rig, client, b"select 1")
    assert b"select 1" in wire_of(replica).sent, "one write"
    answers(rig, replica, error("42501", "no") + ready() + ANSWER)
    assert replica.lease == CLOSED
    again = client.server
    assert isinstance(again, Server)
    assert not client.sink
    answers(rig, again, complete() + ready() + ANSWER)
    assert wire_of(client).sent == ANSWER
    assert not stranger.closed


def test_what_has_been_refused_is_not_sent_blindly_again(rig: MemoryRelay):
    client = rig.clients[0]
    having(rig, client, timezone="UTC")
    for pool in rig.relay.pools:
        pool.acceptance.refused(client.parameters)
    replica = says(rig, client, b"select 1")
    assert b"select 1" not in wire_of(replica).sent
    answers(rig, replica, error("42501") + ready())
    assert (replica.lease, replica.parameters) == (IDLE, NONE)
    assert isinstance(client.server, Server)
    assert not client.server.is_replica


def test_what_the_primary_refuses_is_the_answer_and_one_gets_out_of_it(rig: MemoryRelay):
    client = rig.clients[0]
    having(rig, client, log_statement="all")
    refusal = error("42501", 'permission denied to set parameter "log_statement"')
    server = says(rig, client, b"insert into t values (1)")
    answers(rig, server, refusal + ready())
    assert wire_of(client).sent == refusal + ready()

    server = says(rig, client, b"reset log_statement")
    if server.is_replica:
        answers(rig, server, refusal + ready())
        assert isinstance(client.server, Server)
        server = client.server
    answers(rig, server, refusal + ready())
    assert client.parameters is NONE
    assert isinstance(client.server, Server)
    assert query("reset log_statement") in wire_of(client.server).sent


@pytest.mark.parametrize("begin", [False, True])
def test_a_custom_parameter_a_library_refuses_is_no_more_and_the_client_is_warned(
    rig: MemoryRelay, begin: bool
):
    client = rig.clients[0]
    having(rig, client, plpgsql__nosuch="1", my__own="2")
    if begin:
        reads_in_transaction(rig, client)
    text = b"select pg_advisory_xact_lock(1)"
    server = says(rig, client, text)
    refusal = 'invalid configuration parameter name "plpgsql.nosuch"'
    answers(rig, server, error("42602", refusal) + ready())
    assert message("N", b"SWARNING\0VWARNING\0C42602\0M" + refusal.encode() + bytes(2)) in (
        wire_of(client).sent
    )
    assert client.parameters.values == (("my.own", "2"),)
    server = client.server
    assert isinstance(server, Server)
    answers(rig, server, complete() + ready())
    assert query(text.decode()) in wire_of(server).sent


def test_a_value_only_a_functions_owner_may_set_keeps_the_session_where_it_has_it(
    rig: MemoryRelay,
):
    client = rig.clients[0]
    server = says(rig, client, b"set log_statement = 'all'; insert into t values (1)")
    if b"current_setting" not in wire_of(server).sent:
        answers(rig, server, SET)
    else:
        answers(rig, server, complete("SET") + complete("INSERT 0 1") + ready())
    answers(rig, server, values("UTF8", "!" + hexed("all")))
    assert client.pin is PinReason.PRIVILEGED_PARAMETER
    assert client.server is server
    assert says(rig, client, b"reset log_statement") is server
    answers(rig, server, complete("RESET") + ready())
    answers(rig, server, values("UTF8", None, *left(None)))
    assert (client.pin, client.server) == (None, None)
    assert client.parameters is NONE


def test_a_session_ends_if_a_server_does_not_tell_values_for_their_length(rig: MemoryRelay):
    client = rig.clients[0]
    server = says(rig, client, b"select set_config('my.own', repeat('x', 1000000), false)")
    assert b" WHERE pg_catalog.length(" in wire_of(server).sent
    answers(rig, server, ANSWER)
    answers(rig, server, complete("SELECT 0") + ready())
    assert client.closed
    assert b"SFATAL\0VFATAL\0C53400\0" in wire_of(client).sent
    assert server.lease != IDLE, "it is wiped first"


def test_a_session_ends_if_its_parameters_are_too_long_together(rig: MemoryRelay):
    client = rig.clients[0]
    most = MOST_LENGTH - len("my.own") - len("my.other")
    having(rig, client, my__own="x" * (most - 10))
    server = says(rig, client, b"set my.other = 'x'")
    answers(rig, server, ANSWER)  # to what brings it to the session's parameters
    answers(rig, server, complete("SET") + ready())
    answers(rig, server, values("UTF8", hexed("x" * 10)))
    assert len(client.parameters.values) == 2
    server = says(rig, client, b"set my.other = 'xx'")
    answers(rig, server, complete("SET") + ready())
    answers(rig, server, values("UTF8", hexed("x" * 11)))
    assert client.closed
    assert b"C53400\0" in wire_of(client).sent


def test_a_primary_lost_while_a_transaction_moves_there_ends_the_session(rig: MemoryRelay):
    client = rig.clients[0]
    acting_as(rig, client, "clerk")
    reads_in_transaction(rig, client)
    primary = says(rig, client, b"select pg_advisory_xact_lock(1)")
    rig.relay.lose_server(primary, None)
    assert client.closed
    assert b"C08006" in wire_of(client).sent


def test_more_parameters_than_a_row_has_columns_are_asked_for_and_told_in_several(
    rig: MemoryRelay,
):
    client = rig.clients[0]
    names = [f"a.x{number}" for number in range(MOST_COLUMNS + 200)]
    client.journal.touched.update(dict.fromkeys(names[1:], False))
    server = says(rig, client, b"set a.x0 = 1")
    [question] = [
        part for part in wire_of(server).sent.split(b"\0") if b"/* rwsplit */" in part
    ]
    assert question.count(b"SELECT ") == 2
    first = values("UTF8", *[hexed("1")] * (MOST_COLUMNS - 1))[: -len(ready())]
    second = values(*[hexed("1")] * (len(names) + 1 - MOST_COLUMNS))
    answers(rig, server, SET + first + second)
    assert not client.closed
    assert dict(client.parameters.values) == dict.fromkeys(names, "1")

    change = client.parameters.change_from(NONE)
    assert change.count(b"SELECT ") == 2
    assert change.count(b"set_config") == len(names)


def test_a_session_that_has_set_very_many_parameters_may_set_no_others(rig: MemoryRelay):
    client = rig.clients[0]
    many = {f"a.x{number}": "1" for number in range(MOST_SET)}
    client.adopt_parameters(rig.knowledge.parameters.intern(many))
    rig.ask(client, b"set a.y = 1")
    rig.turn_clients([client])
    assert not rig.busy()
    assert b"C53400\0" in wire_of(client).sent
    assert says(rig, client, b"set a.x1 = 2")


def test_a_change_of_path_alone_has_no_catalog_read(rig: MemoryRelay):
    """Only DDL calls for another look at the system catalogs."""
    read: list[str] = []
    rig.knowledge.on_ddl = read.append
    client = rig.clients[0]
    client.set_in_band(InBandSettings(route="primary"))
    server = says(rig, client, b"set search_path = a")
    assert client.is_unsure
    answers(rig, server, complete("SET") + ready())
    answers(rig, server, values("UTF8", hexed("a")))
    assert not client.is_unsure
    assert read == []
    server = says(rig, client, b"create function f() returns int language sql as 'select 1'")
    while rig.busy():
        answers(rig, server, complete() + ready())
    assert read == ["app"]
