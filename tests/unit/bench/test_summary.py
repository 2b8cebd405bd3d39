from __future__ import annotations

import pytest

from tests.bench.measure import Run, Spent
from tests.bench.summary import others_load, summarise


def a_run(
    contestant: str,
    number: int,
    tps: float,
    *,
    own: float = 0.01,
    others: float = 0.0,
    error: str | None = None,
) -> Run:
    """A run of one second and 1000 transactions."""
    return Run(
        workload="simple-8",
        contestant=contestant,
        number=number,
        tps=tps,
        latency_ms=8000 / tps if tps else 0.0,
        transactions=1000,
        spent=Spent(
            contestant=own,
            postgres=0.05,
            pgbench=0.01,
            machine=own + 0.06 + others,
            stolen=0.0,
            wall=1.0,
        ),
        error=error,
    )


def test_figures_are_medians_with_their_spread():
    [figures] = summarise(
        [
            a_run("rwsplit", number, tps, own=own)
            for number, tps, own in [(1, 100.0, 0.030), (2, 120.0, 0.010), (3, 50.0, 0.020)]
        ]
    )

    assert figures.tps == 100.0
    assert (figures.lowest, figures.highest) == (50.0, 120.0)
    assert figures.spread == pytest.approx(0.35)
    assert figures.own_us == pytest.approx(20.0)
    assert figures.all_us == pytest.approx(80.0)
    assert figures.counted == 3
    assert figures.errors == ()


def test_ratios_compare_neighbours_in_time_so_a_slow_round_does_not_tilt_them():
    runs = [
        a_run("direct", 1, 200.0),
        a_run("rwsplit", 1, 100.0),
        a_run("direct", 2, 20.0),
        a_run("rwsplit", 2, 10.0),
        a_run("direct", 3, 100.0),
        a_run("rwsplit", 3, 90.0),
    ]

    direct, rwsplit = summarise(runs)

    assert rwsplit.ratios["direct"] == pytest.approx(0.5)
    assert direct.ratios["direct"] == 1.0
    assert rwsplit.ratios["pgbouncer"] is None


def test_a_run_with_an_error_counts_for_nothing_but_is_told_once():
    runs = [
        a_run("pgbouncer", 1, 100.0),
        a_run("rwsplit", 1, 80.0),
        a_run("pgbouncer", 2, 1.0, error="no such statement"),
        a_run("rwsplit", 2, 80.0),
        a_run("pgbouncer", 3, 1.0, error="no such statement"),
        a_run("rwsplit", 3, 80.0),
    ]

    pgbouncer, rwsplit = summarise(runs)

    assert (pgbouncer.tps, pgbouncer.counted) == (100.0, 1)
    assert pgbouncer.spread is None
    assert pgbouncer.errors == ("no such statement",)
    assert rwsplit.ratios["pgbouncer"] == pytest.approx(0.8)


def test_without_a_good_run_there_are_no_figures_at_all():
    [figures] = summarise([a_run("pgpool", 1, 7.0, error="did not start")])

    assert figures.tps is None
    assert figures.spread is None
    assert figures.own_us is None
    assert figures.ratios == {"direct": None, "pgbouncer": None, "pgpool": None}


def test_the_load_of_others_is_told_for_a_median_run_and_the_worst():
    runs = [
        a_run("direct", number, 1.0, others=load)
        for number, load in [(1, 0.1), (2, 0.9), (3, 0.2)]
    ]

    load = others_load(runs)

    assert load == pytest.approx((0.2, 0.9))
    assert others_load([]) is None
