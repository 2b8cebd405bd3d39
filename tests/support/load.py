"""Clients that keep working while a test does something to the cluster.

    with Load(proxy, clients=8, step=read_a_row) as load:
        cluster.replicas[0].kill()
        load.go_on(200)          # steps that began after the kill
    assert not load.errors

Every client is a thread with a connection of its own and calls *step* again and again. What a step
returns is counted; what it raises is kept, and the client goes on with a new connection.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

import psycopg

from rwsplit.embedded.processes import wait_until
from tests.support.proxy import Proxy

Connection = psycopg.Connection[tuple[Any, ...]]
Step = Callable[[Connection], object]
#: Seconds any wait in here may take.
PATIENCE: Final = 20.0


class Load:
    """Clients of *proxy* that call *step* until the block is left."""

    def __init__(
        self, proxy: Proxy, step: Step, *, clients: int = 8, simple: bool = True
    ) -> None:
        self.errors: list[Exception] = []
        self.done = 0
        """Steps that succeeded."""
        self.returned: Counter[object] = Counter()
        """How often steps returned what, since the last `forget`."""
        self._proxy = proxy
        self._step = step
        self._options: dict[str, Any] = (
            {"cursor_factory": psycopg.ClientCursor} if simple else {}
        )
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, daemon=True) for _ in range(clients)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self.go_on(len(self._threads))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        alive = sum(thread.is_alive() for thread in self._threads)
        assert not alive, f"{alive} of {len(self._threads)} clients hang"

    def go_on(self, steps: int) -> None:
        """Block until *steps* more have succeeded."""
        wanted = self.done + steps
        assert wait_until(lambda: self.done >= wanted, timeout=PATIENCE), (
            f"{wanted - self.done} of {steps} steps are missing; errors: {self.errors[:3]}"
        )

    def forget(self) -> None:
        """Count what steps return from zero."""
        with self._lock:
            self.returned.clear()

    def answered(self, steps: int) -> Counter[object]:
        """Return what *steps* steps from now on return."""
        self.go_on(len(self._threads))  # those that are under way
        self.forget()
        self.go_on(steps)
        with self._lock:
            return Counter(self.returned)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._proxy.connect(**self._options) as connection:
                    self._work(connection)
            except Exception as error:  # noqa: BLE001 - the test judges
                with self._lock:
                    self.errors.append(error)
                self._stop.wait(0.02)

    def _work(self, connection: Connection) -> None:
        while not self._stop.is_set():
            returned = self._step(connection)
            with self._lock:
                self.done += 1
                self.returned[returned] += 1


def where(connection: Connection) -> object:
    """Read; return the name of the node that answered."""
    [name] = connection.execute("select current_setting('cluster_name')").fetchone() or [None]
    return name
