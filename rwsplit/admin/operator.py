"""Operator: what the console can see and do. The console knows nothing else of a running rwsplit.

`app` implements the protocol over the relay, the pools and the board. What comes out are frozen
values made for one question; what goes in are verbs. A verb that is refused raises an `RwsplitError`
whose text is the sentence the operator reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import ClassVar, Final, Protocol

import attrs

from rwsplit.cluster.doubt import Doubt
from rwsplit.cluster.node import AdminState, Down, NodeView, Refusal
from rwsplit.cluster.view import ClusterView
from rwsplit.config.changes import Changes
from rwsplit.config.model import Config
from rwsplit.errors import ClientError
from rwsplit.routing.route import Route, RouteReason
from rwsplit.sql.script import Script

#: Databases that an error names.
MOST_NAMED: Final = 10


class OperationRefused(ClientError):
    """What an operator asks for cannot be done as things stand; the text says why."""

    sqlstate: ClassVar[str] = "55000"


class NoSuchDatabase(ClientError):
    """A command names a database that there is not; *known* are those that can be named."""

    sqlstate: ClassVar[str] = "3D000"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        if len(names) > MOST_NAMED:
            names = get_close_matches(name, names, n=MOST_NAMED, cutoff=0.0)
            super().__init__(
                f"there is no database {name!r}; those most like it are {', '.join(names)}"
            )
        else:
            super().__init__(
                f"there is no database {name!r}; the databases are {', '.join(names)}"
            )


@attrs.frozen(kw_only=True)
class NodeStatus:
    """What one node has to do with traffic now; what it *is* says its `NodeView`."""

    name: str
    in_flight: int = 0
    """Statements and transactions it is busy with."""
    servers: int = 0
    """Connections open to it."""
    reads: int = 0
    """Statements it answered as reads since rwsplit started."""
    writes: int = 0
    """All others it answered."""


@attrs.frozen(kw_only=True)
class PoolStatus:
    """The servers of one (node, database, user) and who wants them."""

    node: str
    database: str
    user: str
    cl_active: int = 0
    """Sessions that hold or use one of its servers."""
    cl_waiting: int = 0
    """Sessions that wait for one."""
    sv_active: int = 0
    sv_being_canceled: int = 0
    """Servers that are kept until a cancel request is through."""
    sv_idle: int = 0
    sv_tested: int = 0
    """Servers that are being reset."""
    sv_login: int = 0
    """Servers that are being connected."""
    maxwait: float = 0.0
    """Seconds the oldest waiter has waited."""
    refused: str | None = None
    """What the node said, with its SQLSTATE, when it last refused a server; None: it refuses none."""
    refused_for: float | None = None
    """Seconds since it first said so."""
    retry_in: float | None = None
    """Seconds until it is asked again, at the earliest."""


@attrs.frozen(kw_only=True)
class ClientStatus:
    """One session."""

    id: int
    user: str
    database: str
    peer: str
    """`address:port`."""
    application_name: str = ""
    state: str = "idle"
    """`active`, `waiting` or `idle`."""
    node: str | None = None
    """Where it holds a server, or last used one."""
    pinned: str | None = None
    """Why it must keep its server."""
    last_route: RouteReason | None = None
    statements: int = 0
    connected: float = 0.0
    """Seconds since it logged in."""
    wait: float = 0.0
    """Seconds it has waited for a server."""
    tls: bool = False


@attrs.frozen(kw_only=True)
class ServerStatus:
    """One connection to a node."""

    node: str
    database: str
    user: str
    state: str = "idle"
    """`active`, `idle` or `login`."""
    remote_pid: int = 0
    """Its backend PID."""
    in_flight: int = 0
    connected: float = 0.0
    """Seconds since it was opened."""
    prepared_statements: int = 0
    client: int | None = None
    """The session that holds it."""
    tls: bool = False


@attrs.frozen(kw_only=True)
class DatabaseStatus:
    """Traffic of one database since rwsplit started; None where it is not counted."""

    database: str
    queries: int | None = None
    received: int | None = None
    """Bytes from clients."""
    sent: int | None = None
    """Bytes to clients."""
    wait: float | None = None
    """Seconds sessions waited for a server, all together."""
    misspelt_hints: int = 0
    """Statements with a hint that is not understood."""


@attrs.frozen(kw_only=True)
class Explanation:
    """Where a statement would go now, and why."""

    script: Script
    route: Route
    node: str | None
    """The node that would answer; None: none may."""
    refusals: Mapping[str, Refusal | None]
    """Per node why it may not answer this statement; None: it may."""


class Operator(Protocol):
    """A running rwsplit, seen and steered by its operator."""

    @property
    def config(self) -> Config:
        """Return the configuration in force."""

    @property
    def view(self) -> ClusterView:
        """Return what is known of the nodes."""

    @property
    def now(self) -> float:
        """Return the monotonic seconds the view's times are in."""

    def nodes(self) -> Sequence[NodeStatus]:
        """Return the traffic of every node."""

    def pools(self) -> Sequence[PoolStatus]:
        """Return every pool."""

    def clients(self) -> Iterable[ClientStatus]:
        """Yield every session there is when this begins, as it is when its turn comes."""

    def servers(self) -> Iterable[ServerStatus]:
        """Yield every server, likewise."""

    def databases(self) -> Sequence[DatabaseStatus]:
        """Return every database that clients have used."""

    def waiting_writes(self) -> int:
        """Return how many statements that only the primary takes wait because there is none."""

    def users(self) -> Sequence[str]:
        """Return the names in the userlist."""

    def may_operate(self, user: str) -> bool:
        """Return whether *user*, who has logged in, may use the console now."""

    def routes(self) -> Mapping[RouteReason, int]:
        """Return how many statements went where they went for each reason."""

    def metrics(self) -> str:
        """Return everything that is counted, in Prometheus' text format."""

    def set_admin_state(self, node: str, state: AdminState) -> str | None:
        """Attach, drain or detach *node*, and save that; return why it could not be saved, None: it was.

        The console has checked that it exists.
        """

    def accept(self, node: str) -> str | None:
        """Take *node*, which says so, for the primary, whatever is known of others; the node exists.

        Returns why that could not be saved, None: it was. Raises: OperationRefused.
        """

    async def promote(self, node: str, *, force: bool = False) -> Sequence[str]:
        """Promote the replica *node* and return when it is the primary; the node exists.

        Returns what is lost by that, and what the operator should know besides, in sentences; losses are refused without
        *force*. Raises: OperationRefused, NodeError.
        """

    async def reconnect(self, database: str | None) -> None:
        """Replace every server of *database*, or of all, as it becomes free, and ask what sessions begin with anew.

        Raises: NoSuchDatabase; OperationRefused if it has no servers and the primary does not say whether it exists.
        """

    async def reload(self) -> Changes:
        """Read the configuration file and the userlist again and take all changes over, or none.

        Raises: ConfigError with the reasons; OperationRefused if there is no file.
        """

    async def set_config(self, setting: str, value: str) -> Changes:
        """Write the YAML *value* as *setting* in the configuration file, and reload.

        Raises: as `reload`; the file is then as it was.
        """

    def shutdown(self, *, wait: bool) -> None:
        """Begin to end: at once, or when running transactions have finished (shutdown_timeout)."""

    async def explain_route(self, sql: str, *, in_transaction: bool) -> Explanation:
        """Return where *sql* would go now."""


def describe_refusal(
    refusal: Refusal, node: NodeView, view: ClusterView, config: Config, now: float
) -> str:
    """Return why *node* may not read, with the numbers."""
    detail = refusal.value
    if node.doubt is not None and not isinstance(node.health, Down):
        detail = node.doubt.value
        if node.doubt is not Doubt.OTHER_CLUSTER and node.timeline is not None:
            detail += f" (it is on timeline {node.timeline})"
        return detail
    match refusal:
        case Refusal.LAGGING:
            detail = _lag(node, view.staleness(node, now), config)
        case Refusal.DOWN | Refusal.BANNED if hasattr(node.health, "reason"):
            detail = node.health.reason
        case Refusal.OTHER_TIMELINE if view.primary and node.timeline is not None:
            detail = f"timeline {node.timeline}, the primary's is {view.primary.timeline}"
        case _:
            pass
    return detail


def _lag(node: NodeView, staleness: float, config: Config) -> str:
    limits = config.consistency
    if staleness > limits.max_lag or limits.max_lag_bytes is None or node.lag_bytes is None:
        return f"{staleness:.1f} s > {limits.max_lag:g} s"
    return f"{node.lag_bytes} bytes > {limits.max_lag_bytes} bytes"
