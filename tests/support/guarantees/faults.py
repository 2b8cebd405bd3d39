"""What happens to the replicas while clients work, one fault after the other, drawn from a seed; at the end all are well.

The primary and rwsplit stay: what clients see of these faults is at most how old an answer is, and that a transaction which
reads on a replica ends with it.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Final, TypeAlias

from rwsplit.embedded.node import EmbeddedNode
from rwsplit.embedded.processes import wait_until
from tests.support.proxy import Proxy

Fault: TypeAlias = Callable[["Faults"], None]


@contextmanager
def delayed(node: EmbeddedNode, delay: str) -> Iterator[None]:
    """Let *node* replay every commit *delay* late."""
    node.configure({"recovery_min_apply_delay": delay})
    assert wait_until(
        lambda: node.query("show recovery_min_apply_delay") == [(delay,)], timeout=10
    )
    try:
        yield
    finally:
        node.configure({"recovery_min_apply_delay": "0"})
        assert wait_until(
            lambda: node.query("show recovery_min_apply_delay") == [("0",)], timeout=10
        )


@contextmanager
def replay_paused(*nodes: EmbeddedNode) -> Iterator[None]:
    """Let *nodes* replay nothing."""
    for node in nodes:
        node.query("select pg_wal_replay_pause()")
    try:
        yield
    finally:
        for node in nodes:
            node.query("select pg_wal_replay_resume()")


class Faults:
    """Faults of *proxy*'s replicas, of the *kinds* named, until the block is left."""

    def __init__(self, proxy: Proxy, *, seed: int = 0, kinds: Sequence[str] = ()) -> None:
        self.happened: Counter[str] = Counter()
        self._proxy = proxy
        self._replicas: list[EmbeddedNode] = list(proxy.cluster.replicas)
        self._chance = random.Random(seed)
        self._kinds = list(kinds or KINDS)
        self._stopping = threading.Event()
        self._bug: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Faults:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), f"still busy after {dict(self.happened)}"
        if self._bug is not None:
            raise self._bug

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                kind = self._chance.choice(self._kinds)
                self.happened[kind] += 1
                KINDS[kind](self)
                self._rest(0.1, 0.8)
        except BaseException as bug:  # noqa: BLE001 - raised when the block is left
            self._bug = bug

    # -- the faults --------------------------------------------------------------------------------

    def pause(self) -> None:
        """Pause the replay of one, two or all."""
        count = self._chance.randint(1, len(self._replicas))
        with replay_paused(*self._chance.sample(self._replicas, count)):
            self._rest(0.1, 0.8)

    def restart(self) -> None:
        """Shut one down, and start it again."""
        node = self._chance.choice(self._replicas)
        node.stop()
        node.start()

    def kill(self) -> None:
        """Kill one, and start it again."""
        node = self._chance.choice(self._replicas)
        node.kill()
        node.start()

    def detach(self) -> None:
        """Detach one by the console, and attach it again."""
        self._take_away("DETACH")

    def drain(self) -> None:
        """Drain one by the console, and attach it again."""
        self._take_away("DRAIN")

    def lag(self) -> None:
        """Let one replay late for a while."""
        delay = f"{self._chance.randint(20, 400)}ms"
        with delayed(self._chance.choice(self._replicas), delay):
            self._rest(0.2, 1.0)

    def _take_away(self, verb: str) -> None:
        name = self._chance.choice(self._replicas).name
        self._proxy.console(f"{verb} NODE {name}")
        self._rest(0.1, 0.5)
        self._proxy.console(f"ATTACH NODE {name}")

    def _rest(self, least: float, most: float) -> None:
        self._stopping.wait(self._chance.uniform(least, most))


KINDS: Final[Mapping[str, Fault]] = {
    "pause": Faults.pause,
    "restart": Faults.restart,
    "kill": Faults.kill,
    "detach": Faults.detach,
    "drain": Faults.drain,
    "lag": Faults.lag,
}
#: Those after which every connection is still there.
GENTLE: Final = ("pause", "detach", "drain", "lag")
