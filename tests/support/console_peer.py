"""The client's side of a session of the console, without a network."""

from __future__ import annotations

import socket

import trio

from rwsplit.server.stream import WireStream
from rwsplit.server.wire import PlainWire


class Peer:
    """The client's end of a socket pair, spoken to frame by frame."""

    def __init__(self, sock: socket.socket) -> None:
        self.stream = WireStream(PlainWire(sock))

    async def say(self, *frames: bytes) -> None:
        await self.stream.send_all(b"".join(frames))

    async def ask(self, *frames: bytes) -> list[tuple[str, bytes]]:
        """Say *frames*, and hear meanwhile: the console may send before it has read them all."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.say, *frames)
            return await self.hear()

    async def hear(self) -> list[tuple[str, bytes]]:
        """Return frames up to ReadyForQuery, or to the end."""
        heard: list[tuple[str, bytes]] = []
        while not heard or heard[-1][0] != "Z":
            try:
                code, payload = await self.stream.read_frame()
            except EOFError:
                break
            heard.append((chr(code), payload))
        return heard

    async def codes(self) -> str:
        return "".join(code for code, _ in await self.hear())
