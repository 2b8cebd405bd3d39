"""Ourselves, as users start us, and pgbench without anything in between."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from tests.bench.contestant import Contestant, ContestantError, Stage
from tests.bench.workloads import Workload
from tests.support.proxy import Proxy

DIRECT: Final = "direct"


class Direct(Contestant):
    """pgbench straight to one replica; the writing workload to the primary."""

    name = DIRECT
    what = "no proxy: one replica (writes: the primary)"

    def __init__(self) -> None:
        self._stage: Stage | None = None

    def version(self) -> str | None:
        return "-"

    def start(self, stage: Stage) -> None:
        self._stage = stage

    def stop(self) -> None:
        self._stage = None

    def dsn(self, workload: Workload) -> str:
        assert self._stage is not None
        cluster = self._stage.cluster
        node = cluster.primary if workload.writes else cluster.replicas[0]
        return node.dsn("app", "app")

    def roots(self) -> list[int]:
        return []


class Rwsplit(Contestant):
    """`python -m rwsplit serve` in a process of its own, in front of all four nodes."""

    def __init__(self, name: str, what: str, settings: Mapping[str, Any]) -> None:
        self.name = name
        self.what = what
        self._settings = settings
        self._proxy: Proxy | None = None

    def version(self) -> str | None:
        return version("rwsplit")

    def start(self, stage: Stage) -> None:
        directory = stage.directory / self.name
        directory.mkdir(mode=0o700)
        settings = {
            "auth": {"type": stage.auth},
            "limits": {"max_client_conn": max(10_000, stage.most_clients)},
            **self._settings,
        }
        self._proxy = Proxy(stage.cluster, directory, settings, measured=False)
        try:
            self._proxy.start()
        except AssertionError as exc:
            raise ContestantError(exc) from None

    def stop(self) -> None:
        proxy, self._proxy = self._proxy, None
        if proxy is not None:
            proxy.stop()

    def dsn(self, workload: Workload) -> str:
        assert self._proxy is not None
        return self._proxy.dsn()

    def roots(self) -> list[int]:
        pid = self._proxy.pid if self._proxy is not None else None
        return [pid] if pid is not None else []

    def trouble(self) -> str | None:
        if self._proxy is None:
            return "it is not running"
        return None if self._proxy.pid is not None else f"it ended: {self._proxy.log_tail(1)}"
