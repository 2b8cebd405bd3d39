from __future__ import annotations

import io

from rich.console import Console

from tests.bench.summary import Figures
from tests.bench.table import WIDTH, print_figures

NOTHING = {"direct": None, "pgbouncer": None, "pgpool": None}


def printed(*figures: Figures) -> list[str]:
    text = io.StringIO()
    print_figures(Console(file=text, width=WIDTH), figures)
    return text.getvalue().splitlines()


def some_figures(contestant: str, workload: str = "simple-100") -> Figures:
    return Figures(
        workload=workload,
        contestant=contestant,
        tps=46971.4,
        lowest=45000.0,
        highest=48000.0,
        latency_ms=2.1289,
        ratios={"direct": 1.47, "pgbouncer": 1.6149, "pgpool": None},
        own_us=12.96,
        all_us=1037.84,
        counted=3,
        errors=(),
    )


def an_error(workload: str) -> Figures:
    return Figures(
        workload=workload,
        contestant="pgbouncer",
        tps=None,
        lowest=None,
        highest=None,
        latency_ms=None,
        ratios=NOTHING,
        own_us=None,
        all_us=None,
        counted=0,
        errors=("prepared statement does not exist\nand more",),
    )


def test_a_line_tells_rate_spread_latency_ratios_and_processor_time():
    [line] = [line for line in printed(some_figures("rwsplit")) if "rwsplit" in line]

    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells == [
        "simple-100",
        "rwsplit",
        "46 971",
        "±3 %",
        "2.129",
        "1.47",
        "1.61",
        "-",
        "13.0",
        "1037.8",
    ]


def test_nothing_is_cut_off_at_the_width_of_a_file():
    lines = printed(some_figures("pgbouncer", "reconnect-16"), an_error("extended-300"))

    assert not [line for line in lines if "…" in line]


def test_the_workload_is_named_once_and_each_has_a_section():
    lines = printed(
        some_figures("direct"), some_figures("rwsplit"), some_figures("direct", "write-16")
    )

    assert sum("simple-100" in line for line in lines) == 1
    assert sum(line.startswith("├") for line in lines) == 1


def test_errors_are_shown_in_their_place_and_told_once_below():
    lines = printed(an_error("prepared-32"), an_error("prepared-100"))

    assert sum("error" in line for line in lines) == 2
    assert lines[-1] == (
        "pgbouncer, every run: prepared statement does not exist (prepared-32, prepared-100)"
    )
