from __future__ import annotations

from tests.bench.quote import quote

OPTIONS = {"rounds": 3, "seconds": 5, "scale": 10, "auth": "trust", "pgbench_threads": 2}
MACHINE = {
    "processors": 2,
    "processor": "Z80",
    "memory_gb": 23.4,
    "system": "Linux 6",
    "python": "3.11",
    "postgresql": "16.14",
    "load_before": [0.1, 0, 0],
    "load_after": [4.2, 0, 0],
}


def figures(contestant: str, tps: float | None, **ratios: float | None) -> dict[str, object]:
    return {
        "workload": "simple-32",
        "contestant": contestant,
        "tps": tps,
        "own_us": None if contestant == "direct" or tps is None else 17.04,
        "ratios": {"direct": None, "pgbouncer": None, "pgpool": None, **ratios},
        "errors": [] if tps else ["lost"],
    }


def a_report(*rows: dict[str, object]) -> dict[str, object]:
    return {
        "date": "2026-01-02T03:04:05+00:00",
        "machine": MACHINE,
        "options": OPTIONS,
        "contestants": {
            str(row["contestant"]): {"version": "1.0", "what": "something"} for row in rows
        },
        "idle_load": {"rwsplit": 0.027},
        "others_load": [0.5, 1.25],
        "figures": list(rows),
        "runs": [],
    }


def test_a_quote_has_the_machine_the_rates_and_our_ratios():
    report = a_report(
        figures("direct", 42744.0),
        figures("rwsplit", 38798.2, direct=0.907, pgbouncer=None),
        figures("pgbouncer", None),
    )

    text = quote(report)

    assert (
        "2 x Z80, 23 GB, Linux 6; PostgreSQL 16.14, Python 3.11; rwsplit 1.0, pgbouncer 1.0."
        in text
    )
    assert "Load average 0.1 before, 4.2 after." in text
    assert (
        "Other work kept 0.50 processors busy during a median run, 1.25 during the worst."
        in text
    )
    assert "| simple-32 | 42 744 | 38 798 (17.0) | error |" in text
    assert "| ratio of tps | rwsplit : direct | rwsplit : pgbouncer |" in text
    assert "| simple-32 | 0.91 | - |" in text


def test_without_us_there_are_no_ratios():
    assert "ratio" not in quote(a_report(figures("direct", 1.0), figures("pgbouncer", 2.0)))
