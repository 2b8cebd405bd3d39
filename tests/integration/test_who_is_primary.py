"""Nodes that say they are the primary and are not the right one: nothing is ever written to them.

The situations of docs/decisions, number 16: at the start, after a reload, and while rwsplit runs.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from rwsplit.cli.commands import app
from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.node import EmbeddedNode
from rwsplit.embedded.processes import wait_until
from tests.support.copies import address, another_cluster, copy_of
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

IMPATIENT = {"pool": {"query_wait_timeout": "1s"}}
WHENS = ["start", "restart", "reload", "running"]


@pytest.fixture
def broken(fragile_cluster: EmbeddedCluster) -> EmbeddedCluster:
    """A cluster with a table, to be broken."""
    primary = fragile_cluster.primary
    primary.query("grant execute on function pg_promote to rwsplit")
    primary.query("create table if not exists ledger (n int primary key)", database="app")
    primary.query("grant all on ledger to app", database="app")
    primary.query("truncate ledger", database="app")
    fragile_cluster.wait_until_replayed()
    return fragile_cluster


def cluster_of(proxy: Proxy) -> dict[str, str | None]:
    return {row["item"]: row["value"] for row in proxy.console("SHOW CLUSTER")}


def primary_of(proxy: Proxy) -> str | None:
    return cluster_of(proxy)["primary"]


def wait_for_primary(proxy: Proxy, name: str) -> None:
    assert wait_until(lambda: primary_of(proxy) == name, timeout=15), proxy.log_tail()


def wait_for_no_writes(proxy: Proxy, reason: str) -> str:
    assert wait_until(lambda: cluster_of(proxy)["no_writes"] == reason, timeout=15), (
        cluster_of(proxy),
        proxy.log_tail(),
    )
    detail = cluster_of(proxy)["no_writes_detail"]
    assert detail is not None
    return detail


def write(proxy: Proxy, number: int) -> None:
    with proxy.connect() as client:
        client.execute("insert into ledger values (%s)", (number,))


def is_refused(proxy: Proxy, number: int) -> str:
    with proxy.connect() as client, pytest.raises(psycopg.Error) as refused:
        client.execute("insert into ledger values (%s)", (number,))
    return str(refused.value)


def ledger(node: EmbeddedNode) -> list[int]:
    return [n for (n,) in node.query("select n from ledger order by n", database="app")]


def command(proxy: Proxy, *words: str) -> str:
    """Run a command of the command line; return what it printed."""
    result = CliRunner().invoke(app, [*words, "-c", str(proxy.config_path)])
    return result.output


def with_node(
    when: str, broken: EmbeddedCluster, make_proxy: MakeProxy, name: str, node: EmbeddedNode
) -> Proxy:
    """Return a rwsplit that came to know *node* at the moment *when*."""
    known: dict[str, Any] = {"nodes": {name: address(node)}}
    if when == "start":
        return make_proxy(broken, {**IMPATIENT, **known}, nodes_up=False)
    if when == "running":
        node.stop()
        proxy = make_proxy(broken, {**IMPATIENT, **known}, nodes_up=False)
        wait_for_primary(proxy, "primary")
        write(proxy, 1)
        node.start()
    else:
        proxy = make_proxy(broken, IMPATIENT)
        write(proxy, 1)
        if when == "restart":
            proxy.stop()
            proxy.write_config(known)
            proxy.start(nodes_up=False)
        else:
            proxy.reload(known)
    assert wait_until(lambda: proxy.nodes()[name]["health"] == "up", timeout=15)
    return proxy


@pytest.mark.parametrize("when", ["restart", "running"])
def test_an_old_primary_gets_nothing_while_the_new_one_is_down(
    broken: EmbeddedCluster, make_proxy: MakeProxy, when: str
):
    old, new = broken.primary, broken.replicas[0]
    proxy = make_proxy(broken, IMPATIENT)
    old.kill()
    new.promote()
    wait_for_primary(proxy, "replica1")
    write(proxy, 1)
    if when == "restart":
        proxy.stop()
    new.kill()
    old.start()
    if when == "restart":
        proxy.start(nodes_up=False)

    assert wait_until(lambda: proxy.nodes()["primary"]["health"] == "up", timeout=10)
    detail = wait_for_no_writes(proxy, "AWAITS_PRIMARY")
    assert detail.startswith("node replica1, the primary of timeline 2, is not up")
    said = is_refused(proxy, 2)
    assert "node replica1, the primary of timeline 2, is not up" in said
    assert "rwsplit node accept" in said
    assert proxy.nodes()["primary"]["refusal"] == "OTHER_TIMELINE"
    shown = " ".join(command(proxy, "status").split())
    assert re.search(
        r"!! NO PRIMARY for \d+ s: 0 writes wait. Most advanced replica: replica\d", shown
    )
    assert "!! node replica1, the primary of timeline 2, is not up" in shown
    assert ledger(old) == []

    assert "is not up" in command(proxy, "node", "accept", "replica1")
    assert "promote replica2" in command(proxy, "node", "accept", "replica2")
    assert command(proxy, "node", "accept", "primary") == "primary is the primary\n"
    wait_for_primary(proxy, "primary")
    write(proxy, 3)
    assert ledger(old) == [3]

    # What was abandoned does not come back by itself, nor after another restart.
    new.start()
    assert wait_until(lambda: proxy.nodes()["replica1"]["health"] == "up", timeout=10)
    write(proxy, 4)
    proxy.stop()
    proxy.start(nodes_up=False)
    wait_for_primary(proxy, "primary")
    write(proxy, 5)
    assert (ledger(old), ledger(new)) == ([3, 4, 5], [1])


def test_the_newest_timeline_is_awaited_also_when_its_primary_is_no_longer_configured(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(broken, IMPATIENT)
    broken.primary.kill()
    broken.replicas[0].promote()
    wait_for_primary(proxy, "replica1")
    write(proxy, 1)
    proxy.stop()
    broken.primary.start()
    del proxy.settings["nodes"]["replica1"]

    proxy.start(nodes_up=False)

    assert "timeline 2" in wait_for_no_writes(proxy, "AWAITS_TIMELINE")
    is_refused(proxy, 2)
    assert ledger(broken.primary) == []


def test_without_a_state_file_the_newer_of_two_leads_if_the_older_was_away(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    old, new = broken.primary, broken.replicas[0]
    proxy = make_proxy(broken, IMPATIENT)
    old.kill()
    new.promote()
    wait_for_primary(proxy, "replica1")
    proxy.stop()
    proxy.config_path.with_suffix(".state").unlink()
    old.start()
    assert wait_until(lambda: broken.replicas[1].streams_from(old), timeout=15)

    proxy.start(nodes_up=False)

    wait_for_primary(proxy, "replica1")
    write(proxy, 1)
    assert (ledger(old), ledger(new)) == ([], [1])
    assert "nothing_remembered" in proxy.log()


@pytest.mark.parametrize("when", WHENS)
def test_a_node_of_another_cluster_is_never_used(
    broken: EmbeddedCluster, make_proxy: MakeProxy, when: str
):
    with another_cluster(broken) as stranger:
        proxy = with_node(when, broken, make_proxy, "stranger", stranger)

        wait_for_primary(proxy, "primary")
        write(proxy, 2)
        assert 2 in ledger(broken.primary)
        assert proxy.nodes()["stranger"]["refusal"] == "OTHER_CLUSTER"
        assert proxy.nodes()["stranger"]["servers"] == 0
        assert "another cluster" in command(proxy, "status")

        # Also not while nothing else is there.
        broken.primary.kill()
        assert wait_until(lambda: proxy.nodes()["primary"]["health"] == "down", timeout=10)
        is_refused(proxy, 3)
        with proxy.connect() as client, pytest.raises(psycopg.Error):
            client.execute("/* rwsplit: node=stranger */ select 1")
        broken.primary.start()
        wait_for_primary(proxy, "primary")
        write(proxy, 4)


@pytest.mark.parametrize("when", WHENS)
def test_a_promoted_copy_gets_nothing_while_the_replicas_follow_the_primary(
    broken: EmbeddedCluster, make_proxy: MakeProxy, when: str
):
    with copy_of(broken, broken.primary, "copy") as copy:
        copy.promote()
        proxy = with_node(when, broken, make_proxy, "copy", copy)

        wait_for_primary(proxy, "primary")
        write(proxy, 2)
        assert proxy.nodes()["copy"]["refusal"] == "OTHER_TIMELINE"

        # Nor when the primary is away for a moment...
        broken.primary.kill()
        assert wait_until(lambda: proxy.nodes()["primary"]["health"] == "down", timeout=10)
        detail = wait_for_no_writes(proxy, "AWAITS_PRIMARY")
        assert detail.startswith("node primary, the primary of timeline 1, is not up")
        assert "node copy says it is the primary" in detail
        is_refused(proxy, 3)
        broken.primary.start()
        wait_for_primary(proxy, "primary")
        write(proxy, 4)

        # ... and it does not stand in the way of a real failover.
        broken.primary.kill()
        broken.replicas[0].promote()
        wait_for_primary(proxy, "replica1")
        write(proxy, 5)
        assert ledger(copy) in ([], [1])
        assert 5 in ledger(broken.replicas[0])


def test_of_two_on_one_timeline_the_followed_one_leads_and_else_none(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    one, two, three = broken.replicas
    broken.primary.kill()
    for node in (one, two):
        node.promote()
        node.query("create table only_here()", database="app")  # they diverge

    proxy = make_proxy(broken, IMPATIENT, nodes_up=False)
    detail = wait_for_no_writes(proxy, "SPLIT_BRAIN")
    assert "nodes replica1 and replica2 each say they are the primary" in detail
    is_refused(proxy, 1)
    assert (ledger(one), ledger(two)) == ([], [])

    three.follow(two)
    wait_for_primary(proxy, "replica2")
    write(proxy, 2)
    assert proxy.nodes()["replica1"]["refusal"] == "NOT_THE_PRIMARY"
    other = make_proxy(broken, IMPATIENT, nodes_up=False)
    wait_for_primary(other, "replica2")
    write(other, 3)
    assert (ledger(one), ledger(two)) == ([], [2, 3])

    # The other promotion of the same number is no successor, neither now nor after a restart.
    three.kill()
    two.kill()
    wait_for_no_writes(proxy, "AWAITS_PRIMARY")
    is_refused(proxy, 4)
    proxy.stop()
    proxy.start(nodes_up=False)
    wait_for_no_writes(proxy, "AWAITS_PRIMARY")
    is_refused(proxy, 5)
    assert ledger(one) == []


def test_replicas_of_others_and_of_nobody_are_not_read(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    with copy_of(broken, broken.primary, "copy") as copy:
        copy.promote()
        with copy_of(broken, copy, "follower") as follower:
            settings = {"nodes": {"copy": address(copy), "follower": address(follower)}}
            proxy = make_proxy(broken, settings, nodes_up=False)
            wait_for_primary(proxy, "primary")
            assert proxy.nodes()["follower"]["refusal"] == "OTHER_TIMELINE"
            write(proxy, 1)

        with broken.replicas[2].connect() as connection:
            connection.execute("alter system set primary_conninfo = ''")
            connection.execute("select pg_reload_conf()")
        proxy.stop()
        proxy.start(nodes_up=False)
        assert wait_until(
            lambda: proxy.nodes()["replica3"]["refusal"] == "NO_SOURCE", timeout=15
        )
        broken.replicas[2].follow(broken.primary)
        assert wait_until(lambda: proxy.nodes()["replica3"]["refusal"] is None, timeout=15)


def test_when_all_restart_at_once_writes_wait_for_the_one_that_is(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(broken, {"pool": {"query_wait_timeout": "30s"}})
    for node in broken.nodes.values():
        node.kill()
    assert wait_until(
        lambda: all(row["health"] == "down" for row in proxy.nodes().values()), timeout=10
    )
    for node in broken.replicas:
        node.start()
    wait_for_no_writes(proxy, "AWAITS_PRIMARY")
    proxy.stop()
    proxy.start(nodes_up=False)
    wait_for_no_writes(proxy, "AWAITS_PRIMARY")

    broken.primary.start()

    wait_for_primary(proxy, "primary")
    write(proxy, 1)


def test_a_primary_that_gets_another_name_or_address_by_a_reload_leads_on(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(broken, IMPATIENT)
    write(proxy, 1)
    nodes = dict(proxy.settings["nodes"])
    place = nodes.pop("primary")
    proxy.settings["nodes"] = {**nodes, "renamed": place}
    proxy.reload()
    wait_for_primary(proxy, "renamed")
    write(proxy, 2)

    proxy.reload({"nodes": {"renamed": place.replace("127.0.0.1", "localhost")}})
    assert wait_until(lambda: primary_of(proxy) == "renamed", timeout=10)
    write(proxy, 3)
    assert ledger(broken.primary) == [1, 2, 3]


def test_a_state_file_that_cannot_be_written_is_told(
    broken: EmbeddedCluster, make_proxy: MakeProxy, tmp_path: Path
):
    missing = tmp_path / "missing" / "state"
    proxy = make_proxy(broken, {"admin": {"state_file": str(missing)}})

    assert f"warning: admin.state_file: cannot write {missing}" in command(
        proxy, "status"
    ).replace("\n", "").replace("cannot write/", "cannot write /")
    assert f"admin.state_file: cannot write {missing}" in command(proxy, "check")
    assert "state_not_saved" in proxy.log()

    missing.parent.mkdir()
    proxy.console("DETACH NODE replica1")
    proxy.console("ATTACH NODE replica1")
    assert missing.exists()
