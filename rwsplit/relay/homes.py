"""Homes: where sessions read, and how the work is kept even.

A session that reads without pause stays on its replica, its *home* (monotonic reads), or on the primary after a
write: it has always read later than the last proof of anybody's freshness. To move it, its next read is made to
wait until the replica it is bound for has proved to be as fresh, which takes a sample and a probe, about
two milliseconds (docs/decisions/0007). Who moves is decided here, a few times a second, from what each replica
answered and what it has in flight (`routing.fairness`). With `reads_on_primary: share` the primary is one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from rwsplit.cluster.node import NodeView, Up
from rwsplit.config.choices import ConsistencyLevel, ReadsOnPrimary
from rwsplit.routing.balancing import effective_weight
from rwsplit.routing.consistency import ANY_REPLICA, NO_HOME, PRIMARY_HOME
from rwsplit.routing.fairness import BUSY, Costs, Ledger

if TYPE_CHECKING:
    from rwsplit.cluster.view import ClusterView
    from rwsplit.relay.client import Client
    from rwsplit.relay.relay import Relay

#: Seconds between two looks at how evenly the work is spread, at least: every tick.
INTERVAL: Final = 0.04
#: Reads in a look below which their number says little: then what is in flight counts.
FEW: Final = 10
_EVENTUAL: Final = ConsistencyLevel.EVENTUAL
#: Sessions led back from the primary at once.
RETURNING: Final = 64


class Homes:
    """Moves sessions between replicas."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.round = 1
        """Number of the look that comes next."""
        self._next = 0.0
        self._readers: dict[int, list[Client]] = {}
        """Sessions that read since the last look, by the index of the node that answered."""
        self._reads: dict[str, int] = {}
        """Reads each node had answered at the last look."""
        self._in_flight: dict[str, int] = {}
        """Sum of what each node had in flight, at each tick since the last look."""
        self._ticks = 0
        self._costs = Costs()
        self._ledger = Ledger()

    def note_reader(self, client: Client, index: int) -> None:
        """Remember that a session read from the node at *index* since the last look."""
        if client.tick != self.round:
            client.tick = self.round
            self._readers.setdefault(index, []).append(client)

    def forget(self) -> None:
        """Nodes have other indexes now."""
        self._readers.clear()
        self._relay.chooser.costs = {}

    def look(self, now: float) -> None:
        """See what is in flight, and decide who moves, if it is time."""
        view = self._relay.view
        load = self._relay.counters.load
        self._ticks += 1
        for node in view.nodes:
            self._in_flight[node.name] = self._in_flight.get(node.name, 0) + load[node.index]
        if now < self._next:
            return
        self._next = now + INTERVAL
        self.round += 1
        readers, self._readers = self._readers, {}
        in_flight, self._in_flight = self._in_flight, {}
        ticks, self._ticks = self._ticks, 0
        reads = self._count_reads(view)
        if view.primary is None or not isinstance(view.primary.health, Up):
            return  # no replica can be proved to be fresh: who is to move would wait in vain
        nodes = self._takers(view)
        if nodes and view.primary.name not in nodes:
            self._move(readers.get(view.primary.index, []), RETURNING, ANY_REPLICA)
        if len(nodes) < 2:
            return
        reads = {name: reads[name] for name in nodes}
        loads = {name: in_flight[name] / ticks for name in nodes}
        costs = self._costs.update(reads, loads)
        self._relay.chooser.costs = {
            nodes[n].index: cost for n, cost in costs.items() if cost > 1
        }
        work = {name: count * costs[name] for name, count in reads.items()}
        if sum(reads.values()) < FEW:
            if sum(loads.values()) < BUSY:
                return
            work = loads
        slow_start = self._relay.chooser.slow_start
        weights = {n: effective_weight(node, now, slow_start) for n, node in nodes.items()}
        there = self._at_home(readers, view)
        movable = {name: len(there[node.index]) for name, node in nodes.items()}
        # Of those that wait for a node's answers not all have read since the last look.
        sessions = {n: max(movable[n], load[node.index]) for n, node in nodes.items()}
        move = self._ledger.plan(work, sessions, weights, movable)
        if move is not None:
            leaving = there[nodes[move.source].index]
            self._move(leaving, move.sessions, nodes[move.target].index)

    def _at_home(
        self, readers: Mapping[int, list[Client]], view: ClusterView
    ) -> dict[int, list[Client]]:
        """Return the sessions among *readers* that have a home, by the index of that, or of what they are bound for."""
        there: dict[int, list[Client]] = {node.index: [] for node in view.nodes}
        primary = NO_HOME if view.primary is None else view.primary.index
        for clients in readers.values():
            for client in clients:
                index = client.bound_for
                if index < 0:
                    index = primary if client.home == PRIMARY_HOME else client.home
                if index in there and client.level is not _EVENTUAL and not client.closed:
                    there[index].append(client)
        return there

    def _takers(self, view: ClusterView) -> dict[str, NodeView]:
        """Return the nodes that take reads, by name."""
        shut = self._relay.rooms.shut()
        nodes = {node.name: node for node in view.replicas if node.name not in shut}
        primary = view.primary
        if (
            primary is not None
            and self._relay.config.routing.reads_on_primary is ReadsOnPrimary.SHARE
            and isinstance(primary.health, Up)
        ):
            nodes[primary.name] = primary
        return nodes

    def _count_reads(self, view: ClusterView) -> dict[str, int]:
        """Return how many reads each node has answered since the last look."""
        answered = {node.name: self._relay.counters.reads[node.index] for node in view.nodes}
        before, self._reads = self._reads, answered
        return {name: count - before.get(name, count) for name, count in answered.items()}

    def _move(self, clients: list[Client], count: int, target: int) -> None:
        for client in clients[:count]:
            if not client.closed and client.level is not _EVENTUAL:
                client.bound_for = target
