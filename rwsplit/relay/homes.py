"""Homes: where sessions read, and how the reads are kept even.

A session that reads without pause stays on its replica, its *home* (monotonic reads), or on the primary after a
write: it has always read later than the last proof of anybody's freshness. To move it, its next read is made to
wait until the replica it is bound for has proved to be as fresh, which takes a sample and a probe, about
two milliseconds (docs/decisions/0007). Who moves is decided here, a few times a second, from what each replica
answered: first as many sessions as even the reads out; where that would only turn the tables (sixteen
sessions on three replicas), one session at a time goes round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rwsplit.cluster.node import NodeView
from rwsplit.config.model import ConsistencyLevel
from rwsplit.routing.balancing import plan_moves
from rwsplit.routing.consistency import ANY_REPLICA

if TYPE_CHECKING:
    from rwsplit.relay.client import Client
    from rwsplit.relay.relay import Relay

#: Seconds between two looks at how evenly the reads are spread.
INTERVAL: Final = 0.25
#: Share of a look's reads by which two replicas may differ, summed up, before a session goes round.
DEBT_LIMIT: Final = 0.02
#: What is left of that sum from one look to the next.
DEBT_DECAY: Final = 0.98
#: Reads in a look below which it is not worth a session's wait.
FEW: Final = 50
#: Sessions led back from the primary at once.
RETURNING: Final = 64


class Homes:
    """Moves sessions between replicas."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._round = 1
        self._next = 0.0
        self._readers: dict[int, list[Client]] = {}
        """Sessions that read since the last look, by the index of the node that answered."""
        self._reads: dict[str, int] = {}
        """Reads each node had answered at the last look."""
        self._debt: dict[str, float] = {}
        """How much more than its share a replica has answered lately."""

    def note_reader(self, client: Client, index: int) -> None:
        """Remember that a session read from the node at *index* since the last look."""
        if client.tick != self._round:
            client.tick = self._round
            self._readers.setdefault(index, []).append(client)

    def forget(self) -> None:
        """Nodes have other indexes now."""
        self._readers.clear()

    def look(self, now: float) -> None:
        """Decide who moves, if it is time."""
        if now < self._next:
            return
        self._next = now + INTERVAL
        self._round += 1
        readers, self._readers = self._readers, {}
        view = self._relay.view
        nodes = {node.name: node for node in view.replicas}
        answered = {name: self._relay.counters.reads[n.index] for name, n in nodes.items()}
        reads = {name: count - self._reads.get(name, 0) for name, count in answered.items()}
        self._reads = answered
        if view.primary is not None and nodes:
            self._move(readers.get(view.primary.index, []), RETURNING, ANY_REPLICA)
        if len(nodes) < 2 or sum(reads.values()) < FEW:
            return
        sessions = {name: len(readers.get(node.index, ())) for name, node in nodes.items()}
        moves = plan_moves(reads, sessions, {name: n.weight for name, n in nodes.items()})
        for source, target, count in moves or self._turn(reads, nodes):
            self._move(readers.get(nodes[source].index, []), count, nodes[target].index)

    def _turn(
        self, reads: dict[str, int], nodes: dict[str, NodeView]
    ) -> list[tuple[str, str, int]]:
        """Return the one move that lets the surplus go round, if a replica is far enough ahead."""
        total = sum(reads.values())
        weights = sum(node.weight for node in nodes.values()) or 1
        self._debt = {
            name: self._debt.get(name, 0.0) * DEBT_DECAY
            + reads[name] / total
            - node.weight / weights
            for name, node in nodes.items()
        }
        most = max(self._debt, key=self._debt.__getitem__)
        least = min(self._debt, key=self._debt.__getitem__)
        if self._debt[most] - self._debt[least] < DEBT_LIMIT:
            return []
        return [(most, least, 1)]

    def _move(self, clients: list[Client], count: int, target: int) -> None:
        for client in clients[:count]:
            if not client.closed and client.level is ConsistencyLevel.SESSION:
                client.bound_for = target
