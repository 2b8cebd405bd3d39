"""`make bench`: rwsplit beside direct connections and the peers installed.

make bench ARGS="--quick --only direct,rwsplit --workloads simple --clients 1,32"
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

from rich.console import Console

from rwsplit.embedded.postgres import Binaries, EmbeddedError
from tests.bench.contestant import Contestant
from tests.bench.machine import describe_machine, load_average
from tests.bench.match import Match, Plan, say
from tests.bench.ours import Direct, Rwsplit
from tests.bench.peers import HAProxy, PgBouncer, Pgpool
from tests.bench.report import build_report, default_path, write_report
from tests.bench.summary import others_load, summarise
from tests.bench.table import WIDTH, print_figures
from tests.bench.workloads import CLIENTS, KINDS, Workload, choose_workloads

INTERRUPTED: Final = 130
"""The exit status after Ctrl-C, as shells give it."""
OURS: Final = ("direct", "rwsplit", "lanes")
"""Whose errors are a failure of the benchmark; what a peer cannot do is a result."""


def all_contestants() -> list[Contestant]:
    """Return everyone who may take part, in the order of the table."""
    return [
        Direct(),
        Rwsplit("rwsplit", "default settings, in front of all four nodes", {}),
        Rwsplit(
            "lanes",
            "rwsplit with pool: {lane_depth: 16, size: 4}",
            {"pool": {"lane_depth": 16, "size": 4}},
        ),
        PgBouncer(),
        Pgpool(),
        HAProxy(),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse *arguments*, play, print; return the exit status: 1 when one of ours had errors."""
    parser = _parser()
    options = parser.parse_args(arguments)
    contestants = all_contestants()
    if options.list:
        _print_list(contestants)
        return 0
    try:
        workloads = choose_workloads(options.workloads, options.clients)
        chosen = choose_contestants(contestants, options.only)
    except ValueError as exc:
        parser.error(str(exc))

    try:
        return _play(options, chosen, workloads)
    except EmbeddedError as exc:
        say(f"bench: {exc}")
        return 1


def choose_contestants(
    contestants: Sequence[Contestant], only: Sequence[str] | None
) -> list[Contestant]:
    """Return those named in *only*, else all that are installed.

    Raises: ValueError naming one that does not exist or is not installed.
    """
    if only is None:
        return [each for each in contestants if each.version() is not None]
    by_name = {each.name: each for each in contestants}
    for name in only:
        if name not in by_name:
            raise ValueError(f"no contestant {name!r}; there are {', '.join(by_name)}")
        if by_name[name].version() is None:
            raise ValueError(f"{name} is not installed")
    return [each for each in contestants if each.name in only]


def _play(
    options: argparse.Namespace, chosen: list[Contestant], workloads: list[Workload]
) -> int:
    plan = Plan(
        contestants=chosen,
        workloads=workloads,
        rounds=1 if options.quick else options.rounds,
        seconds=2 if options.quick else options.seconds,
        scale=options.scale,
        auth=options.auth,
        jobs=os.cpu_count() or 1,
        postgres=options.postgres,
    )
    machine = describe_machine(Binaries.find(options.postgres))
    machine["load_before"] = load_average()
    match = Match(plan)

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _interrupt)
    status = 0
    try:
        match.play()
    except KeyboardInterrupt:
        say("interrupted: what follows is not the whole benchmark")
        status = INTERRUPTED
    except EmbeddedError as exc:
        say(f"bench: {exc}")
        status = 1
    machine["load_after"] = load_average()

    if match.runs:
        path = options.json or default_path()
        write_report(path, build_report(match, machine))
        _print_result(match, machine)
        say(f"written to {path}")
    return status or int(any(run.error and run.contestant in OURS for run in match.runs))


def _print_result(match: Match, machine: dict[str, Any]) -> None:
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    plan = match.plan
    console.print(
        f"{machine['processors']} x {machine['processor']}, {machine['system']}, "
        f"PostgreSQL {machine['postgresql']}, Python {machine['python']}; {plan.rounds} rounds "
        f"of {plan.seconds} s, scale {plan.scale}, {plan.auth}",
        soft_wrap=True,
    )
    for contestant in plan.contestants:
        idle = match.idle.get(contestant.name)
        console.print(
            f"{contestant.name} {contestant.version()}: {contestant.what}"
            + ("" if idle is None else f"; {idle:.1%} of a processor without clients"),
            soft_wrap=True,
        )
    print_figures(console, summarise(match.runs))
    console.print(
        "tps: median of the rounds, spread half of lowest to highest; ratios: median of the ratios "
        "within each round.\nCPU: the contestant's own per transaction, user and system; all: with "
        "PostgreSQL's and pgbench's.",
        soft_wrap=True,
    )
    load = others_load(match.runs)
    if load is not None:
        console.print(
            f"Others kept {load[0]:.2f} processors busy during a median run, {load[1]:.2f} during the "
            f"worst; load average before {machine['load_before'][0]}, after {machine['load_after'][0]}.",
            soft_wrap=True,
        )


def _print_list(contestants: Sequence[Contestant]) -> None:
    print("contestants:")
    for each in contestants:
        version = each.version()
        print(f"  {each.name:<10} {version or 'not installed':<14} {each.what}")
    print("workloads:")
    for workload in choose_workloads(KINDS, CLIENTS):
        print(f"  {workload.name}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make bench ARGS=...", description="Measure rwsplit beside others."
    )
    parser.add_argument(
        "--list", action="store_true", help="contestants and workloads; run none"
    )
    parser.add_argument("--only", type=_words, metavar="NAME,...", help="these contestants")
    parser.add_argument(
        "--workloads",
        type=_words,
        default=list(KINDS),
        metavar="KIND,...",
        help=", ".join(KINDS),
    )
    parser.add_argument(
        "--clients",
        type=_numbers,
        default=list(CLIENTS),
        metavar="N,...",
        help="of simple, extended and prepared (default: 1,8,32,100; 300 is worth a look)",
    )
    parser.add_argument("--rounds", type=_positive, default=3, help="default 3")
    parser.add_argument("--seconds", type=_positive, default=5, help="of each run, default 5")
    parser.add_argument("--quick", action="store_true", help="1 round of 2 seconds")
    parser.add_argument("--scale", type=_positive, default=10, help="pgbench's, default 10")
    parser.add_argument(
        "--auth",
        choices=("trust", "scram-sha-256"),
        default="trust",
        help="how clients and proxies log in; with SCRAM `reconnect` measures mostly pgbench's own "
        "share of the proof",
    )
    parser.add_argument(
        "--postgres", type=Path, metavar="DIR", help="other PostgreSQL binaries"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="default bench-DATE.json")
    return parser


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _numbers(text: str) -> list[int]:
    return [int(word) for word in _words(text)]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
