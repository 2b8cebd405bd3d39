"""pgbench in its three query modes: no error, reads spread evenly over the replicas, writes on the primary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

import psycopg
import pytest

from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import ReachableCluster
from tests.support.pgbench import Pgbench
from tests.support.proxy import Proxy

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CLIENTS: Final = 16
SECONDS: Final = 10
Mode = Literal["simple", "extended", "prepared"]
MODES: Final[tuple[Mode, ...]] = ("simple", "extended", "prepared")


@pytest.fixture(scope="module")
def bench(
    cluster: ReachableCluster[Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A proxy whose counts are this module's alone, in front of pgbench's tables."""
    with Proxy(cluster, tmp_path_factory.mktemp("bench"), measured=False) as running:
        Pgbench().initialise(running.dsn(), scale=5)
        # Sessions that log in see what was defined before: a replica serves them when it is known to have replayed it.
        assert wait_until(lambda: serves_a_new_session(running), timeout=10)
        yield running
        with running.connect() as connection:
            connection.execute(
                "drop table pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers"
            )


def serves_a_new_session(proxy: Proxy) -> bool:
    """Return whether a replica answers the first read of a session."""
    with proxy.connect() as connection:
        connection.execute("select 1")
        [(route,)] = connection.execute("show rwsplit.last_route").fetchall()
        return str(route).startswith("replica")


def counts(proxy: Proxy, column: str) -> dict[str, int]:
    return {name: int(row[column]) for name, row in proxy.nodes().items()}


def since(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: after[name] - before[name] for name in after}


@pytest.mark.parametrize("mode", MODES)
def test_reads_spread_over_the_replicas_and_none_on_the_primary(
    cluster: ReachableCluster[Any], bench: Proxy, mode: Mode
):
    cluster.wait_until_replayed()
    reads, writes = counts(bench, "reads"), counts(bench, "writes")

    outcome = Pgbench().run(
        bench.dsn(), clients=CLIENTS, seconds=SECONDS, protocol=mode, select_only=True
    )

    assert outcome.is_clean, outcome.printed
    reads = since(reads, counts(bench, "reads"))
    assert sum(reads.values()) >= outcome.transactions
    assert reads.pop("primary") == 0
    assert since(writes, counts(bench, "writes"))["primary"] == 0
    assert max(reads.values()) <= 1.1 * min(reads.values()), reads


@pytest.mark.parametrize("mode", MODES)
def test_transactions_run_without_an_error_and_write_on_the_primary(
    cluster: ReachableCluster[Any], bench: Proxy, mode: Mode
):
    written = _written(cluster)

    outcome = Pgbench().run(bench.dsn(), clients=CLIENTS, seconds=SECONDS, protocol=mode)

    assert outcome.is_clean, outcome.printed
    assert outcome.transactions > CLIENTS
    assert _written(cluster) - written == outcome.transactions
    with bench.connect() as connection:
        sums = connection.execute(
            "/* rwsplit: primary */ select "
            "(select sum(abalance) from pgbench_accounts) - (select sum(bbalance) from pgbench_branches), "
            "(select sum(tbalance) from pgbench_tellers) - (select sum(delta) from pgbench_history)"
        ).fetchone()
    assert sums == (0, 0), "TPC-B's books balance"


def test_reads_and_writes_of_autocommit_clients_mixed(bench: Proxy):
    outcome = Pgbench().run(
        bench.dsn(),
        clients=CLIENTS,
        transactions=60,
        protocol="prepared",
        script="""
            \\set aid random(1, 500000)
            update pgbench_accounts set abalance = abalance + 1 where aid = :aid;
            select abalance from pgbench_accounts where aid = :aid;
            select count(*) from pgbench_branches;
        """,
    )
    assert outcome.is_clean, outcome.printed
    assert outcome.transactions == CLIENTS * 60
    with bench.connect(cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute("update pgbench_accounts set abalance = 0 where abalance <> 0")
        connection.execute(
            "update pgbench_branches set bbalance = 0; update pgbench_tellers set tbalance = 0;"
            "truncate pgbench_history"
        )


def _written(cluster: ReachableCluster[Any]) -> int:
    [(count,)] = cluster.primary.query("select count(*) from pgbench_history", database="app")
    return int(count)
