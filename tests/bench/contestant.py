"""What is measured: something that answers pgbench, and the processes whose work that is.

A contestant starts its processes on free loopback ports in a directory of its own, says where it
takes reads and where writes, and ends everything it started by pid. As root the peers run as
the servers' unprivileged account: PgBouncer refuses root.
"""

from __future__ import annotations

import abc
import os
import shutil
import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import psycopg

from rwsplit.embedded import processes
from rwsplit.embedded.account import Account
from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.ports import LOOPBACK
from tests.bench import cpu
from tests.bench.workloads import Workload

APPLICATION: Final = "app"
"""The user, and its database, pgbench works as."""
START_TIMEOUT: Final = 30.0
STOP_TIMEOUT: Final = 5.0
SYSTEM_PROGRAMS: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where distributions put servers and a user's PATH may not look."""


class ContestantError(Exception):
    """A contestant cannot take part; its log, if it has any, and last the reason in one line."""


@attrs.frozen
class Stage:
    """What all contestants stand on."""

    cluster: EmbeddedCluster
    directory: Path
    account: Account
    auth: str
    """`trust` or `scram-sha-256`, for clients and nodes alike."""
    most_clients: int

    @property
    def password(self) -> str:
        """The application's."""
        return self.cluster.passwords[APPLICATION]


class Contestant(abc.ABC):
    """One way from pgbench to the nodes."""

    name: str
    what: str
    """One line about how it is set up."""

    @abc.abstractmethod
    def version(self) -> str | None:
        """Return its version, None when it is not installed."""

    @abc.abstractmethod
    def start(self, stage: Stage) -> None:
        """Block until it answers. Raises: ContestantError when it does not."""

    @abc.abstractmethod
    def stop(self) -> None:
        """End every process it started; harmless when there is none."""

    @abc.abstractmethod
    def dsn(self, workload: Workload) -> str:
        """Return where pgbench connects for *workload*."""

    @abc.abstractmethod
    def roots(self) -> list[int]:
        """Return the pids of the processes it started; their children count too."""

    def trouble(self) -> str | None:
        """Return why it cannot be measured any more, None when it can."""
        return None


class Peer(Contestant):
    """A program of another project: found in the PATH, configured by files, run in the foreground."""

    program: str
    stop_signal: Final = signal.SIGINT
    """Fast shutdown for Pgpool-II, and good enough for one without clients."""

    def __init__(self) -> None:
        self.log = Path(os.devnull)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def path(self) -> str | None:
        """The program, None when it is not installed."""
        places = os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_PROGRAMS))
        return shutil.which(self.program, path=places)

    @abc.abstractmethod
    def write_files(self, stage: Stage, directory: Path) -> list[str]:
        """Write its configuration to *directory* and return its arguments."""

    @abc.abstractmethod
    def dsn_of_reads(self) -> str:
        """Return where it takes reads."""

    @abc.abstractmethod
    def dsn_of_writes(self) -> str:
        """Return where it takes writes."""

    def dsn(self, workload: Workload) -> str:
        return self.dsn_of_writes() if workload.writes else self.dsn_of_reads()

    def roots(self) -> list[int]:
        return [self._process.pid] if self._process is not None else []

    def start(self, stage: Stage) -> None:
        path = self.path
        if path is None:
            raise ContestantError(f"{self.program} is not installed")
        directory = stage.directory / self.name
        directory.mkdir(mode=0o700)
        arguments = self.write_files(stage, directory)
        self.log = directory / "log"
        for owned in (directory, *directory.iterdir()):
            stage.account.own(owned)

        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [path, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=directory,
                start_new_session=True,
                **stage.account.switch,
            )
        for dsn in (self.dsn_of_reads(), self.dsn_of_writes()):
            processes.wait_until(partial(self._settled, dsn), timeout=START_TIMEOUT)
            if refusal := self.trouble() or _refusal(dsn):
                raise ContestantError(f"{self.log_tail()}\n{refusal}")

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        tree = cpu.living_tree(process.pid)
        process.send_signal(self.stop_signal)
        processes.wait_until(lambda: process.poll() is not None, timeout=STOP_TIMEOUT)
        if process.poll() is None:
            process.kill()
            process.wait()
        # They are in our session; another process that got one of the pids since then is not.
        for pid in tree - {process.pid}:
            if _session_of(pid) == process.pid:
                processes.send([pid], signal.SIGKILL)

    def trouble(self) -> str | None:
        process = self._process
        if process is None:
            return "it is not running"
        status = process.poll()
        return None if status is None else f"{self.program} ended with status {status}"

    def _settled(self, dsn: str) -> bool:
        """Whether *dsn* answers, or never will."""
        return self.trouble() is not None or _refusal(dsn) is None

    def log_tail(self, lines: int = 8) -> str:
        """Return the end of what it printed."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return "(no log)"

    def printed_version(self, *arguments: str) -> str | None:
        """Return what it prints when asked for its version, None when it is not installed."""
        if self.path is None:
            return None
        done = subprocess.run(
            [self.path, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.stdout


def dsn_of(port: int, password: str, database: str = APPLICATION) -> str:
    """Return the application's connection URL for *port*."""
    return f"postgresql://{APPLICATION}:{password}@{LOOPBACK}:{port}/{database}"


def _refusal(dsn: str) -> str | None:
    """Return why *dsn* does not answer, None when it does."""
    try:
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            connection.execute("select 1")
    except psycopg.Error as exc:
        return str(exc).strip()
    return None


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None
