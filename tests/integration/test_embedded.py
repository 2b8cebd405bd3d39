"""The embedded cluster: a real primary, real replicas, and nothing left behind."""

from __future__ import annotations

import socket
import struct

import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import working_in
from tests.support.postgres import MakeCluster

pytestmark = [pytest.mark.integration, pytest.mark.both_binaries]

SSL_REQUEST = struct.pack("!ii", 8, 80877103)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_three_replicas_stream_from_one_primary(cluster: EmbeddedCluster):
    roles = {
        name: node.query("select pg_is_in_recovery()") for name, node in cluster.nodes.items()
    }

    assert roles == {
        "primary": [(False,)],
        "replica1": [(True,)],
        "replica2": [(True,)],
        "replica3": [(True,)],
    }
    slots = cluster.primary.query(
        "select slot_name, active from pg_replication_slots order by 1"
    )
    assert slots == [("replica1", True), ("replica2", True), ("replica3", True)]


def test_what_the_primary_wrote_is_on_every_replica(cluster: EmbeddedCluster):
    cluster.primary.query("create table if not exists embedded_replayed (i int)")
    cluster.primary.query("insert into embedded_replayed values (1)")

    cluster.wait_until_replayed()

    for node in cluster.replicas:
        assert node.query("select count(*) > 0 from embedded_replayed") == [(True,)]
    cluster.primary.query("drop table embedded_replayed")


def test_the_application_and_the_monitor_log_in_with_their_passwords(cluster: EmbeddedCluster):
    with cluster.primary.connect("app", "app") as connection:
        assert connection.execute("select current_user").fetchall() == [("app",)]
    with cluster.replicas[0].connect("postgres", "rwsplit") as connection:
        assert connection.execute("select pg_is_in_recovery()").fetchall() == [(True,)]


def test_a_killed_replica_starts_again_and_catches_up(fragile_cluster: EmbeddedCluster):
    replica = fragile_cluster.replicas[1]

    replica.kill()

    assert replica.pid is None
    assert not listens(replica.port)
    assert working_in(replica.data) == []

    fragile_cluster.primary.query("create table after_kill ()")
    replica.start()
    fragile_cluster.wait_until_replayed()
    assert replica.query("select count(*) from after_kill") == [(0,)]
    fragile_cluster.primary.query("drop table after_kill")


def test_a_paused_node_answers_nothing_until_resumed(fragile_cluster: EmbeddedCluster):
    replica = fragile_cluster.replicas[0]
    with socket.create_connection((replica.host, replica.port)) as wire:
        replica.pause()

        wire.sendall(SSL_REQUEST)
        wire.settimeout(0.2)
        with pytest.raises(TimeoutError):
            wire.recv(1)

        replica.resume()
        wire.settimeout(10)
        assert wire.recv(1) in {b"N", b"S"}


def test_a_promoted_replica_takes_writes_and_the_others_can_follow_it(
    fragile_cluster: EmbeddedCluster,
):
    first, second, third = fragile_cluster.replicas

    fragile_cluster.primary.kill()
    first.promote()
    for node in (second, third):
        node.follow(first)
    first.query("create table after_promotion ()")

    fragile_cluster.wait_until_streaming(primary=first)
    fragile_cluster.wait_until_replayed(primary=first)
    for node in (second, third):
        assert node.query("select count(*) from after_promotion") == [(0,)]


def test_a_repaired_cluster_has_its_first_primary_again(fragile_cluster: EmbeddedCluster):
    for name, node in fragile_cluster.nodes.items():
        assert node.query("select pg_is_in_recovery()") == [(name != "primary",)]


def test_a_stopped_cluster_leaves_no_process_no_port_and_no_file(make_cluster: MakeCluster):
    running = make_cluster(replicas=1)
    directory, ports = running.directory, [node.port for node in running.nodes.values()]

    running.stop()

    assert not directory.exists()
    assert working_in(directory) == []
    assert not any(listens(port) for port in ports)


def test_a_delayed_replica_lags_by_its_apply_delay(make_cluster: MakeCluster):
    running = make_cluster(replicas=2, apply_delay={"replica2": 60.0})

    running.primary.query("create table delayed ()")
    running.wait_until_replayed(only=[running.replicas[0]])

    exists = "select to_regclass('delayed') is not null"
    assert running.replicas[0].query(exists) == [(True,)]
    assert running.replicas[1].query(exists) == [(False,)]
