"""pgbench as a function: what it was asked, what it counted.

Short runs only: other tests share the processors.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Literal

import attrs

from rwsplit.embedded.postgres import Binaries

Protocol = Literal["simple", "extended", "prepared"]


@attrs.frozen
class Outcome:
    """What a run of pgbench printed."""

    transactions: int
    failed: int
    tps: float
    latency_ms: float
    status: int
    """pgbench's exit status: 0, or 2 when clients were aborted by an error."""
    printed: str = attrs.field(repr=False)

    @property
    def is_clean(self) -> bool:
        """Whether every transaction of every client succeeded."""
        return self.status == 0 and self.failed == 0 and "error" not in self.printed.lower()


class Pgbench:
    """The pgbench of one installation (default: the wheel's)."""

    def __init__(self, postgres: Path | None = None) -> None:
        self.program = Binaries.find(postgres).tools / "pgbench"

    def initialise(self, dsn: str, *, scale: int = 1) -> None:
        """Make and fill pgbench's tables in *dsn*'s database."""
        done = self._run("--initialize", "--quiet", f"--scale={scale}", dsn, timeout=300)
        assert done.returncode == 0, done.stdout

    def run(
        self,
        dsn: str,
        *options: str,
        clients: int = 4,
        seconds: int | None = None,
        transactions: int | None = None,
        protocol: Protocol = "simple",
        select_only: bool = False,
        script: str | None = None,
        timeout: float = 120.0,
    ) -> Outcome:
        """Run for *seconds*, or *transactions* a client (one of them); *script* replaces TPC-B.

        It does not vacuum first. Lost connections and errors are in the outcome, not raised.
        """
        arguments = ["--no-vacuum", f"--client={clients}", f"--protocol={protocol}", *options]
        if seconds is not None:
            arguments.append(f"--time={seconds}")
        else:
            arguments.append(f"--transactions={transactions or 10}")
        if select_only:
            arguments.append("--select-only")
        if script is not None:
            arguments.append("--file=/dev/stdin")
        done = self._run(*arguments, dsn, timeout=timeout, script=script)
        return parse(done.stdout, done.returncode)

    def _run(
        self, *arguments: str, timeout: float, script: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [os.fspath(self.program), *arguments],
            input=script or "",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
            env={
                name: value for name, value in os.environ.items() if not name.startswith("PG")
            },
        )


def parse(printed: str, status: int) -> Outcome:
    """Read the report; what is not there (every client was aborted) counts as 0."""

    def number(pattern: str) -> float:
        found = re.search(pattern, printed, re.MULTILINE)
        return float(found[1]) if found else 0.0

    return Outcome(
        transactions=int(number(r"transactions actually processed: (\d+)")),
        failed=int(number(r"number of failed transactions: (\d+)")),
        tps=number(r"^tps = ([\d.]+)"),
        latency_ms=number(r"latency average = ([\d.]+)"),
        status=status,
        printed=printed,
    )
