"""psycopg's own tests: everything its repository has in `tests/` that is not marked slow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from psycopg.conninfo import make_conninfo

from rwsplit.embedded.reachable import ReachableNode
from tests.clients.suites.suite import Outcome, Suite, Target, execute

DATABASE: Final = "psycopg_test"


class PsycopgSuite(Suite):
    """The tests of psycopg 3."""

    name = "psycopg"
    requirements = ("anyio>=4", "dnspython", "pproxy", "pytest>=8", "pytest-timeout")

    def problem(self) -> str:
        return "" if (self._project).is_file() else "no psycopg/pyproject.toml"

    @property
    def _project(self) -> Path:
        return self.sources / "psycopg" / "pyproject.toml"

    def version(self) -> str:
        found = re.search(r'^version = "([^"]+)"', self._project.read_text(), re.MULTILINE)
        assert found is not None
        return found.group(1)

    def package(self) -> Sequence[str]:
        return (f"psycopg[binary,pool]=={self.version()}",)

    def prepare(self, primary: ReachableNode) -> None:
        with primary.connect() as connection:
            connection.execute("create database psycopg_test")

    def run(
        self, python: Path, target: Target, directory: Path, arguments: Sequence[str]
    ) -> Outcome:
        report = directory / "psycopg.xml"
        # A connection string of words, not a URL: some tests add words to it.
        dsn = make_conninfo(
            host=target.host,
            port=target.port,
            user=target.user,
            password=target.password,
            dbname=DATABASE,
        )
        status = execute(
            [
                *(python, "-m", "pytest", "-q", "--tb=short", "-m", "not slow", "--timeout=60"),
                *("--test-dsn", dsn, f"--junitxml={report}", "-o", "junit_family=xunit1"),
                # A test that failed leaves connections behind: that is not the next one's failure.
                *("-W", "ignore::pytest.PytestUnraisableExceptionWarning"),
                *("-o", f"cache_dir={directory / 'cache'}"),
                *arguments,
            ],
            where=self.sources,
            log=directory / "psycopg.log",
            variables={},
        )
        return read_report(report, finished=status in {0, 1})


def read_report(report: Path, *, finished: bool) -> Outcome:
    """Return what pytest's XML *report* tells."""
    passed = skipped = 0
    failed = []
    cases = ET.parse(report).iter("testcase") if report.exists() else ()
    for case in cases:
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            failed.append(f"{case.get('file')}::{case.get('name')}")
        elif "skipped" in kinds:
            skipped += 1
        else:
            passed += 1
    return Outcome(passed, skipped, failed, finished and bool(passed or failed or skipped))
