"""A client in the middle of its startup, played by a test over a socket pair.

The fixture `connect` begins a startup in front of a lobby; import it where it is used.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from struct import pack

import pytest
import trio

from rwsplit.client.startup import start_client
from rwsplit.embedded.certificates import Certificates
from rwsplit.protocol import frontend
from rwsplit.protocol.fields import parse_error_fields
from rwsplit.protocol.scram import ScramClient, derive_keys
from rwsplit.server.stream import WireStream
from rwsplit.server.wire import PlainWire
from tests.support.lobby import OpenLobby
from tests.support.wires import client_context


class Client:
    """The test's end of the socket, in a nursery where the other end is served."""

    def __init__(self, stream: WireStream, lobby: OpenLobby) -> None:
        self.stream = stream
        self.lobby = lobby
        self.scram = ScramClient("nonce")

    async def says(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def starts(self, minor: int = 0, **parameters: str) -> None:
        await self.says(
            frontend.startup_message({"user": "app", **parameters}, version=3 << 16 | minor)
        )

    async def hears(self) -> tuple[bytes, bytes]:
        code, payload = await self.stream.read_frame()
        return bytes([code]), payload

    async def hears_error(self) -> dict[str, str]:
        code, payload = await self.hears()
        assert code == b"E"
        assert await self.stream.receive_some() == b""
        return parse_error_fields(payload)

    async def hears_nothing_more(self) -> None:
        assert await self.stream.receive_some() == b""

    async def is_ready(self) -> dict[str, bytes]:
        """Hear everything from AuthenticationOk to ReadyForQuery; return the last of each kind."""
        heard: dict[str, bytes] = {}
        while "Z" not in heard:
            code, payload = await self.hears()
            heard[code.decode()] = payload
        assert heard["R"] == b"\0\0\0\0"
        assert heard["Z"] == b"I"
        return heard

    async def proves_by_scram(
        self, password: bytes = b"secret", *, binding: bytes | None = None
    ) -> None:
        """Hold SCRAM up to the client's last word."""
        mechanism = "SCRAM-SHA-256" if binding is None else "SCRAM-SHA-256-PLUS"
        scram = self.scram = ScramClient("nonce", binding=binding)
        assert (await self.hears())[1][:4] == pack("!i", 10)
        await self.says(frontend.sasl_initial_response(mechanism, scram.first()))
        salt, iterations = scram.challenged((await self.hears())[1][4:])
        await self.says(
            frontend.sasl_response(scram.final(derive_keys(password, salt, iterations)))
        )

    async def encrypts(self, made: Certificates) -> ssl.SSLObject:
        await self.says(frontend.ssl_request())
        assert await self.stream.receive_exactly(1) == b"S"
        return await self.stream.start_tls(
            client_context(made), server_side=False, server_hostname="localhost"
        )


Connect = Callable[[OpenLobby], Client]


@pytest.fixture
def connect(nursery: trio.Nursery) -> Iterator[Connect]:
    """Begin a startup in front of a lobby; every client that is connected ends with the test."""
    clients: list[Client] = []

    def begin(lobby: OpenLobby) -> Client:
        ours, theirs = socket.socketpair()
        nursery.start_soon(start_client, theirs, lobby)
        clients.append(Client(WireStream(PlainWire(ours)), lobby))
        return clients[-1]

    yield begin
    for client in clients:
        client.stream.close()
        client.lobby.close()
