from __future__ import annotations

import attrs
import pytest

from tests.bench.measure import Run, Spent, error_in, failed_run
from tests.bench.workloads import Workload
from tests.support.pgbench import parse

REPORT = """\
number of clients: 8
number of transactions actually processed: 1000
number of failed transactions: 0 (0.000%)
latency average = 0.410 ms
tps = 19771.5 (without initial connection time)
"""

SPENT = Spent(contestant=0.02, postgres=0.05, pgbench=0.01, machine=1.08, stolen=0.0, wall=2.0)


def a_run(spent: Spent | None = SPENT, transactions: int = 1000) -> Run:
    return Run(
        workload="simple-8",
        contestant="rwsplit",
        number=1,
        tps=500.0,
        latency_ms=16.0,
        transactions=transactions,
        spent=spent,
    )


def test_processor_time_is_told_per_transaction():
    run = a_run()

    assert run.own_us == pytest.approx(20.0)
    assert run.all_us == pytest.approx(80.0)


def test_without_transactions_or_clocks_there_is_no_time_per_transaction():
    blind = attrs.evolve(SPENT, contestant=None, postgres=None)

    assert a_run(transactions=0).own_us is None
    assert a_run(None).all_us is None
    assert a_run(blind).own_us is None
    assert a_run(blind).all_us is None
    assert blind.others is None


def test_direct_connections_have_no_time_of_their_own():
    run = a_run(attrs.evolve(SPENT, contestant=0.0))

    assert run.own_us is None
    assert run.all_us == pytest.approx(60.0)


def test_what_the_machine_did_beside_us_is_the_load_of_others():
    assert SPENT.others == pytest.approx((1.08 - 0.08) / 2.0)


def test_a_clean_report_is_no_error():
    assert error_in(parse(REPORT, 0)) is None


def test_an_error_is_told_in_the_words_of_whoever_refused():
    printed = (
        'pgbench: error: client 3 script 0 aborted: ERROR:  prepared statement "P_0" does not exist\n'
        "pgbench: error: Run was aborted; the above results are incomplete.\n" + REPORT
    )

    assert error_in(parse(printed, 2)) == (
        'client 3 script 0 aborted: ERROR:  prepared statement "P_0" does not exist'
    )


def test_lines_two_threads_wrote_at_once_are_told_apart():
    printed = (
        'pgbench:pgbench: error: ERROR:  prepared statement "P_0" already exists\n' + REPORT
    )

    assert error_in(parse(printed, 2)) == 'ERROR:  prepared statement "P_0" already exists'


def test_failed_transactions_are_an_error_though_pgbench_ends_well():
    printed = REPORT.replace("transactions: 0", "transactions: 17")

    assert error_in(parse(printed, 0)) == "17 transactions failed"


def test_a_run_without_a_single_transaction_is_an_error():
    printed = REPORT.replace("processed: 1000", "processed: 0")

    assert error_in(parse(printed, 0)) == "no transaction ended in time"


def test_a_silent_end_tells_its_status():
    assert error_in(parse("", 1)) == "pgbench ended with status 1"


def test_a_failed_run_has_no_figures():
    run = failed_run(Workload("write", 16), "pgpool", 2, "it did not start")

    assert (run.workload, run.number, run.tps, run.own_us) == ("write-16", 2, 0.0, None)
    assert run.error == "it did not start"
