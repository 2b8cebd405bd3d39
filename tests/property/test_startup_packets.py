"""Whatever a stranger sends before it has logged in: nothing breaks, nothing hangs, nothing is left behind."""

from __future__ import annotations

import contextlib
import socket
from struct import pack

import trio
import trio.testing
from hypothesis import HealthCheck, given, settings, strategies as st
from structlog.testing import capture_logs

from rwsplit.client.startup import start_client
from rwsplit.config.choices import AuthType
from rwsplit.errors import FeatureNotSupported, ProtocolViolation
from rwsplit.protocol import frontend
from rwsplit.protocol.fields import parse_error_fields, sqlstate_of, text_of
from rwsplit.protocol.scram import ScramClient, ScramServer, ScramVerifier, derive_keys
from rwsplit.protocol.startup import (
    CancelRequest,
    StartupMessage,
    packet_size,
    parse_startup_packet,
)
from tests.support.lobby import OpenLobby

names = st.binary(min_size=1, max_size=20).filter(
    lambda name: b"\0" not in name and not name.startswith(b"_pq_.")
)
values = st.binary(max_size=20).filter(lambda value: b"\0" not in value)
parameters = st.dictionaries(names.map(text_of), values.map(text_of), max_size=5)

#: Codes that lead somewhere, before anything at all.
bodies = st.binary(max_size=40)
versions = st.sampled_from(
    [0x30000, 0x30002, 0x3270F, 0x20000, 80877102, 80877103, 80877104, 0]
) | st.integers(0, 2**32 - 1)
packets = st.builds(
    lambda version, body: pack("!II", len(body) + 8, version) + body, versions, bodies
)
sessions = st.builds(
    lambda given: frontend.startup_message({"user": "app", **given}), parameters
)
messages = st.builds(
    lambda code, payload: bytes([code]) + pack("!I", len(payload) + 4) + payload,
    st.sampled_from(list(b"pQXRSE\0\xff")),
    bodies,
)
streams = st.lists(packets | sessions | messages | st.binary(max_size=30), max_size=6).map(
    b"".join
)

KEYS = derive_keys(b"secret", b"salt", 1)
VERIFIER = ScramVerifier.from_keys(KEYS, b"salt", 1)


@given(parameters, st.sampled_from([0, 2]))
def test_a_startup_packet_is_read_as_it_was_written(parameters, minor):
    packet = frontend.startup_message(parameters, version=3 << 16 | minor)

    assert packet_size(packet[:4]) == len(packet)
    assert parse_startup_packet(packet) == StartupMessage(minor, parameters)


@given(st.integers(-(2**31), 2**31 - 1), st.binary(min_size=1, max_size=256))
def test_a_cancel_request_is_read_as_it_was_written(pid, key):
    assert parse_startup_packet(frontend.cancel_request(pid, key)) == CancelRequest(pid, key)


@given(packets | sessions | st.binary(min_size=4, max_size=60))
def test_any_packet_is_read_or_refused(packet):
    with contextlib.suppress(ProtocolViolation, FeatureNotSupported):
        parse_startup_packet(packet)


@given(st.binary(max_size=60))
def test_any_error_is_read_or_refused(payload):
    assert isinstance(sqlstate_of(b"E\0\0\0\0" + payload), str)
    with contextlib.suppress(ProtocolViolation):
        parse_error_fields(payload)


scram_text = st.lists(
    st.sampled_from(
        [
            b"n",
            b"y",
            b"p=tls-server-end-point",
            b"",
            b"n=",
            b"r=abc",
            b"c=biws",
            b"p=AAAA",
            b"m=x",
        ]
    )
    | st.binary(max_size=12),
    max_size=7,
).map(b",".join)


@given(scram_text, scram_text)
def test_any_scram_message_of_a_client_is_refused_in_time(first, final):
    server = ScramServer(VERIFIER, "nonce")
    try:
        server.challenge(first)
        assert server.finish(final) is None
    except (ProtocolViolation, FeatureNotSupported):
        pass


@given(scram_text, scram_text)
def test_any_scram_message_of_a_server_is_refused_in_time(challenge, final):
    client = ScramClient("nonce")
    try:
        client.challenged(b"r=nonce1," + challenge)
        client.final(KEYS)
        client.verify(final)
    except ProtocolViolation:
        pass
    else:
        raise AssertionError("a server without the verifier was believed")


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(streams, st.lists(st.integers(1, 40), max_size=8), st.sampled_from(list(AuthType)))
def test_any_bytes_end_a_startup_without_harm(stream, cuts, method):
    """In any chunks, to the end of the stream; the socket is closed or handed over, and nothing raised."""

    async def play() -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        lobby = OpenLobby(users={"app": "secret"}, method=method, client_login_timeout=20)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(start_client, theirs, lobby)
                rest = stream
                for cut in [*cuts, len(stream)]:
                    try:
                        ours.send(rest[:cut])
                    except OSError:
                        break
                    rest = rest[cut:]
                    await trio.testing.wait_all_tasks_blocked()
                ours.close()
        assert theirs.fileno() == -1 or len(lobby.established) == 1
        lobby.close()

    with capture_logs() as logs:
        trio.run(play)
    assert "client_startup_crashed" not in [log["event"] for log in logs]
