"""Views: the tables behind SHOW, each a fresh look at the operator's values.

Where PgBouncer has the view its column names stand (`cl_active`, `maxwait`, `wait_us`), so that
dashboards need few changes; not all of its columns are there, and columns only rwsplit has are beside them. Times are seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs
import trio

from rwsplit import PRODUCT
from rwsplit.admin.commands import VERBS
from rwsplit.admin.operator import Operator, PoolStatus, describe_refusal
from rwsplit.admin.table import Column, Table, Value, columns
from rwsplit.cluster.node import NEVER, Banned, Down, Frozen, NodeView, Suspect, Up
from rwsplit.config.model import Config
from rwsplit.config.overrides import find, limit, pool_config
from rwsplit.config.settings import values
from rwsplit.lsn import format_lsn

Rows = Iterable[tuple[Value, ...]]

#: Rows made or sent before others have their turn: some 2 ms.
PORTION: Final = 100


@attrs.frozen
class View:
    """One SHOW."""

    columns: tuple[Column, ...]
    rows: Callable[[Operator], Rows]

    async def table(self, operator: Operator) -> Table:
        """Return what it shows now; every PORTION rows others have their turn."""
        made: list[tuple[Value, ...]] = []
        for row in self.rows(operator):
            made.append(row)
            if not len(made) % PORTION:
                await trio.lowlevel.checkpoint()
        return Table(self.columns, made)


def _nodes(operator: Operator) -> Rows:
    traffic = {status.name: status for status in operator.nodes()}
    view, config, now = operator.view, operator.config, operator.now
    for node in view.nodes:
        status = traffic.get(node.name)
        health, detail = _health(node, now)
        refused = node.refusal
        yield (
            node.name,
            node.host,
            node.port,
            node.role.value,
            health,
            detail,
            node.admin.value,
            refused is None,
            refused.name if refused else None,
            describe_refusal(refused, node, view, config, now) if refused else None,
            node.lag_bytes,
            _rounded(view.lag_seconds(node, now)),
            None if node.fresh_until == NEVER else round(view.staleness(node, now), 3),
            None if node.lsn is None else format_lsn(node.lsn),
            None if node.received is None else format_lsn(node.received),
            node.timeline,
            status.in_flight if status else 0,
            status.servers if status else 0,
            status.reads if status else 0,
            status.writes if status else 0,
            node.weight,
            node.backup,
            node.server_version,
        )


def _cluster(operator: Operator) -> Rows:
    view = operator.view
    primary = view.primary
    yield "primary", primary.name if primary else None
    yield "timeline", str(primary.timeline) if primary else None
    yield "no_writes", None if view.no_writes is None else view.no_writes.doubt.name
    yield "no_writes_detail", None if view.no_writes is None else str(view.no_writes)
    since = view.no_primary_since
    yield (
        "no_primary_seconds",
        None if since is None else f"{max(0.0, operator.now - since):.1f}",
    )
    yield "waiting_writes", str(operator.waiting_writes())
    yield "warning", view.unsaved


def _health(node: NodeView, now: float) -> tuple[str, str | None]:
    match node.health:
        case Up():
            return "up", None
        case Suspect(since=since):
            return "suspect", f"owes an answer for {max(0.0, now - since):.1f} s"
        case Frozen(since=since):
            return (
                "frozen",
                f"leaves reads and probes unanswered for {max(0.0, now - since):.1f} s",
            )
        case Banned(reason=reason, until=until):
            return "banned", f"{reason}, for {max(0.0, until - now):.1f} s more"
        case Down(since=since, reason=reason):
            return "down", f"{reason}, for {max(0.0, now - since):.1f} s"


def _pools(operator: Operator) -> Rows:
    for pool in operator.pools():
        yield (
            pool.database,
            pool.user,
            pool.cl_active,
            pool.cl_waiting,
            0,
            0,
            pool.sv_active,
            0,
            pool.sv_being_canceled,
            pool.sv_idle,
            0,
            pool.sv_tested,
            pool.sv_login,
            int(pool.maxwait),
            _micros(pool.maxwait),
            pool_config(operator.config.pool, pool.database, pool.user).mode.value,
            pool.node,
            pool.refused,
            _rounded(pool.refused_for),
            _rounded(pool.retry_in),
        )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _clients(operator: Operator) -> Rows:
    for client in operator.clients():
        address, _, port = client.peer.rpartition(":")
        yield (
            "C",
            client.user,
            client.database,
            client.state,
            address,
            int(port) if port.isdecimal() else None,
            int(client.wait),
            _micros(client.wait),
            client.tls,
            client.application_name,
            client.id,
            round(client.connected, 3),
            client.node,
            client.pinned,
            client.last_route.name if client.last_route else None,
            client.statements,
        )


def _servers(operator: Operator) -> Rows:
    for server in operator.servers():
        node = operator.view.node(server.node)
        yield (
            "S",
            server.user,
            server.database,
            server.state,
            node.host if node else None,
            node.port if node else None,
            server.remote_pid,
            server.tls,
            server.prepared_statements,
            server.node,
            round(server.connected, 3),
            server.in_flight,
            server.client,
        )


def _databases(operator: Operator) -> Rows:
    config = operator.config.pool
    servers: Counter[tuple[str, str]] = Counter()
    for pool in operator.pools():
        servers[pool.database, pool.node] += _servers_of(pool)
    clients = Counter(client.database for client in operator.clients())
    for (database, name), count in sorted(servers.items()):
        node = operator.view.node(name)
        host, port = (node.host, node.port) if node else (None, None)
        own = find(config.databases, database)
        effective = pool_config(config, database, "")
        yield (
            database,
            host,
            port,
            database,
            None,
            effective.size,
            effective.min_size,
            effective.reserve_size,
            int(effective.server_lifetime),
            own.mode.value if own and own.mode else None,
            limit(config.databases, database, "max_db_connections"),
            count,
            limit(config.databases, database, "max_db_client_connections"),
            clients[database],
            0,
            0,
            name,
        )


def _users(operator: Operator) -> Rows:
    config = operator.config.pool
    servers: Counter[str] = Counter()
    for pool in operator.pools():
        servers[pool.user] += _servers_of(pool)
    clients = Counter(client.user for client in operator.clients())
    for name in operator.users():
        own = find(config.users, name)
        yield (
            name,
            own.size if own else None,
            own.reserve_size if own else None,
            own.mode.value if own and own.mode else None,
            limit(config.users, name, "max_user_connections"),
            servers[name],
            limit(config.users, name, "max_user_client_connections"),
            clients[name],
        )


def _servers_of(pool: PoolStatus) -> int:
    busy = pool.sv_active + pool.sv_being_canceled + pool.sv_tested
    return busy + pool.sv_idle + pool.sv_login


def _stats(operator: Operator) -> Rows:
    for each in operator.databases():
        wait = None if each.wait is None else int(each.wait * 1e6)
        yield each.database, each.queries, each.received, each.sent, wait, each.misspelt_hints


def _routes(operator: Operator) -> Rows:
    for reason, count in operator.routes().items():
        yield reason.name, count, reason.value


def _lists(operator: Operator) -> Rows:
    pools = operator.pools()
    yield "databases", len({pool.database for pool in pools})
    yield "users", len(operator.users())
    yield "nodes", len(operator.view.nodes)
    yield "pools", len(pools)
    clients = [client.state for client in operator.clients()]
    yield "used_clients", len(clients)
    yield "waiting_clients", clients.count("waiting")
    yield "free_servers", sum(pool.sv_idle for pool in pools)
    yield "used_servers", sum(pool.sv_active + pool.sv_tested for pool in pools)
    yield "login_servers", sum(pool.sv_login for pool in pools)


def _config(operator: Operator) -> Rows:
    defaults = values(Config())
    for path, value in values(operator.config).items():
        yield path, value, defaults.get(path), path != "listen"


def _micros(seconds: float) -> int:
    """Return the part of *seconds* below a whole one in microseconds, as PgBouncer splits times."""
    return int(seconds % 1 * 1_000_000)


def _view(described: str, rows: Callable[[Operator], Any]) -> View:
    return View(columns(described), rows)


VIEWS: Final[dict[str, View]] = {
    "help": _view("command", lambda _: [(verb,) for verb in VERBS]),
    "nodes": _view(
        "node host port:int8 role health health_detail admin_state eligible:bool refusal refusal_detail "
        "lag_bytes:int8 lag_seconds:float8 staleness:float8 lsn received_lsn timeline:int8 in_flight:int8 servers:int8 "
        "reads:int8 writes:int8 weight:int8 backup:bool server_version",
        _nodes,
    ),
    "cluster": _view("item value", _cluster),
    "pools": _view(
        "database user cl_active:int8 cl_waiting:int8 cl_active_cancel_req:int8 "
        "cl_waiting_cancel_req:int8 sv_active:int8 sv_active_cancel:int8 sv_being_canceled:int8 "
        "sv_idle:int8 sv_used:int8 sv_tested:int8 sv_login:int8 maxwait:int8 maxwait_us:int8 pool_mode node "
        "refused refused_for:float8 retry_in:float8",
        _pools,
    ),
    "clients": _view(
        "type user database state addr port:int8 wait:int8 wait_us:int8 tls:bool application_name id:int8 "
        "connected:float8 node pinned last_route statements:int8",
        _clients,
    ),
    "servers": _view(
        "type user database state addr port:int8 remote_pid:int8 tls:bool prepared_statements:int8 node "
        "connected:float8 in_flight:int8 client:int8",
        _servers,
    ),
    "databases": _view(
        "name host port:int8 database force_user pool_size:int8 min_pool_size:int8 "
        "reserve_pool_size:int8 server_lifetime:int8 pool_mode max_connections:int8 "
        "current_connections:int8 max_client_connections:int8 current_client_connections:int8 "
        "paused:int8 disabled:int8 node",
        _databases,
    ),
    "users": _view(
        "name pool_size:int8 reserve_pool_size:int8 pool_mode max_user_connections:int8 "
        "current_connections:int8 max_user_client_connections:int8 current_client_connections:int8",
        _users,
    ),
    "stats": _view(
        "database total_query_count:int8 total_received:int8 total_sent:int8 total_wait_time:int8 "
        "total_misspelt_hints:int8",
        _stats,
    ),
    "routes": _view("reason statements:int8 sentence", _routes),
    "lists": _view("list items:int8", _lists),
    "config": _view("key value default changeable:bool", _config),
    "metrics": _view("metrics", lambda o: [(line,) for line in o.metrics().splitlines()]),
    "version": _view("version", lambda _: [(PRODUCT,)]),
}
