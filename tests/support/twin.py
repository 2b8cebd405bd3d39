"""A twin: one of two databases made alike, and the clients that say scripts to it.

Of ParameterStatus it counts what a client knows when it has its answer, not when in between it was told; process ids
and OIDs of tables are masked. Every answer has an end of its own, so that no script can make a client wait for ever.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

import attrs

from rwsplit.embedded.cluster import EmbeddedCluster
from tests.support.differential import HIDDEN, Pacer, masked
from tests.support.messages import SYNC, close_statement, query
from tests.support.raw_client import Frame, RawClient
from tests.support.script_texts import RESTORE, STATE
from tests.support.scripts import SESSIONS, STARTUPS, Line, Script, Step, by

#: Seconds an answer may take.
PATIENCE: Final = 4.0
#: Behind each step, as its end: an answer that leaves the transaction alone and that no script asks for.
MARKER: Final = SYNC + close_statement("marker") * 5 + SYNC
_MARKED: Final = b"33333Z"
#: Stands for the end of the connection in an answer.
_ENDED: Final = b"!"


@attrs.frozen
class Answer:
    """What came back for one step, and what the client then knows of its parameters."""

    frames: tuple[Frame, ...]
    parameters: tuple[tuple[str, str], ...]

    @property
    def is_last(self) -> bool:
        """Whether the connection ended."""
        return bool(self.frames) and self.frames[-1].code == _ENDED


class Twin:
    """One database and its clients."""

    def __init__(
        self, cluster: EmbeddedCluster, port: int, database: str, *, pings: bool
    ) -> None:
        self._cluster = cluster
        self._port = port
        self.database = database
        self._clients: dict[tuple[int, int], RawClient] = {}
        self._pinger = self.connect() if pings else None
        self._pacer = Pacer(self._pinger) if self._pinger is not None else None
        # Locks of a session that is left open are waited for, but not for ever.
        self.admin = cluster.primary.connect(database, options="-c statement_timeout=4s")
        self._replicas = [node.connect(database) for node in cluster.replicas] if pings else []
        self.frames = 0

    def connect(self, parameters: int = 0) -> RawClient:
        """Return a new client that is logged in."""
        client = RawClient(self._port, timeout=PATIENCE)
        client.log_in(
            user="app",
            database=self.database,
            password=self._cluster.passwords["app"],
            **STARTUPS[parameters],  # type: ignore[arg-type]
        )
        return client

    def close(self) -> None:
        """Close everything."""
        self.forget()
        for connection in (self.admin, *self._replicas):
            connection.close()
        if self._pinger is not None:
            self._pinger.close()

    def forget(self) -> None:
        """Close the clients: the next script gets new ones."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    # -- playing -----------------------------------------------------------------------------------

    def play(self, script: Script) -> list[Answer]:
        """Say *script* and return the answers, one a step, those to its end behind them."""
        return list(self.say(script))

    def say(self, script: Script) -> Iterator[Answer]:
        """Say *script*, each step when the next answer is asked for; see `play`."""
        clients = {
            number: self._client(number, script.parameters) for number in script.sessions
        }
        for step in script.steps:
            yield self._step(clients[step.session], step)
        for number, client in clients.items():
            if script.leaves:
                client.close()
                del self._clients[number, script.parameters]
            else:
                yield self._step(client, _END)
                # By itself: what follows a DISCARD ALL at once keeps the server it may need. What was asked
                # for at startup is reported again behind it.
                last = self._answer(client, query("discard all"), b"Z")
                yield attrs.evolve(last, parameters=())

    def _client(self, number: int, parameters: int) -> RawClient:
        key = (number, parameters)
        if key not in self._clients:
            self._clients[key] = self.connect(parameters)
        return self._clients[key]

    def _step(self, client: RawClient, step: Step) -> Answer:
        *first, last = step.pieces() if self._pacer else [step.data]
        for piece in first:
            _send(client, piece)
            if self._pacer is not None:
                self._pacer.wait()
        return self._answer(client, last + MARKER, _MARKED)

    def _answer(self, client: RawClient, data: bytes, end: bytes) -> Answer:
        """Send *data* and return what comes back up to messages with the codes *end*."""
        frames: list[Frame] = []
        _send(client, data)
        try:
            while b"".join(frame.code for frame in frames[-len(end) :]) != end:
                frame = client.frame()
                if frame.code != b"S":
                    frames.append(masked(frame))
                elif not frame.payload.startswith(HIDDEN):
                    name, value, _ = frame.payload.split(b"\0")
                    client.parameters[name.decode()] = value.decode()
        except (EOFError, OSError) as error:
            frames.append(Frame(_ENDED, type(error).__name__.encode()))
        self.frames += len(frames)
        known = {n: v for n, v in client.parameters.items() if n.encode() + b"\0" not in HIDDEN}
        return Answer(tuple(frames), tuple(sorted(known.items())))

    # -- tables ------------------------------------------------------------------------------------

    def state(self) -> tuple[Any, ...]:
        """Return what is prepared, and what the tables of all sessions hold without that.

        By then no transaction may be open, not even one that a session has left behind.
        """
        for _ in range(_TURNS):
            if self.admin.execute(_OPEN).fetchone() == (0,):
                break
        else:
            raise AssertionError(f"{self.database}: a transaction stays open")
        prepared = self.admin.execute(
            "select gid from pg_prepared_xacts where database = current_database() order by 1"
        ).fetchall()
        for [gid] in prepared:  # it may hold locks
            self.admin.execute(f"rollback prepared '{gid}'")
        rows = [self.admin.execute(by(STATE, n)).fetchone() for n in SESSIONS]
        return (*prepared, *rows)

    def restore(self) -> None:
        """Put back what was there at first."""
        for number in SESSIONS:
            self.admin.execute("; ".join(by(text, number) for text in RESTORE))

    def locks(self) -> list[tuple[Any, ...]]:
        """Return the locks of other sessions in this database."""
        return self.admin.execute(_LOCKS).fetchall()

    def settle(self) -> None:
        """Block until the replicas have what was written so far, by any session."""
        row = self.admin.execute("select pg_current_wal_flush_lsn()::text").fetchone()
        for replica in self._replicas:
            for _ in range(_TURNS):
                found = replica.execute("select pg_last_wal_replay_lsn() >= %s::pg_lsn", row)
                if found.fetchone() == (True,):
                    break
            else:
                busy = replica.execute(_BUSY).fetchall()
                raise AssertionError(f"{replica.info.port} does not replay {row}: {busy}")


def _send(client: RawClient, data: bytes) -> None:
    """Send *data*; if the peer has closed, it has said why, and that is read next."""
    with contextlib.suppress(ConnectionError):
        client.send(data)


#: Questions asked until something has happened, some seconds' worth.
_TURNS: Final = 20_000
_OPEN: Final = (
    "select count(*)::int from pg_stat_activity "
    "where datname = current_database() and usename = 'app' and xact_start is not null"
)
_BUSY: Final = (
    "select a.pid, a.usename, a.state, a.xact_start, a.wait_event, a.query, array_agg(l.relation::regclass || ' ' || l.mode) "
    "from pg_stat_activity a left join pg_locks l using (pid) where a.pid <> pg_backend_pid() and (a.xact_start is not null "
    "or a.backend_type = 'startup') group by 1, 2, 3, 4, 5, 6"
)
_LOCKS: Final = (
    "select locktype, mode from pg_locks where pid <> pg_backend_pid() "
    "and database = (select oid from pg_database where datname = current_database())"
)
_END: Final = Step((Line("SYNC"), Line("query", ("rollback",))))
