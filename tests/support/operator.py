"""A fake rwsplit behind the console: one primary, three replicas, each with its own trouble.

`running_console` serves it on a port of 127.0.0.1 from a thread of its own, to clients that are let
in without a password as the user they name.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs
import trio

from rwsplit.admin.console import serve_console
from rwsplit.admin.operator import (
    ClientStatus,
    DatabaseStatus,
    Explanation,
    NodeStatus,
    OperationRefused,
    PoolStatus,
    ServerStatus,
)
from rwsplit.cluster.node import AdminState, Banned, Down, NodeView, Refusal, Role, Up
from rwsplit.cluster.view import ClusterView
from rwsplit.config.changes import Changes, compare
from rwsplit.config.edit import set_value
from rwsplit.config.loader import load
from rwsplit.config.model import AdminConfig, Config, ConsistencyConfig, NodeConfig
from rwsplit.lsn import LSN
from rwsplit.protocol import backend
from rwsplit.routing.route import Route, RouteReason, Target
from rwsplit.server.stream import WireStream
from rwsplit.server.wire import PlainWire
from rwsplit.sql.script import Script
from rwsplit.sql.statement import PrimaryOnly, Statement, Verb

NOW = 1000.0

NODES = (
    NodeView(
        name="primary",
        host="127.0.0.1",
        port=5001,
        index=0,
        role=Role.PRIMARY,
        health=Up(),
        timeline=1,
        lsn=LSN(0x3000060),
        refusal=Refusal.NOT_A_REPLICA,
        server_version="16.3",
    ),
    NodeView(
        name="replica1",
        host="127.0.0.1",
        port=5002,
        index=1,
        role=Role.REPLICA,
        health=Up(),
        timeline=1,
        lsn=LSN(0x3000060),
        lag_bytes=0,
        lag_seconds=0.0,
        fresh_until=NOW - 0.05,
        refusal=None,
    ),
    NodeView(
        name="replica2",
        host="127.0.0.1",
        port=5003,
        index=2,
        role=Role.REPLICA,
        health=Up(),
        timeline=1,
        lsn=LSN(0x2000000),
        lag_bytes=0x1000060,
        lag_seconds=12.3,
        fresh_until=NOW - 12.3,
        refusal=Refusal.LAGGING,
    ),
    NodeView(
        name="replica3",
        host="127.0.0.1",
        port=5004,
        index=3,
        health=Down(since=NOW - 5, reason="connection refused"),
        refusal=Refusal.DOWN,
    ),
)


class FakeOperator:
    """An `Operator` that remembers what it was told."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config(
            nodes=tuple(
                NodeConfig(name=node.name, host=node.host, port=node.port) for node in NODES
            ),
            admin=AdminConfig(users=("admin",)),
        )
        self.now = NOW
        self.view = ClusterView(nodes=NODES, primary=NODES[0], replicas=(NODES[1],))
        self.done: list[str] = []
        self.broken = False
        self.unsaved: str | None = None

    def replace(self, *changed: NodeView) -> None:
        """Publish *changed* in place of the nodes of those names."""
        new = {node.name: node for node in changed}
        nodes = tuple(new.get(node.name, node) for node in self.view.nodes)
        self.view = attrs.evolve(self.view, nodes=nodes)

    def nodes(self) -> Sequence[NodeStatus]:
        return [
            NodeStatus(name="primary", in_flight=1, servers=2, reads=0, writes=7),
            NodeStatus(name="replica1", in_flight=0, servers=3, reads=42, writes=0),
        ]

    def pools(self) -> Sequence[PoolStatus]:
        if self.broken:
            raise ZeroDivisionError("a bug")
        return [
            PoolStatus(
                node="primary",
                database="app",
                user="alice",
                cl_active=1,
                cl_waiting=2,
                sv_active=1,
                sv_idle=3,
                sv_login=1,
                maxwait=1.25,
            )
        ]

    def clients(self) -> Sequence[ClientStatus]:
        return [
            ClientStatus(
                id=7,
                user="alice",
                database="app",
                peer="127.0.0.1:40000",
                application_name="psql",
                state="waiting",
                last_route=RouteReason.READ,
                statements=3,
            )
        ]

    def servers(self) -> Sequence[ServerStatus]:
        return [ServerStatus(node="replica1", database="app", user="alice", remote_pid=4711)]

    def databases(self) -> Sequence[DatabaseStatus]:
        return [DatabaseStatus(database="app", queries=10, wait=0.5)]

    def users(self) -> Sequence[str]:
        return ["admin", "alice"]

    def may_operate(self, user: str) -> bool:
        return user in self.config.admin.users

    def routes(self) -> Mapping[RouteReason, int]:
        return {RouteReason.READ: 42, RouteReason.MAY_WRITE: 7}

    def metrics(self) -> str:
        return "# TYPE rwsplit_clients gauge\nrwsplit_clients 1.0\n"

    def set_admin_state(self, node: str, state: AdminState) -> str | None:
        self.done.append(f"{state.name} {node}")
        final = AdminState.DETACHED if state is AdminState.DRAINING else state
        view = self.view.node(node)
        assert view is not None
        self.replace(attrs.evolve(view, admin=final))
        return self.unsaved

    def waiting_writes(self) -> int:
        return 4

    def accept(self, node: str) -> str | None:
        if node != "primary":
            raise OperationRefused(f"node {node} is a replica")
        self.done.append(f"ACCEPT {node}")
        return self.unsaved

    async def promote(self, node: str, *, force: bool = False) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        if node == "primary":
            raise OperationRefused("primary is the primary already")
        self.done.append(f"PROMOTE {node}{' FORCE' * force}")
        lost = [f"node {node} lacks 7 bytes of WAL: that is lost"] if force else []
        return [*lost, f"{node} is the primary (timeline 2), writes resumed after 2.1 s"]

    async def reload(self) -> Changes:
        await trio.lowlevel.checkpoint()
        self.done.append("RELOAD")
        if self.config.path is None:
            new = attrs.evolve(self.config, consistency=ConsistencyConfig(max_lag=5.0))
        else:
            new = load(self.config.path)
        changes, self.config = compare(self.config, new), new
        return changes

    async def set_config(self, setting: str, value: str) -> Changes:
        await trio.lowlevel.checkpoint()
        path: Path | None = self.config.path
        if path is None:
            raise OperationRefused("this rwsplit has no configuration file")
        set_value(path, setting, value)
        return await self.reload()

    async def reconnect(self, database: str | None) -> None:
        await trio.lowlevel.checkpoint()
        self.done.append(f"RECONNECT {database}")

    def shutdown(self, *, wait: bool) -> None:
        self.done.append(f"SHUTDOWN wait={wait}")

    async def explain_route(self, sql: str, *, in_transaction: bool) -> Explanation:
        await trio.lowlevel.checkpoint()
        self.done.append(f"EXPLAIN {sql} {in_transaction}")
        refusals = {node.name: node.refusal for node in self.view.nodes}
        if sql.lower().startswith("select"):
            script = Script((Statement(Verb.QUERY, tables=frozenset({"accounts"})),))
            return Explanation(
                script=script,
                route=Route(Target.REPLICA, RouteReason.READ),
                node="replica1",
                refusals=refusals,
            )
        return Explanation(
            script=Script(
                (Statement(Verb.DML, primary_only=PrimaryOnly.MAY_WRITE, may_write=True),)
            ),
            route=Route(Target.PRIMARY, RouteReason.MAY_WRITE),
            node="primary",
            refusals=refusals,
        )


class Refusing(FakeOperator):
    """One of whose nodes refuses a pool's logins."""

    def pools(self) -> Sequence[PoolStatus]:
        return [
            PoolStatus(
                node="replica1",
                database="app",
                user="alice",
                refused='database "app" does not exist (3D000)',
                refused_for=1.23456,
                retry_in=0.1,
            )
        ]


BANNED = Banned(reason="connection lost", until=NOW + 3, strikes=1)


@attrs.frozen
class FakeLogin:
    """Who the client says it is."""

    user: str = "admin"
    database: str = "rwsplit"
    application_name: str = ""
    peer: str = "127.0.0.1:40001"


async def converse(sock: trio.socket.SocketType, operator: FakeOperator) -> None:
    """Let a client in and serve it the console."""
    length = struct.unpack("!I", await _exactly(sock, 4))[0]
    body = await _exactly(sock, length - 4)
    words = [word.decode() for word in body[4:].split(b"\0")]
    given = dict(zip(words[::2], words[1::2], strict=False))
    # The wire wants a socket of the standard library; this one is trio's.
    stream = WireStream(PlainWire(sock._sock.dup()))  # type: ignore[attr-defined]
    sock.close()
    try:
        await stream.send_all(backend.authentication_ok())
        login = FakeLogin(
            given["user"], given.get("database", ""), given.get("application_name", "")
        )
        await serve_console(stream, login, operator)
    finally:
        stream.close()


@contextmanager
def running_console(operator: FakeOperator) -> Iterator[int]:
    """Serve the console of *operator* from a thread; yield its port."""
    started = threading.Event()
    shared: dict[str, object] = {}

    async def serve() -> None:
        listener = trio.socket.socket()
        await listener.bind(("127.0.0.1", 0))
        listener.listen()
        with trio.CancelScope() as scope:
            shared.update(
                port=listener.getsockname()[1],
                stop=scope.cancel,
                token=trio.lowlevel.current_trio_token(),
            )
            started.set()
            async with trio.open_nursery() as nursery:
                while True:
                    sock, _ = await listener.accept()
                    nursery.start_soon(converse, sock, operator)
        listener.close()

    thread = threading.Thread(target=trio.run, args=(serve,), name="console")
    thread.start()
    started.wait()
    token, port = shared["token"], shared["port"]
    assert isinstance(token, trio.lowlevel.TrioToken)
    assert isinstance(port, int)
    try:
        yield port
    finally:
        token.run_sync_soon(shared["stop"])  # type: ignore[arg-type]
        thread.join()


async def _exactly(sock: trio.socket.SocketType, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await sock.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data
