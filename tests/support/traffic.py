"""Which node executed what.

`StatementLog` is exact: every node logs its statements, and a backend writes the line before it
executes. It costs PostgreSQL time, so runs under load use `Transactions`, the statistics
collector's counts, which a busy backend reports once a second and an idle one within ten.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import TracebackType
from typing import Final

import attrs

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.node import EmbeddedNode
from rwsplit.embedded.processes import wait_until

LINE: Final = re.compile(r"LOG:  (?:statement|execute [^:]*): (.*)")


class StatementLog:
    """What each node executed since the block was entered.

    with StatementLog(cluster) as executed:
        ...
        assert executed.where("select 42") == {"replica1": 1}
    """

    def __init__(self, cluster: EmbeddedCluster) -> None:
        self._nodes = cluster.nodes
        self._starts: dict[str, int] = {}

    def __enter__(self) -> StatementLog:
        for node in self._running():
            node.configure({"log_statement": "all"})
        self._await_setting("all")
        self._starts = {name: node.log.stat().st_size for name, node in self._nodes.items()}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for node in self._running():
            node.configure({"log_statement": "none"})
        self._await_setting("none")

    def of(self, name: str) -> list[str]:
        """Return the statements node *name* executed, each text's first line, oldest first."""
        with self._nodes[name].log.open(errors="replace") as log:
            log.seek(self._starts[name])
            return [found[1] for line in log if (found := LINE.search(line))]

    def where(self, part: str) -> dict[str, int]:
        """Return how often each node executed a statement whose first line contains *part*."""
        counts = {name: sum(part in text for text in self.of(name)) for name in self._nodes}
        return {name: count for name, count in counts.items() if count}

    def _running(self) -> list[EmbeddedNode]:
        return [node for node in self._nodes.values() if node.pid is not None]

    def _await_setting(self, value: str) -> None:
        for node in self._running():
            assert wait_until(
                lambda node=node: node.query("show log_statement") == [(value,)],  # type: ignore[misc]
                timeout=10,
            )


@attrs.frozen
class Counts:
    """What one node did in one database between two looks."""

    transactions: int
    rows_read: int
    rows_written: int


class Transactions:
    """Counts per node since it was made, for *database*."""

    def __init__(self, cluster: EmbeddedCluster, database: str = "app") -> None:
        self._nodes = cluster.nodes
        self._database = database
        self._before = self._read()

    def counts(self) -> dict[str, Counts]:
        """Return what each running node did since."""
        now = self._read()
        return {
            name: Counts(
                *(after - before for after, before in zip(now[name], old, strict=True))
            )
            for name, old in self._before.items()
            if name in now
        }

    def _read(self) -> Mapping[str, tuple[int, int, int]]:
        found: dict[str, tuple[int, int, int]] = {}
        for name, node in self._nodes.items():
            if node.pid is None:
                continue
            [row] = node.query(
                "select xact_commit + xact_rollback, tup_fetched, "
                "tup_inserted + tup_updated + tup_deleted "
                "from pg_stat_database where datname = %s",
                self._database,
            )
            found[name] = (row[0], row[1], row[2])
        return found


def shares(counts: Mapping[str, Counts]) -> dict[str, float]:
    """Return each node's part of all transactions."""
    total = sum(count.transactions for count in counts.values()) or 1
    return {name: count.transactions / total for name, count in counts.items()}
