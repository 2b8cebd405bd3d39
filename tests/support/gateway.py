"""A TCP gateway in front of a node that can be slow, or cut.

    with Gateway(node.host, node.port) as gateway:
        gateway.delay = 0.2      # seconds every answer takes longer, in order
        gateway.cut = True       # nothing passes any more; connections stay, as with a pulled cable

It runs in a thread of its own. `opened` counts the connections made through it.
"""

from __future__ import annotations

import contextlib
import math
import threading
from types import TracebackType
from typing import Final

import trio

from rwsplit.embedded.ports import LOOPBACK

_CHUNK: Final = 65536
_PATIENCE: Final = 10.0
#: Seconds between two looks at whether a cut has been mended.
_PAUSE: Final = 0.005


class Gateway:
    """Forwards connections to *host*:*port*."""

    def __init__(self, host: str, port: int) -> None:
        self.host = LOOPBACK
        self.port = 0
        self.delay = 0.0
        self.cut = False
        self.opened = 0
        self._target = (host, port)
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._run,), daemon=True)

    def __enter__(self) -> Gateway:
        self._thread.start()
        assert self._ready.wait(_PATIENCE)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._token is not None
        self._token.run_sync_soon(self._scope.cancel)
        self._thread.join(_PATIENCE)

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            [listener] = await trio.open_tcp_listeners(0, host=self.host, backlog=512)
            self.port = listener.socket.getsockname()[1]
            self._ready.set()
            await trio.serve_listeners(self._serve, [listener])

    async def _serve(self, client: trio.SocketStream) -> None:
        self.opened += 1
        await self._mended()
        with contextlib.suppress(OSError, trio.BrokenResourceError):
            node = await trio.open_tcp_stream(*self._target)
            async with client, node, trio.open_nursery() as nursery:
                nursery.start_soon(self._forward, client, node, False)
                await self._forward(node, client, True)
                nursery.cancel_scope.cancel()

    async def _forward(
        self, source: trio.SocketStream, target: trio.SocketStream, late: bool
    ) -> None:
        """Forward one direction; what arrives together leaves together, *late* by the delay."""
        send, receive = trio.open_memory_channel[tuple[float, bytes]](math.inf)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, receive, target)
            with send:
                while data := await self._receive(source):
                    send.send_nowait((trio.current_time() + self.delay * late, data))

    async def _receive(self, source: trio.SocketStream) -> bytes:
        try:
            return bytes(await source.receive_some(_CHUNK))
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    async def _send(
        self, queue: trio.MemoryReceiveChannel[tuple[float, bytes]], target: trio.SocketStream
    ) -> None:
        async for due, data in queue:
            await trio.sleep_until(due)
            await self._mended()
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await target.send_all(data)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await target.send_eof()

    async def _mended(self) -> None:
        while self.cut:  # noqa: ASYNC110 - it is set from another thread
            await trio.sleep(_PAUSE)
