"""The figures side by side, for people."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.bench.summary import BASES, Figures

WIDTH: Final = 120
"""Of the table when the output is no terminal."""
LONGEST_ERROR: Final = 160


def print_figures(console: Console, figures: Sequence[Figures]) -> None:
    """Print one table with a section per workload, and below it what went wrong."""
    table = Table(title_justify="left", pad_edge=False)
    table.add_column("workload", no_wrap=True)
    table.add_column("contestant", no_wrap=True)
    for heading in ("tps", "spread", "ms", *(f"x {base}" for base in BASES)):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("CPU µs", justify="right", no_wrap=True)
    table.add_column("all CPU µs", justify="right", no_wrap=True)

    problems: dict[str, list[str]] = {}
    for _, rows in groupby(figures, key=lambda each: each.workload):
        for place, row in enumerate(rows):
            _add_row(table, row, is_first=place == 0)
            for problem in _problems(row):
                problems.setdefault(problem, []).append(row.workload)
        table.add_section()
    console.print(table)
    for problem, workloads in problems.items():
        console.print(Text(f"{problem} ({', '.join(workloads)})", style="red"), soft_wrap=True)


def _add_row(table: Table, row: Figures, *, is_first: bool) -> None:
    cells = [
        _number(row.tps, "{:,.0f}").replace(",", " "),
        _number(row.spread and row.spread * 100, "±{:.0f} %"),
        _number(row.latency_ms, "{:.3f}"),
        *(_number(row.ratios[base], "{:.2f}") for base in BASES),
        _number(row.own_us, "{:.1f}"),
        _number(row.all_us, "{:.1f}"),
    ]
    if row.tps is None:
        cells[0] = "error"
    name = Text(row.contestant, style="bold" if row.contestant == "rwsplit" else "")
    table.add_row(
        row.workload if is_first else "", name, *cells, style="red" if row.tps is None else ""
    )


def _problems(row: Figures) -> list[str]:
    which = "every run" if not row.counted else f"all but {row.counted} of the runs"
    return [
        f"{row.contestant}, {which}: {error.splitlines()[0][:LONGEST_ERROR]}"
        for error in row.errors
    ]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
