"""Fire: half of the connections that rwsplit has to the replicas are terminated, again and again, while clients work.

    with Fire(cluster.replicas, "app", "app", seed=7) as fire:
        work()
    assert fire.terminated

It looks into `pg_stat_activity` of each replica over a connection of its own, and ends by `pg_terminate_backend` what serves *user* in
*database*: sessions of rwsplit's clients. Probes, walreceivers and its own connections are let alone, and counted as `spared`.
`ColdFire` terminates while a replica is frozen: what it hits learns of that when the replica is thawed.
"""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, NamedTuple

import psycopg

from rwsplit.embedded import processes
from rwsplit.embedded.node import EmbeddedNode
from rwsplit.session.defaults import QUERY

#: Seconds from one volley to the next.
PAUSES: Final = (0.020, 0.040)
#: Seconds for which a replica is frozen, and then none is; now and then long enough for rwsplit to take it for frozen.
FREEZES: Final = (0.05, 0.55)
#: Seconds anything it asks of a replica may take, and its end.
PATIENCE: Final = 20.0
_OTHERS: Final = (
    "select pid, usename::text, datname::text, backend_type, query from pg_stat_activity "
    "where pid <> pg_backend_pid() and backend_type in ('client backend', 'walreceiver', 'walsender') order by pid"
)
_TERMINATE: Final = (
    "select count(*) filter (where pg_terminate_backend(pid)) from pg_stat_activity "
    "where pid = any(%s) and usename = %s and datname = %s and backend_type = 'client backend'"
)


class Backend(NamedTuple):
    """A process of a replica, as `pg_stat_activity` shows it."""

    pid: int
    user: str | None
    database: str | None
    kind: str
    query: str
    """What it has run last."""

    @property
    def whose(self) -> str:
        """What it is, by its user or its kind."""
        return self.kind if self.user is None or self.kind != "client backend" else self.user

    @property
    def has_served(self) -> bool:
        """Whether it has run anything yet but what rwsplit asks each server at its login."""
        return bool(self.query) and not QUERY.startswith(self.query)


class Fire:
    """Terminates the sessions of *user* in *database* on *replicas*, until the block is left."""

    def __init__(
        self, replicas: Sequence[EmbeddedNode], database: str, user: str, *, seed: int
    ) -> None:
        self.terminated: Counter[str] = Counter()
        """By replica."""
        self.spared: Counter[str] = Counter()
        """What it saw that was not the user's, by whose it was."""
        self.volleys = 0
        self._replicas = list(replicas)
        self._database = database
        self._user = user
        self._chance = random.Random(seed)
        self._eyes: dict[str, psycopg.Connection[tuple[Any, ...]]] = {}
        self._stopping = threading.Event()
        self._bug: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Fire:
        for node in self._replicas:
            self._eyes[node.name] = node.connect(
                application_name="fire",
                options=f"-c statement_timeout={round(PATIENCE * 1000)}",
            )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join(2 * PATIENCE)
        assert not self._thread.is_alive(), "still busy"
        for connection in self._eyes.values():
            connection.close()
        if self._bug is not None and error is None:
            raise self._bug

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._volley()
                self.volleys += 1
        except BaseException as bug:  # noqa: BLE001 - raised when the block is left
            self._bug = bug

    def _volley(self) -> None:
        for node in self._replicas:
            found = self._eyes[node.name].execute(
                _TERMINATE, (self._half_of(node), self._user, self._database)
            )
            [count] = found.fetchone() or (0,)
            self.terminated[node.name] += count
        self._rest(PAUSES)

    def _half_of(self, node: EmbeddedNode) -> list[int]:
        """Return the process ids of half of the user's sessions on *node*, one more or less if they are odd."""
        theirs: list[int] = []
        for row in self._eyes[node.name].execute(_OTHERS):
            backend = Backend(*row)
            if (backend.whose, backend.database) == (self._user, self._database):
                if backend.has_served:
                    theirs.append(backend.pid)
            else:
                self.spared[backend.whose] += 1
        count = (len(theirs) + self._chance.randint(0, 1)) // 2
        return self._chance.sample(theirs, count)

    def _rest(self, between: tuple[float, float]) -> None:
        self._stopping.wait(self._chance.uniform(*between))


class ColdFire(Fire):
    """Terminates on one replica at a time, while that is frozen."""

    def _volley(self) -> None:
        node = self._chance.choice(self._replicas)
        pids = self._half_of(node)
        node.pause()
        try:
            # Nobody there can be asked: this is what pg_terminate_backend does.
            processes.send(pids, signal.SIGTERM)
            self.terminated[node.name] += len(pids)
            self._rest(FREEZES)
        finally:
            node.resume()
        self._rest(FREEZES)
