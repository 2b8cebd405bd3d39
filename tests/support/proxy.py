"""A real `rwsplit serve` in a process of its own, in front of a real cluster.

    with Proxy(cluster, tmp_path, {"consistency": {"max_lag": "1s"}}) as proxy:
        with proxy.connect() as connection:
            connection.execute("select 1")

The YAML is the minimal one for *cluster* with the test's settings laid over it. It is ready when a
client can log in and the console shows every node up. Under coverage the process is measured too
(`patch = ["subprocess"]` in pyproject.toml) unless *measured* is False, for tests of speed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, LiteralString

import psycopg
from psycopg.rows import dict_row
from ruamel.yaml import YAML

from rwsplit.embedded.ports import LOOPBACK, free_ports
from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import ReachableCluster, ReachableNode
from tests.support import warden
from tests.support.raw_client import PROTOCOL_3_0, RawClient

ADMIN: Final = "postgres"
CONSOLE: Final = "rwsplit"
START_TIMEOUT: Final = 30.0
#: What stands in the log where rwsplit itself has failed: no test may pass over it.
FAULTS: Final = ("client_failed", "server_failed", "Traceback (most recent call last)")
STOP_SIGNALS: Final = ((signal.SIGTERM, 15.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
"""Each with the seconds it is given; a stop that needs more than the first is an error."""


class Proxy:
    """One rwsplit process; its files are in *directory*."""

    def __init__(
        self,
        cluster: ReachableCluster[Any],
        directory: Path,
        settings: Mapping[str, Any] | None = None,
        *,
        measured: bool = True,
    ) -> None:
        self.cluster = cluster
        self.host = LOOPBACK
        self.port = free_ports(1)[0]
        self.config_path = directory / f"rwsplit-{self.port}.yaml"
        self.log_path = directory / f"rwsplit-{self.port}.log"
        self.userlist = directory / f"userlist-{self.port}.txt"
        self.settings: dict[str, Any] = merge(self._minimal(), settings or {})
        self._measured = measured
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Proxy:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """Its process id, None while it does not run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    # -- its life ----------------------------------------------------------------------------------

    def start(self, *, nodes_up: bool = True) -> None:
        """Write the files, start the process, block until it serves.

        With *nodes_up* False a login to the console is enough: for clusters that are partly down.
        """
        self.cluster.write_userlist(self.userlist)
        self.write_config()
        environment = dict(os.environ)
        if not self._measured:
            for name in [name for name in environment if name.startswith("COVERAGE_")]:
                del environment[name]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "rwsplit", "serve", "-c", os.fspath(self.config_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        warden.watch(self._process.pid, self.config_path)
        ready = self.has_all_nodes_up if nodes_up else self.answers
        try:
            wait_until(lambda: self.pid is None or ready(), timeout=START_TIMEOUT)
            if self.pid is None or not ready():
                raise AssertionError(f"rwsplit does not serve:\n{self.log_tail()}")
        except BaseException:  # Ctrl-C, too: nothing else knows of it yet
            self.kill()
            raise

    def stop(self) -> int:
        """Stop it by SIGTERM and return its exit status; it must not need more than that, nor have failed meanwhile."""
        process = self._process
        if process is None:
            return 0
        for signum, patience in STOP_SIGNALS:
            process.send_signal(signum)
            if wait_until(lambda: process.poll() is not None, timeout=patience):
                break
            print(f"rwsplit survives {signum.name}:\n{self.log_tail()}")
        self._process = None
        assert process.returncode is not None, "rwsplit survives SIGKILL"
        assert process.returncode not in {-signal.SIGQUIT, -signal.SIGKILL}, self.log_tail()
        log = self.log()
        assert not [word for word in FAULTS if word in log], log
        return process.returncode

    def kill(self) -> None:
        """SIGKILL it."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def signal(self, signum: signal.Signals) -> None:
        """Send it *signum*."""
        assert self._process is not None
        self._process.send_signal(signum)

    def wait(self, *, timeout: float) -> int:
        """Block until it ends by itself and return its exit status."""
        assert self._process is not None
        status = self._process.wait(timeout)
        self._process = None
        return status

    # -- its configuration -------------------------------------------------------------------------

    def write_config(self, settings: Mapping[str, Any] | None = None) -> None:
        """Write the YAML, with *settings* laid over what is there; `reload` makes it known."""
        self.settings = merge(self.settings, settings or {})
        with self.config_path.open("w") as file:
            self.config_path.chmod(0o600)  # it holds the monitor's password
            YAML(typ="safe").dump(self.settings, file)

    def reload(self, settings: Mapping[str, Any] | None = None) -> None:
        """Write the YAML and let rwsplit read it, by the console, which waits for the outcome."""
        self.write_config(settings)
        self.console("RELOAD")

    def _minimal(self) -> dict[str, Any]:
        return {
            "listen": f"{self.host}:{self.port}",
            "nodes": {
                name: f"{node.host}:{node.port}" for name, node in self.cluster.nodes.items()
            },
            "monitor": {"user": "rwsplit", "password": self.cluster.passwords["rwsplit"]},
            "users": {"file": os.fspath(self.userlist)},
            "admin": {"users": [ADMIN]},
        }

    # -- talking to it -----------------------------------------------------------------------------

    def dsn(self, database: str = "app", user: str = "app", **parameters: str) -> str:
        """Return a connection URL through the proxy."""
        direct: ReachableNode = self.cluster.primary
        return direct.dsn(database, user, **parameters).replace(
            f"@{direct.host}:{direct.port}/", f"@{self.host}:{self.port}/"
        )

    def connect(
        self, database: str = "app", user: str = "app", **options: Any
    ) -> psycopg.Connection[tuple[Any, ...]]:
        """Connect with psycopg, in autocommit mode."""
        options = {"autocommit": True, "connect_timeout": 10, **options}
        return psycopg.connect(self.dsn(database, user), **options)

    def raw(
        self,
        database: str = "app",
        user: str = "app",
        *,
        timeout: float = 10.0,
        **parameters: str,
    ) -> RawClient:
        """Return a raw client that is logged in."""
        client = RawClient(self.port, timeout=timeout)
        password = self.cluster.passwords[user]
        client.log_in(
            user=user,
            database=database,
            password=password,
            protocol=PROTOCOL_3_0,
            **parameters,
        )
        return client

    def console(self, command: LiteralString) -> list[dict[str, Any]]:
        """Run *command* on the console and return its rows by column name."""
        # The simple protocol: the console, like PgBouncer's, prepares nothing.
        with psycopg.connect(
            self.dsn(CONSOLE, ADMIN),
            autocommit=True,
            connect_timeout=5,
            row_factory=dict_row,
            cursor_factory=psycopg.ClientCursor,
        ) as connection:
            cursor = connection.execute(command)
            return cursor.fetchall() if cursor.description else []

    def nodes(self) -> dict[str, dict[str, Any]]:
        """Return the rows of SHOW NODES by name."""
        return {row["node"]: row for row in self.console("SHOW NODES")}

    def answers(self) -> bool:
        """Return whether an operator can log in."""
        try:
            self.console("SHOW VERSION")
        except psycopg.OperationalError:
            return False
        return True

    def has_all_nodes_up(self) -> bool:
        """Return whether every node is up, one is the primary, and the others may answer reads."""
        try:
            rows = self.console("SHOW NODES")
        except psycopg.OperationalError:
            return False
        roles = [row["role"] for row in rows]
        readable = [_is_true(row["eligible"]) for row in rows if row["role"] == "replica"]
        return roles.count("primary") == 1 and len(readable) == len(rows) - 1 and all(readable)

    # -- looking at it -----------------------------------------------------------------------------

    def log(self) -> str:
        """Return everything it printed."""
        return self.log_path.read_text(errors="replace")

    def log_tail(self, lines: int = 40) -> str:
        """Return the end of what it printed."""
        return "\n".join(self.log().splitlines()[-lines:])

    def memory(self) -> int:
        """Return its resident memory in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024

    def peak_memory(self) -> int:
        """Return the most resident memory it ever had, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024

    def cpu_seconds(self) -> float:
        """Return the processor time it has used, user and system together."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def open_files(self) -> int:
        """Return how many file descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return *below* with the values of *above* laid over it, mappings inside mappings too."""
    merged = dict(below)
    for key, value in above.items():
        mine = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(mine, Mapping)
        merged[key] = merge(mine, value) if both else value  # type: ignore[arg-type]
    return merged


def _is_true(value: object) -> bool:
    """Read a console's boolean, whatever type its column is announced as."""
    return value in {True, "t", "true", "yes"}
