"""The whole benchmark: a cluster, the contestants in front of it, the runs in turns.

For each workload the contestants take turns, round by round (A B C A B C): neighbours in time share
what the machine is doing. They all stay started meanwhile, with no clients; what they use then is
measured first and is in the report.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import attrs

from rwsplit.embedded.account import Account
from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.ports import LOOPBACK
from tests.bench.contestant import Contestant, ContestantError, Stage
from tests.bench.measure import Run, failed_run, idle_load, run_pgbench
from tests.bench.workloads import Workload
from tests.support.pgbench import Pgbench

WARM_UP: Final = Workload("simple", 32)
OVERHEAD: Final = 0.7
"""Seconds a run takes beside pgbench's own, roughly: for the forecast."""


@attrs.frozen(kw_only=True)
class Plan:
    """What was asked for."""

    contestants: Sequence[Contestant]
    workloads: Sequence[Workload]
    rounds: int
    seconds: int
    scale: int
    auth: str
    jobs: int
    """pgbench's threads, at most."""
    postgres: Path | None

    @property
    def most_clients(self) -> int:
        """The most clients at a time."""
        return max(WARM_UP.clients, *(workload.clients for workload in self.workloads))


class Match:
    """Runs a plan; what has been measured is in *runs* at any time, even after an interruption."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.runs: list[Run] = []
        self.idle: dict[str, float] = {}
        self._broken: dict[str, str] = {}
        self._pgbench = Pgbench(plan.postgres)

    def play(self) -> None:
        """Run everything; errors of contestants are in *runs*, errors of the cluster are raised."""
        # The stack goes on stopping the others when stopping one of them fails.
        with self._stage() as stage, ExitStack() as started:
            for contestant in self.plan.contestants:
                started.callback(_stop, contestant)
                self._start(contestant, stage)
            self._warm_up(stage)
            self._measure_idle()
            self._play_all(stage)

    @contextmanager
    def _stage(self) -> Iterator[Stage]:
        plan = self.plan
        hba = [f"host all all {LOOPBACK}/32 trust"] if plan.auth == "trust" else []
        # Pgpool-II keeps a connection per child, the others hold up to their clients' number.
        settings = {"max_connections": str(3 * plan.most_clients + 200)}
        with (
            tempfile.TemporaryDirectory(prefix="rwsplit-bench-") as name,
            EmbeddedCluster(
                postgres=plan.postgres, hba=hba, settings=settings, progress=say
            ) as cluster,
        ):
            os.chmod(name, 0o755)
            say(f"filling pgbench's tables, scale {plan.scale}")
            self._pgbench.initialise(cluster.primary.dsn("app", "app"), scale=plan.scale)
            cluster.wait_until_replayed(timeout=300)
            yield Stage(
                cluster=cluster,
                directory=Path(name),
                account=Account.for_servers(),
                auth=plan.auth,
                most_clients=plan.most_clients,
            )

    def _start(self, contestant: Contestant, stage: Stage) -> None:
        say(f"starting {contestant.name}: {contestant.what}")
        try:
            contestant.start(stage)
        except ContestantError as exc:
            reason = str(exc).strip().splitlines()[-1]
            self._broken[contestant.name] = f"did not start: {reason}"
            say(f"{exc}\n{contestant.name} did not start")

    def _warm_up(self, stage: Stage) -> None:
        """Fill every node's caches alike, and every contestant's pools."""
        for node in stage.cluster.nodes.values():
            node.query(
                "select sum(abalance), (select count(*) from pgbench_history) from pgbench_accounts",
                database="app",
            )
            self._pgbench.run(node.dsn("app", "app"), clients=4, seconds=1, select_only=True)
        for contestant in self._playing():
            say(f"warming up {contestant.name}")
            run = self._run(contestant, WARM_UP, stage, seconds=1, number=0)
            if run.error:
                say(f"  {contestant.name}: {run.error}")

    def _measure_idle(self) -> None:
        self.idle = idle_load([each for each in self._playing() if each.roots()])
        for name, share in self.idle.items():
            say(f"{name} without clients: {share:.1%} of a processor")

    def _play_all(self, stage: Stage) -> None:
        plan = self.plan
        total = len(plan.workloads) * plan.rounds * len(plan.contestants)
        began = time.monotonic()
        say(f"{total} runs, about {total * (plan.seconds + OVERHEAD) / 60:.1f} minutes")
        for workload in plan.workloads:
            for number in range(1, plan.rounds + 1):
                for contestant in plan.contestants:
                    run = self._run(
                        contestant, workload, stage, seconds=plan.seconds, number=number
                    )
                    self.runs.append(run)
                    done = len(self.runs)
                    left = (time.monotonic() - began) / done * (total - done)
                    say(f"{done:4}/{total}  {describe_run(run)}  {left:.0f} s left")
                    if workload.writes:
                        stage.cluster.wait_until_replayed(timeout=120)

    def _run(
        self,
        contestant: Contestant,
        workload: Workload,
        stage: Stage,
        *,
        seconds: int,
        number: int,
    ) -> Run:
        if reason := self._broken.get(contestant.name):
            return failed_run(workload, contestant.name, number, reason)
        return run_pgbench(
            contestant,
            workload,
            stage=stage,
            pgbench=self._pgbench,
            seconds=seconds,
            number=number,
            jobs=self.plan.jobs,
        )

    def _playing(self) -> list[Contestant]:
        return [each for each in self.plan.contestants if each.name not in self._broken]


def _stop(contestant: Contestant) -> None:
    say(f"stopping {contestant.name}")
    contestant.stop()


def describe_run(run: Run) -> str:
    """Return one line of progress."""
    head = f"round {run.number}  {run.workload:<13} {run.contestant:<10}"
    if run.error:
        return f"{head} error: {run.error.splitlines()[0]}"
    spent = "" if run.own_us is None else f"  {run.own_us:6.1f} µs"
    return f"{head} {run.tps:9.0f} tps{spent}"


def say(text: str) -> None:
    """Report progress."""
    print(text, file=sys.stderr, flush=True)
