"""A client's startup as a conversation over a socket pair, with a lobby that lets everybody in."""

from __future__ import annotations

import socket
from struct import pack

import attrs
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from rwsplit.client.lobby import Admission, Login
from rwsplit.client.startup import start_client
from rwsplit.config.choices import AuthType
from rwsplit.errors import NoEligibleNode, ServerRefused
from rwsplit.protocol import backend, frontend
from rwsplit.protocol.fields import parse_error_fields
from rwsplit.server.stream import WireStream
from rwsplit.server.wire import PlainWire
from tests.support.lobby import PARAMETERS, OpenLobby
from tests.support.startup_client import connect

__all__ = ["connect"]


PREFIX = b"".join(backend.parameter_status(name, value) for name, value in PARAMETERS)


@pytest.fixture
def trusting() -> OpenLobby:
    return OpenLobby(method=AuthType.TRUST)


async def test_a_trusted_client_is_ready_after_one_packet(connect, trusting):
    client = connect(trusting)
    await client.starts(database="shop", application_name="till", options="-c x=1")

    assert await client.stream.receive_exactly(9) == backend.authentication_ok()
    assert await client.stream.receive_exactly(len(PREFIX)) == PREFIX
    assert await client.hears() == (b"K", pack("!i", 4711) + b"kkkk")
    assert await client.hears() == (b"Z", b"I")
    [login] = trusting.logins
    assert (login.user, login.database, login.application_name) == ("app", "shop", "till")
    assert login.parameters == {"application_name": "till", "options": "-c x=1"}
    assert (login.minor, login.tls, login.peer) == (0, False, "unix")


async def test_the_database_is_the_users_unless_named(connect, trusting):
    for parameters in ({}, {"database": ""}):
        client = connect(trusting)
        await client.starts(**parameters)
        await client.is_ready()

    assert [login.database for login in trusting.logins] == ["app", "app"]


async def test_what_came_behind_the_startup_packet_goes_to_the_relay(connect, trusting):
    client = connect(trusting)
    await client.says(frontend.startup_message({"user": "app"}) + frontend.query("select 1"))
    await client.is_ready()

    [(admission, wire, unread)] = trusting.established
    assert admission.pid == 4711
    assert unread == frontend.query("select 1")
    assert wire.fileno() >= 0


async def test_encryption_is_declined_once_each_in_either_order(connect, trusting):
    for requests in (
        [frontend.ssl_request(), frontend.gssenc_request()],
        [frontend.gssenc_request(), frontend.ssl_request()],
    ):
        client = connect(trusting)
        for request in requests:
            await client.says(request)
            assert await client.stream.receive_exactly(1) == b"N"
        await client.starts()
        await client.is_ready()


async def test_asking_for_encryption_twice_is_a_violation(connect, trusting):
    client = connect(trusting)
    await client.says(frontend.ssl_request())
    assert await client.stream.receive_exactly(1) == b"N"
    await client.says(frontend.ssl_request())

    assert (await client.hears_error())["C"] == "08P01"


async def test_protocol_3_2_gets_a_long_cancel_key(connect, trusting):
    client = connect(trusting)
    await client.starts(minor=2)

    assert (await client.is_ready())["K"] == pack("!i", 4711) + b"k" * 32


@pytest.mark.parametrize(
    ("minor", "options", "answer"),
    [
        (9999, {}, backend.negotiate_protocol_version(2, [])),
        (3, {"_pq_.a": "1"}, backend.negotiate_protocol_version(2, ["_pq_.a"])),
        (
            0,
            {"_pq_.a": "1", "_pq_.b": ""},
            backend.negotiate_protocol_version(0, ["_pq_.a", "_pq_.b"]),
        ),
    ],
)
async def test_a_newer_protocol_is_negotiated_once_and_first(
    connect, trusting, minor, options, answer
):
    client = connect(trusting)
    await client.starts(minor, **options)

    assert await client.stream.receive_exactly(len(answer)) == answer
    assert "v" not in await client.is_ready()


async def test_a_cancel_request_is_passed_on_and_not_answered(connect, trusting):
    client = connect(trusting)
    await client.says(frontend.cancel_request(4711, b"k" * 32))

    await client.hears_nothing_more()
    assert trusting.cancelled == [(4711, b"k" * 32)]


@pytest.mark.parametrize("database", ["rwsplit", "pgbouncer"])
async def test_the_console_is_a_database(connect, trusting, database):
    client = connect(trusting)
    await client.starts(database=database)

    assert await client.hears() == (b"R", b"\0\0\0\0")
    assert await client.hears() == (b"Z", b"I")
    assert [login.database for login in trusting.consoles] == [database]
    assert trusting.logins == []
    client.stream.wire.shutdown()
    await client.hears_nothing_more()


# -- refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "packet",
    [
        b"X\0\0\0\4",  # a Terminate
        pack("!i", 7),
        pack("!i", 10_001),
        b"GET / HTTP/1.1\r\n\r\n",
        pack("!iii", 12, frontend.CANCEL_REQUEST, 1),
    ],
)
async def test_what_is_no_startup_packet_is_answered_by_silence(connect, trusting, packet):
    client = connect(trusting)
    await client.says(packet)
    await client.hears_nothing_more()
    assert trusting.logins == []


@pytest.mark.parametrize(
    ("packet", "sqlstate", "words"),
    [
        (pack("!ii", 8, 2 << 16), "0A000", "unsupported frontend protocol 2.0"),
        (pack("!ii", 9, 3 << 16) + b"x", "08P01", "expected terminator"),
        (frontend.startup_message({}), "28000", "no PostgreSQL user name"),
        (frontend.startup_message({"user": ""}), "28000", "no PostgreSQL user name"),
        (
            frontend.startup_message({"user": "a", "replication": "database"}),
            "0A000",
            "replication connections",
        ),
        (
            frontend.startup_message({"user": "a", "replication": "ON"}),
            "0A000",
            "replication connections",
        ),
        (
            frontend.startup_message({"user": "a", "replication": "maybe"}),
            "22023",
            "replication",
        ),
    ],
)
async def test_what_is_refused_is_refused_in_words(connect, trusting, packet, sqlstate, words):
    client = connect(trusting)
    await client.says(packet)

    error = await client.hears_error()
    assert (error["S"], error["C"]) == ("FATAL", sqlstate)
    assert words in error["M"]
    assert trusting.established == []


async def test_no_replication_is_no_replication(connect, trusting):
    client = connect(trusting)
    await client.starts(replication="off")

    await client.is_ready()
    assert "replication" not in trusting.logins[0].parameters


async def test_what_the_lobby_refuses_the_client_hears(connect, trusting):
    trusting.refusal = NoEligibleNode("no node is eligible")
    client = connect(trusting)
    await client.starts()
    await client.hears()

    error = await client.hears_error()
    assert (error["S"], error["C"], error["M"]) == ("FATAL", "57P03", "no node is eligible")


async def test_what_a_server_refuses_is_passed_on_byte_for_byte(connect, trusting):
    response = backend.error_response("FATAL", "3D000", 'database "x" does not exist', hint="h")
    trusting.refusal = ServerRefused("x", response=response, server_sqlstate="3D000")
    client = connect(trusting)
    await client.starts()
    await client.hears()

    assert await client.stream.receive_exactly(len(response)) == response
    await client.hears_nothing_more()


async def test_one_clients_crash_is_logged_and_felt_by_nobody(connect, trusting):
    trusting.crash = RuntimeError("boom")
    with capture_logs() as logs:
        client = connect(trusting)
        await client.starts()
        await client.is_ready()
        await client.hears_nothing_more()

    assert [log["event"] for log in logs if log["log_level"] == "error"] == [
        "client_startup_crashed"
    ]


async def test_a_client_that_leaves_is_no_event(connect, trusting):
    with capture_logs() as logs:
        client = connect(trusting)
        await client.says(b"\0")
        client.stream.close()
        await wait_all_tasks_blocked()

    assert [(log["event"], log["log_level"]) for log in logs] == [
        ("client_left_during_startup", "debug")
    ]


async def test_a_client_that_left_before_it_was_established_is_abandoned(connect, trusting):
    ours, theirs = socket.socketpair()

    async def welcome(login):
        ours.close()
        return await OpenLobby.welcome(trusting, login)

    trusting.welcome = welcome  # type: ignore[method-assign]
    ours.sendall(frontend.startup_message({"user": "app"}))
    await start_client(theirs, trusting)

    assert len(trusting.abandoned) == 1
    assert trusting.established == []
    assert theirs.fileno() == -1


async def test_a_client_that_dawdles_is_turned_away(connect, autojump_clock):
    lobby = OpenLobby(method=AuthType.TRUST, client_login_timeout=30)
    client = connect(lobby)
    await client.says(b"\0\0")

    error = await client.hears_error()
    assert error["C"] == "57014"
    assert "client_login_timeout = 30 s" in error["M"]
    assert trio.current_time() >= 30


async def test_one_whom_no_node_welcomes_is_not_kept_waiting_for_ever(connect, autojump_clock):
    class Waiting(OpenLobby):
        async def welcome(self, login: Login) -> Admission:
            await trio.sleep_forever()
            raise AssertionError

    client = connect(Waiting(method=AuthType.TRUST, client_login_timeout=30))
    await client.says(frontend.startup_message({"user": "app"}))
    assert (await client.hears())[0] == b"R"

    error = await client.hears_error()
    assert error["C"] == "57014"
    assert trio.current_time() >= 30


async def test_one_that_does_not_read_its_welcome_is_left(autojump_clock):
    class Talking(OpenLobby):
        async def welcome(self, login: Login) -> Admission:
            admission = await super().welcome(login)
            return attrs.evolve(admission, parameters=(("motto", "x" * 1_000_000),))

    lobby = Talking(method=AuthType.TRUST, client_login_timeout=30)
    ours, theirs = socket.socketpair()
    ours.sendall(frontend.startup_message({"user": "app"}))
    await start_client(theirs, lobby)

    assert trio.current_time() >= 30
    assert len(lobby.abandoned) == 1
    assert theirs.fileno() == -1
    ours.close()


async def test_a_refused_client_that_never_closes_is_closed_after_a_moment(
    autojump_clock, trusting
):
    ours, theirs = socket.socketpair()
    ours.sendall(pack("!i", 7))
    await start_client(theirs, trusting)

    assert theirs.fileno() == -1
    ours.close()


async def test_a_shutdown_is_announced_to_who_is_still_logging_in(trusting):
    ours, theirs = socket.socketpair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(start_client, theirs, trusting)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    stream = WireStream(PlainWire(ours))

    code, payload = await stream.read_frame()
    assert (code, parse_error_fields(payload)["C"]) == (ord("E"), "57P01")
    stream.close()


async def test_a_socket_that_is_dead_on_arrival_is_closed(trusting):
    dead = socket.socket()
    dead.close()

    await start_client(dead, trusting)
