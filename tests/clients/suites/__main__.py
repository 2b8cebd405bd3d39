"""Run a client's own suite through rwsplit, in front of a primary and three replicas.

    python -m tests.clients.suites psycopg --sources PATH
    python -m tests.clients.suites django --sources PATH --direct
    python -m tests.clients.suites psycopg --sources PATH -- tests/test_copy.py -x

What follows `--` is for the suite's own runner: some of its tests, its options. Ends with 1 when a test
fails that docs/compatibility.md does not list.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rwsplit.embedded.cluster import EmbeddedCluster
from tests.clients.suites.expected import DOCUMENT, expected_failures, unexpected
from tests.clients.suites.of_django import DjangoSuite
from tests.clients.suites.of_psycopg import PsycopgSuite
from tests.clients.suites.suite import Outcome, Suite, Target
from tests.support.proxy import Proxy

SUITES: Final[dict[str, type[Suite]]] = {
    suite.name: suite for suite in (PsycopgSuite, DjangoSuite)
}
SOURCES: Final = "RWSPLIT_{}_SOURCES"
"""The environment variable that says where a suite's sources are."""
#: Beside consistency.level. What sleeps in psycopg's tests is looked for in pg_stat_activity, the primary's.
PROXY_SETTINGS: Final = {"routing": {"functions": {"writes": ["pg_sleep"]}}}
NODE_SETTINGS: Final = {"max_prepared_transactions": "20"}


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says and return the exit status."""
    ours, chosen = list(arguments), []
    if "--" in ours:
        split = ours.index("--")
        ours, chosen = ours[:split], ours[split + 1 :]
    options = _parser().parse_args(ours)
    variable = SOURCES.format(options.suite.upper())
    sources = options.sources or os.environ.get(variable)
    if not sources:
        print(f"{options.suite}: skipped, {variable} names no sources")
        return 0
    try:
        suite = SUITES[options.suite](Path(sources).resolve())
    except ValueError as exc:
        print(exc)
        return 2
    python = suite.environment()
    with tempfile.TemporaryDirectory(prefix="rwsplit-suite-") as made:
        outcome = _run(suite, python, Path(made), options, chosen)
    return _report(suite, outcome, direct=options.direct)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.clients.suites", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("suite", choices=sorted(SUITES))
    parser.add_argument("--sources", help="its repository or sdist, unpacked")
    parser.add_argument("--direct", action="store_true", help="without rwsplit")
    parser.add_argument("--level", default="cluster", help="rwsplit's consistency.level")
    parser.add_argument("--postgres", type=Path, help="a directory of PostgreSQL's binaries")
    parser.add_argument("--log", type=Path, help="keep what rwsplit printed in this file")
    return parser


def _run(
    suite: Suite,
    python: Path,
    directory: Path,
    options: argparse.Namespace,
    chosen: Sequence[str],
) -> Outcome:
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(
            EmbeddedCluster(replicas=3, postgres=options.postgres, settings=NODE_SETTINGS)
        )
        suite.prepare(cluster.primary)
        cluster.wait_until_replayed()
        user = cluster.superuser
        endpoint: Any = cluster.primary
        if not options.direct:
            settings = {**PROXY_SETTINGS, "consistency": {"level": options.level}}
            endpoint = stack.enter_context(Proxy(cluster, directory, settings, measured=False))
        target = Target(endpoint.host, endpoint.port, user, cluster.passwords[user])
        outcome = suite.run(python, target, directory, chosen)
        if options.log and not options.direct:
            options.log.write_text(endpoint.log())
    return outcome


def _report(suite: Suite, outcome: Outcome, *, direct: bool) -> int:
    """Print the figures and what failed; return the exit status."""
    way = "directly" if direct else "through rwsplit"
    patterns = [] if direct else expected_failures(suite.name, DOCUMENT.read_text())
    surprises = unexpected(outcome.failed, patterns)
    for name in outcome.failed:
        print(f"{'failed' if name in surprises else 'failed, as listed'}: {name}")
    print(
        f"{suite.name} {suite.version()} {way}: {outcome.passed} passed, "
        f"{len(outcome.failed)} failed ({len(surprises)} unexpected), {outcome.skipped} skipped"
        + ("" if outcome.finished else "; it did not come to its end")
    )
    return 1 if surprises or not outcome.finished else 0


def _end(_signum: int, _frame: object) -> None:
    sys.exit("stopped")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)  # else rwsplit would outlive it
    sys.exit(main(sys.argv[1:]))
