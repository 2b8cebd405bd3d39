"""Tight clients: sessions that read without a pause, and how long each of their reads took.

    with TightClients(proxy, 12) as clients:
        clients.run(2.0)
        clients.reads["replica1"], clients.longest, clients.errors

One thread drives all of them over bare sockets, so that fifty are as tight as three. A session that is ended
counts as an error and is opened anew.
"""

from __future__ import annotations

import contextlib
import selectors
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

from tests.support.proxy import Proxy
from tests.support.raw_client import RawClient, error_fields, message

WHERE: Final = "select current_setting('cluster_name')"
#: Seconds between two calls of what is to be done meanwhile.
_STEP: Final = 0.01


class TightClients:
    """*count* sessions of *proxy* that say *query*, whose first column is the node, again and again."""

    def __init__(self, proxy: Proxy, count: int, query: str = WHERE, **parameters: str) -> None:
        self.reads: Counter[str] = Counter()
        """Reads answered, by node, since the last `forget`."""
        self.waits: list[float] = []
        """Seconds each of them took."""
        self.errors: list[str] = []
        self._proxy = proxy
        self._count = count
        self._parameters = parameters
        self._question = message(b"Q", query.encode() + b"\0")
        self._sent: dict[RawClient, float] = {}
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> TightClients:
        for _ in range(self._count):
            self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for client in self._sent:
            client.close()
        self._selector.close()

    @property
    def longest(self) -> float:
        """The longest any read has taken, those that are still waited for included (seconds)."""
        now = time.monotonic()
        return max(
            max(self.waits, default=0.0), *(now - sent for sent in self._sent.values()), 0.0
        )

    @property
    def spread(self) -> float:
        """The difference between the most and the fewest reads of a node, as a part of their mean."""
        counts = list(self.reads.values()) or [1]
        return (max(counts) - min(counts)) * len(counts) / sum(counts)

    def share(self, node: str) -> float:
        """Return the part of the reads that *node* has answered."""
        return self.reads[node] / max(1, self.reads.total())

    def forget(self) -> None:
        """Count from zero."""
        self.reads.clear()
        self.waits.clear()

    def run(self, seconds: float, meanwhile: Callable[[float], object] | None = None) -> None:
        """Read for *seconds*; call *meanwhile* with the seconds gone by a hundred times a second."""
        begin = time.monotonic()
        while (gone := time.monotonic() - begin) < seconds:
            if meanwhile is not None:
                meanwhile(gone)
            until = begin + gone + _STEP
            while (left := until - time.monotonic()) > 0:
                for key, _ in self._selector.select(left):
                    self._take(key.data)

    def _take(self, client: RawClient) -> None:
        try:
            frames = client.frames_until(b"Z")
        except (OSError, EOFError) as error:
            self._failed(client, repr(error))
            return
        now = time.monotonic()
        self.waits.append(now - self._sent[client])
        for frame in frames:
            if frame.code == b"D":
                size = int.from_bytes(frame.payload[2:6], "big")
                self.reads[frame.payload[6 : 6 + size].decode()] += 1
            elif frame.code == b"E":
                self.errors.append(str(error_fields(frame.payload)))
        self._ask(client)

    def _failed(self, client: RawClient, reason: str) -> None:
        self.errors.append(reason)
        self._selector.unregister(client.socket)
        del self._sent[client]
        client.close()
        self._open()

    def _open(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            client = self._proxy.raw(timeout=30.0, **self._parameters)
            self._selector.register(client.socket, selectors.EVENT_READ, client)
            self._ask(client)

    def _ask(self, client: RawClient) -> None:
        self._sent[client] = time.monotonic()
        try:
            client.send(self._question)
        except OSError as error:
            self._failed(client, repr(error))


def parameters(level: str) -> dict[str, Any]:
    """Return the startup parameters of a session at *level*."""
    return {"options": f"-c rwsplit.consistency={level}"}
