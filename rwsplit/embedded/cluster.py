"""A primary and streaming replicas on loopback ports: `rwsplit demo`, the tests, the benchmark.

Made for speed and for throwing away: nothing is synced to disk, the replicas are copied in
parallel, one physical replication slot each. Clients log in over TCP by SCRAM-SHA-256 with random
passwords; there are no Unix sockets, so no path is too long for one.

    with EmbeddedCluster(replicas=3) as cluster:
        cluster.nodes["primary"].query("select 1")

When the block ends everything is stopped and removed; when the process is killed, its guardian
does it, and what even that leaves the next start removes.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final

from rwsplit.embedded import processes
from rwsplit.embedded.directory import ClusterDirectory, InUse, remove_leftovers
from rwsplit.embedded.guardian import release, start_guardian
from rwsplit.embedded.node import EmbeddedNode, stop_all
from rwsplit.embedded.ports import free_ports
from rwsplit.embedded.postgres import Binaries, EmbeddedError
from rwsplit.embedded.primary import (
    SETTINGS,
    SUPERUSER,
    initialise,
    make_roles,
    random_passwords,
    turn_on_ssl,
)
from rwsplit.embedded.reachable import PRIMARY, ReachableCluster


class EmbeddedCluster(ReachableCluster[EmbeddedNode]):
    """One primary (`primary`) and its replicas (`replica1`...), on this machine."""

    superuser: Final = SUPERUSER

    def __init__(
        self,
        *,
        replicas: int = 3,
        postgres: Path | None = None,
        directory: Path | None = None,
        apply_delay: Mapping[str, float] | None = None,
        settings: Mapping[str, str] | None = None,
        hba: Sequence[str] = (),
        ssl: bool = False,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare; `start` does the work.

        *postgres* is a directory of binaries (default: the wheel's), *directory* where the cluster
        lives (default: a temporary one; it must be absent or empty), *apply_delay* seconds by name
        of replica, *settings* PostgreSQL's own, *hba* lines put before `host all all ... scram-sha-256`,
        *progress* is told each step.
        """
        super().__init__(random_passwords())
        self.certificate_authority: Path | None = None
        """The CA certificate that signed the nodes', with *ssl*."""
        self._names = [PRIMARY, *(f"replica{number}" for number in range(1, replicas + 1))]
        self._postgres = postgres
        self._wanted_directory = directory
        self._apply_delay = dict(apply_delay or {})
        self._settings = {**SETTINGS, **(settings or {})}
        self._hba = list(hba)
        self._ssl = ssl
        self._progress = progress or (lambda _step: None)
        self._directory: ClusterDirectory | None = None
        self._guardian: subprocess.Popen[bytes] | None = None
        if unknown := self._apply_delay.keys() - set(self._names[1:]):
            raise EmbeddedError(f"apply_delay names no replica: {', '.join(sorted(unknown))}")

    def __enter__(self) -> EmbeddedCluster:
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
    def directory(self) -> Path:
        """Where the cluster lives while it runs."""
        if self._directory is None:
            raise EmbeddedError("the cluster is not started")
        return self._directory.path

    def start(self) -> None:
        """Start everything and block until every replica streams; a failure leaves nothing behind.

        Raises: EmbeddedError with PostgreSQL's own words.
        """
        if self._directory is not None:
            raise EmbeddedError("the cluster is started already")
        try:
            binaries = self._prepare()
            self._start_primary(binaries)
            self._start_replicas()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop every node, remove the directory; harmless when there is nothing to stop."""
        directory, self._directory = self._directory, None
        if directory is None:
            return
        try:
            stop_all(list(self.nodes.values()))
        finally:
            directory.remove()
            if self._guardian is not None:
                release(self._guardian)
                self._guardian = None
            self.nodes.clear()

    def repair(self) -> None:
        """Bring every node back as it was after `start`, whatever was done to them.

        The data stay where the primary survived as the primary; a replica that was promoted, or
        that does not stream any more, is made anew.
        """
        for node in self.nodes.values():
            node.resume()
            if node.pid is None:
                node.start()
        for node in self.replicas:
            if not node.is_to_follow(self.primary) or not processes.wait_until(
                partial(node.streams_from, self.primary), timeout=3.0
            ):
                node.rebuild(self.primary)
        self.wait_until_streaming()

    # -- the steps of start ------------------------------------------------------------------------

    def _prepare(self) -> Binaries:
        """Find the binaries, own a directory, make the nodes' values."""
        for leftover in remove_leftovers():
            self._progress(f"removed {leftover}, left by a run that was killed")
        binaries = Binaries.find(self._postgres)
        try:
            self._directory = ClusterDirectory.create(self._wanted_directory)
        except InUse as exc:
            raise EmbeddedError(f"{exc}; choose another directory") from None
        self._guardian = start_guardian(self.directory)
        if (closed := binaries.account.stopped_at(self.directory)) is not None:
            raise EmbeddedError(
                f"PostgreSQL, which runs as {binaries.account.name}, may not enter {closed}; "
                "choose another directory"
            )

        for name, port in zip(self._names, free_ports(len(self._names)), strict=True):
            node = EmbeddedNode(name, port, self.directory, binaries, self.passwords)
            node.settings.update(self._settings, port=str(port), cluster_name=name)
            if delay := self._apply_delay.get(name):
                node.settings["recovery_min_apply_delay"] = f"{round(delay * 1000)}ms"
            self.nodes[name] = node
            node.make_directory()
        return binaries

    def _start_primary(self, binaries: Binaries) -> None:
        self._progress(f"initdb (PostgreSQL {binaries.version})")
        primary = self.primary
        initialise(primary, binaries, password=self.passwords[SUPERUSER], hba=self._hba)
        if self._ssl:
            authority, tls_settings = turn_on_ssl(primary, binaries)
            self.certificate_authority = authority
            for node in self.nodes.values():
                node.settings.update(tls_settings)
            primary.configure({})

        self._progress(f"starting primary on port {primary.port}")
        primary.start()
        make_roles(primary)

    def _start_replicas(self) -> None:
        if not self.replicas:
            return
        names = ", ".join(node.name for node in self.replicas)
        self._progress(f"copying the primary to {names}")
        copies: list[tuple[EmbeddedNode, subprocess.Popen[str]]] = []
        try:
            copies.extend((node, node.begin_copy(self.primary)) for node in self.replicas)
            while copies:
                node, copying = copies.pop(0)
                node.finish_copy(copying)
        finally:
            for _, copying in copies:
                processes.kill_group(copying)

        ports = ", ".join(str(node.port) for node in self.replicas)
        self._progress(f"starting {names} on ports {ports}")
        for node in self.replicas:
            node.launch()
        for node in self.replicas:
            node.wait_until_ready()
        self.wait_until_streaming()
