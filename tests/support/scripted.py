"""Nodes that follow a script, on a socket of their own: for what no PostgreSQL would do when asked."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

import trio

from rwsplit.embedded.certificates import Certificates
from rwsplit.protocol import backend, codes, frontend
from rwsplit.protocol.framing import frame
from rwsplit.server.stream import MAX_PAYLOAD, WireStream
from rwsplit.server.wire import PlainWire
from tests.support.wires import server_context

Script = Callable[[WireStream], Awaitable[None]]

OK: Final = backend.authentication_ok()
KEY: Final = backend.backend_key_data(7, b"abcd")
READY: Final = backend.ready_for_query(b"I")


@contextlib.asynccontextmanager
async def node(*scripts: Script) -> AsyncGenerator[int]:
    """Listen on a free port; the n-th client meets the n-th script, and is then closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)

        async def serve() -> None:
            for script in scripts:
                await trio.lowlevel.wait_readable(listener)
                stream = WireStream(PlainWire(listener.accept()[0]))
                with contextlib.suppress(EOFError, OSError), contextlib.closing(stream):
                    await script(stream)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            yield listener.getsockname()[1]
            nursery.cancel_scope.cancel()


def says(*messages: bytes) -> Script:
    """Read the startup packet, say *messages*, and wait for the end."""

    async def script(stream: WireStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"".join(messages))
        await stream.receive_some()

    return script


def behind_tls(made: Certificates, script: Script) -> Script:
    """Give TLS to who asks, then follow *script*."""

    async def encrypted(stream: WireStream) -> None:
        assert await stream.receive_some() == frontend.ssl_request()
        await stream.send_all(b"S")
        await stream.start_tls(server_context(made), server_side=True)
        await script(stream)

    return encrypted


async def silent(_stream: WireStream) -> None:
    """Say nothing, for ever."""
    await trio.sleep_forever()


async def read_question(stream: WireStream, *, limit: int = MAX_PAYLOAD) -> bytes:
    """Return what a client sends up to its next Sync; no message of it has more than *limit* bytes."""
    question = b""
    while True:
        code, payload = await stream.read_frame(limit)
        question += frame(code, payload)
        if code == codes.SYNC:
            return question
