"""Nodes that die, hang, are promoted and come back, under load."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.node import EmbeddedNode
from rwsplit.embedded.processes import wait_until
from tests.support.load import Connection, Load, where
from tests.support.pgbench import Pgbench
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

#: Settings with which a node that hangs is noticed fast.
IMPATIENT = {
    "monitor": {"timeout": "500ms", "fall": 2},
    "pool": {"server_connect_timeout": "1s", "query_wait_timeout": "20s"},
}
REPLICAS = {"replica1", "replica2", "replica3"}


@pytest.fixture
def broken(fragile_cluster: EmbeddedCluster) -> EmbeddedCluster:
    """A cluster with a table, to be broken."""
    primary = fragile_cluster.primary
    primary.query("create table if not exists failover (n int primary key)", database="app")
    primary.query("grant all on failover to app", database="app")
    primary.query("truncate failover", database="app")
    fragile_cluster.wait_until_replayed()
    return fragile_cluster


def primary_of(proxy: Proxy) -> str | None:
    """The node that gets the writes, as the console says it."""
    found = [
        row["node"]
        for row in proxy.nodes().values()
        if row["role"] == "primary"
        and row["health"] == "up"
        and row["refusal"] == "NOT_A_REPLICA"
    ]
    return found[0] if len(found) == 1 else None


class Writer:
    """Writes the numbers from 1, each in a transaction of its own, and knows which were acknowledged.

    An error costs it the connection: it goes on with the next number on a new one.
    """

    def __init__(self, proxy: Proxy) -> None:
        self.acknowledged: list[int] = []
        self.moments: list[float] = []
        self.errors: list[Exception] = []
        self._proxy = proxy
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        self.go_on(3)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive(), "the writer hangs"

    def go_on(self, count: int, *, timeout: float = 20) -> None:
        """Block until *count* more writes were acknowledged."""
        wanted = len(self.acknowledged) + count
        assert wait_until(lambda: len(self.acknowledged) >= wanted, timeout=timeout), (
            self.errors
        )

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            try:
                with self._proxy.connect() as connection:
                    while not self._stop.wait(0.005):
                        number += 1
                        connection.execute("insert into failover values (%s)", (number,))
                        self.acknowledged.append(number)
                        self.moments.append(time.monotonic())
            except psycopg.Error as error:
                self.errors.append(error)
                self._stop.wait(0.05)


@pytest.mark.parametrize("pool", [{}, {"size": 2, "lane_depth": 16}], ids=["", "lanes"])
def test_no_client_notices_that_a_replica_is_killed(
    broken: EmbeddedCluster, make_proxy: MakeProxy, pool: dict[str, int]
):
    pgbench = Pgbench()
    proxy = make_proxy(broken, {"pool": pool})
    pgbench.initialise(broken.primary.dsn("app", "app"))
    broken.wait_until_replayed()
    killed = threading.Event()

    def kill() -> None:
        assert wait_until(lambda: proxy.nodes()["replica2"]["reads"] > 200, timeout=10)
        broken.replicas[1].kill()
        killed.set()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    outcome = pgbench.run(proxy.dsn(), clients=16, seconds=3, select_only=True)
    killer.join(10)

    assert killed.is_set()
    assert outcome.is_clean, outcome.printed
    assert outcome.transactions > 500
    assert proxy.nodes()["replica2"]["health"] == "down"


@pytest.mark.parametrize("protocol", ["extended", "prepared"])
def test_no_extended_or_prepared_read_notices_it_either(
    broken: EmbeddedCluster, make_proxy: MakeProxy, protocol: str
):
    proxy = make_proxy(broken)

    def step(connection: Connection) -> object:
        prepare = protocol == "prepared"
        row = connection.execute(
            "select current_setting('cluster_name'), %s::int", (7,), prepare=prepare
        ).fetchone()
        assert row is not None
        assert row[1] == 7
        return row[0]

    with Load(proxy, step, clients=16, simple=False) as load:
        assert set(load.answered(400)) >= {"replica2"}
        broken.replicas[1].kill()
        assert "replica2" not in load.answered(600)
        broken.replicas[1].start()
        assert wait_until(lambda: "replica2" in load.answered(200), timeout=15)
    assert not load.errors


def test_reads_and_logins_go_on_without_a_primary_and_writes_wait_for_the_next(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(broken, IMPATIENT)
    with Load(proxy, where, clients=6) as load, proxy.connect() as idle:
        idle.execute("insert into failover values (-1)")
        broken.wait_until_replayed()
        load.go_on(100)

        broken.primary.kill()

        assert set(load.answered(300)) <= REPLICAS
        with proxy.connect() as newcomer:
            assert where(newcomer) in REPLICAS
        with proxy.connect(application_name="another kind of login") as newcomer:
            assert where(newcomer) in REPLICAS
        assert wait_until(lambda: proxy.nodes()["primary"]["health"] == "down", timeout=5)

        written: list[float] = []

        def write() -> None:
            idle.execute("insert into failover values (-2)")
            written.append(time.monotonic())

        waiting = threading.Thread(target=write, daemon=True)
        waiting.start()
        assert wait_until(
            lambda: (
                ("waiting", "MAY_WRITE")
                in {(c["state"], c["last_route"]) for c in proxy.console("SHOW CLIENTS")}
            ),
            timeout=5,
        )
        assert not written
        load.go_on(100)

        broken.replicas[1].promote()
        promoted = time.monotonic()
        waiting.join(5)

        assert written
        assert written[0] - promoted < 1.0
        assert broken.replicas[1].query(
            "select n from failover order by n", database="app"
        ) == [
            (-2,),
            (-1,),
        ]
        load.go_on(100)
    assert not load.errors


def received(node: EmbeddedNode) -> int:
    """Return how far *node* has received the WAL of its primary."""
    [[lsn]] = node.query("select (pg_last_wal_receive_lsn() - '0/0')::int8")
    return int(lsn)


def test_a_promotion_by_hand_is_followed_within_a_second(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(broken)
    with Load(proxy, where, clients=4) as load, Writer(proxy) as writer:
        broken.primary.kill()
        # The others could not follow one that has received less than they have.
        new = max(broken.replicas, key=received)
        new.promote()
        promoted = time.monotonic()
        writer.go_on(1, timeout=5)
        assert writer.moments[-1] - promoted < 1.0
        assert primary_of(proxy) == new.name

        # Replicas of the old primary are on the old timeline until they follow the new one.
        others = [node for node in broken.replicas if node is not new]
        for node in others:
            node.follow(new)
        assert wait_until(
            lambda: {node.name for node in others} <= set(load.answered(100)), timeout=15
        )
        writer.go_on(20)
    assert not load.errors
    [(count,)] = new.query("select count(*) from failover", database="app")
    assert count >= len(writer.acknowledged) - 1  # asynchronous: the last one may have died


def test_the_old_primary_coming_back_on_its_timeline_gets_nothing(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(broken)
    old = broken.primary
    with Load(proxy, where, clients=4) as load, Writer(proxy) as writer:
        old.kill()
        broken.replicas[0].promote()
        writer.go_on(5)

        old.start()
        assert wait_until(lambda: proxy.nodes()["primary"]["health"] == "up", timeout=10)
        [before] = old.query("select max(n) from failover", database="app")
        load.go_on(300)
        writer.go_on(50)

        assert proxy.nodes()["primary"]["refusal"] == "OTHER_TIMELINE"
        assert proxy.nodes()["primary"]["servers"] == 0
        assert "primary" not in load.answered(300)
        assert old.query("select max(n) from failover", database="app") == [before]

        # A rwsplit that starts now, and sees both, follows the new one, too.
        other = make_proxy(broken, nodes_up=False)
        assert wait_until(lambda: primary_of(other) == "replica1", timeout=10)
        with other.connect() as client:
            client.execute("insert into failover values (-1)")
        assert broken.replicas[0].query("select 1 from failover where n = -1", database="app")
    assert not load.errors


def test_promote_node_promotes_and_says_when_it_is_done(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    broken.primary.query("grant execute on function pg_promote to rwsplit")
    broken.wait_until_replayed()
    proxy = make_proxy(broken)
    with proxy.connect() as client:
        client.execute("insert into failover values (1)")
        broken.wait_until_replayed()
        broken.primary.kill()

        proxy.console("PROMOTE NODE replica3")

        assert primary_of(proxy) == "replica3"
        client_again = proxy.connect()
        client_again.execute("insert into failover values (2)")
        client_again.close()
    assert broken.replicas[2].query("select n from failover order by n", database="app") == [
        (1,),
        (2,),
    ]
    with pytest.raises(psycopg.Error, match="not a replica"):
        proxy.console("PROMOTE NODE replica3")


def test_a_primary_that_takes_writes_is_not_abandoned(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    broken.primary.query("grant execute on function pg_promote to rwsplit")
    proxy = make_proxy(broken)
    with proxy.connect() as client:
        client.execute("insert into failover values (1)")
    with pytest.raises(psycopg.Error, match="drain it first"):
        proxy.console("PROMOTE NODE replica1")

    proxy.console("DETACH NODE primary")
    proxy.console("PROMOTE NODE replica1")

    assert wait_until(lambda: primary_of(proxy) == "replica1", timeout=10)
    with proxy.connect() as client:
        client.execute("insert into failover values (2)")
        assert client.execute("select n from failover order by n").fetchall() == [(1,), (2,)]


def test_a_switchover_loses_no_write_and_costs_no_error(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    broken.primary.query("grant execute on function pg_promote to rwsplit")
    broken.wait_until_replayed()
    proxy = make_proxy(broken)
    with Load(proxy, where, clients=4) as load, Writer(proxy) as writer:
        with pytest.raises(psycopg.Error, match="drain it first"):
            proxy.console("PROMOTE NODE replica1")
        proxy.console("DRAIN NODE primary")
        assert wait_until(
            lambda: proxy.nodes()["primary"]["admin_state"] == "detached", timeout=5
        )
        proxy.console("PROMOTE NODE replica1")
        writer.go_on(20)
        load.go_on(100)
    assert not load.errors
    assert not writer.errors
    written = broken.replicas[0].query("select n from failover order by n", database="app")
    assert [n for (n,) in written] == writer.acknowledged


def test_a_replica_that_hangs_loses_its_reads_to_the_others(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(broken, IMPATIENT)
    with Load(proxy, where, clients=6) as load:
        assert "replica3" in load.answered(200)
        broken.replicas[2].pause()
        assert wait_until(lambda: proxy.nodes()["replica3"]["health"] == "down", timeout=10)
        assert set(load.answered(200)) == {"replica1", "replica2"}
        broken.replicas[2].resume()
        assert wait_until(lambda: "replica3" in load.answered(100), timeout=10)
    assert not load.errors


def test_a_primary_that_hangs_stops_writes_only(broken: EmbeddedCluster, make_proxy: MakeProxy):
    proxy = make_proxy(broken, IMPATIENT)
    with Load(proxy, where, clients=4) as load, Writer(proxy) as writer:
        broken.primary.pause()
        assert wait_until(lambda: proxy.nodes()["primary"]["health"] == "down", timeout=10)
        assert set(load.answered(200)) <= REPLICAS
        with proxy.connect() as newcomer:
            assert where(newcomer) in REPLICAS

        broken.primary.resume()
        writer.go_on(20)
    assert not load.errors
    assert not writer.errors
    written = broken.primary.query("select n from failover order by n", database="app")
    assert [n for (n,) in written] == writer.acknowledged


def test_a_write_in_flight_on_a_dying_primary_is_an_error_not_a_retry(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(broken)
    with proxy.connect() as client:
        failed: list[Exception] = []

        def write() -> None:
            try:
                client.execute("insert into failover select 1 from pg_sleep(30)")
            except psycopg.Error as error:
                failed.append(error)

        writing = threading.Thread(target=write, daemon=True)
        writing.start()
        assert wait_until(
            lambda: (
                broken.primary.query(
                    "select 1 from pg_stat_activity where query like 'insert%' and state = 'active'"
                )
                != []
            ),
            timeout=5,
        )
        broken.primary.kill()
        writing.join(10)

        [error] = failed
        assert isinstance(error, psycopg.OperationalError)


def test_without_any_node_a_statement_is_refused_with_every_reason(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(broken, {"pool": {"query_wait_timeout": "700ms"}})
    broken.primary.query("select 1")
    with proxy.connect() as reader, proxy.connect() as writer:
        for node in broken.nodes.values():
            node.kill()
        started = time.monotonic()
        with pytest.raises(psycopg.Error) as refused:
            writer.execute("insert into failover values (1)")
        assert refused.value.sqlstate in {"57P03", "53300"}
        with pytest.raises(psycopg.Error) as unread:
            reader.execute("select 1")
        assert time.monotonic() - started < 5
        assert unread.value.sqlstate == "57P03"
        for name in broken.nodes:
            assert f"{name}: " in str(unread.value)

        # And it heals by itself, for the same sessions.
        for node in broken.nodes.values():
            node.start()
        assert wait_until(lambda: _reads(reader), timeout=20)
        assert wait_until(lambda: _writes(writer), timeout=20)


def _reads(connection: Connection) -> bool:
    try:
        return where(connection) is not None
    except psycopg.errors.CannotConnectNow:
        return False


def _writes(connection: Connection) -> bool:
    try:
        connection.execute("insert into failover values (1) on conflict do nothing")
    except psycopg.errors.CannotConnectNow:
        return False
    return True
