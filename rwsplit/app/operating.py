"""Operating: the console's view of, and grip on, a running rwsplit (`admin.operator.Operator`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from rwsplit.admin.operator import (
    ClientStatus,
    DatabaseStatus,
    Explanation,
    NodeStatus,
    NoSuchDatabase,
    OperationRefused,
    PoolStatus,
    ServerStatus,
)
from rwsplit.app.memory import Memory
from rwsplit.app.promoting import Promotion
from rwsplit.app.reloading import Reloading
from rwsplit.app.shutdown import Shutdown
from rwsplit.app.welcome import Welcomes
from rwsplit.cluster.node import AdminState, Refusal, Role, Up
from rwsplit.cluster.view import ClusterView
from rwsplit.config.changes import Changes
from rwsplit.config.choices import AuthType
from rwsplit.config.model import Config
from rwsplit.exchange.lease import IDLE
from rwsplit.monitor.board import Board
from rwsplit.monitor.catalog import Catalogs
from rwsplit.monitor.census_reader import CensusFailed
from rwsplit.protocol import codes
from rwsplit.relay.client import Client
from rwsplit.relay.relay import Relay
from rwsplit.routing import policy
from rwsplit.routing.route import Route, RouteReason, Target
from rwsplit.session.knowledge import Knowledge
from rwsplit.sql.statement import Script, Verb
from rwsplit.telemetry.metrics import Family, exposition


class OurOperator:
    """Answers the console from the relay, the pools and the board, and carries out its verbs."""

    def __init__(
        self,
        *,
        relay: Relay,
        board: Board,
        memory: Memory,
        knowledge: Knowledge,
        catalogs: Catalogs,
        welcomes: Welcomes,
        reloading: Reloading,
        shutdown: Shutdown,
        families: Callable[[], Iterable[Family]],
    ) -> None:
        """*families* returns what is counted, as of now."""
        self._relay = relay
        self._board = board
        self._memory = memory
        self._knowledge = knowledge
        self._catalogs = catalogs
        self._welcomes = welcomes
        self._reloading = reloading
        self._shutdown = shutdown
        self._families = families

    @property
    def config(self) -> Config:
        """Return the configuration in force."""
        return self._reloading.in_force.config

    @property
    def view(self) -> ClusterView:
        """Return what is known of the nodes."""
        return self._board.view

    @property
    def now(self) -> float:
        """Return the monotonic seconds the view's times are in."""
        return self._relay.clock()

    # What is going on...

    def nodes(self) -> Sequence[NodeStatus]:
        """Return the traffic of every node."""
        counters = self._relay.counters
        servers: dict[str, int] = {}
        for pool in self._relay.pools:
            servers[pool.node] = servers.get(pool.node, 0) + len(pool.servers)
        return [
            NodeStatus(
                name=node.name,
                in_flight=self._relay.busy_with(node.name),
                servers=servers.get(node.name, 0),
                reads=counters.reads[node.index],
                writes=counters.statements[node.index] - counters.reads[node.index],
            )
            for node in self.view.nodes
        ]

    def pools(self) -> Sequence[PoolStatus]:
        """Return every pool."""
        found = []
        for pool in self._relay.pools:
            counts = pool.statistics()
            wait = self.now - counts.oldest_wait if counts.waiting else 0.0
            refused = counts.refused
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
                    refused=None if refused is None else str(refused),
                    refused_for=None if refused is None else self.now - refused.since,
                    retry_in=None if refused is None else max(0.0, counts.retry_at - self.now),
                )
            )
        return found

    def clients(self) -> Sequence[ClientStatus]:
        """Return every session."""
        return [self._client(client) for client in self._relay.clients.values()]

    def _client(self, client: Client) -> ClientStatus:
        now = self.now
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

    def servers(self) -> Sequence[ServerStatus]:
        """Return every server."""
        found = []
        for server in self._relay.servers.values():
            holder = server.holder
            found.append(
                ServerStatus(
                    node=server.pool.node,
                    database=server.pool.database,
                    user=server.pool.user,
                    state="idle" if server.lease == IDLE else "active",
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
        """Return every database that clients use."""
        counts = dict(self._relay.pools.answered)
        for pool in self._relay.pools:
            counts[pool.database] = counts.get(pool.database, 0) + pool.answered
        misspelt = self._relay.hinting.misspelt
        return [
            DatabaseStatus(
                database=name,
                queries=counts.get(name, 0),
                misspelt_hints=misspelt.get(name, 0),
            )
            for name in sorted(counts | misspelt)
        ]

    def waiting_writes(self) -> int:
        """Return how many statements that only the primary takes wait because there is none."""
        return sum(map(_needs_primary, self._relay.waits.homeless))

    def users(self) -> Sequence[str]:
        """Return the names in the userlist."""
        return sorted(self._reloading.in_force.keyring.names())

    def may_operate(self, user: str) -> bool:
        """Return whether *user* is an admin, and not removed from the userlist since it has logged in."""
        config = self.config
        anybody = config.auth.type is AuthType.TRUST or config.users.file is None
        known = anybody or self._reloading.in_force.keyring.get(user) is not None
        return known and user in config.admin.users

    def routes(self) -> Mapping[RouteReason, int]:
        """Return how many statements went where they went for each reason."""
        counts = self._relay.counters.reasons
        return {reason: counts[reason.number] for reason in RouteReason}

    def metrics(self) -> str:
        """Return everything that is counted, in Prometheus' text format."""
        return exposition(self._families)

    # What is to be done...

    def set_admin_state(self, node: str, state: AdminState) -> str | None:
        """Attach, drain or detach *node*, and save that; return why it could not be saved."""
        self._board.set_admin(node, state)
        return self._unsaved()

    def _unsaved(self) -> str | None:
        """Return why the state file could not be written, None: it is written."""
        memory = self._memory
        if memory.problem:
            memory.save()  # asked for again, in the same state, it may be possible by now
        return memory.problem

    def accept(self, node: str) -> str | None:
        """Take *node* for the primary, whatever is known of others; return why that could not be saved.

        Raises:
            OperationRefused: it does not say that it is one, or is not up.
        """
        view = self.view.node(node)
        if view is None or not isinstance(view.health, Up):
            raise OperationRefused(
                f"node {node} is not up, so it cannot be accepted as the primary"
            )
        if view.role is not Role.PRIMARY:
            raise OperationRefused(
                f"node {node} is a replica; to make it the primary: rwsplit node promote {node}"
            )
        if view.admin is not AdminState.ATTACHED:
            raise OperationRefused(
                f"node {node} is {view.admin.value}; attach it first (rwsplit node attach {node})"
            )
        if view is not self.view.primary:
            self._board.accept(node)
        return self._unsaved()

    async def promote(self, node: str, *, force: bool = False) -> Sequence[str]:
        """Promote the replica *node* and return when it is the primary; say what is lost by that, and what is not saved.

        Raises:
            OperationRefused: it may not be promoted, others have more (without *force*), or PostgreSQL refuses.
            NodeUnreachable: it does not answer.
        """
        told = await Promotion(node, self._board, self._relay.busy_with, force=force).run()
        problem = self._unsaved()
        if problem is not None:
            told.append(
                f"not saved; rwsplit does not know after a restart that {node} is the primary: {problem}"
            )
        return told

    async def reconnect(self, database: str | None) -> None:
        """Replace the servers of *database*, or all, as they become free; learn anew what defaults there are.

        Raises:
            NoSuchDatabase: there is none of that name.
            OperationRefused: it is not in use, and the primary does not say whether there is one.
        """
        if database is not None:
            await self._see_that_there_is(database)
        self._welcomes.distrust()
        self._relay.rebasing.replace(database=database)

    async def _see_that_there_is(self, database: str) -> None:
        """Raise NoSuchDatabase if no session and no server is in *database*, nor is it on the primary."""
        used = {pool.database for pool in self._relay.pools}
        if database in used or database in self._knowledge.databases():
            return
        try:
            there = await self._catalogs.databases()
        except CensusFailed as failed:
            raise OperationRefused(
                f"database {database!r} is not in use, and whether there is one cannot be asked: {failed}; "
                "RECONNECT alone replaces the servers of all databases"
            ) from failed
        if database not in there:
            raise NoSuchDatabase(database, there)

    async def reload(self) -> Changes:
        """Read the configuration file and the userlist again and take all changes over, or none."""
        return await self._reloading.reload()

    async def set_config(self, setting: str, value: str) -> Changes:
        """Write *value* as *setting* into the configuration file and reload; if that is refused, leave the file as it was."""
        return await self._reloading.set_config(setting, value)

    def shutdown(self, *, wait: bool) -> None:
        """Begin to end."""
        self._shutdown.request(wait=wait)

    async def explain_route(self, sql: str, *, in_transaction: bool) -> Explanation:
        """Return where *sql* would go now."""
        script = await self._relay.parsing.explain(
            self._knowledge.typical_scope(), sql.encode()
        )
        route = policy.route_facts(script)
        if script.hints is not None:
            route = policy.route_hints(script, script.hints) or route
        single = script.single
        begins = single is not None and single.verb is Verb.BEGIN
        if in_transaction and not begins:
            route = Route(Target.PRIMARY, RouteReason.IN_TRANSACTION)
        return _explanation(self.view, script, route)


def _needs_primary(client: Client) -> bool:
    """Return whether what *client* waits with may run on the primary only."""
    route = getattr(client.pending[0], "route", None) if client.pending else None
    if not isinstance(route, Route):
        return True
    return route.target is Target.PRIMARY and route.reason is not RouteReason.NO_FRESH_REPLICA


def _explanation(view: ClusterView, script: Script, route: Route) -> Explanation:
    refusals: dict[str, Refusal | None] = {}
    for node in view.nodes:
        if route.target is Target.REPLICA:
            refusals[node.name] = (
                Refusal.NOT_A_REPLICA if node is view.primary else node.refusal
            )
        elif route.target is Target.NODE:
            usable = isinstance(node.health, Up) and node.admin is AdminState.ATTACHED
            named = None if usable else node.refusal
            refusals[node.name] = named if node.name == route.node else Refusal.NOT_NAMED
        elif node is view.primary:
            refusals[node.name] = None
        else:
            refusals[node.name] = node.refusal or Refusal.NOT_THE_PRIMARY
    chosen = next((name for name, refusal in refusals.items() if refusal is None), None)
    if chosen is None and route.target is Target.REPLICA and view.primary is not None:
        route = route._replace(target=Target.PRIMARY, reason=RouteReason.NO_FRESH_REPLICA)
        chosen = view.primary.name
    return Explanation(script=script, route=route, node=chosen, refusals=refusals)
