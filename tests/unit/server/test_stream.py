"""Waiting on a wire."""

from __future__ import annotations

import contextlib
import ssl

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from rwsplit.embedded.certificates import Certificates, make_certificates
from rwsplit.errors import ProtocolViolation
from rwsplit.server import pace
from rwsplit.server.stream import WireStream
from tests.support.wires import client_context, plain_pair, server_context, tls_pair


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates") / "tls")


@pytest.fixture
async def pair():
    one, other = map(WireStream, plain_pair())
    yield one, other
    one.close()
    other.close()


async def test_reading_waits_for_the_first_byte(pair, nursery):
    one, other = pair
    received = []

    async def read() -> None:
        received.append(await one.receive_some())

    nursery.start_soon(read)
    await wait_all_tasks_blocked()
    await other.send_all(b"hello")
    await wait_all_tasks_blocked()

    assert received == [b"hello"]


async def test_a_frame_is_read_whole_and_the_rest_is_kept(pair):
    one, other = pair
    await other.send_all(b"Q\0\0\0\x06ab" + b"rest")

    assert await one.read_frame() == (ord("Q"), b"ab")
    assert one.unread == b"rest"
    assert await one.receive_some() == b"rest"
    assert one.unread == b""


async def test_a_frame_may_come_byte_by_byte(pair, nursery):
    one, other = pair

    async def dribble() -> None:
        for byte in b"Q\0\0\0\x06ab":
            await other.send_all(bytes([byte]))
            await wait_all_tasks_blocked()

    nursery.start_soon(dribble)
    assert await one.read_frame() == (ord("Q"), b"ab")


@pytest.mark.parametrize("length", [b"\0\0\0\3", b"\xff\xff\xff\xff", b"\0\0\0\x0f"])
async def test_a_frame_of_an_impossible_or_forbidden_length_is_refused(pair, length):
    one, other = pair
    await other.send_all(b"Q" + length)

    with pytest.raises(ProtocolViolation):
        await one.read_frame(limit=10)


async def test_the_end_before_the_last_byte_is_an_error(pair):
    one, other = pair
    await other.send_all(b"abc")
    other.close()

    with pytest.raises(EOFError):
        await one.receive_exactly(4)


async def test_unread_bytes_go_to_the_next_owner_once(pair):
    stream = WireStream(pair[0].wire, b"already here")

    assert "unread=12" in repr(stream)
    assert stream.take_unread() == b"already here"
    assert stream.take_unread() == b""


async def test_much_is_sent_as_the_peer_reads_it(pair, nursery):
    one, other = pair
    nursery.start_soon(one.send_all, bytes(2_000_000))

    assert len(await other.receive_exactly(2_000_000)) == 2_000_000


async def test_much_is_sent_through_tls_too(certificates, nursery):
    one, other = await tls_pair(certificates)
    nursery.start_soon(one.send_all, bytes(2_000_000))

    assert len(await other.receive_exactly(2_000_000)) == 2_000_000
    one.close()
    other.close()


async def test_a_task_that_waits_hears_of_the_close(pair, nursery):
    one, _ = pair

    async def read() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await one.receive_some()

    nursery.start_soon(read)
    await wait_all_tasks_blocked()
    one.close()
    one.close()


async def test_plaintext_before_a_handshake_is_an_attack(pair, certificates):
    one, _ = pair
    stream = WireStream(one.wire, b"Q")

    with pytest.raises(ProtocolViolation, match="unencrypted data"):
        await stream.start_tls(server_context(certificates), server_side=True)


async def test_tls_inside_tls_is_refused(certificates):
    one, other = await tls_pair(certificates)

    with pytest.raises(ProtocolViolation, match="already"):
        await one.start_tls(client_context(certificates), server_side=False)
    one.close()
    other.close()


async def test_bytes_that_are_no_handshake_fail_it_and_the_peer_hears_an_alert(
    pair, certificates
):
    one, other = pair
    await other.send_all(b"\x16\x03\x01\0\x05hello")

    with pytest.raises(ssl.SSLError):
        await one.start_tls(server_context(certificates), server_side=True)
    assert (await other.receive_some())[0] == 0x15


async def test_a_peer_that_leaves_in_the_handshake_ends_it(pair, certificates):
    one, other = pair
    other.close()

    with pytest.raises(EOFError):
        await one.start_tls(server_context(certificates), server_side=True)


async def test_the_beginning_of_a_handshake_may_have_been_read_already(pair, certificates):
    one, other = pair

    async def client() -> None:
        await one.start_tls(
            client_context(certificates), server_side=False, server_hostname="localhost"
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(client)
        received = await other.receive_exactly(1)
        received += other.take_unread()
        await other.start_tls(server_context(certificates), server_side=True, received=received)

    await one.send_all(b"secret")
    assert await other.receive_exactly(6) == b"secret"
    assert one.wire.is_tls


async def test_a_crowd_of_clients_in_handshakes_holds_up_no_connection_to_a_node(
    pair, certificates, monkeypatch, nursery
):
    """A node would be taken for down, as its probe did not get through in time."""
    monkeypatch.setattr(pace.OF_CLIENTS, "step", trio.sleep_forever)
    one, other = pair
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    node = server_context(certificates).wrap_bio(incoming, outgoing, server_side=True)

    async def be_a_node() -> None:
        while True:
            incoming.write(await other.receive_some())
            with contextlib.suppress(ssl.SSLWantReadError):
                node.do_handshake()
            await other.send_all(outgoing.read())

    nursery.start_soon(be_a_node)
    with trio.fail_after(30):
        await one.start_tls(client_context(certificates), server_side=False)
    nursery.cancel_scope.cancel()
