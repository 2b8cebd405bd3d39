"""What an operator must see is in the log at level warning, with its cause; each change once."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

WARNINGS = {"log": {"level": "warning", "format": "json"}}


def told(proxy: Proxy, *events: str) -> list[dict[str, Any]]:
    """Return the lines of the log about *events*, or all."""
    lines = [json.loads(line) for line in proxy.log().splitlines()]
    return [line for line in lines if not events or line["event"] in events]


def wait_for(proxy: Proxy, event: str) -> dict[str, Any]:
    """Return the first line about *event*."""
    assert wait_until(lambda: bool(told(proxy, event)), timeout=20), proxy.log_tail()
    return told(proxy, event)[0]


def test_a_failover_is_told_from_its_cause_to_its_end(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
) -> None:
    fragile_cluster.primary.query("grant execute on function pg_promote to rwsplit")
    fragile_cluster.wait_until_replayed()
    proxy = make_proxy(fragile_cluster, WARNINGS)
    about_us = {"nothing_remembered", "stalled", "long_turn"}
    assert {line["event"] for line in told(proxy)} <= about_us

    fragile_cluster.primary.kill()
    down = wait_for(proxy, "node_down")
    assert (down["node"], down["role"]) == ("primary", "primary")
    assert "refused" in down["reason"] or "lost" in down["reason"]
    assert "primary" in wait_for(proxy, "no_writes")["reason"]

    proxy.console("PROMOTE NODE replica1 FORCE")
    changed = wait_for(proxy, "primary_changed")
    assert (changed["before"], changed["node"]) == ("primary", "replica1")
    resumed = wait_for(proxy, "writes_resumed")
    assert resumed["node"] == "replica1"
    assert resumed["after_seconds"] > 0
    assert {line["level"] for line in told(proxy, "no_writes")} == {"error"}


def test_a_replica_that_goes_and_comes_is_told_twice(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
) -> None:
    proxy = make_proxy(fragile_cluster, WARNINGS)
    fragile_cluster.nodes["replica2"].kill()
    assert wait_for(proxy, "node_down")["node"] == "replica2"
    fragile_cluster.nodes["replica2"].start()
    up = wait_for(proxy, "node_up")
    assert up["node"] == "replica2"
    assert up["after_seconds"] > 0
    assert len(told(proxy, "node_down")) == 1


def test_a_node_that_is_down_from_the_start_is_told_with_its_cause(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
) -> None:
    fragile_cluster.nodes["replica3"].kill()
    proxy = Proxy(fragile_cluster, fragile_cluster.directory, WARNINGS)
    try:
        proxy.start(nodes_up=False)
        down = wait_for(proxy, "node_down")
    finally:
        proxy.stop()
    assert (down["node"], down["level"]) == ("replica3", "warning")
    assert "refused" in down["reason"]


def test_a_login_that_the_nodes_refuse_the_monitor_is_told_with_their_words(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
) -> None:
    proxy = make_proxy(cluster, WARNINGS)
    proxy.reload({"monitor": {"password": "wrong", "timeout": "900ms"}})
    assert wait_until(lambda: len(told(proxy, "node_down")) == 4, timeout=20)
    for line in told(proxy, "node_down"):
        assert 'password authentication failed for user "rwsplit"' in line["reason"]


def test_a_login_that_a_node_refuses_a_client_is_told_with_its_words(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
) -> None:
    proxy = make_proxy(cluster, WARNINGS)
    with proxy.userlist.open("a") as userlist:
        userlist.write('"stranger" "secret"\n')
    proxy.console("RELOAD")
    login = proxy.dsn().replace(f"app:{cluster.passwords['app']}@", "stranger:secret@")
    with pytest.raises(psycopg.Error, match="stranger"):
        psycopg.connect(login)
    refused = wait_for(proxy, "client_refused")
    assert (refused["level"], refused["user"]) == ("warning", "stranger")
    assert f":{cluster.primary.port}: " in refused["reason"]
    assert 'authentication failed for user "stranger"' in refused["reason"]

    with pytest.raises(psycopg.Error, match="does not exist"):
        proxy.connect("nowhere")
    assert [line for line in told(proxy) if "nowhere" in str(line)] == []
