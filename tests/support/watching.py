"""A monitor that watches an embedded cluster, for tests that need a real ClusterView."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import trio

from rwsplit.cluster.view import ClusterView
from rwsplit.config.choices import SslMode
from rwsplit.config.model import Config, ConsistencyConfig, MonitorConfig, NodeConfig, TlsConfig
from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.node import EmbeddedNode
from rwsplit.monitor.board import Board
from rwsplit.monitor.watcher import run_monitor
from rwsplit.relay.driving import Events, TrioDriver


def node_configs(nodes: Sequence[EmbeddedNode]) -> tuple[NodeConfig, ...]:
    """Return the configuration of *nodes*."""
    return tuple(NodeConfig(name=node.name, host=node.host, port=node.port) for node in nodes)


@asynccontextmanager
async def watching(
    cluster: EmbeddedCluster,
    *,
    interval: float = 0.05,
    probe_timeout: float = 2.0,
    max_lag: float = 10.0,
    user: str = "rwsplit",
    password: str | None = None,
    tls: TlsConfig | None = None,
) -> AsyncIterator[Board]:
    """Watch *cluster* for the length of the block; all its nodes are known when it begins."""
    config = Config(
        nodes=node_configs(list(cluster.nodes.values())),
        monitor=MonitorConfig(
            user=user,
            password=cluster.passwords.get(user) if password is None else password,
            interval=interval,
            timeout=probe_timeout,
        ),
        consistency=ConsistencyConfig(max_lag=max_lag),
        tls=tls or TlsConfig(server_tls_sslmode=SslMode.PREFER),
    )
    board = Board(config)
    driver = TrioDriver()

    def turn(events: Events) -> None:
        for fd, _ in events:
            driver.watched[fd]()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.drive, turn)
        await nursery.start(run_monitor, board, driver)
        await see(board, lambda view: view.primary is not None and len(view.replicas) == 3)
        yield board
        nursery.cancel_scope.cancel()


async def see(
    board: Board, predicate: Callable[[ClusterView], bool], *, within: float = 10.0
) -> ClusterView:
    """Return the first view that satisfies *predicate*; fail with the last one if none does."""
    try:
        with trio.fail_after(within):
            return await board.wait_for(predicate)
    except trio.TooSlowError:
        raise AssertionError(f"not seen within {within} s; last: {board.view}") from None
