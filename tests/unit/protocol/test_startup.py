"""The packets a client may begin with, and those it may not."""

from __future__ import annotations

from struct import pack

import pytest

from rwsplit.errors import FeatureNotSupported, ProtocolViolation
from rwsplit.protocol import frontend
from rwsplit.protocol.startup import (
    MAX_PACKET_SIZE,
    MAX_PARAMETERS,
    CancelRequest,
    GSSENCRequest,
    SSLRequest,
    StartupMessage,
    packet_size,
    parse_startup_packet,
)


def packet(version: int, body: bytes) -> bytes:
    return pack("!II", len(body) + 8, version) + body


def session(minor: int, **parameters: str) -> StartupMessage:
    parsed = parse_startup_packet(frontend.startup_message(parameters, version=3 << 16 | minor))
    assert isinstance(parsed, StartupMessage)
    return parsed


def test_requests_for_encryption_are_recognised():
    assert parse_startup_packet(frontend.ssl_request()) == SSLRequest()
    assert parse_startup_packet(frontend.gssenc_request()) == GSSENCRequest()


def test_a_request_for_encryption_has_no_content():
    with pytest.raises(ProtocolViolation, match="length"):
        parse_startup_packet(packet(frontend.SSL_REQUEST, b"x"))


def test_a_cancel_request_has_a_pid_and_a_key():
    assert parse_startup_packet(frontend.cancel_request(-7, b"abcd")) == CancelRequest(
        -7, b"abcd"
    )
    assert parse_startup_packet(frontend.cancel_request(1, b"k" * 256)) == CancelRequest(
        1, b"k" * 256
    )


@pytest.mark.parametrize("body", [b"", b"abc", b"\0\0\0\1", b"\0\0\0\1" + b"k" * 257])
def test_a_cancel_request_of_another_length_is_refused(body):
    with pytest.raises(ProtocolViolation, match="cancel request"):
        parse_startup_packet(packet(frontend.CANCEL_REQUEST, body))


def test_parameters_are_names_and_values():
    message = session(0, user="u", database="d", options="")

    assert message.parameters == {"user": "u", "database": "d", "options": ""}
    assert not message.must_negotiate


def test_of_a_parameter_given_twice_the_last_counts():
    body = b"user\0a\0user\0b\0\0"

    assert parse_startup_packet(packet(3 << 16, body)) == StartupMessage(0, {"user": "b"})


@pytest.mark.parametrize(
    ("asked", "spoken", "negotiates"),
    [(0, 0, False), (1, 0, False), (2, 2, False), (3, 2, True), (9999, 2, True)],
)
def test_a_newer_minor_version_is_negotiated_down(asked, spoken, negotiates):
    message = session(asked, user="u")

    assert (message.minor, message.must_negotiate) == (spoken, negotiates)


def test_protocol_options_are_all_unknown():
    message = session(0, user="u", **{"_pq_.grease": "1", "_pq_.other": ""})

    assert message.parameters == {"user": "u"}
    assert message.unknown_options == ("_pq_.grease", "_pq_.other")
    assert message.must_negotiate
    assert message.minor == 0


@pytest.mark.parametrize("version", [2 << 16, 4 << 16, 0, 0x47455420, 1234 << 16 | 5681])
def test_another_protocol_is_refused_in_words(version):
    with pytest.raises(
        FeatureNotSupported, match=r"unsupported frontend protocol .* 3\.0 to 3\.2"
    ):
        parse_startup_packet(packet(version, b"\0"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"user",
        b"user\0",
        b"user\0u\0",
        b"user\0u\0\0\0",
        b"user\0u",
        b"\0user\0u\0\0",
        b"user\0\0",
        b"\0\0",
    ],
)
def test_a_packet_that_does_not_end_where_its_list_ends_is_refused(body):
    with pytest.raises(ProtocolViolation, match="terminator"):
        parse_startup_packet(packet(3 << 16, body))


def test_no_parameters_at_all_is_a_well_formed_packet():
    assert parse_startup_packet(packet(3 << 16, b"\0")) == StartupMessage(0, {})


@pytest.mark.parametrize("size", [0, 3, 7, MAX_PACKET_SIZE + 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_impossible_lengths_are_refused(size):
    with pytest.raises(ProtocolViolation, match="length"):
        packet_size(pack("!I", size))


def test_a_packet_shorter_than_it_says_is_refused():
    with pytest.raises(ProtocolViolation, match="length"):
        parse_startup_packet(frontend.ssl_request() + b"\0")


@pytest.mark.parametrize("name", [b"a.b%d", b"_pq_.%d"])
def test_a_stranger_may_not_name_thousands_of_parameters(name: bytes):
    def named(count: int) -> bytes:
        return packet(3 << 16, b"".join(name % n + b"\0x\0" for n in range(count)) + b"\0")

    parse_startup_packet(named(MAX_PARAMETERS))
    with pytest.raises(ProtocolViolation, match="200 parameters, not 201"):
        parse_startup_packet(named(MAX_PARAMETERS + 1))
