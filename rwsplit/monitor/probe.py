"""Probe: one look at one node, by psycopg in a worker thread.

A look is one round trip on a connection that is kept. It never blocks the event loop and never
leaks: the thread that runs it is bounded by a limiter of its node and by a timeout in trio. When
the timeout strikes, the thread may still sit in a system call; the *link* it uses is abandoned,
which shuts the socket down under it, so that the thread wakes up, closes the connection and ends.
(A thread that is still connecting has no socket to shut down; libpq's `connect_timeout` ends it.)

What a monitor role needs: LOGIN. One thing is better with `pg_monitor` (or `pg_read_all_stats`):
the timeline of a replica. `pg_stat_wal_receiver.received_tli` is hidden from others, and without it
the control file must do, which mentions a new timeline only when the replica writes its next
restartpoint or flushes a page. That may take up to `checkpoint_timeout` after a promotion; until
then the replica is refused as OTHER_TIMELINE, for it cannot prove the contrary.

The timeline of a replica is the highest that any of these sources mentions: the receiver streams a
newer one only if the replica's own position lies on it, and in recovery it never goes back while the
node runs.
"""

from __future__ import annotations

import math
import os
import re
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import psycopg
import trio

from rwsplit.cluster.node import Role
from rwsplit.cluster.observation import Observation
from rwsplit.config.model import MonitorConfig, NodeConfig, TlsConfig
from rwsplit.errors import NodeError
from rwsplit.lsn import LSN, normalise_insert_lsn, parse_lsn

#: Threads a node may occupy: one that looks, and one that was abandoned and is about to end.
THREADS_PER_NODE: Final = 2

#: libpq does not go below.
_SHORTEST_CONNECT_TIMEOUT: Final = 2

_IDENTITY: Final = """
select current_setting('server_version'),
       pg_size_bytes(current_setting('wal_block_size'))::int,
       pg_size_bytes(current_setting('wal_segment_size'))::int,
       (select system_identifier::text from pg_control_system())
"""

#: The position is read before the timeline: a replica that moves on in between has still replayed
#: that position on both. `greatest` ignores what is null: no receiver, or no right to see it.
_LOOK: Final = """
select in_recovery,
       case when in_recovery then pg_last_wal_replay_lsn()
            else pg_current_wal_insert_lsn() end::text,
       case when in_recovery
            then greatest((select received_tli from pg_stat_wal_receiver),
                          (select timeline_id from pg_control_checkpoint()),
                          (select min_recovery_end_timeline from pg_control_recovery()))
            else ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int end,
       case when in_recovery
            then extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::float8
       end
  from pg_is_in_recovery() as in_recovery
"""


_PREAMBLE: Final = re.compile(
    r"^(connection failed: )?(connection to server .* failed: )?(FATAL:  )?"
)


class ProbeFailed(NodeError):
    """A node was not seen; *lost* says that the connection is gone, False that it was only slow."""

    def __init__(self, reason: str, *, lost: bool) -> None:
        super().__init__(reason)
        self.lost = lost


class Identity(NamedTuple):
    """What cannot change while a connection lives."""

    server_version: str
    wal_block_size: int
    wal_segment_size: int
    system_identifier: str


def connection_parameters(
    node: NodeConfig, monitor: MonitorConfig, tls: TlsConfig
) -> dict[str, str | int]:
    """Return libpq's parameters for probing *node*, without the password."""
    patience = math.ceil(monitor.timeout)
    milliseconds = max(1, round(monitor.timeout * 1000))
    parameters: dict[str, str | int | Path | None] = {
        "host": node.host,
        "port": node.port,
        "user": monitor.user,
        "dbname": monitor.database,
        "application_name": "rwsplit monitor",
        "connect_timeout": max(_SHORTEST_CONNECT_TIMEOUT, patience),
        "tcp_user_timeout": milliseconds,
        "keepalives_idle": patience,
        "keepalives_interval": patience,
        "keepalives_count": 3,
        "options": f"-c statement_timeout={milliseconds} -c default_transaction_read_only=on",
        "gssencmode": "disable",
        "sslmode": tls.server_tls_sslmode.value,
        "sslrootcert": tls.server_tls_ca_file,
        "sslcert": tls.server_tls_cert_file,
        "sslkey": tls.server_tls_key_file,
    }
    return {
        name: value if isinstance(value, int) else str(value)
        for name, value in parameters.items()
        if value is not None
    }


class Link:
    """One connection to one node and the thread that may be using it.

    `look` runs in a worker thread, one at a time; `abandon` may be called from any.
    """

    def __init__(
        self, parameters: Mapping[str, str | int], password: str | Path | None
    ) -> None:
        self._parameters = parameters
        self._password = password
        self._lock = threading.Lock()
        self._connection: psycopg.Connection | None = None
        self._socket: socket.socket | None = None
        """A duplicate of libpq's descriptor: libpq may close its own at any moment, and shutting
        down a number that was given to somebody else meanwhile would hit the wrong connection."""
        self._identity: Identity | None = None
        self._timeline = 0
        self._busy = False
        self._abandoned = False

    def look(self) -> Observation:
        """Ask the node what it is and where it stands; connect first if need be.

        Raises:
            ProbeFailed: it could not be asked; after a *lost* one this link is of no more use.
        """
        with self._lock:
            if self._abandoned:
                raise ProbeFailed("abandoned", lost=True)
            self._busy = True
        try:
            return self._ask(self._connection or self._connect())
        except (psycopg.Error, OSError, ValueError) as exc:
            lost = self._connection is None or self._connection.closed
            raise ProbeFailed(sentence(exc), lost=lost) from exc
        finally:
            self._rest()

    def abandon(self) -> None:
        """Give the connection up: close it now, or have the thread that is using it do so."""
        with self._lock:
            self._abandoned = True
            if not self._busy:
                self._close()
            elif self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def _connect(self) -> psycopg.Connection:
        password = self._password
        if isinstance(password, Path):
            password = password.read_text(encoding="utf-8").rstrip("\r\n")
        connection = psycopg.connect(
            **self._parameters,  # type: ignore[arg-type]  # libpq's parameters are open-ended
            password=password,
            autocommit=True,
        )
        with self._lock:
            self._connection = connection
            self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        row = connection.execute(_IDENTITY).fetchone()
        assert row is not None
        self._identity = Identity(*row)
        return connection

    def _ask(self, connection: psycopg.Connection) -> Observation:
        identity = self._identity
        assert identity is not None
        row = connection.execute(_LOOK, prepare=True).fetchone()
        assert row is not None
        in_recovery, position, timeline, age = row
        if position is None:
            raise ValueError("has not replayed anything yet")

        lsn = parse_lsn(position)
        if not in_recovery:
            lsn = normalise_insert_lsn(
                lsn,
                block_size=identity.wal_block_size,
                segment_size=identity.wal_segment_size,
            )
        self._timeline = max(self._timeline, timeline)
        return Observation(
            role=Role.REPLICA if in_recovery else Role.PRIMARY,
            timeline=self._timeline,
            lsn=LSN(lsn),
            system_identifier=identity.system_identifier,
            server_version=identity.server_version,
            replay_age=age,
        )

    def _rest(self) -> None:
        with self._lock:
            self._busy = False
            if self._abandoned:
                self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._connection is not None:
            self._connection.close()


class Probe:
    """Looks at one node, over one link at a time."""

    def __init__(self, node: NodeConfig, monitor: MonitorConfig, tls: TlsConfig) -> None:
        self._parameters = connection_parameters(node, monitor, tls)
        self._password = monitor.password or monitor.password_file
        self._timeout = monitor.timeout
        self._limiter = trio.CapacityLimiter(THREADS_PER_NODE)
        self._link: Link | None = None

    async def look(self) -> Observation:
        """Look at the node once.

        Raises:
            ProbeFailed: it did not answer, or not in time.
        """
        link = self._link = self._link or Link(self._parameters, self._password)
        try:
            with trio.fail_after(self._timeout):
                return await trio.to_thread.run_sync(
                    link.look, abandon_on_cancel=True, limiter=self._limiter
                )
        except trio.TooSlowError as exc:
            self.close()
            raise ProbeFailed(f"no answer in {self._timeout:g} s", lost=False) from exc
        except ProbeFailed as failure:
            if failure.lost:
                self.close()
            raise

    def close(self) -> None:
        """Give up the link; the next look makes a new one."""
        if self._link is not None:
            self._link.abandon()
            self._link = None


def sentence(exc: Exception) -> str:
    """Return the first line of what went wrong, without libpq's preamble."""
    lines = str(exc).strip().splitlines()
    return _PREAMBLE.sub("", lines[0]) if lines else type(exc).__name__
