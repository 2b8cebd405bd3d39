"""Fairness: which sessions to move so that every replica does its share of the work.

For sessions that stay on one replica (monotonic reads) shares cannot be had by choosing per statement. A
`Ledger` sums up, look after look, how much more than its share each replica has done, and names the moves
that pay it back. Counting what was owed before, and not only the last look, is what lets sixteen sessions on three
replicas come out even: the surplus session goes round.

Work is not the number of answers: a replica that is slow answers few reads because each takes it long, and more
sessions would make it no faster. `Costs` weighs the reads of a slow node by how much longer they are in flight there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

#: What is left of a debt from one look to the next.
DECAY: Final = 0.98
#: Looks' work that a node can owe, or be owed, at most.
LIMIT: Final = 1.0
#: Part of the debts that one look's moves are to make up for in the next.
GAIN: Final = 0.7

#: Weight of the newest look in what a node's reads cost.
NEWEST: Final = 0.1
#: Times longer than elsewhere that reads are in flight on a node from which on it is slow: differences
#: below that are chance, and what is even then is the number of reads.
SLOW: Final = 3.0
#: Statements in flight, on average, below which a node is busy with too little to be called slow.
BUSY: Final = 0.5
#: The least that is taken for in flight on the others together: none was seen, which is chance, too.
LEAST: Final = 0.1


class Move(NamedTuple):
    """So many *sessions* are to go from the node *source* to the node *target*."""

    source: str
    target: str
    sessions: int


class Costs:
    """What a read costs on each node, compared with the others: 1 unless the node is slow."""

    def __init__(self) -> None:
        self._reads: dict[str, float] = {}
        self._load: dict[str, float] = {}

    def update(self, reads: Mapping[str, int], load: Mapping[str, float]) -> dict[str, float]:
        """Take in the *reads* of a look and how many were in flight during it; return the costs, by node.

        In flight divided by the number of reads is how long each takes (Little's law).
        """
        before = self._reads, self._load
        self._reads, self._load = (
            {n: old.get(n, new[n]) + NEWEST * (new[n] - old.get(n, new[n])) for n in reads}
            for old, new in zip(before, (reads, load), strict=True)
        )
        return {name: self._cost(name) for name in reads}

    def _cost(self, name: str) -> float:
        others_reads = sum(self._reads.values()) - self._reads[name]
        others_load = sum(self._load.values()) - self._load[name]
        if self._load[name] < BUSY or others_reads < 1:
            return 1.0
        usual = max(others_load, LEAST) / others_reads
        times = self._load[name] / max(self._reads[name], LEAST) / usual
        return times if times >= SLOW else 1.0


class Ledger:
    """What work each replica has done beyond its share."""

    def __init__(self) -> None:
        self.debts: dict[str, float] = {}

    def plan(
        self,
        work: Mapping[str, float],
        sessions: Mapping[str, float],
        weights: Mapping[str, float],
        movable: Mapping[str, int],
    ) -> Move | None:
        """Return the move to make after one look, None if the shares are fair.

        *work* (reads, weighed by what they cost) is that of the look, *sessions* are where they are now, or bound for,
        *movable* those of them that may be moved, all by node; *weights* name the nodes that take part. What comes
        next is foreseen: a session that was moved a moment ago has not yet done anything where it is.
        """
        total_work = sum(work.get(name, 0) for name in weights)
        total_weight = sum(weights.values())
        total_sessions = sum(sessions.get(name, 0) for name in weights)
        if len(weights) < 2 or total_work <= 0 or total_weight <= 0 or total_sessions <= 0:
            self.debts = {}
            return None
        each = total_work / total_sessions
        debts, self.debts = self.debts, {}
        foreseen = {}
        for name, weight in weights.items():
            share = total_work * weight / total_weight
            debt = debts.get(name, 0.0) * DECAY + work.get(name, 0) - share
            self.debts[name] = min(max(debt, -LIMIT * total_work), LIMIT * total_work)
            foreseen[name] = GAIN * self.debts[name] + sessions.get(name, 0) * each - share
        givers = [name for name in weights if movable.get(name, 0)]
        if not givers:
            return None
        source = max(givers, key=foreseen.__getitem__)
        target = min(foreseen, key=foreseen.__getitem__)
        # A session takes its work away from one and brings it to the other. Moved for less it would have to come back.
        count = round((foreseen[source] - foreseen[target]) / (2 * each))
        count = min(count, movable[source], (movable[source] + 1) // 2)
        return Move(source, target, count) if count > 0 else None
