"""The session-guarantee checker: random histories of concurrent sessions, and what is wrong with them.

Every register has one writer, which writes 1, 2, 3... into it; everybody reads everything. So a value says
how old a read is, and a history is judged by two rules for each session and register:

- *read your writes*: a read is not older than the last write of the session that was acknowledged;
- *monotonic reads*: a read is not older than an earlier read of the session.

At level `cluster` there is a third, whoever wrote: *real-time order*, a read is not older than any write that was
acknowledged before the read began.

A write that ended in an error may or may not have happened; it binds nobody.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

import psycopg

from tests.support.load import Connection
from tests.support.proxy import Proxy

TABLE: Final = "guarantees"


class Event(NamedTuple):
    """One acknowledged operation; sessions are numbered, times are the client's."""

    session: int
    kind: Literal["write", "read"]
    register: int
    value: int
    began: float
    ended: float
    node: str


class Violation(NamedTuple):
    """A read that is older than it may be."""

    rule: str
    event: Event
    expected: int


def violations(history: Iterable[Event]) -> list[Violation]:
    """Return what is wrong with *history*; a session's events are in the order it made them."""
    written: dict[tuple[int, int], int] = {}
    seen: dict[tuple[int, int], int] = {}
    found = []
    for event in history:
        place = event.session, event.register
        if event.kind == "write":
            written[place] = max(event.value, written.get(place, 0))
            continue
        if event.value < written.get(place, 0):
            found.append(Violation("read your writes", event, written[place]))
        if event.value < seen.get(place, 0):
            found.append(Violation("monotonic reads", event, seen[place]))
        seen[place] = max(event.value, seen.get(place, 0))
    return found


def missed_writes(history: Iterable[Event]) -> list[Violation]:
    """Return the reads of *history* that are older than a write acknowledged before they began."""
    acknowledged: dict[int, int] = {}
    found = []
    moments = [
        (event.ended if event.kind == "write" else event.began, event) for event in history
    ]
    for _, event in sorted(moments, key=lambda moment: moment[0]):
        newest = acknowledged.get(event.register, 0)
        if event.kind == "write":
            acknowledged[event.register] = max(event.value, newest)
        elif event.value < newest:
            found.append(Violation("real-time order", event, newest))
    return found


class Sessions:
    """Concurrent clients of *proxy* that make a history until the block is left."""

    def __init__(self, proxy: Proxy, *, clients: int = 12, seed: int = 0) -> None:
        self.errors: list[Exception] = []
        self.read_only_errors: list[Exception] = []
        """Those of them met in a BEGIN READ ONLY, which is bound to one replica and ends with it."""
        self._proxy = proxy
        self._seed = seed
        self._clients = clients
        self._histories: list[list[Event]] = [[] for _ in range(clients)]
        self._numbers = iter(range(1, 1_000_000))
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True)
            for number in range(clients)
        ]

    def __enter__(self) -> Sessions:
        with self._proxy.connect() as connection:
            connection.execute(f"drop table if exists {TABLE}")
            connection.execute(f"create table {TABLE} (register int primary key, value int)")
            connection.execute(
                f"insert into {TABLE} select n, 0 from generate_series(0, %s) n",
                (self._clients - 1,),
            )
        self._proxy.cluster.wait_until_replayed(only=self._replaying())
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the clients."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        alive = sum(thread.is_alive() for thread in self._threads)
        assert not alive, f"{alive} of {len(self._threads)} sessions hang"

    def history(self) -> list[Event]:
        """Return what has happened so far."""
        return [event for history in self._histories for event in list(history)]

    def last_acknowledged(self) -> dict[int, int]:
        """Return the highest value of each register that was acknowledged."""
        last: dict[int, int] = {}
        for event in self.history():
            if event.kind == "write":
                last[event.register] = max(event.value, last.get(event.register, 0))
        return last

    def _replaying(self) -> list[object]:
        return [
            node
            for node in self._proxy.cluster.replicas
            if node.query(
                "select 1 where not pg_is_wal_replay_paused() "
                "and current_setting('recovery_min_apply_delay') = '0'"
            )
        ]

    def _run(self, number: int) -> None:
        chance = random.Random(f"{self._seed} {number}")
        state = [0]  # the last value written to our own register
        while not self._stop.is_set():
            with self._lock:
                session = next(self._numbers)
            try:
                with self._proxy.connect() as connection:
                    for _ in range(chance.randint(20, 200)):
                        if self._stop.is_set():
                            return
                        self._operate(connection, session, number, state, chance)
            except psycopg.Error as error:
                self.errors.append(error)
                self._stop.wait(0.05)

    def _operate(
        self,
        connection: Connection,
        session: int,
        number: int,
        state: list[int],
        chance: random.Random,
    ) -> None:
        note = self._histories[number].append
        other = chance.randrange(self._clients)
        match chance.randrange(10):
            case 0 | 1:
                state[0] += 1
                note(self._write(connection, session, number, state[0]))
                note(self._read(connection, session, number))
            case 2:
                state[0] += 1
                with connection.transaction():
                    self._read(connection, session, other)
                    written = self._write(connection, session, number, state[0])
                    assert self._read(connection, session, number).value == state[0]
                note(written._replace(ended=time.monotonic()))
                note(self._read(connection, session, number))
            case 3:
                with connection.transaction():
                    connection.execute("set transaction read only")
                    event = self._read(connection, session, other)
                note(event)
            case 4:
                note(self._read_only(connection, session, number))
            case _:
                note(self._read(connection, session, chance.choice((number, other))))

    def _read_only(self, connection: Connection, session: int, register: int) -> Event:
        try:
            connection.execute("begin read only")
            event = self._read(connection, session, register)
            connection.execute("commit")
        except psycopg.Error as error:
            self.read_only_errors.append(error)
            raise
        return event

    def _write(self, connection: Connection, session: int, register: int, value: int) -> Event:
        began = time.monotonic()
        done = connection.execute(
            f"update {TABLE} set value = %s where register = %s", (value, register)
        )
        assert done.rowcount == 1
        return Event(session, "write", register, value, began, time.monotonic(), "")

    def _read(self, connection: Connection, session: int, register: int) -> Event:
        began = time.monotonic()
        row = connection.execute(
            f"select value, current_setting('cluster_name') from {TABLE} where register = %s",
            (register,),
        ).fetchone()
        assert row is not None
        return Event(session, "read", register, row[0], began, time.monotonic(), row[1])
