"""Replicas that freeze, are cut off, are slow, or flap: who waits for how long, and who answers what share."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.node import EmbeddedNode
from rwsplit.embedded.processes import wait_until
from tests.support.gateway import Gateway
from tests.support.load import Connection, Load, where
from tests.support.postgres import MakeCluster, MakeProxy
from tests.support.proxy import Proxy
from tests.support.tight import TightClients

pytestmark = pytest.mark.integration

LEVELS = ["session", "cluster", "eventual"]
#: Seconds a read that had not begun to be answered may take at most, whatever happens to a replica.
LONGEST = 1.0
#: More of them are for `make soak`.
ROLE_CHANGES = int(os.environ.get("RWSPLIT_ROLE_CHANGES", "2"))
SHARE = {"routing": {"reads_on_primary": "share"}}


def level(name: str) -> dict[str, object]:
    return {"consistency": {"level": name}}


@pytest.fixture
def gateway(fragile_cluster: EmbeddedCluster) -> Iterator[Gateway]:
    """The way to replica3."""
    node = fragile_cluster.replicas[2]
    with Gateway(node.host, node.port) as running:
        yield running


def behind(gateway: Gateway) -> dict[str, object]:
    return {"nodes": {"replica3": f"{gateway.host}:{gateway.port}"}}


def settled(proxy: Proxy) -> Proxy:
    """Return *proxy* once all replicas may answer: the test before may have rebuilt them."""
    assert wait_until(lambda: len(eligible(proxy)) == 3, timeout=20), proxy.nodes()
    return proxy


def eligible(proxy: Proxy) -> list[str]:
    return [name for name, row in proxy.nodes().items() if row["eligible"] in {True, "t"}]


@contextlib.contextmanager
def trouble(kind: str, node: EmbeddedNode, gateway: Gateway) -> Iterator[None]:
    if kind == "frozen":
        node.pause()
    elif kind == "cut":
        gateway.cut = True
    else:
        gateway.delay = 0.2
    yield
    node.resume()
    gateway.cut, gateway.delay = False, 0.0


@pytest.mark.parametrize("kind", ["frozen", "cut"])
@pytest.mark.parametrize("name", LEVELS)
def test_nobody_waits_a_second_for_a_replica_that_does_not_answer(
    fragile_cluster: EmbeddedCluster,
    make_proxy: MakeProxy,
    gateway: Gateway,
    name: str,
    kind: str,
):
    proxy = settled(make_proxy(fragile_cluster, {**level(name), **behind(gateway)}))
    with TightClients(proxy, 12) as clients:
        clients.run(1.0)  # pools fill
        clients.forget()
        clients.run(1.0)
        assert clients.share("replica3") > 0.05  # the gateway makes it the slowest
        clients.forget()
        with trouble(kind, fragile_cluster.replicas[2], gateway):
            clients.run(3.0)
            assert clients.longest < LONGEST
            assert proxy.nodes()["replica3"]["health"] in {"frozen", "down"}
            clients.forget()
        back = time.monotonic() + 10
        while clients.share("replica3") < 0.05 and time.monotonic() < back:
            clients.forget()
            clients.run(0.5)
        assert clients.share("replica3") > 0.05
        assert not clients.errors


@pytest.mark.parametrize("name", LEVELS)
def test_a_slow_replica_gets_what_it_can_do(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy, gateway: Gateway, name: str
):
    proxy = settled(make_proxy(fragile_cluster, {**level(name), **behind(gateway)}))
    with TightClients(proxy, 12) as clients:
        clients.run(1.0)
        with trouble("slow", fragile_cluster.replicas[2], gateway):
            clients.run(1.5)
            clients.forget()
            clients.run(3.0)
            longest = clients.longest
        assert 0 < clients.share("replica3") < 0.06
        assert longest < LONGEST
        others = clients.reads["replica1"], clients.reads["replica2"]
        assert max(others) / min(others) < 1.25
        assert not clients.errors
    assert "node_frozen" not in proxy.log()


def test_sessions_that_are_all_on_a_slow_replica_leave_it(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy, gateway: Gateway
):
    proxy = make_proxy(fragile_cluster, behind(gateway))
    with TightClients(proxy, 12) as clients:
        for name in ("replica1", "replica2"):
            proxy.console(f"DETACH NODE {name}")  # type: ignore[arg-type]
        with trouble("slow", fragile_cluster.replicas[2], gateway):
            clients.run(1.0)
            for name in ("replica1", "replica2"):
                proxy.console(f"ATTACH NODE {name}")  # type: ignore[arg-type]
            clients.run(3.0)
            clients.forget()
            clients.run(2.0)
        assert 0 < clients.share("replica3") < 0.1


def test_a_flapping_replica_is_left_alone_for_longer_each_time(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster)
    flapping = fragile_cluster.replicas[1]

    def flap(gone: float) -> None:
        (flapping.pause if gone % 1.6 < 0.8 else flapping.resume)()

    with TightClients(proxy, 12) as clients:
        clients.run(1.0)
        clients.forget()
        clients.run(8.0, flap)
        longest = clients.longest
        flapping.resume()
        assert longest < LONGEST
        assert not clients.errors
    assert 1 <= proxy.log().count("node_frozen") <= 4


def test_statements_that_take_long_freeze_nobody(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster)
    query = "/* rwsplit: node=replica2 */ select current_setting('cluster_name'), pg_sleep(1.5)"
    seen = set()
    with TightClients(proxy, 6, query) as clients:
        clients.run(4.0, lambda gone: gone % 1 < 0.02 and seen.add(health(proxy, "replica2")))
        assert not clients.errors
        assert set(clients.reads) == {"replica2"}
    assert "frozen" not in seen
    assert "node_frozen" not in proxy.log()


def health(proxy: Proxy, name: str) -> object:
    return proxy.nodes()[name]["health"]


def test_late_answers_of_a_node_that_thaws_reach_nobody(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster)
    numbers = itertools.count()

    def step(connection: Connection) -> object:
        number = next(numbers)
        row = connection.execute("select %s::int", (number,)).fetchone()
        assert row == (number,)
        return None

    with Load(proxy, step, clients=8, simple=False) as load:
        for node in fragile_cluster.replicas:
            load.go_on(200)
            node.pause()
            assert wait_until(lambda n=node: health(proxy, n.name) == "frozen", timeout=5)  # type: ignore[misc]
            load.go_on(100)
            node.resume()
            assert wait_until(lambda n=node: health(proxy, n.name) == "up", timeout=10)  # type: ignore[misc]
    assert not load.errors


def test_a_long_read_that_was_not_answered_runs_again_elsewhere(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster)
    frozen = fragile_cluster.replicas[1]
    answers: list[object] = []
    query = "/* rwsplit: node=replica2 */ select current_setting('cluster_name'), pg_sleep(2)"

    with proxy.connect(cursor_factory=psycopg.ClientCursor) as client:

        def read() -> None:
            answers.append(client.execute(query).fetchone())

        reading = threading.Thread(target=read, daemon=True)
        reading.start()
        assert wait_until(lambda: is_reading(frozen), timeout=5)
        frozen.pause()
        reading.join(10)
        frozen.resume()
        [answer] = answers
        assert answer[0] != "replica2"  # type: ignore[index]
        assert where(client) is not None


def is_reading(node: EmbeddedNode) -> bool:
    sleeping = "select 1 from pg_stat_activity where wait_event = 'PgSleep'"
    return node.query(sleeping) != []


def test_a_hint_waits_for_its_frozen_node_and_opens_no_connections(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy, gateway: Gateway
):
    proxy = make_proxy(fragile_cluster, behind(gateway))
    query = "/* rwsplit: node=replica3 */ select current_setting('cluster_name')"
    with TightClients(proxy, 8, query) as clients:
        clients.run(0.5)
        opened = gateway.opened
        with trouble("cut", fragile_cluster.replicas[2], gateway):
            clients.run(4.0)
        assert gateway.opened - opened < 20
        clients.forget()
        clients.run(4.0)
        assert clients.reads["replica3"] > 0
        assert all("57P03" in error for error in clients.errors), (
            "it says that its node is down"
        )


def test_a_node_that_may_not_be_used_is_not_dialed_again_and_again(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy, gateway: Gateway
):
    proxy = make_proxy(fragile_cluster, behind(gateway))
    fragile_cluster.primary.kill()
    fragile_cluster.replicas[0].promote()
    assert wait_until(
        lambda: proxy.nodes()["replica3"]["refusal"] == "OTHER_TIMELINE", timeout=10
    )
    opened = gateway.opened
    query = "/* rwsplit: node=replica3 */ select current_setting('cluster_name')"
    with TightClients(proxy, 8, query) as clients:
        clients.run(2.0)
        assert not clients.reads
    assert gateway.opened - opened < 10


@pytest.mark.parametrize("how", ["restarted", "killed"])
def test_reads_on_the_primary_survive_its_restart(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy, how: str
):
    primary = fragile_cluster.primary
    proxy = make_proxy(fragile_cluster, {"pool": {"query_wait_timeout": "20s"}})
    for node in fragile_cluster.replicas:
        proxy.console(f"DETACH NODE {node.name}")  # type: ignore[arg-type]
    with Load(proxy, where, clients=8) as load:
        assert set(load.answered(100)) == {"primary"}
        for _ in range(3):
            (primary.stop if how == "restarted" else primary.kill)()
            primary.start()
            load.go_on(100)
    assert not load.errors


@pytest.mark.parametrize("count", [4, 16])
def test_a_primary_that_shares_the_reads_has_its_share_of_them(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy, count: int
):
    proxy = settled(make_proxy(fragile_cluster, SHARE))
    with TightClients(proxy, count) as clients:
        assert spread(clients) < 0.25
        assert set(clients.reads) == {"primary", "replica1", "replica2", "replica3"}
        assert not clients.errors


@pytest.mark.parametrize("count", [3, 4, 8, 16, 50])
@pytest.mark.parametrize("name", LEVELS)
def test_shares_are_even(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy, name: str, count: int
):
    proxy = settled(make_proxy(fragile_cluster, level(name)))
    with TightClients(proxy, count) as clients:
        assert spread(clients) < 0.1, clients.reads
        assert len(clients.reads) == 3
        assert not clients.errors


def spread(clients: TightClients) -> float:
    """Return how far apart the shares of 4 s are, once they have settled."""
    clients.run(2.0)
    clients.forget()
    clients.run(4.0)
    return clients.spread


def test_role_changes_cost_readers_nothing(make_cluster: MakeCluster, make_proxy: MakeProxy):
    cluster = make_cluster(replicas=3)  # its timeline grows for good
    cluster.primary.query("grant execute on function pg_promote to rwsplit")
    cluster.wait_until_replayed()
    proxy = make_proxy(cluster)
    nodes = list(cluster.nodes.values())
    with Load(proxy, where, clients=6) as load:
        for turn in range(ROLE_CHANGES):
            leader, successor = nodes[turn % 2], nodes[(turn + 1) % 2]
            switch_over(proxy, leader, successor, nodes)
            load.go_on(200)
    assert not load.errors


def switch_over(
    proxy: Proxy, leader: EmbeddedNode, successor: EmbeddedNode, nodes: list[EmbeddedNode]
) -> None:
    """Have *successor* take over from *leader*, which then follows it, as do the others.

    A leader that went on would write WAL of its own beyond the promotion; what received that could not follow.
    """
    proxy.console(f"DRAIN NODE {leader.name}")  # type: ignore[arg-type]
    assert wait_until(
        lambda: proxy.nodes()[leader.name]["admin_state"] == "detached", timeout=10
    )
    leader.stop()  # a fast shutdown: it streams everything before it ends
    proxy.console(f"PROMOTE NODE {successor.name}")  # type: ignore[arg-type]
    for node in nodes:
        if node not in (leader, successor):
            node.follow(successor)
    leader.rebuild(successor)
    proxy.console(f"ATTACH NODE {leader.name}")  # type: ignore[arg-type]
    settled(proxy)


def test_a_postmaster_that_opens_no_server_holds_nobody(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster)
    frozen = fragile_cluster.replicas[1]
    frozen.signal(signal.SIGSTOP)  # its backends, and with them the probes, go on
    try:
        with TightClients(proxy, 6) as clients:
            clients.run(3.0)
            longest = clients.longest
    finally:
        frozen.signal(signal.SIGCONT)
    assert longest < LONGEST
    assert not clients.errors
    assert clients.reads


def test_a_full_replica_leaves_the_others_even(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster)
    full = fragile_cluster.replicas[1]
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                stack.enter_context(full.connect())
        with TightClients(proxy, 8) as clients:
            clients.run(2.0)
            clients.forget()
            clients.run(3.0)
            longest = clients.longest
            assert spread(clients) < 0.15
        assert set(clients.reads) == {"replica1", "replica3"}
        assert longest < LONGEST
        assert not clients.errors
