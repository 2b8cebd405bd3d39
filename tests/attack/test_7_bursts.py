"""A crowd that speaks at the same moment: what is done for it in one pass of the scheduler is bounded.

Between two passes the relay has its turn, and everybody's statements go on.
"""

from __future__ import annotations

import socket
import ssl
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio

from rwsplit.client import startup
from rwsplit.client.half_open import PACE
from rwsplit.client.listener import BATCH
from rwsplit.client.tls import make_client_context
from rwsplit.config.model import AuthType, SslMode, TlsConfig
from rwsplit.embedded.certificates import make_certificates
from rwsplit.protocol import frontend
from rwsplit.server.pace import OF_CLIENTS
from rwsplit.server.stream import WireStream
from rwsplit.server.wire import PlainWire
from tests.support.lobby import OpenLobby, served
from tests.support.passes import Passes

CROWD = 60


async def test_a_crowd_of_tls_handshakes_is_shaken_a_few_hands_at_a_time(tmp_path: Path):
    made = make_certificates(tmp_path / "certificates")
    made.key.chmod(0o600)
    tls = TlsConfig(
        client_tls_sslmode=SslMode.ALLOW,
        client_tls_cert_file=made.certificate,
        client_tls_key_file=made.key,
    )
    context = make_client_context(tls)
    assert context is not None
    answered: Counter[int] = Counter()

    class Counted(ssl.SSLObject):
        was_begun = False

        def do_handshake(self) -> None:
            # The first time nothing has been heard yet, and there is nothing to compute.
            answered[passes.number] += self.was_begun
            self.was_begun = True
            super().do_handshake()

    context.sslobject_class = Counted
    lobby = OpenLobby(
        tls=tls, tls_context=context, max_login_conn=2 * CROWD, client_login_timeout=60
    )
    with Passes() as passes:
        async with served(lobby) as port, trio.open_nursery() as nursery:
            clients = [await connected(port) for _ in range(CROWD)]
            for client in clients:
                await client.send_all(frontend.ssl_request())
            for client in clients:
                assert await client.receive_exactly(1) == b"S"
            trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trust.load_verify_locations(made.authority)
            hello = first_message(trust)
            for client in clients:
                client.wire.send(hello)  # all of them before anything else happens
            for client in clients:
                nursery.start_soon(client.receive_exactly, 5)
        for client in clients:
            client.close()

    assert answered.total() >= CROWD
    assert max(answered.values()) <= 2 * OF_CLIENTS.most


async def test_a_crowd_that_speaks_at_once_is_listened_to_a_few_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
):
    heard: Counter[int] = Counter()
    parse = startup.parse_startup_packet

    def counted(packet: bytes) -> Any:
        heard[passes.number] += 1
        return parse(packet)

    monkeypatch.setattr(startup, "parse_startup_packet", counted)
    lobby = OpenLobby(method=AuthType.TRUST, max_login_conn=2 * CROWD, client_login_timeout=60)
    packet = frontend.startup_message({"user": "app", "database": "shop"})
    with Passes() as passes:
        async with served(lobby) as port:
            clients = [await connected(port) for _ in range(CROWD)]
            with trio.fail_after(30):
                while len(lobby.half_open) < CROWD:
                    await trio.lowlevel.checkpoint()
            for client in clients:
                client.wire.send(packet)
            for client in clients:
                assert await client.receive_exactly(1) == b"R"
        for client in clients:
            client.close()

    assert heard.total() == CROWD
    assert max(heard.values()) <= 2 * PACE


async def test_a_crowd_that_connects_at_once_is_let_in_a_few_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
):
    begun: Counter[int] = Counter()
    start = startup.start_client

    async def counted(*arguments: Any) -> None:
        begun[passes.number] += 1
        await start(*arguments)

    monkeypatch.setattr("rwsplit.client.listener.start_client", counted)
    lobby = OpenLobby(method=AuthType.TRUST, max_login_conn=2 * CROWD, client_login_timeout=60)
    with Passes() as passes:
        async with served(lobby) as port:
            sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(CROWD)]
            with trio.fail_after(30):
                while begun.total() < CROWD:
                    await trio.lowlevel.checkpoint()
        for sock in sockets:
            sock.close()

    assert max(begun.values()) <= BATCH


async def connected(port: int) -> WireStream:
    """Return a client that is connected and has said nothing."""
    return WireStream(PlainWire(socket.create_connection(("127.0.0.1", port))))


def first_message(context: ssl.SSLContext) -> bytes:
    """Return a ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()
