"""Operating: the console's view of, and grip on, a running rwsplit (`admin.operator.Operator`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import psycopg
import trio

from rwsplit.admin.operator import (
    ClientStatus,
    DatabaseStatus,
    Explanation,
    NodeStatus,
    OperationRefused,
    PoolStatus,
    ServerStatus,
)
from rwsplit.app.families import families
from rwsplit.client.tls import make_client_context
from rwsplit.cluster.node import AdminState, NodeView, Refusal, Role, Up
from rwsplit.cluster.view import ClusterView
from rwsplit.config.changes import Changes, compare
from rwsplit.config.edit import set_value
from rwsplit.config.loader import load
from rwsplit.config.model import Config, MonitorConfig
from rwsplit.errors import ConfigError, NodeUnreachable
from rwsplit.protocol import codes
from rwsplit.relay.client import Client
from rwsplit.routing import policy
from rwsplit.routing.route import Route, RouteReason, Target
from rwsplit.server.credentials import Keyring
from rwsplit.server.server import Use
from rwsplit.sql.statement import Script, Verb
from rwsplit.telemetry.logs import configure_logs
from rwsplit.telemetry.metrics import exposition

if TYPE_CHECKING:
    from rwsplit.app.serve import Proxy

#: Seconds a promotion may take.
PROMOTE_TIMEOUT = 60
#: Seconds to wait for a primary to turn out to be down.
LAST_LOOK = 1.0
#: Looks, a tenth of a second apart, at whether a replica has caught up before it is promoted.
CATCH_UP_LOOKS = 100


class OurOperator:
    """Answers the console from the relay, the pools and the board, and carries out its verbs."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    @property
    def config(self) -> Config:
        """Return the configuration in force."""
        return self._proxy.config

    @property
    def view(self) -> ClusterView:
        """Return what is known of the nodes."""
        return self._proxy.board.view

    @property
    def now(self) -> float:
        """Return the monotonic seconds the view's times are in."""
        return self._proxy.relay.clock()

    # What is going on...

    def nodes(self) -> Sequence[NodeStatus]:
        """Return the traffic of every node."""
        counters = self._proxy.relay.counters
        servers: dict[str, int] = {}
        for pool in self._proxy.relay.pools:
            servers[pool.node] = servers.get(pool.node, 0) + len(pool.servers)
        return [
            NodeStatus(
                name=node.name,
                in_flight=self._proxy.relay.busy_with(node.name),
                servers=servers.get(node.name, 0),
                reads=counters.reads[node.index],
                writes=counters.statements[node.index] - counters.reads[node.index],
            )
            for node in self.view.nodes
        ]

    def pools(self) -> Sequence[PoolStatus]:
        """Return every pool."""
        found = []
        for pool in self._proxy.relay.pools:
            counts = pool.statistics()
            wait = self.now - counts.oldest_wait if counts.waiting else 0.0
            found.append(
                PoolStatus(
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
                )
            )
        return found

    def clients(self) -> Sequence[ClientStatus]:
        """Return every session."""
        return [self._client(client) for client in self._proxy.relay.clients.values()]

    def _client(self, client: Client) -> ClientStatus:
        now = self.now
        waiting = client.waiting is not None and bool(client.pending)
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

    def servers(self) -> Sequence[ServerStatus]:
        """Return every server."""
        found = []
        for server in self._proxy.relay.servers.values():
            holder = server.holder
            found.append(
                ServerStatus(
                    node=server.pool.node,
                    database=server.pool.database,
                    user=server.pool.user,
                    state="idle" if server.use is Use.IDLE else "active",
                    remote_pid=server.pid,
                    in_flight=server.owed_count,
                    connected=self.now - server.born,
                    prepared_statements=len(server.known),
                    client=holder.pid if isinstance(holder, Client) else None,
                    tls=server.wire.is_tls,
                )
            )
        return found

    def databases(self) -> Sequence[DatabaseStatus]:
        """Return every database somebody uses."""
        counts = dict(self._proxy.relay.pools.answered)
        for pool in self._proxy.relay.pools:
            counts[pool.database] = counts.get(pool.database, 0) + pool.answered
        return [DatabaseStatus(database=name, queries=counts[name]) for name in sorted(counts)]

    def users(self) -> Sequence[str]:
        """Return the names in the userlist."""
        return sorted(self._proxy.lobby.keyring.names())

    def routes(self) -> Mapping[RouteReason, int]:
        """Return how many statements went where they went for each reason."""
        counts = self._proxy.relay.counters.reasons
        return {reason: counts[reason.number] for reason in RouteReason}

    def metrics(self) -> str:
        """Return everything that is counted, in Prometheus' text format."""
        return exposition(lambda: families(self._proxy))

    # What is to be done...

    def set_admin_state(self, node: str, state: AdminState) -> None:
        """Attach, drain or detach *node*, and remember it."""
        self._proxy.board.set_admin(node, state)

    async def promote(self, node: str) -> None:
        """Promote the replica *node* and return when it is the primary.

        Raises:
            OperationRefused: it is no replica, or PostgreSQL refuses (the monitor's user needs EXECUTE on
                `pg_promote`).
            NodeUnreachable: it does not answer.
        """
        view = self.view.node(node)
        if view is None or view.role is not Role.REPLICA:
            raise OperationRefused(f"node {node} is not a replica, so it cannot be promoted")
        monitor = self.config.monitor
        self._proxy.board.hurry()
        with trio.move_on_after(LAST_LOOK):  # it may have died a moment ago
            await self._proxy.board.wait_for(lambda now: _rival(now, node) is None)
        old = self._old_primary(node)
        source = None if old is None else (old.host, old.port)
        try:
            await trio.to_thread.run_sync(_promote, (view.host, view.port), source, monitor)
        except psycopg.OperationalError as error:
            raise NodeUnreachable(f"node {node} cannot be reached: {error}") from error
        except psycopg.Error as error:
            raise OperationRefused(
                f"node {node} refused to be promoted: {str(error).strip()}; "
                f"GRANT EXECUTE ON FUNCTION pg_promote TO {monitor.user}"
            ) from error
        self._proxy.board.hurry()
        with trio.move_on_after(PROMOTE_TIMEOUT) as waited:
            await self._proxy.board.wait_for(
                lambda now: now.primary is not None and now.primary.name == node
            )
        if waited.cancelled_caught:
            raise OperationRefused(
                f"node {node} was told to promote but is not the primary yet"
            )

    def _old_primary(self, node: str) -> NodeView | None:
        """Return the primary that still runs beside *node*, if it takes no writes any more.

        Raises:
            OperationRefused: it does, and they would be lost.
        """
        old = _rival(self.view, node)
        if old is None:
            return None
        if old.admin is not AdminState.DETACHED:
            raise OperationRefused(
                f"the primary {old.name} is up, and what is written to it would be lost; "
                f"detach it first (rwsplit node drain {old.name} --wait), then promote {node}"
            )
        if self._proxy.relay.busy_with(old.name):
            raise OperationRefused(
                f"transactions still run on {old.name}; try again when they have ended"
            )
        return old

    async def reload(self) -> Changes:
        """Read the configuration file and the userlist again and take all changes over, or none."""
        path = self.config.path
        if path is None:
            raise OperationRefused("there is no configuration file to read again")
        return self._take_over(load(path))

    async def set_config(self, setting: str, value: str) -> Changes:
        """Write *value* as *setting* in the configuration file, and reload."""
        path = self.config.path
        if path is None:
            raise OperationRefused("there is no configuration file to write to")
        set_value(path, setting, value, approve=self._approve)
        return self._take_over(load(path))

    def _approve(self, config: Config) -> None:
        changes = compare(self.config, config)
        if changes.refused:
            raise ConfigError(list(changes.refused))

    def _take_over(self, config: Config) -> Changes:
        proxy = self._proxy
        self._approve(config)
        changes = compare(proxy.config, config)
        keyring = proxy.lobby.keyring
        if config.users.file is not None:
            keyring = Keyring.load(config.users.file, previous=keyring)
        tls_context = make_client_context(config.tls)
        proxy.lobby.config = config
        proxy.lobby.keyring = keyring
        proxy.lobby.tls_context = tls_context
        proxy.opener.config = config
        proxy.opener.keyring = keyring
        proxy.relay.reconfigure(config, proxy.chooser(config))
        proxy.memory.relocate(config)
        if config.log != proxy.config.log:
            configure_logs(config.log)
        functions = config.routing.functions
        if functions != proxy.config.routing.functions:
            proxy.knowledge.reconfigure(functions.reads, functions.writes)
        proxy.config = config
        proxy.welcomes.forget()
        proxy.board.reconfigure(config)
        proxy.catalogs.refresh_all()
        return changes

    def shutdown(self, *, wait: bool) -> None:
        """Begin to end."""
        self._proxy.shutdown.request(wait=wait)

    async def explain_route(self, sql: str, *, in_transaction: bool) -> Explanation:
        """Return where *sql* would go now."""
        script = self._proxy.knowledge.typical_scope().statements.lookup(sql.encode())
        route = policy.route_facts(script)
        if script.hints is not None:
            route = policy.route_hints(script, script.hints) or route
        single = script.single
        begins = single is not None and single.verb is Verb.BEGIN
        if in_transaction and not begins:
            route = Route(Target.PRIMARY, RouteReason.IN_TRANSACTION)
        return _explanation(self.view, script, route)


def _explanation(view: ClusterView, script: Script, route: Route) -> Explanation:
    refusals: dict[str, Refusal | None] = {}
    for node in view.nodes:
        if route.target is Target.REPLICA:
            refusals[node.name] = (
                Refusal.NOT_A_REPLICA if node is view.primary else node.refusal
            )
        elif route.target is Target.NODE:
            refusals[node.name] = None if node.name == route.node else Refusal.NOT_A_REPLICA
        elif node is view.primary:
            refusals[node.name] = None
        else:
            refusals[node.name] = node.refusal or Refusal.NOT_THE_PRIMARY
    chosen = next((name for name, refusal in refusals.items() if refusal is None), None)
    if chosen is None and route.target is Target.REPLICA and view.primary is not None:
        route = route._replace(target=Target.PRIMARY, reason=RouteReason.NO_FRESH_REPLICA)
        chosen = view.primary.name
    return Explanation(script=script, route=route, node=chosen, refusals=refusals)


def _rival(view: ClusterView, name: str) -> NodeView | None:
    """Return the primary that is up beside the node called *name*."""
    for node in view.nodes:
        if node.role is Role.PRIMARY and isinstance(node.health, Up) and node.name != name:
            return node
    return None


def _promote(
    target: tuple[str, int], source: tuple[str, int] | None, monitor: MonitorConfig
) -> None:
    """Promote the node at *target*, once it has replayed all that the one at *source* has."""
    with _connect(target, monitor) as connection:
        if source is not None:
            with _connect(source, monitor) as old:
                row = old.execute("SELECT pg_catalog.pg_current_wal_insert_lsn()").fetchone()
            assert row is not None
            _await_replay(connection, str(row[0]))
        row = connection.execute(
            "SELECT pg_catalog.pg_promote(true, %s)", (PROMOTE_TIMEOUT,)
        ).fetchone()
        if row is None or not row[0]:
            raise psycopg.DatabaseError("pg_promote did not finish in time")


def _await_replay(connection: psycopg.Connection[Any], lsn: str) -> None:
    """Wait until the replica has replayed up to *lsn*, less a page header that may follow it."""
    for _ in range(CATCH_UP_LOOKS):
        row = connection.execute(
            "SELECT pg_catalog.pg_wal_lsn_diff(%s, pg_catalog.pg_last_wal_replay_lsn()) <= 40, "
            "pg_catalog.pg_sleep(0.1)",
            (lsn,),
        ).fetchone()
        if row is not None and row[0]:
            return
    raise psycopg.DatabaseError("it has not replayed all of the old primary's WAL")


def _connect(address: tuple[str, int], monitor: MonitorConfig) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=address[0],
        port=address[1],
        user=monitor.user,
        password=monitor.password,
        dbname=monitor.database,
        connect_timeout=5,
        autocommit=True,
    )
