"""Detach, attach and drain under load: nothing is lost, and what an operator wants outlives a restart."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from tests.support.load import Connection, Load, where
from tests.support.pgbench import Pgbench
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def table(cluster: EmbeddedCluster) -> str:
    primary = cluster.primary
    primary.query("create table if not exists detaching (n bigserial, t text)", database="app")
    primary.query("grant all on detaching, detaching_n_seq to app", database="app")
    cluster.wait_until_replayed()
    return "detaching"


def mixed(connection: Connection) -> object:
    """A read, a write, a transaction; every answer is looked at."""
    node = where(connection)
    connection.execute("insert into detaching (t) values ('x')")
    with connection.transaction():
        connection.execute("select count(*) from detaching where n < 10")
        connection.execute("insert into detaching (t) values ('y')")
    return node


def test_detach_and_attach_under_load_lose_nothing(
    cluster: EmbeddedCluster, make_proxy: MakeProxy, table: str
):
    proxy = make_proxy(cluster)
    [(before,)] = cluster.primary.query("select count(*) from detaching", database="app")
    with Load(proxy, where, clients=8) as reading, Load(proxy, mixed, clients=4) as writing:
        for name in ("replica1", "replica2"):
            proxy.console(f"DETACH NODE {name}")  # type: ignore[arg-type]
            assert name not in reading.answered(150)
            assert proxy.nodes()[name]["refusal"] == "DETACHED"
            assert wait_until(lambda n=name: proxy.nodes()[n]["servers"] == 0, timeout=5)  # type: ignore[misc]
        assert wait_until(lambda: set(reading.answered(100)) == {"replica3"}, timeout=5)
        for name in ("replica1", "replica2"):
            proxy.console(f"ATTACH NODE {name}")  # type: ignore[arg-type]
        assert wait_until(
            lambda: set(reading.answered(100)) == {"replica1", "replica2", "replica3"},
            timeout=10,
        )
        writing.go_on(20)
    assert not reading.errors
    assert not writing.errors
    [(after,)] = cluster.primary.query("select count(*) from detaching", database="app")
    assert after - before == 2 * writing.done


def test_pgbench_does_not_notice_a_detach(
    cluster: EmbeddedCluster, make_proxy: MakeProxy, table: str
):
    pgbench = Pgbench()
    pgbench.initialise(cluster.primary.dsn("app", "app"))
    cluster.wait_until_replayed()
    proxy = make_proxy(cluster)
    done = threading.Event()

    def steer() -> None:
        for name in ("replica1", "replica3"):
            proxy.console(f"DETACH NODE {name}")  # type: ignore[arg-type]
            proxy.console(f"ATTACH NODE {name}")  # type: ignore[arg-type]
            proxy.console(f"DRAIN NODE {name}")  # type: ignore[arg-type]
            proxy.console(f"ATTACH NODE {name}")  # type: ignore[arg-type]
        done.set()

    steering = threading.Thread(target=steer, daemon=True)
    steering.start()
    outcome = pgbench.run(
        proxy.dsn(), clients=12, seconds=2, select_only=True, protocol="prepared"
    )
    steering.join(10)

    assert done.is_set()
    assert outcome.is_clean, outcome.printed


def sleeps_on(cluster: EmbeddedCluster, node: str) -> bool:
    """Return whether a statement runs pg_sleep() on *node*: one in a queue would be refused when it is detached."""
    sleeping = "select 1 from pg_stat_activity where wait_event = 'PgSleep'"
    return cluster.nodes[node].query(sleeping) != []


def test_a_running_statement_and_transaction_finish_on_the_detached_node(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster)
    with proxy.connect() as reader, proxy.connect() as sleeper:
        reader.execute("begin read only")
        node = where(reader)
        answered: list[object] = []

        def sleep() -> None:
            row = sleeper.execute(
                f"/* rwsplit: node={node} */ select pg_sleep(1), current_setting('cluster_name')"
            ).fetchone()
            answered.append(row and row[1])

        sleeping = threading.Thread(target=sleep, daemon=True)
        sleeping.start()
        assert wait_until(lambda: sleeps_on(cluster, str(node)), timeout=5)

        proxy.console(f"DETACH NODE {node}")  # type: ignore[arg-type]

        assert where(reader) == node
        sleeping.join(5)
        assert answered == [node]
        assert where(reader) == node
        reader.execute("commit")
        assert where(reader) != node
        assert wait_until(lambda: proxy.nodes()[str(node)]["servers"] == 0, timeout=5)


def test_draining_ends_in_detached_when_nothing_runs_any_more(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster)
    with proxy.connect() as reader:
        reader.execute("begin read only")
        node = str(where(reader))
        proxy.console(f"DRAIN NODE {node}")  # type: ignore[arg-type]
        time.sleep(0.3)  # noqa: TID251 - it must not happen
        assert proxy.nodes()[node]["admin_state"] == "draining"
        assert proxy.nodes()[node]["refusal"] == "DRAINING"
        reader.execute("commit")
        assert wait_until(lambda: proxy.nodes()[node]["admin_state"] == "detached", timeout=5)


def test_drain_wait_of_the_command_line_returns_when_it_is_detached(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster)
    done = subprocess.run(
        [
            sys.executable, "-m", "rwsplit", "node", "drain", "replica2", "--wait",
            "--url", proxy.dsn("rwsplit", "postgres"),
        ],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert proxy.nodes()["replica2"]["admin_state"] == "detached"


def test_detached_survives_a_restart_and_a_reload(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster)
    proxy.console("DETACH NODE replica2")
    proxy.reload({"consistency": {"max_lag": "7s"}})
    assert proxy.nodes()["replica2"]["admin_state"] == "detached"

    assert proxy.stop() == 0
    proxy.start(nodes_up=False)

    assert _is_served_by_others(proxy)
    assert proxy.nodes()["replica2"]["admin_state"] == "detached"
    with Load(proxy, where, clients=4) as load:
        assert "replica2" not in load.answered(60)
    proxy.console("ATTACH NODE replica2")
    proxy.kill()
    proxy.start()
    assert proxy.nodes()["replica2"]["admin_state"] == "attached"


def test_a_detach_that_could_not_be_saved_says_so_until_it_is(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster)
    state = proxy.config_path.with_suffix(".state")
    assert wait_until(state.is_file, timeout=10)
    state.unlink()
    state.mkdir()  # even root cannot write it then

    def detach() -> str:
        url = proxy.dsn("rwsplit", "postgres")
        done = subprocess.run(
            [sys.executable, "-m", "rwsplit", "node", "detach", "replica2", "--url", url],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        return done.stderr

    for _ in range(2):
        assert "not saved; a restart of rwsplit undoes it: admin.state_file" in detach()
    state.rmdir()
    assert detach() == ""

    assert proxy.stop() == 0
    proxy.start(nodes_up=False)
    assert proxy.nodes()["replica2"]["admin_state"] == "detached"
    proxy.console("ATTACH NODE replica2")


def _is_served_by_others(proxy: Proxy) -> bool:
    return wait_until(
        lambda: sum(bool(row["eligible"]) for row in proxy.nodes().values()) == 2, timeout=10
    )


def test_a_detached_primary_gets_no_writes_until_it_is_attached(
    cluster: EmbeddedCluster, make_proxy: MakeProxy, table: str
):
    proxy = make_proxy(cluster, {"pool": {"query_wait_timeout": "500ms"}})
    with proxy.connect() as client:
        proxy.console("DETACH NODE primary")
        with pytest.raises(psycopg.Error) as refused:
            client.execute("insert into detaching (t) values ('z')")
        assert refused.value.sqlstate == "57P03"
        assert "primary: detached" in str(refused.value)
        assert str(where(client)).startswith("replica")
        proxy.console("ATTACH NODE primary")
        client.execute("insert into detaching (t) values ('z')")


def test_a_node_that_is_not_there_is_refused_in_words(cluster: EmbeddedCluster, proxy: Proxy):
    for command in ("DETACH NODE nowhere", "ATTACH NODE nowhere", "PROMOTE NODE nowhere"):
        with pytest.raises(psycopg.Error, match="nowhere"):
            proxy.console(command)  # type: ignore[arg-type]
