"""The tools the integration tests trust, tried on PostgreSQL itself."""

from __future__ import annotations

import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from tests.support.pgbench import Pgbench
from tests.support.raw_client import PROTOCOL_3_2, SSL_REQUEST, RawClient, message, rows
from tests.support.traffic import StatementLog, Transactions, shares

pytestmark = pytest.mark.integration


@pytest.fixture
def pgbench() -> Pgbench:
    return Pgbench()


def test_the_raw_client_logs_in_and_runs_a_query(cluster: EmbeddedCluster):
    with RawClient(cluster.primary.port) as client:
        client.log_in(user="app", database="app", password=cluster.passwords["app"])

        answer = client.query("select 42, null::text")

        assert b"".join(frame.code for frame in answer) == b"TDCZ"
        assert rows(answer) == [(b"42", None)]
        assert client.parameters["server_version"].startswith("16")
        assert client.pid > 0


def test_the_raw_client_shows_errors_by_field(cluster: EmbeddedCluster):
    with RawClient(cluster.primary.port) as client:
        with pytest.raises(AssertionError, match="28P01"):
            client.log_in(user="app", database="app", password="wrong")
        assert client.is_closed()


def test_the_raw_client_pipelines(cluster: EmbeddedCluster):
    with RawClient(cluster.primary.port) as client:
        client.log_in(user="app", database="app", password=cluster.passwords["app"])

        client.send(
            message(b"P", b"\0select 1\0\0\0"),
            message(b"B", b"\0\0\0\0\0\0\0\0"),
            message(b"E", b"\0\0\0\0\0"),
            message(b"S"),
            message(b"Q", b"select 2\0"),
        )

        assert client.codes_until(b"Z") == b"12DCZ"
        assert client.codes_until(b"Z") == b"TDCZ"


def test_the_raw_client_hears_that_3_2_is_not_spoken_by_16(cluster: EmbeddedCluster):
    with RawClient(cluster.primary.port) as client:
        frames = client.log_in(
            user="app",
            database="app",
            password=cluster.passwords["app"],
            protocol=PROTOCOL_3_2,
        )

        assert frames[0].code == b"v"


def test_the_raw_client_sees_the_answer_to_an_encryption_request(cluster: EmbeddedCluster):
    with RawClient(cluster.primary.port) as client:
        client.send(SSL_REQUEST)

        assert client.receive_exactly(1) == b"N"


def test_the_statement_log_says_where_a_statement_ran(cluster: EmbeddedCluster):
    with StatementLog(cluster) as executed:
        cluster.primary.query("select 'on the primary'")
        for _ in range(2):
            cluster.replicas[1].query("select 'on the replica', %s::int", 5)

        assert executed.where("on the primary") == {"primary": 1}
        assert executed.where("on the replica") == {"replica2": 2}
        assert executed.where("on the moon") == {}


def test_pgbench_reports_what_it_did_and_the_counts_agree(
    cluster: EmbeddedCluster, pgbench: Pgbench
):
    primary = cluster.primary.dsn("app", "app")
    pgbench.initialise(primary)
    counted = Transactions(cluster)

    outcome = pgbench.run(primary, clients=2, transactions=20, protocol="prepared")

    assert outcome.is_clean, outcome.printed
    assert outcome.transactions == 40
    assert outcome.tps > 0
    counts = counted.counts()
    assert counts["primary"].rows_written >= 40
    assert shares(counts)["primary"] > 0.9


def test_pgbench_reports_transactions_that_could_not_be_made(
    cluster: EmbeddedCluster, pgbench: Pgbench
):
    outcome = pgbench.run(
        cluster.replicas[0].dsn("app", "app"), script="create table nowhere ();", transactions=1
    )

    assert not outcome.is_clean
    assert "read-only transaction" in outcome.printed
