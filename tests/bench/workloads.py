"""What pgbench is asked to do. A workload is a kind and a number of clients: `simple-32`.

Reads are pgbench's -S, one SELECT by primary key per transaction, in each of the three ways a client
can send it; `write` is -N, a transaction of one UPDATE, SELECT and INSERT; `reconnect` is -S with a new
connection per transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs

from tests.support.pgbench import Protocol

READS: Final[tuple[Protocol, ...]] = ("simple", "extended", "prepared")
KINDS: Final = (*READS, "write", "reconnect")
CLIENTS: Final = (1, 8, 32, 100)
OTHER_CLIENTS: Final = 16
"""Of `write` and `reconnect`."""


@attrs.frozen
class Workload:
    """One way to run pgbench."""

    kind: str
    clients: int

    @property
    def name(self) -> str:
        """As the tables call it."""
        return f"{self.kind}-{self.clients}"

    @property
    def writes(self) -> bool:
        """Whether it must reach the primary."""
        return self.kind == "write"

    @property
    def protocol(self) -> Protocol:
        """pgbench's -M."""
        return self.kind if self.kind in READS else "simple"

    @property
    def options(self) -> tuple[str, ...]:
        """The options of pgbench that make it this kind."""
        match self.kind:
            case "write":
                return ("--skip-some-updates",)
            case "reconnect":
                return ("--select-only", "--connect")
            case _:
                return ("--select-only",)


def choose_workloads(kinds: Iterable[str], clients: Iterable[int]) -> list[Workload]:
    """Return the workloads of *kinds*, the reads once for each of *clients*.

    Raises: ValueError naming a kind that does not exist, or an impossible number of clients.
    """
    clients = sorted(set(clients))
    if not clients or clients[0] < 1:
        raise ValueError("the numbers of clients must be at least 1")
    chosen: list[Workload] = []
    for kind in dict.fromkeys(kinds):
        if kind not in KINDS:
            raise ValueError(f"no workload {kind!r}; there are {', '.join(KINDS)}")
        numbers = clients if kind in READS else [OTHER_CLIENTS]
        chosen.extend(Workload(kind, number) for number in numbers)
    return chosen
