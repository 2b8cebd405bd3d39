"""Plain and TLS wires, as their owner sees them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rwsplit.config.model import TcpConfig
from rwsplit.embedded.certificates import Certificates, make_certificates
from rwsplit.server.wire import (
    ENCRYPT_SIZE,
    READ_SIZE,
    PlainWire,
    TlsWire,
    Wire,
    format_address,
    peer_of,
)
from tests.support.wires import plain_pair, tls_pair

BIG = bytes(range(256)) * 40_000


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates") / "tls")


@pytest.fixture(params=["plain", "tls"])
async def pair(request, certificates) -> Iterator[tuple[Wire, Wire]]:
    if request.param == "plain":
        one, other = plain_pair()
    else:
        one, other = (stream.wire for stream in await tls_pair(certificates))
    yield one, other
    one.close()
    other.close()


def read_all(wire: Wire) -> bytes:
    """What can be read without waiting."""
    chunks = []
    while data := wire.recv():
        chunks.append(data)
    return b"".join(chunks)


def send_often(wire: Wire) -> None:
    """Send until the system has noticed that nobody reads."""
    for _ in range(100):
        wire.send(b"x")


async def test_what_one_end_sends_the_other_receives(pair):
    one, other = pair

    assert one.send(b"hello") == 5
    assert other.recv() == b"hello"


async def test_nothing_to_read_is_none_and_no_end(pair):
    one, _ = pair

    assert one.recv() is None
    assert not one.has_pending


async def test_the_end_of_the_stream_is_no_bytes_again_and_again(pair):
    one, other = pair
    other.send(b"last")
    other.close()

    assert one.recv() == b"last"
    assert one.recv() == b""
    assert one.recv() == b""


async def test_a_peer_that_does_not_read_is_served_in_pieces(pair):
    one, other = pair
    sent = 0
    received = b""
    stalls = 0
    while sent < len(BIG) or one.wants_write:
        accepted = one.send(memoryview(BIG)[sent:])
        sent += accepted
        if not accepted:
            stalls += 1
            received += read_all(other)
            one.flush()
    received += read_all(other)

    assert received == BIG
    assert stalls > 1


async def test_what_waits_inside_is_announced_until_it_is_read(pair):
    one, other = pair
    message = BIG[: READ_SIZE + 20_000]
    sent = 0
    received = b""
    while len(received) < len(message):
        sent += one.send(message[sent:])
        one.flush()
        data = other.recv()
        if data is None:
            assert not other.has_pending
        else:
            received += data

    assert received == message


async def test_sending_to_a_peer_that_is_gone_raises(pair):
    one, other = pair
    other.close()

    with pytest.raises(ConnectionError):
        send_often(one)


async def test_a_shut_down_wire_can_still_be_read(pair):
    one, other = pair
    other.send(b"question")
    one.send(b"answer")
    assert other.recv() == b"answer"
    assert one.recv() == b"question"

    one.shutdown()

    assert other.recv() == b""


async def test_closing_twice_is_harmless(pair):
    one, _ = pair
    one.close()
    one.close()

    assert one.fileno() == -1
    assert "fd=-1" in repr(one)


def test_a_reset_connection_is_at_its_end():
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, socket.create_connection(listener.getsockname()) as client:
        accepted, _ = listener.accept()
        wire = PlainWire(accepted)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.close()

        assert wire.recv() == b""
        wire.close()


def test_a_tcp_wire_knows_its_peer_and_does_not_delay():
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        wire = PlainWire(listener.accept()[0])
        sock = wire.detach()

        assert wire.peer == f"127.0.0.1:{client.getsockname()[1]}"
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.gettimeout() == 0
        assert not wire.is_tls
        wire.close()


def watched(tcp: TcpConfig | None) -> dict[str, int]:
    """What is set on a wire that is watched as *tcp* says."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        accepted = listener.accept()[0]
        wire = PlainWire(accepted) if tcp is None else PlainWire(accepted, tcp=tcp)
        found = {
            name: accepted.getsockopt(socket.IPPROTO_TCP, getattr(socket, f"TCP_{name}"))
            for name in ("KEEPIDLE", "KEEPINTVL", "KEEPCNT", "USER_TIMEOUT")
        }
        found["KEEPALIVE"] = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        wire.close()
    return found


def test_a_machine_that_is_gone_is_found_out_by_keepalives_alone():
    assert watched(None) == {
        "KEEPALIVE": 1,
        "KEEPIDLE": 30,
        "KEEPINTVL": 10,
        "KEEPCNT": 3,
        "USER_TIMEOUT": 0,
    }


def test_how_it_is_found_out_can_be_said():
    tcp = TcpConfig(keepalive=True, keepidle=61, keepintvl=0.5, keepcnt=9, user_timeout=90.5)
    assert watched(tcp) == {
        "KEEPALIVE": 1,
        "KEEPIDLE": 61,
        "KEEPINTVL": 1,
        "KEEPCNT": 9,
        "USER_TIMEOUT": 90_500,
    }


def test_zero_leaves_it_to_the_system():
    system = Path("/proc/sys/net/ipv4")
    tcp = TcpConfig(keepalive=False, keepidle=0, keepintvl=0, keepcnt=0)
    assert watched(tcp) == {
        "KEEPALIVE": 0,
        "KEEPIDLE": int((system / "tcp_keepalive_time").read_text()),
        "KEEPINTVL": int((system / "tcp_keepalive_intvl").read_text()),
        "KEEPCNT": int((system / "tcp_keepalive_probes").read_text()),
        "USER_TIMEOUT": 0,
    }


def test_the_largest_times_are_taken_by_the_system():
    tcp = TcpConfig(keepidle=32_767, keepintvl=32_767, keepcnt=127, user_timeout=2_000_000)
    assert watched(tcp)["USER_TIMEOUT"] == 2_000_000_000


def test_what_the_peers_machine_has_not_acknowledged_is_known():
    with socket.socket() as client, socket.create_server(("127.0.0.1", 0)) as listener:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        wire = PlainWire(listener.accept()[0])
        assert wire.unacknowledged() == 0
        while wire.send(bytes(65_536)):
            pass
        full = wire.unacknowledged()
        assert full > 0
        client.settimeout(10)
        while wire.unacknowledged() >= full:
            assert client.recv(65_536)
        wire.close()
        assert wire.unacknowledged() == 0


def test_a_plain_wire_never_holds_anything_back():
    one, other = plain_pair()

    assert one.flush()
    assert (one.wants_write, one.has_pending) == (False, False)
    one.close()
    other.close()


def test_addresses_are_written_as_in_a_url():
    assert format_address("10.0.0.1", 5432) == "10.0.0.1:5432"
    assert format_address("::1", 5432) == "[::1]:5432"


def test_a_peer_that_is_gone_already_has_no_address():
    with socket.socket() as unconnected:
        assert peer_of(unconnected) == "gone"


async def test_ciphertext_that_did_not_fit_is_bounded_and_flushed(certificates):
    client, server = await tls_pair(certificates)
    one, other = client.wire, server.wire
    assert isinstance(one, TlsWire)
    sent = 0
    while accepted := one.send(memoryview(BIG)[sent:]):
        sent += accepted

    assert one.wants_write
    assert len(one._ciphertext) < 2 * ENCRYPT_SIZE
    assert not one.flush()

    received = read_all(other)
    while not one.flush():
        received += read_all(other)
    received += read_all(other)
    assert received == BIG[:sent]
    assert not one.wants_write
    one.close()
    other.close()


async def test_bytes_that_are_not_tls_end_the_stream(certificates):
    client, server = await tls_pair(certificates)
    other = server.wire._socket
    other.send(b"Q\0\0\0\x0dselect 1\0")

    assert client.wire.recv() == b""
    client.close()
    server.close()


async def test_a_stream_cut_off_without_a_goodbye_ends(certificates):
    client, server = await tls_pair(certificates)
    server.wire._socket.close()

    assert client.wire.recv() == b""
    with pytest.raises(ConnectionError):
        send_often(client.wire)
    client.close()


async def test_a_socket_that_fails_under_tls_ends_the_stream(certificates):
    client, server = await tls_pair(certificates)
    client.wire._socket.close()

    assert client.wire.recv() == b""
    client.close()
    server.close()


async def test_sending_in_a_finished_tls_session_raises(certificates):
    client, server = await tls_pair(certificates)
    assert isinstance(client.wire, TlsWire)
    client.wire.shutdown()

    with pytest.raises(BrokenPipeError):
        client.wire.send(b"more")
    client.close()
    server.close()


async def test_a_key_update_is_answered_while_only_reading(certificates):
    client, server = await tls_pair(certificates)
    assert isinstance(client.wire, TlsWire)
    assert client.wire.tls.version() == "TLSv1.3"

    # What TLS itself wants to say leaves with the next read.
    client.wire._outgoing.write(b"x" * 10)
    assert client.wire.wants_write
    client.wire.recv()
    assert not client.wire.wants_write
    client.close()
    server.close()


def test_the_interface_is_abstract():
    assert Wire.__abstractmethods__ == {"wants_write", "has_pending", "recv", "send", "flush"}


async def test_after_the_end_was_said_input_is_thrown_away_until_the_peer_ends_too(pair):
    one, other = pair
    one.finish()
    assert other.recv() == b""
    other.send(b"never read")
    assert not one.discard()
    other.close()
    assert one.discard()
