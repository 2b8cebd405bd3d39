"""The monitor on a real cluster that is left as it is."""

from __future__ import annotations

import pytest
import trio

from rwsplit.cluster.node import Down, Refusal, Role
from rwsplit.config.choices import SslMode
from rwsplit.config.model import TlsConfig
from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.lsn import normalise_insert_lsn, parse_lsn
from tests.support.postgres import MakeCluster
from tests.support.watching import see, watching

pytestmark = [pytest.mark.integration, pytest.mark.both_binaries]

PAGE = 8192
SEGMENT = 16 * 1024 * 1024


async def test_roles_positions_and_versions_are_found(cluster: EmbeddedCluster):
    async with watching(cluster) as board:
        view = board.view

        assert [node.role for node in view.nodes] == [Role.PRIMARY, *[Role.REPLICA] * 3]
        assert view.primary is not None
        assert view.primary.name == "primary"
        assert view.primary.lsn is not None
        assert {node.timeline for node in view.nodes} == {view.primary.timeline}
        version = cluster.primary.query("show server_version")[0][0]
        assert {node.server_version for node in view.nodes} == {version}


async def test_an_idle_cluster_stays_fresh(cluster: EmbeddedCluster):
    async with watching(cluster) as board:
        later = trio.current_time() + 0.5

        view = await see(board, lambda view: all(n.fresh_until > later for n in view.replicas))

        assert all(node.lag_bytes == 0 for node in view.replicas)
        assert all(node.lag_seconds == 0.0 for node in view.replicas)


async def test_what_is_proven_fresh_is_really_visible(cluster: EmbeddedCluster):
    cluster.primary.query("create table if not exists monitor_fresh (i int)")
    cluster.wait_until_replayed()
    async with watching(cluster, interval=10.0) as board:
        with (
            cluster.primary.connect() as primary,
            cluster.replicas[0].connect() as first,
            cluster.replicas[2].connect() as last,
        ):
            for number in range(50):
                primary.execute("insert into monitor_fresh values (%s)", (number,))
                written = trio.current_time()
                board.hurry()
                await see(
                    board, lambda v, w=written: all(n.fresh_until > w for n in v.replicas)
                )
                for replica in (first, last):
                    row = replica.execute("select max(i) from monitor_fresh").fetchone()
                    assert row == (number,)
    cluster.primary.query("drop table monitor_fresh")


async def test_a_write_that_does_not_wait_for_its_flush_is_covered(cluster: EmbeddedCluster):
    cluster.primary.query("create table if not exists monitor_async (i int)")
    cluster.wait_until_replayed()
    async with watching(cluster, interval=10.0) as board:
        with (
            cluster.primary.connect() as primary,
            cluster.replicas[1].connect() as replica,
        ):
            primary.execute("set synchronous_commit = off")
            for number in range(20):
                primary.execute("insert into monitor_async values (%s)", (number,))
                written = trio.current_time()
                while board.view.nodes[2].fresh_until <= written:
                    board.hurry()
                    publication = board.view.generation
                    await see(board, lambda v, p=publication: v.generation > p)
                row = replica.execute("select max(i) from monitor_async").fetchone()
                assert row == (number,)
    cluster.primary.query("drop table monitor_async")


def land_on_page_boundary(cluster: EmbeddedCluster) -> int:
    """Write records until one ends exactly at a page's end; return the insert LSN reported then."""
    with cluster.primary.connect() as connection:

        def position() -> int:
            row = connection.execute("select pg_current_wal_insert_lsn()::text").fetchone()
            assert row is not None
            return parse_lsn(row[0])

        def emit(size: int) -> None:
            connection.execute(
                "select pg_logical_emit_message(false, '', repeat('x', %s))", (size,)
            )

        for _ in range(200):
            before = position()
            room = PAGE - before % PAGE
            if room < 1000:
                emit(1000)
                continue
            emit(500)
            overhead = position() - before - 500
            emit(room - 500 - 2 * overhead)
            found = position()
            if found % PAGE in (24, 40):
                return found
        raise AssertionError("no record would end at a page's end")


async def test_a_record_that_ends_at_a_pages_end_does_not_stall_freshness(
    cluster: EmbeddedCluster,
):
    async with watching(cluster) as board:
        reported = await trio.to_thread.run_sync(land_on_page_boundary, cluster)
        boundary = normalise_insert_lsn(reported, block_size=PAGE, segment_size=SEGMENT)
        assert boundary < reported

        landed = trio.current_time()
        view = await see(board, lambda v: all(n.fresh_until > landed for n in v.replicas))

        assert len(view.replicas) == 3


async def test_a_new_segment_does_not_stall_freshness(cluster: EmbeddedCluster):
    async with watching(cluster) as board:
        cluster.primary.query("select pg_logical_emit_message(true, '', 'x')")
        cluster.primary.query("select pg_switch_wal()")
        switched = trio.current_time()

        await see(board, lambda v: all(n.fresh_until > switched for n in v.replicas))


async def test_a_role_that_may_only_log_in_is_enough(cluster: EmbeddedCluster):
    async with watching(cluster, user="app") as board:
        view = board.view

        assert view.primary is not None
        assert {node.timeline for node in view.nodes} == {view.primary.timeline}


async def test_a_wrong_password_says_so(cluster: EmbeddedCluster):
    async with watching(cluster) as board:
        config = board.config
        wrong = type(config.monitor)(user="rwsplit", password="wrong", interval=0.05)
        board.reconfigure(type(config)(nodes=config.nodes, monitor=wrong, tls=config.tls))

        view = await see(board, lambda v: isinstance(v.nodes[1].health, Down))

        health = view.nodes[1].health
        assert isinstance(health, Down)
        assert 'password authentication failed for user "rwsplit"' in health.reason


async def test_nodes_come_and_go_with_the_configuration(cluster: EmbeddedCluster):
    async with watching(cluster) as board:
        config = board.config
        board.reconfigure(type(config)(nodes=config.nodes[:3], monitor=config.monitor))
        assert len(board.view.nodes) == 3
        view = await see(board, lambda v: len(v.replicas) == 2)
        assert view.primary is not None

        board.reconfigure(config)
        view = await see(board, lambda v: len(v.replicas) == 3)
        assert view.primary is not None


async def test_probing_over_tls(make_cluster: MakeCluster, postgres_binaries: object):
    if postgres_binaries is None:
        pytest.skip("the wheel's PostgreSQL is built without OpenSSL")
    cluster = await trio.to_thread.run_sync(lambda: make_cluster(replicas=3, ssl=True))
    tls = TlsConfig(
        server_tls_sslmode=SslMode.VERIFY_CA, server_tls_ca_file=cluster.certificate_authority
    )
    async with watching(cluster, tls=tls) as board:
        encrypted = cluster.primary.query(
            "select ssl from pg_stat_ssl join pg_stat_activity using (pid) "
            "where application_name = 'rwsplit monitor'"
        )

        assert encrypted == [(True,)]
        assert {n.refusal for n in board.view.nodes} == {None, Refusal.NOT_A_REPLICA}
