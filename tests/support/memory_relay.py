"""A real relay on wires without sockets: clients and servers are bytes in memory.

    rig = MemoryRelay(clients=2)
    rig.ask(rig.clients[0], b"select 1")
    rig.turn_clients(rig.clients[:1])
    rig.answer_all(ANSWER)

For tests of the turn loop's own books, and for measuring what its Python costs (tests.bench.turns).
"""

from __future__ import annotations

import select
from collections.abc import Sequence
from typing import Any, Final

import trio

from rwsplit.cluster.node import NodeView, Role, Up
from rwsplit.cluster.view import ClusterView
from rwsplit.config.model import Config, PoolConfig
from rwsplit.errors import ProtocolViolation
from rwsplit.lsn import LSN
from rwsplit.protocol.responses import Owed
from rwsplit.relay.client import Client
from rwsplit.relay.faults import Faults
from rwsplit.relay.invariants import broken_servers, broken_sessions, load
from rwsplit.relay.relay import Relay
from rwsplit.routing.balancing import LeastConnections
from rwsplit.routing.policy import Rules
from rwsplit.server.server import Server
from rwsplit.server.wire import Wire
from rwsplit.session.knowledge import Knowledge
from rwsplit.sql.cache import StatementCache
from rwsplit.sql.functions import FunctionBook

REPLICAS: Final = 3
ANSWER: Final = bytes.fromhex(
    "540000002100016162616c616e6365000000400a000300000017000400000000000044"
) + (b"\0\0\0\x0b\0\1\0\0\0\x010C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I")
"""RowDescription, DataRow, CommandComplete, ReadyForQuery, as pgbench -S gets them."""


_FRAMES: Final = (ANSWER[:34], ANSWER[34:-6][:-14], ANSWER[-20:-6], ANSWER[-6:])
_REPLIES: Final = {
    b"P": b"1\0\0\0\4",
    b"B": b"2\0\0\0\4",
    b"C": b"3\0\0\0\4",
    b"D": _FRAMES[0],
    b"E": _FRAMES[1] + _FRAMES[2],
    b"H": b"",
    b"S": _FRAMES[3],
}
_DESCRIBED: Final = b"t\0\0\0\6\0\0" + _FRAMES[0]


class MemoryWire(Wire):
    """Gives out what is put into *incoming*, keeps what it is sent, as long as there is *room*."""

    __slots__ = ("_number", "incoming", "kept", "log", "room", "sends", "sent")

    is_tls = False
    wants_write = False
    has_pending = False

    def __init__(self, number: int) -> None:
        self._number = number
        self.peer = "memory"
        self.incoming: bytes | None = None
        self.sent = b""
        self.sends = 0
        self.room: int | None = None
        """Bytes it still takes, None: all."""
        self.kept = 0
        """Bytes the peer has not acknowledged."""
        self.log: list[bytes] | None = None
        """If there is a list, everything it is sent."""

    def fileno(self) -> int:
        return self._number

    def recv(self) -> bytes | None:
        data, self.incoming = self.incoming, None
        return data

    def send(self, data: bytes | bytearray | memoryview) -> int:
        self.sends += 1
        if self.room is not None:
            data = data[: self.room]
            self.room -= len(data)
            self.kept += len(data)
        self.sent = bytes(data)
        if self.log is not None:
            self.log.append(self.sent)
        return len(data)

    def unacknowledged(self) -> int:
        return self.kept

    def flush(self) -> bool:
        return True

    def finish(self) -> None:
        """Nothing to finish."""

    def discard(self) -> bool:
        """Nothing is left to be read."""
        return True

    def close(self) -> None:
        """Nothing to close."""


class _NoEpoll:
    """Stands where the epoll set is: nobody waits here."""

    def register(self, fd: int, mask: int) -> None: ...

    def modify(self, fd: int, mask: int) -> None: ...

    def unregister(self, fd: int) -> None: ...

    def close(self) -> None: ...


class Raising(Faults):
    """Raises what rwsplit would log."""

    def in_session(
        self, client: Client, failure: Exception, given: Server | None = None
    ) -> None:
        if not isinstance(failure, ProtocolViolation | OSError):
            raise failure
        super().in_session(client, failure, given)

    def in_answers(self, server: Server, owed: Owed | None, failure: Exception) -> None:
        raise failure

    def in_upkeep(self, failure: Exception) -> None:
        raise failure


class MemoryRelay:
    """A relay in front of a primary and three replicas, with *clients* clients and full pools, unless there are *servers*."""

    def __init__(
        self,
        clients: int,
        *,
        size: int = 20,
        lane_depth: int = 0,
        servers: int | None = None,
        forgives: bool = False,
        is_checked: bool = True,
    ) -> None:
        """*forgives*: a failure of rwsplit's own is no failure of the test; *is_checked*: after every turn all must be as it must be."""
        self._is_checked = is_checked
        self.now = 1.0
        config = Config(pool=PoolConfig(size=size, lane_depth=lane_depth))
        nodes = tuple(_node(index) for index in range(REPLICAS + 1))
        self.relay = Relay(
            config,
            ClusterView(nodes=nodes, primary=nodes[0], replicas=nodes[1:]),
            chooser=LeastConnections(),
            open_server=_never,
            send_cancel=_never,
            hurry=lambda: None,
            report_failure=lambda node, reason: None,
            clock=self._clock,
        )
        if not forgives:
            self.relay.faults = Raising(self.relay)
        self.relay.outboxes.epoll.close()
        self.relay.outboxes.epoll = _NoEpoll()  # type: ignore[assignment]
        self.knowledge = Knowledge(
            StatementCache(FunctionBook(), size=1000, effort=self.relay.effort), FunctionBook()
        )
        self.parameters = self.knowledge.parameters.intern({})
        self.clients = [self._client(100 + number) for number in range(clients)]
        number = 100_000
        for node in nodes:
            for _ in range(size if servers is None else servers):
                pool = self.relay.pools.get(node.name, node.index, "app", "app")
                number += 1
                pool.starting += 1
                server = Server(pool, MemoryWire(number), pid=number, cancel_key=b"k", now=0.0)
                server.parameters = self.parameters
                self.relay.adopt_server(pool, server)

    def ask(self, client: Client, query: bytes) -> None:
        """Have *client* send the Query *query* in the next turn it takes part in."""
        wire_of(client).incoming = b"Q" + (len(query) + 5).to_bytes(4, "big") + query + b"\0"

    def turn(self, events: list[tuple[int, int]]) -> None:
        """Take one turn, and see that it leaves everything as it must be."""
        self.relay.turn(events)
        if not self._is_checked:
            return
        assert not [*broken_sessions(self.relay), *broken_servers(self.relay)]
        assert self.relay.counters.load[:-1] == load(self.relay)

    def turn_clients(self, clients: Sequence[Client]) -> None:
        """Serve *clients* in one turn."""
        self.turn([(client.fd, select.EPOLLIN) for client in clients])

    def busy(self) -> list[Server]:
        """Return the servers that owe something."""
        return [s for s in self.relay.servers.values() if s.responses.owed]

    def say(self, client: Client, messages: bytes) -> None:
        """Have *client* send *messages* in the next turn it takes part in."""
        wire_of(client).incoming = messages

    def compose_replies(self, servers: Sequence[Server]) -> None:
        """Have each of *servers* answer in its next turn the messages of the extended protocol it was last sent."""
        for server in servers:
            wire = wire_of(server)
            wire.incoming, wire.sent = replies(wire.sent), b""

    def reply(self, servers: Sequence[Server]) -> None:
        """Have each of *servers* answer, in one turn, the messages of the extended protocol it was last sent."""
        self.compose_replies(servers)
        self.turn_replies(servers)

    def turn_replies(self, servers: Sequence[Server]) -> None:
        """Read the answers of *servers* in one turn."""
        self.turn([(server.fd, select.EPOLLIN) for server in servers])

    def answer(self, servers: Sequence[Server], answer: bytes) -> None:
        """Have each of *servers* answer all it owes by *answer*, in one turn."""
        for server in servers:
            wire_of(server).incoming = answer * len(server.responses.owed)
        self.turn([(server.fd, select.EPOLLIN) for server in servers])

    def turn_servers(self, answers: Sequence[tuple[Server, bytes]]) -> None:
        """Have each server send what stands beside it, in one turn."""
        for server, data in answers:
            wire_of(server).incoming = data
        self.turn([(server.fd, select.EPOLLIN) for server, _ in answers])

    def _clock(self) -> float:
        self.now += 1e-6
        return self.now

    def _client(self, number: int) -> Client:
        client = Client(
            self.knowledge,
            user="app",
            database="app",
            application_name="",
            parameters=self.parameters,
            rules=Rules((), user="app", database="app", application_name=""),
            settings=self.relay.config.pool,
            pid=number,
            cancel_key=b"k",
            host="memory",
            now=0.0,
        )
        self.relay.headcount.enter("app", "app")
        self.relay.adopt_client(client, MemoryWire(number), b"")
        return client


def replies(messages: bytes) -> bytes:
    """Return what is answered to *messages* of the extended protocol that run the statement of `ANSWER`."""
    said = []
    at = 0
    while at < len(messages):
        code = messages[at : at + 1]
        kind = messages[at + 5 : at + 6]
        said.append(_DESCRIBED if code == b"D" and kind == b"S" else _REPLIES[code])
        at += 1 + int.from_bytes(messages[at + 1 : at + 5], "big")
    return b"".join(said)


def wire_of(party: Any) -> MemoryWire:
    """Return the memory wire of a client or server."""
    wire = party.wire
    assert isinstance(wire, MemoryWire)
    return wire


def _node(index: int) -> NodeView:
    return NodeView(
        name=f"n{index}",
        host="memory",
        port=1,
        index=index,
        role=Role.REPLICA if index else Role.PRIMARY,
        health=Up(),
        lsn=LSN(1),
        fresh_until=0.9,
        refusal=None,
    )


async def _never(*_: object) -> Any:
    await trio.sleep_forever()
