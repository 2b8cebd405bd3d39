"""What `make test-clients` makes of a suite's report and of the list of known failures."""

from __future__ import annotations

from pathlib import Path

from tests.clients.suites.expected import DOCUMENT, expected_failures, unexpected
from tests.clients.suites.of_django import read_log
from tests.clients.suites.of_psycopg import read_report

DOCUMENT_TEXT = """\
## Client test suites

### psycopg: what fails

| test | why |
|---|---|
| `tests/test_a.py::test_one` | no proxy could |
| `tests/pool/*::test_check*` | it ends its server |

### django: what fails

| `other.tests.Case.test_x` | nobody knows |
"""
REPORT = """\
<testsuites><testsuite>
  <testcase file="tests/test_a.py" name="test_one"><failure message="no"/></testcase>
  <testcase file="tests/test_a.py" name="test_two[a::b]"><error message="no"/></testcase>
  <testcase file="tests/test_a.py" name="test_three"><skipped/></testcase>
  <testcase file="tests/test_a.py" name="test_four"/>
</testsuite></testsuites>
"""
LOG = """\
..F.E.
======================================================================
ERROR: test_x (other.tests.Case.test_x)
----------------------------------------------------------------------
Traceback (most recent call last):
======================================================================
ERROR: setUpClass (other.tests.Other)
======================================================================
FAIL: test_y (other.tests.Case.test_y) (name='a')
======================================================================
FAIL: test_y (other.tests.Case.test_y) (name='b')
----------------------------------------------------------------------
Ran 20 tests in 1.234s

FAILED (failures=2, errors=2, skipped=3, expected failures=1)
"""


def test_the_document_is_the_list_of_known_failures():
    assert expected_failures("psycopg", DOCUMENT_TEXT) == [
        "tests/test_a.py::test_one",
        "tests/pool/*::test_check*",
    ]
    assert expected_failures("django", DOCUMENT_TEXT) == ["other.tests.Case.test_x"]


def test_a_failure_that_no_pattern_covers_is_a_surprise():
    patterns = expected_failures("psycopg", DOCUMENT_TEXT)
    failed = [
        "tests/test_a.py::test_one",
        "tests/test_a.py::test_one[x]",
        "tests/pool/test_pool.py::test_check[True-\n]",
    ]

    assert unexpected(failed, patterns) == ["tests/test_a.py::test_one[x]"]


def test_a_report_of_pytest_is_counted(tmp_path: Path):
    (tmp_path / "report.xml").write_text(REPORT)

    outcome = read_report(tmp_path / "report.xml", finished=True)

    assert (outcome.passed, outcome.skipped, outcome.finished) == (1, 1, True)
    assert list(outcome.failed) == [
        "tests/test_a.py::test_one",
        "tests/test_a.py::test_two[a::b]",
    ]


def test_a_run_without_a_report_has_not_finished(tmp_path: Path):
    assert not read_report(tmp_path / "none.xml", finished=True).finished


def test_a_log_of_unittest_is_counted_each_test_once():
    outcome = read_log(LOG)

    assert (outcome.passed, outcome.skipped, outcome.finished) == (13, 4, True)
    assert list(outcome.failed) == [
        "other.tests.Case.test_x",
        "other.tests.Case.test_y",
        "other.tests.Other.setUpClass",
    ]


def test_databases_that_cannot_be_torn_down_are_no_success():
    assert not read_log(LOG + "Traceback (most recent call last):\n").finished
    assert not read_log("Creating test database...\n").finished


def test_the_list_can_be_read():
    assert DOCUMENT.exists()
