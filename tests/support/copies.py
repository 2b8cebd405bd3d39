"""Nodes that an operator should not have configured: copies that were promoted, and nodes of another cluster."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.node import EmbeddedNode
from rwsplit.embedded.ports import free_ports


@contextmanager
def copy_of(
    cluster: EmbeddedCluster, source: EmbeddedNode, name: str
) -> Iterator[EmbeddedNode]:
    """Run a streaming copy of *source* beside *cluster*; the test may promote it."""
    node = EmbeddedNode(
        name, free_ports(1)[0], cluster.directory, source._binaries, cluster.passwords
    )
    node.settings.update(source.settings, port=str(node.port), cluster_name=name)
    node.make_directory()
    try:
        node.finish_copy(node.begin_copy(source))
        node.start()
        yield node
    finally:
        node.stop()
        shutil.rmtree(node.data)
        for each in cluster.nodes.values():
            if each.is_running:
                each.query(
                    "select pg_drop_replication_slot(slot_name) from pg_replication_slots "
                    "where slot_name = %s and not active",
                    name,
                )


@contextmanager
def another_cluster(cluster: EmbeddedCluster) -> Iterator[EmbeddedNode]:
    """Run a primary of another cluster, on timeline 2, with the roles and passwords of *cluster*."""
    with EmbeddedCluster(replicas=0) as other:
        stranger = other.primary
        with stranger.connect() as connection:
            for role in ("app", "rwsplit", "replicator"):
                connection.execute(
                    sql.SQL("alter role {} password {}").format(
                        sql.Identifier(role), sql.Literal(cluster.passwords[role])
                    )
                )
        stranger.stop()
        (stranger.data / "standby.signal").touch()
        stranger.start()
        stranger.promote()
        yield stranger


def address(node: EmbeddedNode) -> str:
    """Return where *node* is, as the configuration takes it."""
    return f"{node.host}:{node.port}"
