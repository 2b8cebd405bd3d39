"""One run: pgbench for some seconds, and who used how much processor time meanwhile.

The times are read before pgbench starts and a moment after it has ended, so logging in and out is
part of what a run costs; in all workloads but `reconnect` it is little. Three groups of processes
are told apart: the contestant's, all four nodes', and pgbench itself. Together they are
what a transaction costs the whole system, whatever else runs on the machine; what else runs there
(the machine's busy time less ours) is kept too, as a measure of how far a figure can be trusted.
"""

from __future__ import annotations

import re
import resource
import subprocess
import time
from typing import Final

import attrs

from tests.bench import cpu
from tests.bench.contestant import Contestant, Stage
from tests.bench.workloads import Workload
from tests.support.pgbench import Outcome, Pgbench

SETTLE: Final = 0.15
"""Seconds after a run in which servers notice that the clients are gone."""
PATIENCE: Final = 60.0
"""Seconds a run may take longer than asked for."""
REFUSAL: Final = ("error", "fatal", "panic")


@attrs.frozen
class Spent:
    """Seconds of processor time; None where this system does not tell."""

    contestant: float | None
    postgres: float | None
    pgbench: float
    machine: float | None
    stolen: float | None
    wall: float

    @property
    def ours(self) -> float | None:
        """What the contestant, PostgreSQL and pgbench used together."""
        if self.contestant is None or self.postgres is None:
            return None
        return self.contestant + self.postgres + self.pgbench

    @property
    def others(self) -> float | None:
        """How many processors the rest of the machine kept busy, on average."""
        if self.machine is None or self.ours is None or self.wall <= 0:
            return None
        return (self.machine - self.ours) / self.wall


@attrs.frozen
class Run:
    """What one run came to."""

    workload: str
    contestant: str
    number: int
    """Which round it belongs to, from 1."""
    tps: float
    latency_ms: float
    transactions: int
    spent: Spent | None
    error: str | None = None
    """Why its figures do not count."""

    @property
    def own_us(self) -> float | None:
        """Microseconds of the contestant's processor time per transaction; None without processes."""
        return self._per_transaction(self.spent.contestant if self.spent else None)

    @property
    def all_us(self) -> float | None:
        """Microseconds of everybody's processor time per transaction."""
        return self._per_transaction(self.spent.ours if self.spent else None)

    def _per_transaction(self, seconds: float | None) -> float | None:
        if not seconds or not self.transactions:
            return None
        return seconds / self.transactions * 1e6


def failed_run(workload: Workload, contestant: str, number: int, error: str) -> Run:
    """Return a run that came to nothing."""
    return Run(
        workload=workload.name,
        contestant=contestant,
        number=number,
        tps=0.0,
        latency_ms=0.0,
        transactions=0,
        spent=None,
        error=error,
    )


def run_pgbench(
    contestant: Contestant,
    workload: Workload,
    *,
    stage: Stage,
    pgbench: Pgbench,
    seconds: int,
    number: int,
    jobs: int,
) -> Run:
    """Run *workload* against *contestant* and return what it came to; failures are in the result."""
    if trouble := contestant.trouble():
        return failed_run(workload, contestant.name, number, trouble)

    before = _Reading(contestant, stage)
    try:
        outcome = pgbench.run(
            contestant.dsn(workload),
            *workload.options,
            f"--jobs={min(jobs, workload.clients)}",
            clients=workload.clients,
            seconds=seconds,
            protocol=workload.protocol,
            timeout=seconds + PATIENCE,
        )
    except subprocess.TimeoutExpired:
        error = f"pgbench did not end {PATIENCE:g} s after it should have"
        return failed_run(workload, contestant.name, number, error)
    time.sleep(SETTLE)  # noqa: TID251 - synchronous: nothing else runs in this process
    spent = _Reading(contestant, stage).since(before)

    return Run(
        workload=workload.name,
        contestant=contestant.name,
        number=number,
        tps=outcome.tps,
        latency_ms=outcome.latency_ms,
        transactions=outcome.transactions,
        spent=spent,
        error=contestant.trouble() or error_in(outcome),
    )


def idle_load(contestants: list[Contestant], *, seconds: float = 2.0) -> dict[str, float]:
    """Return the share of one processor each of *contestants* keeps busy with nothing to do."""

    def used() -> dict[str, float | None]:
        return {each.name: cpu.processor_time(each.roots()) for each in contestants}

    before, began = used(), time.monotonic()
    time.sleep(seconds)  # noqa: TID251 - as above
    after, took = used(), time.monotonic() - began
    return {
        name: (end - start) / took
        for name, start in before.items()
        if start is not None and (end := after[name]) is not None
    }


def error_in(outcome: Outcome) -> str | None:
    """Return why *outcome* does not count, in pgbench's first words about it; None when it does."""
    if outcome.is_clean:
        return None if outcome.transactions else "no transaction ended in time"
    lines = [line.strip() for line in outcome.printed.splitlines() if line.strip()]
    for line in lines:
        if any(word in line.lower() for word in REFUSAL) and "number of failed" not in line:
            # Threads that fail together write into each other's lines: `pgbench:pgbench: error: `.
            return re.sub(r"^(pgbench:\s*)+(error:\s*)?", "", line)
    if outcome.failed:
        return f"{outcome.failed} transactions failed"
    return lines[-1] if lines else f"pgbench ended with status {outcome.status}"


class _Reading:
    """All clocks at one moment."""

    def __init__(self, contestant: Contestant, stage: Stage) -> None:
        nodes = [node.pid for node in stage.cluster.nodes.values() if node.pid is not None]
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._contestant = cpu.processor_time(contestant.roots())
        self._postgres = cpu.processor_time(nodes)
        # Of our children only pgbench ends during a run.
        self._pgbench = children.ru_utime + children.ru_stime
        machine = cpu.machine_times()
        self._busy = machine.busy if machine is not None else None
        self._stolen = machine.stolen if machine is not None else None
        self._at = time.monotonic()

    def since(self, before: _Reading) -> Spent:
        """Return what was used between *before* and this."""
        return Spent(
            contestant=_difference(self._contestant, before._contestant),
            postgres=_difference(self._postgres, before._postgres),
            pgbench=self._pgbench - before._pgbench,
            machine=_difference(self._busy, before._busy),
            stolen=_difference(self._stolen, before._stolen),
            wall=self._at - before._at,
        )


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before
