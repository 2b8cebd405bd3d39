"""Homes: where sessions read, and how the reads are kept even.

A session that reads without pause stays on its replica, its *home* (monotonic reads), or on the primary after a
write: it has always read later than the last proof of anybody's freshness. To move it, its next read is made to
wait until the replica it is bound for has proved to be as fresh, which takes a sample and a probe, about
two milliseconds (docs/decisions/0007). Who moves is decided here, a few times a second, from what each replica
answered (`routing.fairness`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rwsplit.config.model import ConsistencyLevel
from rwsplit.routing.consistency import ANY_REPLICA
from rwsplit.routing.fairness import Ledger

if TYPE_CHECKING:
    from rwsplit.relay.client import Client
    from rwsplit.relay.relay import Relay

#: Seconds between two looks at how evenly the reads are spread.
INTERVAL: Final = 0.1
#: Reads in a look below which it is not worth a session's wait.
FEW: Final = 20
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
        self._ledger = Ledger()

    def note_reader(self, client: Client, index: int) -> None:
        """Remember that a session read from the node at *index* since the last look."""
        if client.tick != self.round:
            client.tick = self.round
            self._readers.setdefault(index, []).append(client)

    def forget(self) -> None:
        """Nodes have other indexes now."""
        self._readers.clear()

    def look(self, now: float) -> None:
        """Decide who moves, if it is time."""
        if now < self._next:
            return
        self._next = now + INTERVAL
        self.round += 1
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
        weights = {name: node.weight for name, node in nodes.items()}
        move = self._ledger.plan(reads, sessions, weights)
        if move is not None:
            leaving = readers.get(nodes[move.source].index, [])
            self._move(leaving, move.sessions, nodes[move.target].index)

    def _move(self, clients: list[Client], count: int, target: int) -> None:
        for client in clients[:count]:
            if not client.closed and client.level is not ConsistencyLevel.EVENTUAL:
                client.bound_for = target
