"""What the peers' configuration says; whether they like it, only a run shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from rwsplit.embedded.account import Account
from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.node import EmbeddedNode
from rwsplit.embedded.postgres import Binaries
from tests.bench.contestant import Stage
from tests.bench.peers import HAProxy, PgBouncer, Pgpool
from tests.bench.workloads import Workload

READ = Workload("simple", 8)
WRITE = Workload("write", 16)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A cluster that was never started: its nodes have names and ports."""
    cluster = EmbeddedCluster()
    binaries = Binaries(tmp_path, tmp_path, Account(), "16.0")
    for port, name in enumerate(("primary", "replica1", "replica2", "replica3"), 5001):
        cluster.nodes[name] = EmbeddedNode(name, port, tmp_path, binaries, cluster.passwords)
    return Stage(
        cluster=cluster, directory=tmp_path, account=Account(), auth="trust", most_clients=300
    )


@pytest.fixture
def scram_stage(stage: Stage) -> Stage:
    return Stage(stage.cluster, stage.directory, stage.account, "scram-sha-256", 8)


def test_pgbouncer_pools_one_replica_and_for_writes_the_primary(stage, tmp_path):
    pgbouncer = PgBouncer()

    pgbouncer.write_files(stage, tmp_path)

    written = (tmp_path / "pgbouncer.ini").read_text()
    assert "app = host=127.0.0.1 port=5002\n" in written
    assert "primary = host=127.0.0.1 port=5001 dbname=app\n" in written
    assert "pool_mode = transaction\ndefault_pool_size = 20\nmax_client_conn = 320\n" in written
    assert '"app" "' in (tmp_path / "userlist.txt").read_text()
    assert pgbouncer.dsn(READ).endswith("/app")
    assert pgbouncer.dsn(WRITE).endswith("/primary")


@pytest.mark.parametrize(
    ("version", "is_set"), [("1.18.0", False), ("1.21.0", True), (None, False)]
)
def test_prepared_statements_are_turned_on_where_pgbouncer_has_them(
    stage, tmp_path, version, is_set
):
    class OfSomeVersion(PgBouncer):
        def version(self) -> str | None:
            return version

    OfSomeVersion().write_files(stage, tmp_path)

    assert ("max_prepared_statements" in (tmp_path / "pgbouncer.ini").read_text()) is is_set


def test_pgpool_balances_over_all_nodes_and_has_a_child_for_every_client(stage, tmp_path):
    arguments = Pgpool().write_files(stage, tmp_path)

    written = (tmp_path / "pgpool.conf").read_text()
    assert [f"backend_port{number} = {5001 + number}\n" in written for number in range(4)] == (
        [True] * 4
    )
    assert "num_init_children = 320\n" in written
    assert "pool_passwd = ''\n" in written
    assert arguments[:2] == ["-n", "-D"]


def test_with_scram_pgpool_is_given_the_password_it_needs(scram_stage, tmp_path):
    Pgpool().write_files(scram_stage, tmp_path)

    written = (tmp_path / "pgpool.conf").read_text()
    assert "enable_pool_hba = on\n" in written
    assert "num_init_children = 32\n" in written
    assert (tmp_path / "pool_passwd").read_text().startswith("app:TEXT")
    assert "scram-sha-256" in (tmp_path / "pool_hba.conf").read_text()


def test_haproxy_spreads_reads_over_the_replicas_only(stage, tmp_path):
    haproxy = HAProxy()

    haproxy.write_files(stage, tmp_path)

    reads, _, writes = (tmp_path / "haproxy.cfg").read_text().partition("listen writes")
    assert [f"127.0.0.1:{port}\n" in reads for port in (5001, 5002, 5003, 5004)] == (
        [False, True, True, True]
    )
    assert "127.0.0.1:5001\n" in writes
    assert haproxy.dsn(READ) != haproxy.dsn(WRITE)
