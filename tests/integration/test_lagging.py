"""Replicas that fall behind: they get no reads, and everybody can see why."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.node import EmbeddedNode
from rwsplit.embedded.processes import wait_until
from tests.support.load import Load, where
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration


@contextmanager
def replay_paused(*nodes: EmbeddedNode) -> Iterator[None]:
    for node in nodes:
        node.query("select pg_wal_replay_pause()")
    try:
        yield
    finally:
        for node in nodes:
            node.query("select pg_wal_replay_resume()")


def status_of(proxy: Proxy, name: str) -> dict[str, object]:
    """`rwsplit status --json`, as an operator sees it."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "rwsplit",
            "status",
            "--json",
            "--url",
            proxy.dsn("rwsplit", "postgres"),
        ],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    [row] = [row for row in json.loads(done.stdout)["nodes"] if row["name"] == name]
    return row


def test_a_paused_replica_lags_is_left_out_and_comes_back(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    fragile_cluster.primary.query("create table if not exists lagging (n int)", database="app")
    proxy = make_proxy(fragile_cluster, {"consistency": {"max_lag": "1s"}})
    slow = fragile_cluster.replicas[1]
    with (
        Load(proxy, where, clients=6) as load,
        fragile_cluster.primary.connect("app") as writer,
    ):
        assert set(load.answered(300)) == {"replica1", "replica2", "replica3"}

        with replay_paused(slow):
            paused_at = time.monotonic()
            writer.execute("insert into lagging values (1)")
            assert wait_until(
                lambda: proxy.nodes()["replica2"]["refusal"] == "LAGGING", timeout=10
            )
            assert time.monotonic() - paused_at <= 2.0  # max_lag + 1 s
            assert "replica2" not in load.answered(300)
            # Its sessions may pass by the primary, the only one as new as what they have read.
            assert wait_until(
                lambda: set(load.answered(100)) == {"replica1", "replica3"}, timeout=10
            )

            row = proxy.nodes()["replica2"]
            assert row["eligible"] is False
            assert row["lag_bytes"] > 0
            assert row["staleness"] >= 1.0
            assert "s > 1 s" in row["refusal_detail"]
            shown = status_of(proxy, "replica2")
            assert shown["refusal"] == "LAGGING"

        assert wait_until(lambda: proxy.nodes()["replica2"]["eligible"], timeout=10)
        assert wait_until(lambda: "replica2" in load.answered(100), timeout=10)
    assert not load.errors


def test_a_replica_too_many_bytes_behind_is_left_out(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(
        fragile_cluster, {"consistency": {"max_lag": "1h", "max_lag_bytes": "64kB"}}
    )
    with replay_paused(fragile_cluster.replicas[0]):
        fragile_cluster.primary.query(
            "select pg_logical_emit_message(true, 'test', repeat('x', 200000))"
        )
        assert wait_until(lambda: proxy.nodes()["replica1"]["refusal"] == "LAGGING", timeout=10)
        assert proxy.nodes()["replica1"]["lag_bytes"] > 64 * 1024
        # The record is on its way to the others for a moment, too.
        assert wait_until(lambda: proxy.nodes()["replica2"]["eligible"], timeout=10)
        assert not proxy.nodes()["replica1"]["eligible"]
    assert wait_until(lambda: proxy.nodes()["replica1"]["eligible"], timeout=10)


def test_an_idle_primary_makes_no_replica_lag(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster, {"consistency": {"max_lag": "1s"}})
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        assert all(
            row["eligible"] for row in proxy.nodes().values() if row["role"] == "replica"
        )


def test_with_every_replica_lagging_the_primary_answers_and_says_why(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster, {"consistency": {"max_lag": "300ms"}})
    with replay_paused(*fragile_cluster.replicas), proxy.connect() as client:
        fragile_cluster.primary.query("select pg_logical_emit_message(true, 'test', 'x')")
        assert wait_until(
            lambda: all(
                row["refusal"] == "LAGGING"
                for row in proxy.nodes().values()
                if row["role"] == "replica"
            ),
            timeout=10,
        )
        assert where(client) == "primary"
        [route] = client.execute("show rwsplit.last_route").fetchone() or [""]
        assert "NO_FRESH_REPLICA" in route
        assert "LAGGING" in str(proxy.console("EXPLAIN ROUTE 'select 1'"))
