"""The last words of a session, on real sockets."""

from __future__ import annotations

import socket
import struct

import trio
import trio.testing

from rwsplit.relay.lingering import Lingering
from rwsplit.server.wire import PlainWire
from tests.support.wires import plain_pair


def tcp_pair() -> tuple[PlainWire, socket.socket]:
    """A server's wire and its client; on TCP unread input turns a close into a reset."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    return PlainWire(accepted), client


async def test_a_client_that_goes_on_talking_hears_them():
    wire, client = tcp_pair()
    lingering = Lingering()
    with client:
        client.sendall(b"a statement nobody will read")
        async with trio.open_nursery() as nursery:
            lingering.see_off(nursery, wire, [b"last ", b"words"])
            await trio.testing.wait_all_tasks_blocked()
            client.sendall(b"and another")
            assert client.recv(100) == b"last words"
            assert client.recv(100) == b""
            client.close()
            with trio.fail_after(5):
                await lingering.wait_over()
    assert wire.fileno() == -1


async def test_one_that_does_not_read_is_left_when_time_is_up(autojump_clock):
    wire, other = plain_pair()
    lingering = Lingering()
    async with trio.open_nursery() as nursery:
        lingering.see_off(nursery, wire, [b"x" * 10_000_000])
        await lingering.wait_over()
    assert wire.fileno() == -1
    other.close()


async def test_one_that_is_gone_is_not_waited_for():
    wire, client = tcp_pair()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    lingering = Lingering()
    async with trio.open_nursery() as nursery:
        lingering.see_off(nursery, wire, [b"anybody there?"])
        with trio.fail_after(5):
            await lingering.wait_over()
    assert wire.fileno() == -1


async def test_nobody_lingers_at_first():
    await Lingering().wait_over()
