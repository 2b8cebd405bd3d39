"""From runs to figures that can be compared.

A ratio is taken within each round, where the two runs were neighbours in time, and then the median of
the rounds: what the machine does to both cancels out. Medians and no means: one run beside another
program's compilation must not decide. Runs with errors count for nothing, but are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final

import attrs

from tests.bench.measure import Run

BASES: Final = ("direct", "pgbouncer", "pgpool")
"""Whom the others are compared to."""


@attrs.frozen
class Figures:
    """One contestant's runs of one workload, as one line of the table."""

    workload: str
    contestant: str
    tps: float | None
    """Median; None when no run counted."""
    lowest: float | None
    highest: float | None
    latency_ms: float | None
    ratios: dict[str, float | None]
    """Its tps relative to each of BASES; None where there is nothing to compare to."""
    own_us: float | None
    """The contestant's processor time per transaction, median, microseconds."""
    all_us: float | None
    """Everybody's: contestant, PostgreSQL and pgbench."""
    counted: int
    """How many runs the figures are made from."""
    errors: tuple[str, ...]
    """What the others said, each once."""

    @property
    def spread(self) -> float | None:
        """Half the distance between the lowest and the highest tps, relative to the median; None of a single run."""
        if not self.tps or self.lowest is None or self.highest is None or self.counted < 2:
            return None
        return (self.highest - self.lowest) / 2 / self.tps


def summarise(runs: Sequence[Run]) -> list[Figures]:
    """Return the figures of each contestant and workload, in the order they first ran."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.workload, run.contestant), []).append(run)
    return [_figures(group, groups) for group in groups.values()]


def others_load(runs: Iterable[Run]) -> tuple[float, float] | None:
    """Return the median and the highest load others put on the machine, in processors."""
    loads = [
        run.spent.others
        for run in runs
        if run.spent is not None and run.spent.others is not None
    ]
    return (median(loads), max(loads)) if loads else None


def _figures(group: list[Run], groups: dict[tuple[str, str], list[Run]]) -> Figures:
    counted = [run for run in group if run.error is None]
    workload, contestant = group[0].workload, group[0].contestant
    rates = [run.tps for run in counted]
    return Figures(
        workload=workload,
        contestant=contestant,
        tps=_median(rates),
        lowest=min(rates, default=None),
        highest=max(rates, default=None),
        latency_ms=_median([run.latency_ms for run in counted]),
        ratios={base: _ratio(counted, groups.get((workload, base), [])) for base in BASES},
        own_us=_median([run.own_us for run in counted]),
        all_us=_median([run.all_us for run in counted]),
        counted=len(counted),
        errors=tuple(dict.fromkeys(run.error for run in group if run.error is not None)),
    )


def _ratio(runs: list[Run], base: list[Run]) -> float | None:
    """Return the median over the rounds in which both ran without errors."""
    rates = {run.number: run.tps for run in base if run.error is None and run.tps}
    return _median([run.tps / rates[run.number] for run in runs if run.number in rates])


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
