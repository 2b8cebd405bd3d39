"""Relay: the turn loop that carries every established session's bytes.

One epoll set holds the sockets of all established clients and servers. A driver (`driving`, `app.host`) waits for
the set; `turn` then drains whatever is ready, synchronously: every ready socket is
read once, sessions and servers are stepped, and every outbox that was written to leaves with one `send`.
What arrives in one turn leaves together, so the busier it is, the fewer system calls a statement costs.

`turn` never waits. What must wait - opening a server, parsing a long statement, a cancel request - is
asked of a task in the relay's nursery and comes back as a call of a method here. Everything runs in the trio
thread, so no state is ever seen half-changed.
"""

from __future__ import annotations

import contextlib
import math
import select
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog
import trio

from rwsplit.cluster.node import NEVER, NodeView
from rwsplit.cluster.view import ClusterView
from rwsplit.config.model import Config, PoolConfig
from rwsplit.config.overrides import pool_config
from rwsplit.errors import RwsplitError
from rwsplit.exchange.lease import CLOSED
from rwsplit.exchange.waits import Wait, Waits
from rwsplit.parser.reader import Reader
from rwsplit.relay.bringing import Bringing
from rwsplit.relay.cancelling import Canceller
from rwsplit.relay.choice import Choice
from rwsplit.relay.client import Client
from rwsplit.relay.counters import Counters
from rwsplit.relay.deadlines import Deadlines
from rwsplit.relay.dispatch import Dispatcher
from rwsplit.relay.driving import Driver, TrioDriver
from rwsplit.relay.faults import Faults
from rwsplit.relay.headcount import Headcount
from rwsplit.relay.healing import Healing
from rwsplit.relay.hinting import Hinting
from rwsplit.relay.homes import Homes
from rwsplit.relay.late import Late
from rwsplit.relay.lingering import Lingering
from rwsplit.relay.loss import Loss
from rwsplit.relay.moments import Moments
from rwsplit.relay.outboxes import IN, Outboxes, send
from rwsplit.relay.own_answers import OwnAnswers
from rwsplit.relay.parsing import Parsing
from rwsplit.relay.pins import Pins
from rwsplit.relay.plain import PlainReads
from rwsplit.relay.readback import ReadBack
from rwsplit.relay.reading import Reading
from rwsplit.relay.rebasing import Rebasing
from rwsplit.relay.replies import Replies
from rwsplit.relay.resetting import Reset
from rwsplit.relay.rooms import Rooms
from rwsplit.relay.sending import Sender
from rwsplit.relay.sequences import Sequences
from rwsplit.relay.signalling import Signaller
from rwsplit.relay.slices import BUSY, FEW, HEAVY, READABLE, TURN, Slices
from rwsplit.relay.stalls import Stalls
from rwsplit.relay.trials import Trials
from rwsplit.relay.upkeep import Upkeep
from rwsplit.routing.balancing import Chooser
from rwsplit.routing.policy import Rules
from rwsplit.server.pool import Pool
from rwsplit.server.pools import Pools
from rwsplit.server.server import Server
from rwsplit.server.wire import Wire
from rwsplit.session.unit import Unit
from rwsplit.sql.effort import Effort

#: Seconds between two looks at deadlines.
TICK: Final = 0.05

_log = structlog.get_logger("rwsplit.relay")


class Relay:
    """All established sessions of a process and the servers behind them."""

    def __init__(  # noqa: PLR0915 - one line a part
        self,
        config: Config,
        view: ClusterView,
        *,
        chooser: Chooser,
        open_server: Callable[[Pool[Server]], Awaitable[Server]],
        send_cancel: Callable[[Server], Awaitable[None]],
        hurry: Callable[[], None],
        report_failure: Callable[[str, str], None],
        report_owing: Callable[[str, float, float], None] = lambda *_: None,
        report_stall: Callable[[], None] = lambda: None,
        clock: Callable[[], float],
        driver: Driver | None = None,
        effort: Effort | None = None,
        reader: Reader | None = None,
    ) -> None:
        self.driver = driver or TrioDriver()
        self.config = config
        self.view = view
        self.chooser = chooser
        self.clock = clock
        self.now = clock()
        self.floor = math.inf
        """Freshness must be later than this moment (max_lag), as of the last turn."""
        self.hurry = hurry
        self.report_failure = report_failure
        self.report_owing = report_owing
        self.report_stall = report_stall
        """Called when rwsplit itself was held up, so that no overdue answer counts against a node."""
        self.counters = Counters()
        self.waits: Waits[Client] = Waits(self.counters)
        self.counters.renumber([], [node.name for node in view.nodes])
        self.pools = Pools(config.pool, self._open_later)
        self.reset = Reset(config.pool.server_reset_query)
        self.clients: dict[int, Client] = {}
        """Established clients by file descriptor."""
        self.by_pid: dict[int, Client] = {}
        self.servers: dict[int, Server] = {}
        self._by_backend: dict[tuple[str, int], Server] = {}
        """Servers by node and backend PID."""
        self.last_write = NEVER
        """When anybody's last write was acknowledged."""
        self.unended: dict[Client, float] = {}
        """Sessions whose last messages lack their Sync, and since when."""
        self.effort = effort if effort is not None else Effort()
        """The work done for sessions, by which turns are divided into slices."""
        self.outboxes = Outboxes(self, self.driver.epoll)
        self.slices = Slices(self)
        self.stalls = Stalls()
        self.faults = Faults(self)
        self.rebasing = Rebasing(self)
        self.reading = Reading(self)
        self.choice = Choice(self)
        self.sender = Sender(self)
        self.sequences = Sequences(self)
        self.plain = PlainReads(self)
        self.late = Late(self)
        self.pins = Pins(self)
        self.readback = ReadBack(self)
        self.bringing = Bringing(self)
        self.trials = Trials(self)
        self.parsing = Parsing(self, reader)
        self.dispatcher = Dispatcher(self)
        self.replies = Replies(self)
        self.healing = Healing(self)
        self.moments = Moments(self)
        self.loss = Loss(self)
        self.own_answers = OwnAnswers(self)
        self.rooms = Rooms(self)
        self.hinting = Hinting(self)
        self.homes = Homes(self)
        self.upkeep = Upkeep(self)
        self.deadlines = Deadlines(self)
        self.headcount = Headcount()
        self.lingering = Lingering()
        self.canceller = Canceller(self, send_cancel)
        self.signaller = Signaller(self)
        self.draining = False
        self._open_server = open_server
        self._nursery: trio.Nursery | None = None
        self._alarm = self.driver.alarms.add(self._tick)
        self._due = math.inf
        """When the next tick is due."""

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry bytes until cancelled; then close every connection."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._alarm.set(self._next_tick())
                task_status.started()
                await self.driver.drive(self.turn)
        finally:
            self._nursery = None
            self._alarm.clear()
            self.driver.pressed = False
            for client in list(self.clients.values()):
                self.drop_client(client)
            for server in list(self.servers.values()):
                self.close_server(server)
            self.driver.close()

    def _tick(self) -> None:
        self.now = now = self.clock()
        late = now - self._due
        self._alarm.set(self._next_tick())
        if self.stalls.excuses(late, now):
            self.report_stall()
            return
        with self.faults.of_upkeep():
            self.upkeep.tick()
            self.outboxes.flush()
        if self.faults.are_new:
            self.faults.clear_up()

    def _next_tick(self) -> float:
        """Return when the next tick is due: on a grid, as probes are, so that the process wakes up once for all."""
        now = self.clock()
        due = (now // TICK + 1) * TICK
        self._due = due if due - now > TICK / 10 else due + TICK
        return self._due

    def turn(self, events: list[tuple[int, int]]) -> None:
        """Serve every socket in *events*, then send what came of it."""
        self.now = self.clock()
        self.floor = self.oldest(self.config.consistency.max_lag)
        self.counters.turns += 1
        effort = self.effort
        begun = effort.words
        if len(events) > FEW or self.driver.pressed:
            self._take_turns(events, begun + TURN)
        else:
            clients, servers, reading = self.clients, self.servers, self.reading
            for fd, mask in events:
                server = servers.get(fd)
                if server is not None:
                    reading.serve_server(server, mask)
                    continue
                client = clients.get(fd)
                if client is not None:
                    reading.serve_client(client, mask)
                elif fd in self.driver.watched:
                    self.driver.watched[fd]()
        self.outboxes.flush()
        if self.driver.pressed:
            self.slices.serve_left_over(begun + TURN)
            self.outboxes.flush()
        if self.faults.are_new:
            self.faults.clear_up()
        if effort.words - begun > BUSY:
            self.slices.note(self.clock() - self.now, effort.words - begun, len(events))

    def _take_turns(self, events: list[tuple[int, int]], limit: int) -> None:
        """Serve the sockets in *events* until *limit* words of work are done; leave the others to the next turn."""
        clients, servers, watched = self.clients, self.servers, self.driver.watched
        effort, reading, slices = self.effort, self.reading, self.slices
        slices.serve_put_off(limit)
        words, heavy = effort.words, slices.heavy
        for fd, mask in events:
            server = servers.get(fd)
            if server is not None:
                if words > limit and mask == READABLE:
                    slices.put_off(server)
                else:
                    reading.serve_server(server, mask)
                    words = effort.words
                continue
            client = clients.get(fd)
            if client is not None:
                if client in heavy and mask == READABLE and slices.is_heavy(client):
                    slices.later(client)
                elif words > limit and mask == READABLE:
                    slices.put_off(client)
                elif not client.queued or mask & _MORE:
                    reading.serve_client(client, mask)
                    if effort.words - words > HEAVY:
                        slices.find_heavy(client)
                    words = effort.words
            elif fd in watched:
                watched[fd]()

    # Clients come and go...

    def adopt_client(self, client: Client, wire: Wire, unread: bytes) -> None:
        """Carry the bytes of *client*, which is logged in, from now on."""
        self.now = self.clock()
        client.wire = wire
        client.fd = wire.fileno()
        self.clients[client.fd] = client
        self.by_pid[client.pid] = client
        self.rebasing.begin(client)
        self.outboxes.epoll.register(client.fd, IN)
        client.allowance = self.slices.size
        client.names.most = self.config.limits.max_statements_per_client
        if unread:
            self.reading.take(client, unread)
        if wire.has_pending and not client.closed:
            self.slices.later(client)
        self.outboxes.flush()

    def fail_client(self, client: Client, message: bytes) -> None:
        """End a session with one FATAL error."""
        if client.closed:
            return
        client.sink.append(message)
        client.lingers = True
        self.counters.errors += 1
        self.close_client(client)

    def close_client(self, client: Client) -> None:
        """Send what is left for the client, as far as it takes it now, and end its session."""
        if client.closed:
            return
        if client.wire is not None and client.sink:
            try:
                send(client.wire, client.sink)
            except OSError:
                client.sink.clear()
        self.loss.client_gone(client)

    def drop_client(self, client: Client) -> None:
        """Close the client's socket and forget it; its session has been taken apart already."""
        client.closed = True
        self.slices.heavy.pop(client, None)
        self.rebasing.outdated.pop(client, None)
        if self.by_pid.pop(client.pid, None) is not None:
            self.headcount.leave(client.database, client.user)
        if client.doubts:
            client.knowledge.settle(client.database, client.doubts, self.now)
        if self.clients.pop(client.fd, None) is not None:
            self.outboxes.unregister(client.fd)
        if client.wire is None:
            return
        if client.lingers and self._nursery is not None:
            self.lingering.see_off(self._nursery, client.wire, client.sink)
        else:
            client.wire.close()

    # Servers come and go...

    def pool_of(self, client: Client, node: NodeView) -> Pool[Server]:
        """Return the client's pool on *node*."""
        pool = self.pools.get(node.name, node.index, client.database, client.user)
        client.pools[node.name] = pool
        return pool

    def _open_later(self, pool: Pool[Server]) -> None:
        if self._nursery is None:
            pool.starting -= 1
            return
        self._nursery.start_soon(self._open, pool, name=f"dial {pool.node}")

    async def _open(self, pool: Pool[Server]) -> None:
        stalls = self.stalls.number
        try:
            server = await self._open_server(pool)
        except RwsplitError as error:
            self.now = self.clock()
            # If the loop was held up meanwhile, rwsplit may be the cause: it tries again.
            self.rooms.dial_failed(pool, error, excused=self.stalls.number != stalls)
        else:
            self.now = self.clock()
            self.adopt_server(pool, server)
        self.outboxes.flush()

    def adopt_server(self, pool: Pool[Server], server: Server) -> None:
        """Put a server that was opened to work."""
        self.rooms.adopt(pool, server)
        self.servers[server.fd] = server
        self._by_backend[pool.node, server.pid] = server
        server.responses.shown_pid = partial(self._shown_pid, pool.node)
        self.outboxes.epoll.register(server.fd, IN)
        self.upkeep.admit(server)
        unread, server.unread = server.unread, b""
        if unread:
            self.replies.received(server, unread, self.now)
        else:
            self.replies.settle(server)
        self.upkeep.retry_homeless()

    def close_server(self, server: Server) -> None:
        """Close a server, whatever it owes: nobody waits for that any more."""
        if server.lease == CLOSED:
            return
        for owed in server.responses.owed:
            if isinstance(owed, Unit):
                self.counters.load[owed.node] -= 1
        server.responses.owed.clear()
        server.pool.remove(server)
        if self._by_backend.get((server.pool.node, server.pid)) is server:
            del self._by_backend[server.pool.node, server.pid]
        if self.servers.pop(server.fd, None) is not None:
            self.outboxes.unregister(server.fd)
        with contextlib.suppress(OSError):
            server.wire.send(_TERMINATE)
        server.wire.close()
        if server.pool.waiters:
            server.pool.ask(self.now)

    def _shown_pid(self, node: str, pid: int) -> int:
        """Return the PID of the session that works on a node's backend *pid*, or wrote there last."""
        server = self._by_backend.get((node, pid))
        client = None if server is None else server.holder or server.last_writer
        return client.pid if isinstance(client, Client) else pid

    def lose_server(self, server: Server, message: bytes | None) -> None:
        """Take apart a server whose connection ended; *message* is the error it said goodbye with."""
        self.loss.server_lost(server, message)

    # Work that must wait...

    def oldest(self, max_lag: float) -> float:
        """Return the moment before which a replica's freshness is too old for *max_lag*."""
        stopped = self.view.stopped_at
        return (self.now if stopped is None else min(stopped, self.now)) - max_lag

    def park(self, client: Client, until: float) -> None:
        """Let a session wait for a fresh replica until the moment *until*."""
        wait = self.waits.park(client)
        self.hurry()
        if self._nursery is not None:
            self._nursery.start_soon(
                self._unpark_at, client, wait, until, name="freshness deadline"
            )

    async def _unpark_at(self, client: Client, wait: Wait, until: float) -> None:
        await trio.sleep(max(0.0, until - self.clock()))
        if client.wait is wait:
            self.now = self.clock()
            self.waits.end(client)
            self.dispatcher.pump(client)
            self.outboxes.flush()

    def start_task(self, function: Callable[..., Awaitable[None]], *args: object) -> None:
        """Run *function* in the relay's nursery."""
        if self._nursery is not None:
            self._nursery.start_soon(function, *args)

    def busy_with(self, node: str) -> int:
        """Return how many statements and transactions the node called *node* is busy with."""
        known = self.view.node(node)
        count = 0 if known is None else self.counters.load[known.index]
        for server in self.servers.values():
            if server.pool.node == node and server.holder is not None and not server.owed_count:
                count += 1
        return count

    def reconfigure(self, config: Config, chooser: Chooser) -> None:
        """Use *config* from now on; sessions keep their consistency level if they set one."""
        self.config = config
        self.chooser = chooser
        self.pools.reconfigure(config.pool)
        self.reset = Reset(config.pool.server_reset_query)
        self.deadlines.reconfigure(config.pool)
        # Worked out once for all clients of a kind: there may be ten thousand.
        shared: dict[tuple[str, str, str], tuple[PoolConfig, Rules]] = {}
        for client in self.clients.values():
            user, database, application = key = (
                client.user,
                client.database,
                client.application_name,
            )
            found = shared.get(key)
            if found is None:
                rules = Rules(
                    config.routing.rules,
                    user=user,
                    database=database,
                    application_name=application,
                )
                found = shared[key] = pool_config(config.pool, database, user), rules
            client.settings, client.rules = found
            client.default_level = config.consistency.level
            client.names.most = config.limits.max_statements_per_client
            client.has_rules = bool(client.rules)
            client.review()

    def note_read(self, client: Client, index: int) -> None:
        """Count a read answered by a node; remember which sessions read there lately."""
        self.counters.reads[index] += 1
        self.homes.note_reader(client, index)


#: Events that are handled even while the client waits for its slice.
_MORE: Final = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
_TERMINATE: Final = b"X\0\0\0\4"
