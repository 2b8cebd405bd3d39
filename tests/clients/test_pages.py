"""Frameworks put a transaction around everything; what only reads runs on the replicas all the same."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import pytest

from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import ReachableCluster
from tests.support.proxy import Proxy

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PAGES: Final = 50
SECONDS: Final = 60.0
ROOT: Final = Path(__file__).parents[2]


def answered(proxy: Proxy) -> dict[str, int]:
    return {name: int(row["reads"]) + int(row["writes"]) for name, row in proxy.nodes().items()}


def are_fresh_since(proxy: Proxy, moment: float) -> bool:
    """Return whether rwsplit knows that every replica had replayed what there was at *moment*."""
    replicas = [row for row in proxy.nodes().values() if row["role"] == "replica"]
    return all(float(row["staleness"] or "inf") < time.monotonic() - moment for row in replicas)


@pytest.mark.parametrize(
    ("framework", "arguments"),
    [
        ("sqlalchemy", []),
        ("django", []),
        ("psycopg", []),
        ("asyncpg", ["0"]),
        ("asyncpg", ["100"]),
    ],
)
def test_a_read_only_page_is_the_replicas_business(
    cluster: ReachableCluster[Any], tmp_path: Path, framework: str, arguments: list[str]
):
    with Proxy(cluster, tmp_path, measured=False) as proxy:
        script = [sys.executable, "-m", f"tests.clients.pages.with_{framework}"]
        with subprocess.Popen(
            [*script, proxy.dsn(), str(PAGES), *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as application:
            assert application.stdin is not None
            assert application.stdout is not None
            try:
                assert application.stdout.readline() == "filled\n"
                cluster.wait_until_replayed()
                replayed = time.monotonic()
                assert wait_until(lambda: are_fresh_since(proxy, replayed), timeout=10)
                before = answered(proxy)
                application.stdin.write("\n")
                application.stdin.flush()
                statements = int(application.stdout.readline())
                pages = {name: n - before[name] for name, n in answered(proxy).items()}
                application.stdin.write("\n")
                application.stdin.flush()
                assert application.wait(SECONDS) == 0
            finally:
                application.kill()

    assert statements >= 5 * PAGES
    assert pages["primary"] <= 0.1 * statements, pages
    assert sum(pages.values()) >= statements, pages
