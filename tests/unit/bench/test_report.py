from __future__ import annotations

import json
from pathlib import Path

from tests.bench.match import Match, Plan, describe_run
from tests.bench.measure import failed_run
from tests.bench.ours import Direct
from tests.bench.report import build_report, default_path, write_report
from tests.bench.workloads import Workload
from tests.unit.bench.test_measure import a_run

PLAN = Plan(
    contestants=[Direct()],
    workloads=[Workload("simple", 8), Workload("simple", 300)],
    rounds=3,
    seconds=5,
    scale=10,
    auth="trust",
    jobs=2,
    postgres=None,
)


def test_the_report_holds_every_run_and_what_was_made_of_them(tmp_path: Path):
    match = Match(PLAN)
    match.runs += [a_run(), failed_run(Workload("simple", 8), "rwsplit", 2, "lost")]
    path = tmp_path / "bench.json"

    write_report(path, build_report(match, {"processors": 2}))

    report = json.loads(path.read_text())
    assert report["machine"] == {"processors": 2}
    assert report["options"]["seconds"] == 5
    assert [run["error"] for run in report["runs"]] == [None, "lost"]
    assert report["runs"][0]["spent"]["wall"] == 2.0
    [figures] = report["figures"]
    assert (figures["tps"], figures["counted"], figures["errors"]) == (500.0, 1, ["lost"])


def test_the_default_name_says_when():
    assert default_path().match("bench-????-??-??-??????.json")


def test_the_plan_knows_how_many_clients_come_at_once():
    assert PLAN.most_clients == 300


def test_progress_is_one_line_per_run():
    assert describe_run(a_run()).split() == [
        "round",
        "1",
        "simple-8",
        "rwsplit",
        "500",
        "tps",
        "20.0",
        "µs",
    ]
    failed = failed_run(Workload("write", 16), "pgpool", 2, "lost\nconnection")
    assert describe_run(failed).endswith("error: lost")
