"""`python -m tests.bench.quote FILE`: a report as the Markdown of docs/performance.md.

Two tables: what everyone reached, a column per contestant, and rwsplit's ratios to the others.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

OURS: Final = ("rwsplit", "lanes")


def quote(report: Mapping[str, Any]) -> str:
    """Return the tables of *report* below a sentence about where it comes from."""
    figures = {(each["workload"], each["contestant"]): each for each in report["figures"]}
    workloads = list(dict.fromkeys(workload for workload, _ in figures))
    return "\n\n".join(
        (
            _origin(report),
            "\n".join(_rates(workloads, list(report["contestants"]), figures)),
            "\n".join(_ratios(workloads, figures)),
        )
    )


def _origin(report: Mapping[str, Any]) -> str:
    machine, options = report["machine"], report["options"]
    versions = ", ".join(
        f"{name} {each['version']}"
        for name, each in report["contestants"].items()
        if name not in {"direct", "lanes"}
    )
    idle = ", ".join(f"{name} {share:.1%}" for name, share in report["idle_load"].items())
    lines = [
        f"{report['date'][:10]}; {machine['processors']} x {machine['processor']}, "
        f"{machine['memory_gb']:.0f} GB, {machine['system']}; PostgreSQL {machine['postgresql']}, "
        f"Python {machine['python']}; {versions}.",
        f"{options['rounds']} x {options['seconds']} s each, scale {options['scale']}, logging in by "
        f"{options['auth']}. Load average {machine['load_before'][0]} before, "
        f"{machine['load_after'][0]} after.",
    ]
    if report["others_load"]:
        middle, worst = report["others_load"]
        lines.append(
            f"Other work kept {middle:.2f} processors busy during a median run, {worst:.2f} during "
            "the worst."
        )
    if idle:
        lines.append(f"Of one processor without clients: {idle}.")
    return "\n".join(lines)


def _rates(
    workloads: Sequence[str], contestants: Sequence[str], figures: Mapping[Any, Any]
) -> Iterable[str]:
    yield f"| tps (CPU µs) | {' | '.join(contestants)} |"
    yield "|---" * (len(contestants) + 1) + "|"
    for workload in workloads:
        cells = [_rate(figures.get((workload, contestant))) for contestant in contestants]
        yield f"| {workload} | {' | '.join(cells)} |"


def _rate(figures: Mapping[str, Any] | None) -> str:
    if figures is None:
        return ""
    if figures["tps"] is None:
        return "error"
    rate = f"{figures['tps']:,.0f}".replace(",", " ")
    mark = "*" if figures["errors"] else ""
    return rate + mark + (f" ({figures['own_us']:.1f})" if figures["own_us"] else "")


def _ratios(workloads: Sequence[str], figures: Mapping[Any, Any]) -> Iterable[str]:
    ours = [name for name in OURS if any(contestant == name for _, contestant in figures)]
    columns = [
        (name, base)
        for name in ours
        for base in ("direct", "pgbouncer", "pgpool")
        if any(contestant == base for _, contestant in figures)
    ]
    if not columns:
        return
    yield f"| ratio of tps | {' | '.join(f'{name} : {base}' for name, base in columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    for workload in workloads:
        found = [figures.get((workload, name), {}) for name, _ in columns]
        ratios = [
            each.get("ratios", {}).get(base)
            for each, (_, base) in zip(found, columns, strict=True)
        ]
        cells = ["-" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
        yield f"| {workload} | {' | '.join(cells)} |"


def main() -> None:
    """Print the tables of the report that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.quote", description=__doc__)
    parser.add_argument("report", type=Path, metavar="FILE", help="what the bench has written")
    print(quote(json.loads(parser.parse_args().report.read_text())))


if __name__ == "__main__":
    main()
