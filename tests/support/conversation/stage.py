"""Stage: a real relay on wires in memory, between clients and models of PostgreSQL, with a clock that is set by hand.

What the relay leaves to tasks - opening servers, sending cancel requests - waits until a conversation says how it ends.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
import trio
import trio.testing

from rwsplit.cluster.node import (
    AdminState,
    Down,
    Frozen,
    Health,
    NodeView,
    Refusal,
    Role,
    Suspect,
    Up,
)
from rwsplit.cluster.view import ClusterView
from rwsplit.config.model import Config
from rwsplit.config.overrides import pool_config
from rwsplit.errors import CapacityError, NodeUnreachable, RwsplitError
from rwsplit.relay.client import Client
from rwsplit.relay.relay import TICK
from rwsplit.routing.balancing import Chooser
from rwsplit.routing.policy import Rules
from rwsplit.server.pool import Pool
from rwsplit.server.server import Server
from tests.support.conversation.asker import Asker
from tests.support.conversation.backend import Backend
from tests.support.conversation.world import World
from tests.support.memory_relay import MemoryRelay, MemoryWire, wire_of
from tests.support.refusals import refusal

NODES: Final = ("n0", "n1", "n2")
READ: Final = select.EPOLLIN
#: Turns in a row in which something is left to do, at most: more are a loop.
MOST_TURNS: Final = 200


class First(Chooser):
    """Chooses the first node, so that conversations can say which."""

    def choose(
        self, candidates: Sequence[NodeView], load: Sequence[int], now: float = 0.0
    ) -> NodeView:
        return candidates[0]


@attrs.define
class Dial:
    """A server that is being opened."""

    node: str
    over: trio.Event = attrs.field(factory=trio.Event)
    error: RwsplitError | None = None


@attrs.define
class End:
    """One end of a wire: a client or a server, and what it has got that nobody has told of."""

    wire: MemoryWire
    got: bytes = b""
    ended: bool = False
    """It has closed its end."""


@attrs.define
class ServerEnd(End):
    """A server."""

    name: str = ""
    server: Server = attrs.field(kw_only=True)
    backend: Backend = attrs.field(kw_only=True)


@attrs.define
class ClientEnd(End):
    """A client."""

    client: Client = attrs.field(kw_only=True)
    asker: Asker = attrs.field(kw_only=True)
    gone: bool = False
    """It was told that rwsplit has closed the connection."""


#: More bytes than anybody says at once.
WHOLE: Final = 1 << 30
#: What keeps rwsplit itself from opening a server.
NO_FILES: Final = "no files"
#: What a node is that is not in the configuration any more.
GONE: Final = "gone"
#: By name: health, role as an operator wants it, and why it may not read.
CONDITIONS: Final[dict[str, Callable[[float], tuple[Health, AdminState, Refusal | None]]]] = {
    "up": lambda _: (Up(), AdminState.ATTACHED, None),
    "down": lambda now: (
        Down(since=now, reason="no answer"),
        AdminState.ATTACHED,
        Refusal.DOWN,
    ),
    "suspect": lambda _: (_made(Suspect), AdminState.ATTACHED, Refusal.SUSPECT),
    "frozen": lambda _: (_made(Frozen), AdminState.ATTACHED, Refusal.FROZEN),
    "detached": lambda _: (Up(), AdminState.DETACHED, Refusal.DETACHED),
    "draining": lambda _: (Up(), AdminState.DRAINING, Refusal.DRAINING),
    "lagging": lambda _: (Up(), AdminState.ATTACHED, Refusal.LAGGING),
}


class Stage(MemoryRelay):
    """The relay, its clients and its servers."""

    def __init__(
        self, config: Config, nursery: trio.Nursery, clock: trio.testing.MockClock
    ) -> None:
        super().__init__(0, servers=0)
        self.world = World(NODES[0])
        self.piece = WHOLE
        """Bytes that come at once of what anybody says."""
        self.nursery = nursery
        self.trio_clock = clock
        self.servers: dict[str, ServerEnd] = {}
        """By name, the closed ones too."""
        self.ends: dict[str, ClientEnd] = {}
        self.dials: list[Dial] = []
        self.struck: list[tuple[ServerEnd, trio.Event]] = []
        """Cancel requests on their way."""
        self.conditions = dict.fromkeys(NODES, "up")
        self.fresh = dict.fromkeys(NODES, 0.9)
        self.roles = dict.fromkeys(NODES, Role.REPLICA) | {NODES[0]: Role.PRIMARY}
        self.primary: str | None = NODES[0]
        self._numbers = iter(range(100_000, 200_000))
        relay = self.relay
        relay._nursery = nursery
        relay._open_server = self._open
        relay.canceller._send = self._send_cancel
        relay.reconfigure(config, First())
        self.publish()

    # Who takes part...

    def add_client(self, name: str, parameters: dict[str, str]) -> ClientEnd:
        """Have a client log in that asks for *parameters*."""
        relay = self.relay
        number = 100 + len(self.ends)
        wire = _logged(number)
        client = Client(
            self.knowledge,
            user="app",
            database="app",
            application_name="",
            parameters=self.knowledge.parameters.intern(parameters),
            rules=Rules(
                relay.config.routing.rules, user="app", database="app", application_name=""
            ),
            settings=pool_config(relay.config.pool, "app", "app"),
            pid=number,
            cancel_key=b"k",
            host="memory",
            now=self.now,
        )
        client.default_level = relay.config.consistency.level
        client.adopt_parameters(client.parameters)
        relay.headcount.enter("app", "app")
        relay.adopt_client(client, wire, b"")
        self.world.parameters[name], self.world.bases[name] = dict(parameters), dict(parameters)
        end = self.ends[name] = ClientEnd(wire, client=client, asker=Asker(self.world, name))
        return end

    def add_server(self, node: str) -> None:
        """Have a server of *node* in its pool from the beginning."""
        view = self.relay.view.node(node)
        assert view is not None
        pool = self.relay.pools.get(node, view.index, "app", "app")
        pool.starting += 1
        self.relay.adopt_server(pool, self._make(pool))

    def _make(self, pool: Pool[Server]) -> Server:
        wire = _logged(next(self._numbers))
        server = Server(pool, wire, pid=wire.fileno(), cancel_key=b"k", now=self.now)
        server.parameters = self.parameters
        count = sum(end.server.pool.node == pool.node for end in self.servers.values())
        name = pool.node if not count else f"{pool.node}/{count + 1}"
        backend = Backend(self.world, pool.node)
        self.servers[name] = ServerEnd(wire, name=name, server=server, backend=backend)
        return server

    def end_of(self, server: Server) -> ServerEnd:
        return next(end for end in self.servers.values() if end.server is server)

    # What happens...

    async def settle(self) -> None:
        """Have the relay do all it can do now."""
        for _ in range(MOST_TURNS):
            await trio.testing.wait_all_tasks_blocked()
            self.collect()
            ready = [(fd, READ) for fd, party in self._parties() if _is_ready(party)]
            if not ready and not self.relay.driver.pressed:
                return
            self.turn(ready)
        raise AssertionError("the relay never rests")

    def _parties(self) -> list[tuple[int, Any]]:
        return [*self.relay.servers.items(), *self.relay.clients.items()]

    def collect(self) -> None:
        """Give servers and clients what was sent to them."""
        for server in self.servers.values():
            if (data := _taken(server.wire)) and not server.ended:
                server.got += data
                server.backend.take(data)
        for client in self.ends.values():
            if data := _taken(client.wire):
                client.got += data
                client.asker.hears(data)

    def say(self, end: End, data: bytes) -> None:  # type: ignore[override]  # by its end
        """Have *end* send *data* behind what it has sent and was not read."""
        if not end.ended:
            end.wire.incoming = (end.wire.incoming or b"") + data

    async def client_says(self, end: ClientEnd, data: bytes) -> None:
        end.asker.says(data)
        await self._say_in_pieces(end, data)

    async def server_says(self, end: ServerEnd, data: bytes | None) -> None:
        """Have a server say *data*, None: the answer to all it was asked."""
        if data is None:
            data = end.backend.answer()
        else:
            end.backend.say(data)
        if data:
            await self._say_in_pieces(end, data)

    async def _say_in_pieces(self, end: End, data: bytes) -> None:
        """Have *end* send *data*, *piece* bytes at a time, as a network may cut it."""
        for at in range(0, len(data), self.piece):
            self.say(end, data[at : at + self.piece])
            await self.settle()

    async def hang_up(self, end: End) -> None:
        """Have *end* close its connection."""
        await self.settle()
        end.wire.incoming = b""
        end.ended = True
        if isinstance(end, ClientEnd):
            end.asker.has_left = True
        await self.settle()

    async def pass_time(self, seconds: float, step: float = TICK) -> None:
        left = seconds
        while left > 1e-9:
            span = min(step, left)
            left -= span
            self.now += span
            self.trio_clock.jump(span)
            self.relay.now = self.now
            self.relay.upkeep.tick()
            self.relay.outboxes.flush()
            await self.settle()

    def cancel(self, end: ClientEnd) -> None:
        self.relay.now = self.now
        self.relay.canceller.cancel(end.client.pid, b"k")
        self.relay.outboxes.flush()

    # What waits for its end...

    async def _open(self, pool: Pool[Server]) -> Server:
        dial = Dial(pool.node)
        self.dials.append(dial)
        await dial.over.wait()
        if dial.error is not None:
            raise dial.error
        return self._make(pool)

    async def open(self, node: str, sqlstate: str | None = None) -> None:
        """Let in the server of *node* that is being opened, or refuse it."""
        dial = next((each for each in self.dials if each.node == node), None)
        assert dial is not None, f"rwsplit opens no server of {node}"
        self.dials.remove(dial)
        if sqlstate is not None:
            dial.error = _refusal(node, sqlstate)
        dial.over.set()
        await self.settle()

    async def _send_cancel(self, server: Server) -> None:
        over = trio.Event()
        self.struck.append((self.end_of(server), over))
        await over.wait()

    async def strike(self) -> ServerEnd:
        """Have the cancel request that was sent first arrive."""
        end, over = self.struck.pop(0)
        if not end.ended:
            end.backend.cancel()
        over.set()
        await self.settle()
        return end

    # The cluster...

    async def become(self, node: str, condition: str) -> None:
        """Have *node* be as *condition* says in the next view: one of CONDITIONS, GONE, "fresh", "the primary" or "no primary"."""
        if condition == "fresh":
            self.fresh[node] = self._clock()
        elif condition == "the primary":
            before, self.primary = self.primary, node
            if before is not None and self.conditions[before] == "up":
                self.conditions[before] = "down"
            self.world.primary = node
            self.roles[node] = Role.PRIMARY
        elif condition == "no primary":
            self.primary = None
        else:
            self.conditions[node] = condition
            if condition == "up" and node != self.world.primary:
                self.demote(node)
        self.publish()
        await self.settle()

    def demote(self, node: str) -> None:
        """Have *node* be a replica, as far as anybody knows."""
        self.roles[node] = Role.REPLICA

    def publish(self) -> None:
        """Publish the view."""
        names = [name for name in NODES if self.conditions[name] != GONE]
        nodes = tuple(self._node(index, name) for index, name in enumerate(names))
        primary = next((node for node in nodes if node.name == self.primary), None)
        if primary is not None and primary.admin is not AdminState.ATTACHED:
            primary = None
        replicas = tuple(n for n in nodes if n.refusal is None and n.role is Role.REPLICA)
        self.relay.upkeep.view_changed(
            ClusterView(nodes=nodes, primary=primary, replicas=replicas)
        )

    def _node(self, index: int, name: str) -> NodeView:
        health, admin, refused = CONDITIONS[self.conditions[name]](self.now)
        return NodeView(
            name=name,
            host="memory",
            port=1,
            index=index,
            role=self.roles[name],
            health=health,
            admin=admin,
            fresh_until=self.fresh[name],
            refusal=refused,
        )


def _refusal(node: str, sqlstate: str) -> RwsplitError:
    if sqlstate == NO_FILES:
        return CapacityError("too many open files")
    return refusal(sqlstate, "no") if sqlstate else NodeUnreachable(node)


def _made(kind: type[Any]) -> Health:
    made: Health = kind(**{field.name: 0 for field in attrs.fields(kind)})
    return made


def _logged(number: int) -> MemoryWire:
    wire = MemoryWire(number)
    wire.log = []
    return wire


def _taken(wire: MemoryWire) -> bytes:
    assert wire.log is not None
    data = b"".join(wire.log)
    wire.log.clear()
    return data


def _is_ready(party: Any) -> bool:
    return wire_of(party).incoming is not None and not (party.paused or party.queued)
