"""What others notice of an attack: the slowest query and login of a bystander, and rwsplit's memory.

    python -m tests.bench.attack [--seconds 20] [--only half-open,named] [--scale 0.1]

A primary and three replicas on loopback, rwsplit with default settings, a new one for each attack. The bystander is in this
process, the attackers are in another one (`tests.bench.attackers`). Waits count from the attack's first connection on. The
table is for docs/performance.md; progress goes to standard error. The exit status is 1 if the bystander had an error or
rwsplit took a node for down.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final

import attrs

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.postgres import Binaries
from tests.bench.attackers import LOGINS_AT_ONCE
from tests.bench.machine import describe_machine, load_average
from tests.support.bystander import Bystander
from tests.support.proxy import Proxy

#: Seconds between two queries of the bystander, so that it does not keep a processor busy itself.
PAUSE: Final = 0.002
#: Seconds after an attack until rwsplit's memory is read once more.
REST: Final = 5.0
#: Seconds the attackers may take to begin, and to end.
PATIENCE: Final = 300.0
#: Log events that blame a node for what rwsplit itself took too long for.
BLAMED: Final = ("node_down", "node_banned", "node_frozen")
HEADINGS: Final = (
    *("attack", "queries", "slowest", "logins", "slowest", "median"),
    *("longest turn", "memory before", "at most", "after", "what the attackers did"),
)


@attrs.frozen
class Situation:
    """One line of the table."""

    kind: str
    number: int
    title: str
    """With `{}` for the number."""


SITUATIONS: Final = (
    Situation("nobody", 0, "none"),
    Situation("busy", 0, "none, a processor busy"),
    Situation("half-open", 5000, "{} half-open connections"),
    Situation("insisting", 5000, "{}, opened again when closed"),
    Situation("idle", 2000, "{} idle clients"),
    Situation("named", 10_000, "{} named statements, again and again"),
    Situation("strangers", LOGINS_AT_ONCE, "logins of strangers, {} at once"),
)


@attrs.frozen
class Result:
    """What was measured of one situation."""

    title: str
    bystander: Bystander
    turn: float
    """Seconds the longest turn of the relay took."""
    before: int
    most: int
    after: int
    done: str
    blamed: list[str]

    @property
    def is_clean(self) -> bool:
        """Whether the bystander had no error and no node was blamed."""
        return not (self.bystander.errors or self.blamed)

    def cells(self) -> list[str]:
        """Return its line of the table."""
        one = self.bystander
        logins = sorted(one.login_seconds)
        return [
            self.title,
            f"{one.queries:,}".replace(",", " "),
            f"{one.slowest_query * 1000:.0f} ms",
            str(one.logins),
            f"{one.slowest_login * 1000:.0f} ms",
            f"{logins[len(logins) // 2] * 1000:.0f} ms" if logins else "-",
            f"{self.turn * 1000:.0f} ms",
            *(f"{size / 2**20:.0f} MB" for size in (self.before, self.most, self.after)),
            self.done,
        ]


class MemoryPeak:
    """The most memory *proxy* had while the block ran, looked at ten times a second."""

    def __init__(self, proxy: Proxy) -> None:
        self.most = proxy.memory()
        self._proxy = proxy
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> MemoryPeak:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            self.most = max(self.most, self._proxy.memory())


class Attackers:
    """The process of the attackers."""

    def __init__(self, proxy: Proxy, situation: Situation) -> None:
        self.done = ""
        """What they have done, once the attack is over."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.attackers", situation.kind, str(situation.number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        login = {"user": "app", "database": "app", "password": proxy.cluster.passwords["app"]}
        self._target = {
            "host": proxy.host,
            "port": proxy.port,
            "dsn": proxy.dsn(),
            "login": login,
        }

    def attack(self, seconds: float) -> None:
        """Attack for *seconds* in full size."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(self._target) + "\n")
        process.stdin.flush()
        if process.stdout.readline() != "ready\n":
            raise SystemExit("the attackers did not begin")
        time.sleep(seconds)  # noqa: TID251 - the attack goes on meanwhile
        self.done, _ = process.communicate(timeout=PATIENCE)

    def kill(self) -> None:
        """End the process, if it is still there."""
        self._process.kill()
        self._process.wait()


@contextmanager
def attackers(proxy: Proxy, situation: Situation) -> Iterator[Attackers]:
    """Have a process of attackers while the block runs."""
    process = Attackers(proxy, situation)
    try:
        yield process
    finally:
        process.kill()


def longest_turn(proxy: Proxy) -> float:
    """Return the seconds the longest busy turn of *proxy* took."""
    lines = [row["metrics"] for row in proxy.console("SHOW METRICS")]
    name = "rwsplit_longest_turn_seconds "
    return float(next(line for line in lines if line.startswith(name)).removeprefix(name))


def measure(cluster: EmbeddedCluster, situation: Situation, seconds: float) -> Result:
    """Return what a bystander notices of *situation*, whose full size is held for *seconds*."""
    with (
        tempfile.TemporaryDirectory() as directory,
        Proxy(cluster, Path(directory), measured=False) as proxy,
    ):
        bystander = Bystander(proxy, patience=PATIENCE, pause=PAUSE)
        before = proxy.memory()
        with attackers(proxy, situation) as process, MemoryPeak(proxy) as memory, bystander:
            process.attack(seconds)
        time.sleep(REST)  # noqa: TID251 - what is given back is given back by then
        log = proxy.log()
        return Result(
            title=situation.title.format(f"{situation.number:,}".replace(",", " ")),
            bystander=bystander,
            turn=longest_turn(proxy),
            before=before,
            most=memory.most,
            after=proxy.memory(),
            done=process.done.strip() or "-",
            blamed=[event for event in BLAMED if event in log],
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what *arguments* name, print the table; return the exit status."""
    options = _parser().parse_args(arguments)
    known = [situation.kind for situation in SITUATIONS]
    for kind in options.only or ():
        if kind not in known:
            _parser().error(f"no attack {kind!r}; there are {', '.join(known)}")
    machine = describe_machine(Binaries.find(None))
    print(
        f"{machine['processors']} x {machine['processor']}, {machine['memory_gb']} GB, {machine['system']};"
        f" PostgreSQL {machine['postgresql']}, Python {machine['python']};"
        f" {options.seconds:g} s each; load average {load_average()[0]} before.\n"
    )
    results = []
    with EmbeddedCluster(replicas=3) as cluster:
        for situation in SITUATIONS:
            if options.only and situation.kind not in options.only:
                continue
            scaled = attrs.evolve(situation, number=round(situation.number * options.scale))
            print(scaled, file=sys.stderr, flush=True)
            results.append(measure(cluster, scaled, options.seconds))
    for cells in (HEADINGS, ["---"] * len(HEADINGS), *(result.cells() for result in results)):
        print(f"| {' | '.join(cells)} |")
    for result in results:
        for problem in (*result.bystander.errors, *result.blamed):
            print(f"{result.title}: {problem}", file=sys.stderr)
    return int(not all(result.is_clean for result in results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.attack", description="What others notice of an attack."
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="of each, default 20")
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers, default 1")
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        metavar="KIND,...",
        help=", ".join(situation.kind for situation in SITUATIONS),
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
