"""Statuses: what the console shows of nodes, pools, clients, servers and databases (`admin.operator`), read from the relay."""

from __future__ import annotations

from collections.abc import Sequence

from rwsplit.admin.operator import (
    ClientStatus,
    DatabaseStatus,
    NodeStatus,
    PoolStatus,
    ServerStatus,
)
from rwsplit.cluster.view import ClusterView
from rwsplit.exchange.lease import IDLE
from rwsplit.protocol import codes
from rwsplit.relay.client import Client
from rwsplit.relay.relay import Relay
from rwsplit.routing.route import Route, RouteReason, Target
from rwsplit.server.pool import Pool
from rwsplit.server.server import Server


def node_statuses(relay: Relay, view: ClusterView) -> Sequence[NodeStatus]:
    """Return the traffic of every node of *view*."""
    counters = relay.counters
    servers: dict[str, int] = {}
    for pool in relay.pools:
        servers[pool.node] = servers.get(pool.node, 0) + len(pool.servers)
    return [
        NodeStatus(
            name=node.name,
            in_flight=relay.busy_with(node.name),
            servers=servers.get(node.name, 0),
            reads=counters.reads[node.index],
            writes=counters.statements[node.index] - counters.reads[node.index],
        )
        for node in view.nodes
    ]


def pool_status(pool: Pool[Server], now: float) -> PoolStatus:
    """Return what *pool* has, and who waits for it."""
    counts = pool.statistics()
    wait = now - counts.oldest_wait if counts.waiting else 0.0
    refused = counts.refused
    return PoolStatus(
        node=pool.node,
        database=pool.database,
        user=pool.user,
        cl_active=counts.active + sum(s.owed_count for s in pool.lanes),
        cl_waiting=counts.waiting,
        sv_active=counts.active + counts.lanes,
        sv_being_canceled=counts.cancelled,
        sv_tested=counts.resetting,
        sv_idle=counts.idle,
        sv_login=counts.starting,
        maxwait=max(0.0, wait),
        refused=None if refused is None else str(refused),
        refused_for=None if refused is None else now - refused.since,
        retry_in=None if refused is None else max(0.0, counts.retry_at - now),
    )


def client_status(client: Client, now: float) -> ClientStatus:
    """Return who *client* is, and what it does."""
    waiting = client.wait is not None and bool(client.pending)
    head = client.pending[0] if waiting else None
    arrived = getattr(head, "arrived", 0.0)
    if waiting:
        state = "waiting"
    elif client.in_flight or client.tx != codes.IDLE:
        state = "active"
    else:
        state = "idle"
    return ClientStatus(
        id=client.pid,
        user=client.user,
        database=client.database,
        peer=client.host,
        application_name=client.application_name,
        state=state,
        node=client.last[0] if client.last else None,
        pinned=client.pin.value if client.pin else None,
        last_route=client.last[1].reason if client.last else None,
        statements=client.statements,
        connected=now - client.connected_at,
        wait=now - arrived if arrived else 0.0,
        tls=client.wire is not None and client.wire.is_tls,
    )


def server_status(server: Server, now: float) -> ServerStatus:
    """Return where *server* is, and what it does for whom."""
    holder = server.holder
    return ServerStatus(
        node=server.pool.node,
        database=server.pool.database,
        user=server.pool.user,
        state="idle" if server.lease == IDLE else "active",
        remote_pid=server.pid,
        in_flight=server.owed_count,
        connected=now - server.born,
        prepared_statements=len(server.known),
        client=holder.pid if isinstance(holder, Client) else None,
        tls=server.wire.is_tls,
    )


def database_statuses(relay: Relay) -> Sequence[DatabaseStatus]:
    """Return every database that clients use."""
    counts = dict(relay.pools.answered)
    for pool in relay.pools:
        counts[pool.database] = counts.get(pool.database, 0) + pool.answered
    misspelt = relay.hinting.misspelt
    return [
        DatabaseStatus(
            database=name,
            queries=counts.get(name, 0),
            misspelt_hints=misspelt.get(name, 0),
        )
        for name in sorted(counts | misspelt)
    ]


def needs_primary(client: Client) -> bool:
    """Return whether what *client* waits with may run on the primary only."""
    route = getattr(client.pending[0], "route", None) if client.pending else None
    if not isinstance(route, Route):
        return True
    return route.target is Target.PRIMARY and route.reason is not RouteReason.NO_FRESH_REPLICA
