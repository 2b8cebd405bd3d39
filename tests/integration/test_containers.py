"""The cluster in containers: `--postgres-image` on every PostgreSQL an image exists for."""

from __future__ import annotations

from typing import Any

import pytest

from rwsplit.embedded.reachable import ReachableCluster

pytestmark = pytest.mark.integration


def test_three_replicas_stream_from_one_primary(container_cluster: ReachableCluster[Any]):
    container_cluster.primary.query("create table in_containers ()")

    container_cluster.wait_until_replayed()

    for node in container_cluster.replicas:
        assert node.query("select count(*), pg_is_in_recovery() from in_containers") == [
            (0, True)
        ]


def test_a_killed_replica_starts_again(container_cluster: ReachableCluster[Any]):
    replica = container_cluster.replicas[0]

    replica.kill()
    assert not replica.is_running

    replica.start()
    container_cluster.wait_until_streaming()
