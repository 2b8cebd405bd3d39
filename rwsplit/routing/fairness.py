"""Fairness: which sessions to move so that every replica answers its share of the reads.

For sessions that stay on one replica (monotonic reads) shares cannot be had by choosing per statement. A
`Ledger` sums up, look after look, how much more than its share each replica has answered, and names the moves
that pay it back. Counting what was owed before, and not only the last look, is what lets sixteen sessions on three
replicas come out even: the surplus session goes round.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

#: What is left of a debt from one look to the next.
DECAY: Final = 0.98
#: Debts, as shares of one look's reads, that differ by less are let be.
TOLERANCE: Final = 0.02
#: Part of a difference that one look's moves are to make up for in the next.
GAIN: Final = 0.3


class Move(NamedTuple):
    """So many *sessions* are to go from the node *source* to the node *target*."""

    source: str
    target: str
    sessions: int


class Ledger:
    """What each replica has answered beyond its share, as shares of one look's reads."""

    def __init__(self) -> None:
        self.debts: dict[str, float] = {}

    def plan(
        self, reads: Mapping[str, int], sessions: Mapping[str, int], weights: Mapping[str, int]
    ) -> Move | None:
        """Return the move to make after one look, None if the shares are fair.

        *reads* and *sessions* are those of the look, by node; *weights* name the nodes that take part.
        """
        total_reads = sum(reads.get(name, 0) for name in weights)
        total_weight = sum(weights.values())
        if len(weights) < 2 or total_reads <= 0 or total_weight <= 0:
            self.debts = {}
            return None
        self.debts = {
            name: self.debts.get(name, 0.0) * DECAY
            + reads.get(name, 0) / total_reads
            - weight / total_weight
            for name, weight in weights.items()
        }
        givers = [name for name in self.debts if sessions.get(name, 0)]
        if not givers:
            return None
        source = max(givers, key=self.debts.__getitem__)
        target = min(self.debts, key=self.debts.__getitem__)
        excess = self.debts[source] - self.debts[target]
        if source == target or excess < TOLERANCE:
            return None
        per_session = reads.get(source, 0) / total_reads / sessions[source]
        wanted = GAIN * excess / 2
        count = round(wanted / per_session) if per_session > 0 else 1
        return Move(source, target, max(1, min(count, (sessions[source] + 1) // 2)))
