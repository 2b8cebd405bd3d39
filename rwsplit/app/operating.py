"""Operating: the console's view of, and grip on, a running rwsplit (`admin.operator.Operator`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

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
from rwsplit.app.explaining import explanation
from rwsplit.app.memory import Memory
from rwsplit.app.promoting import Promotion
from rwsplit.app.reloading import Reloading
from rwsplit.app.shutdown import Shutdown
from rwsplit.app.statuses import (
    client_status,
    database_statuses,
    needs_primary,
    node_statuses,
    pool_status,
    server_status,
)
from rwsplit.app.welcome import Welcomes
from rwsplit.cluster.node import AdminState, Role, Up
from rwsplit.cluster.view import ClusterView
from rwsplit.config.changes import Changes
from rwsplit.config.choices import AuthType
from rwsplit.config.model import Config
from rwsplit.exchange.lease import CLOSED
from rwsplit.monitor.board import Board
from rwsplit.monitor.catalog import Catalogs
from rwsplit.monitor.census_reader import CensusFailed
from rwsplit.relay.relay import Relay
from rwsplit.routing.route import RouteReason
from rwsplit.session.knowledge import Knowledge
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
        return node_statuses(self._relay, self.view)

    def pools(self) -> Sequence[PoolStatus]:
        """Return every pool."""
        return [pool_status(pool, self.now) for pool in self._relay.pools]

    def clients(self) -> Iterator[ClientStatus]:
        """Yield every session there is when this begins, as it is when its turn comes."""
        for client in [*self._relay.clients.values()]:
            if not client.closed:
                yield client_status(client, self.now)

    def servers(self) -> Iterator[ServerStatus]:
        """Yield every server, likewise."""
        for server in [*self._relay.servers.values()]:
            if server.lease != CLOSED:
                yield server_status(server, self.now)

    def databases(self) -> Sequence[DatabaseStatus]:
        """Return every database that clients use."""
        return database_statuses(self._relay)

    def waiting_writes(self) -> int:
        """Return how many statements that only the primary takes wait because there is none."""
        return sum(map(needs_primary, self._relay.waits.homeless))

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
        return explanation(self.view, script, in_transaction=in_transaction)
