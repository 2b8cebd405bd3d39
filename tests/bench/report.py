"""The JSON of one benchmark: what was asked, on what, every run, and the figures made from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from tests.bench.match import Match
from tests.bench.summary import others_load, summarise


def build_report(match: Match, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that is known about *match*; times of processors in seconds."""
    plan = match.plan
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dict(machine),
        "options": {
            "rounds": plan.rounds,
            "seconds": plan.seconds,
            "scale": plan.scale,
            "auth": plan.auth,
            "pgbench_threads": plan.jobs,
        },
        "contestants": {
            each.name: {"version": each.version(), "what": each.what}
            for each in plan.contestants
        },
        "idle_load": match.idle,
        "others_load": others_load(match.runs),
        "figures": [
            {**attrs.asdict(figures), "spread": figures.spread}
            for figures in summarise(match.runs)
        ],
        "runs": [
            {**attrs.asdict(run), "own_us": run.own_us, "all_us": run.all_us}
            for run in match.runs
        ],
    }


def default_path() -> Path:
    """Return bench-DATE.json in the current directory, with the time so that none is overwritten."""
    return Path(f"bench-{datetime.now(UTC):%Y-%m-%d-%H%M%S}.json")


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write it."""
    path.write_text(json.dumps(report, indent=2) + "\n")
