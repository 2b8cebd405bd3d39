"""One PostgreSQL instance of an embedded cluster: a data directory, a port, maybe a postmaster.

The postmaster is our child, started in a session of its own so that Ctrl-C in our terminal does not
reach it. Its settings are in `rwsplit.conf` inside the data directory, rewritten whole; what
pg_basebackup -R and ALTER SYSTEM write (`postgresql.auto.conf`) is read after it and wins.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from psycopg import sql

from rwsplit.embedded import processes
from rwsplit.embedded.ports import LOOPBACK
from rwsplit.embedded.postgres import Binaries, EmbeddedError, environment
from rwsplit.embedded.reachable import ReachableNode

# They run as a superuser, in databases that are an application's: names and operators are qualified.
_PROMOTE: Final = "select pg_catalog.pg_promote(false)"
_RELOAD: Final = "select pg_catalog.pg_reload_conf()"
_MAKE_SLOT: Final = """
select pg_catalog.pg_create_physical_replication_slot(%s, true)
 where not exists (select from pg_catalog.pg_replication_slots where slot_name operator(pg_catalog.=) %s)
"""
_IN_RECOVERY: Final = "select pg_catalog.pg_is_in_recovery()"
SETTINGS_FILE: Final = "rwsplit.conf"
START_TIMEOUT: Final = 30.0
STOP_SIGNALS: Final = ((signal.SIGINT, 5.0), (signal.SIGQUIT, 3.0), (signal.SIGKILL, 3.0))
"""PostgreSQL's fast shutdown, its immediate one, and the kernel's, each with its patience in seconds."""
STATUS_LINE: Final = 7
"""Index of the line of postmaster.pid that says `starting`, `standby`, `ready` or `stopping`."""


class EmbeddedNode(ReachableNode):
    """A primary or replica whose postmaster is our child."""

    def __init__(
        self,
        name: str,
        port: int,
        directory: Path,
        binaries: Binaries,
        passwords: dict[str, str],
    ) -> None:
        super().__init__(name, LOOPBACK, port, passwords)
        self.data = directory / name
        self.log = directory / f"{name}.log"
        self.settings: dict[str, str] = {}
        self._binaries = binaries
        self._process: subprocess.Popen[bytes] | None = None
        self._paused: list[int] = []
        self._upstream: EmbeddedNode | None = None

    def __repr__(self) -> str:
        return f"<EmbeddedNode {self.name} {self.host}:{self.port} pid={self.pid}>"

    @property
    def pid(self) -> int | None:
        """The postmaster's pid, None while there is none."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def is_running(self) -> bool:
        """Whether there is a postmaster."""
        return self.pid is not None

    @property
    def is_replica(self) -> bool:
        """Whether it starts, or started, as a replica (promotion removes the file)."""
        return (self.data / "standby.signal").exists()

    # -- its life ----------------------------------------------------------------------------------

    def configure(self, settings: Mapping[str, str]) -> None:
        """Add *settings*, write the file, and let a running postmaster read it."""
        self.settings.update(settings)
        lines = [
            f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n"
            for name, value in self.settings.items()
        ]
        (self.data / SETTINGS_FILE).write_text("".join(lines))
        self._binaries.account.own(self.data / SETTINGS_FILE)
        if (pid := self.pid) is not None:
            processes.send([pid], signal.SIGHUP)

    def start(self) -> None:
        """Start the postmaster and block until it accepts connections.

        Raises: EmbeddedError with the end of its log when it does not within START_TIMEOUT.
        """
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start the postmaster without waiting; what a killed one left is ended first."""
        if self.pid is not None:
            raise EmbeddedError(f"{self.name} is running already")
        self._end_orphans()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [os.fspath(self._binaries.directory / "postgres"), "-D", os.fspath(self.data)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.data.parent,
                env=environment(),
                start_new_session=True,
                **self._binaries.account.switch,
            )

    def wait_until_ready(self, *, timeout: float = START_TIMEOUT) -> None:
        """Block until a launched postmaster accepts connections; see `start`."""
        processes.wait_until(lambda: self.pid is None or self._says_ready(), timeout=timeout)
        if self.pid is None:
            raise EmbeddedError(f"{self.name} did not start:\n{self.log_tail()}")
        if not self._says_ready():
            raise EmbeddedError(
                f"{self.name} did not start within {timeout:g} s:\n{self.log_tail()}"
            )

    def stop(self) -> None:
        """Shut down fast, then immediately, then by SIGKILL; harmless when it does not run."""
        stop_all([self])

    def kill(self) -> None:
        """SIGKILL the postmaster, as `kill -9` of an operator, and wait for its children to follow.

        They notice by themselves and tell their clients; one that is busy for longer is killed too.
        """
        if self.pid is None:
            return
        self.signal(signal.SIGKILL)
        self.resume()
        self._end_orphans()

    def pause(self) -> None:
        """SIGSTOP every process of the node: connections stay, nothing answers."""
        if (pid := self.pid) is None or self._paused:
            return
        self._paused = processes.stop(pid)

    def resume(self) -> None:
        """Undo `pause`."""
        paused, self._paused = self._paused, []
        processes.send(reversed(paused), signal.SIGCONT)

    # -- replication -------------------------------------------------------------------------------

    def promote(self, *, timeout: float = 30.0) -> None:
        """Make a replica a primary and block until it takes writes.

        Raises: EmbeddedError when it does not within *timeout* seconds.
        """
        self.query(_PROMOTE)
        if not processes.wait_until(self._takes_writes, timeout=timeout):
            raise EmbeddedError(f"{self.name} was not promoted:\n{self.log_tail()}")

    def follow(self, primary: EmbeddedNode) -> None:
        """Point a running replica at *primary*, over a slot there that is made when missing.

        A former primary cannot: its history may have parted; `rebuild` it.
        """
        if not self.is_replica:
            raise EmbeddedError(f"{self.name} is no replica; rebuild it to make it one")
        primary.ensure_slot(self.name)
        self._upstream = primary
        with self.connect() as connection:
            for name, value in (
                ("primary_conninfo", primary.replication_conninfo(self.name)),
                ("primary_slot_name", self.name),
            ):
                connection.execute(
                    sql.SQL("alter system set {} = {}").format(
                        sql.Identifier(name), sql.Literal(value)
                    )
                )
            connection.execute(_RELOAD)

    def rebuild(self, primary: EmbeddedNode) -> None:
        """Replace the node by a new replica of *primary*, on the same port."""
        self.stop()
        self._end_orphans()
        shutil.rmtree(self.data, ignore_errors=True)
        self.make_directory()
        self.finish_copy(self.begin_copy(primary))
        self.start()

    def is_to_follow(self, primary: EmbeddedNode) -> bool:
        """Return whether it is a replica that was copied from *primary*, or pointed at it, last."""
        return self.is_replica and self._upstream is primary

    def make_directory(self) -> None:
        """Make the empty data directory, the account's own."""
        self.data.mkdir(mode=0o700)
        self._binaries.account.own(self.data)

    def begin_copy(self, primary: EmbeddedNode) -> subprocess.Popen[str]:
        """Start pg_basebackup from *primary*, over a slot named after this node."""
        primary.ensure_slot(self.name)
        self._upstream = primary
        return self._binaries.begin(
            "pg_basebackup",
            f"--pgdata={self.data}",
            f"--dbname={primary.replication_conninfo(self.name, password=False)}",
            "--write-recovery-conf",
            f"--slot={self.name}",
            "--checkpoint=fast",
            "--wal-method=stream",
            "--no-sync",
            "--no-manifest",
            directory=self.data.parent,
            password=self.passwords["replicator"],
        )

    def finish_copy(self, copying: subprocess.Popen[str]) -> None:
        """Wait for `begin_copy` and give the copy this node's own settings."""
        self._binaries.finish(copying)
        self.configure({})

    def ensure_slot(self, name: str) -> None:
        """Make a physical replication slot unless it exists."""
        self.query(_MAKE_SLOT, name, name)

    def replication_conninfo(self, application_name: str, *, password: bool = True) -> str:
        """Return the connection string replicas use; without the password it comes from PGPASSWORD."""
        conninfo = (
            f"host={self.host} port={self.port} user=replicator application_name={application_name} "
            "connect_timeout=5"
        )
        return f"{conninfo} password={self.passwords['replicator']}" if password else conninfo

    # -- looking at it -----------------------------------------------------------------------------

    def log_tail(self, lines: int = 15) -> str:
        """Return the end of its log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return "(no log)"

    def _says_ready(self) -> bool:
        """Look into postmaster.pid, where a postmaster writes how far it has come."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return int(lines[0]) == self.pid and lines[STATUS_LINE].strip() == "ready"
        except (OSError, IndexError, ValueError):
            return False

    def _takes_writes(self) -> bool:
        return self.query(_IN_RECOVERY) == [(False,)]

    def signal(self, signum: signal.Signals) -> None:
        """Signal the postmaster, if there is one; Popen knows when it was reaped."""
        if self._process is not None:
            self._process.send_signal(signum)

    def _end_orphans(self) -> None:
        """Wait for the children of a killed postmaster; kill those that are still there after 2 s."""
        if not processes.wait_until(lambda: self.pid is None, timeout=5.0):
            raise EmbeddedError(f"{self.name} survives SIGKILL")
        processes.wait_until(lambda: not processes.working_in(self.data), timeout=2.0)
        processes.send(processes.working_in(self.data), signal.SIGKILL)
        if not processes.wait_until(lambda: not processes.working_in(self.data), timeout=5.0):
            raise EmbeddedError(f"processes of {self.name} survive SIGKILL")


def stop_all(nodes: list[EmbeddedNode]) -> None:
    """Stop *nodes* together, in as long as the slowest takes."""
    for node in nodes:
        node.resume()
    for signum, patience in STOP_SIGNALS:
        for node in nodes:
            node.signal(signum)
        if processes.wait_until(
            lambda: all(node.pid is None for node in nodes), timeout=patience
        ):
            break
