"""Balancing: which of the eligible replicas answers the next read.

A `Chooser` sees only nodes that are already eligible and holds nothing but its own rotation, so
that any choice is right and the next one can be made by another chooser. Three ways:

- least-connections: fewest statements in flight per weight. On an idle cluster everything ties, so
  ties are what most choices are: they go to the node with the least *credit* spent, where a choice
  costs 1/weight. Shares follow the weights even with one client. With a few clients that do not pause,
  the node that has just answered is always the one with the fewest: so a lead of `LEAD` choices counts
  as one statement in flight. A node that was away starts `LEAD` choices behind, not with all it missed.
- round-robin: nginx's smooth weighted round robin (5:1:1 gives a a b a c a a, never five in a row).
- random: by weight, from the *random* function given.

A node known to be slow counts with its weight divided by what a read costs there (`routing.fairness.Costs`):
evening out the number of reads would have all sessions wait for it.

A node that came up less than `slow_start` seconds ago counts with a part of its weight, growing
linearly from a tenth: caches are cold and the first connections must be opened.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Final, assert_never

from rwsplit.cluster.node import NodeView
from rwsplit.config.choices import Balance

#: The share of its weight a node starts with under slow_start.
RAMP_START: Final = 0.1
#: Choices by which a node may be ahead of another before that counts as one statement in flight more.
LEAD: Final = 10

#: A later `now` than any: no node is still ramping up.
_LONG_AGO_UP: Final = float("inf")


def effective_weight(node: NodeView, now: float, slow_start: float) -> float:
    """Return the weight of *node* at *now*, reduced while it ramps up over *slow_start* seconds."""
    age = now - node.up_since
    if age >= slow_start:
        return node.weight
    return node.weight * (RAMP_START + (1 - RAMP_START) * max(0.0, age) / slow_start)


class Chooser(abc.ABC):
    """Chooses one of several eligible nodes; keeps its rotation and nothing else."""

    def __init__(self, *, slow_start: float = 0.0) -> None:
        self.slow_start = slow_start
        self.costs: Mapping[int, float] = {}
        """What a read costs on the nodes that are slow, by `NodeView.index`; 1 on all others."""

    @abc.abstractmethod
    def choose(
        self, candidates: Sequence[NodeView], load: Sequence[int], now: float = _LONG_AGO_UP
    ) -> NodeView:
        """Return one of *candidates* (never empty).

        *load* is the number of statements in flight, indexed by `NodeView.index`. A candidate of
        weight 0 is chosen only if all are.
        """

    def _weights(self, candidates: Sequence[NodeView], now: float) -> list[float]:
        """Return a positive weight per candidate that takes part, 0.0 for one that does not."""
        costs = self.costs
        weights = [
            effective_weight(node, now, self.slow_start) / costs.get(node.index, 1.0)
            for node in candidates
        ]
        return weights if any(weights) else [1.0] * len(weights)


class LeastConnections(Chooser):
    """Fewest statements in flight per weight; ties by credit."""

    def __init__(self, *, slow_start: float = 0.0) -> None:
        super().__init__(slow_start=slow_start)
        self._credit: list[float] = []
        self._present = 0.0

    def choose(
        self, candidates: Sequence[NodeView], load: Sequence[int], now: float = _LONG_AGO_UP
    ) -> NodeView:
        """Return the candidate with the least load per weight."""
        credit = self._credit
        if len(credit) < len(load):
            credit.extend([self._present] * (len(load) - len(credit)))

        best: NodeView | None = None
        best_score = best_credit = _LONG_AGO_UP
        best_weight: float = 1
        slow_start = self.slow_start
        least = min([credit[node.index] for node in candidates])
        for node in candidates:
            weight = effective_weight(node, now, slow_start) if slow_start else node.weight
            if weight <= 0:
                continue
            index = node.index
            lead = (credit[index] - least) * weight / LEAD
            score = (load[index] + min(lead, 1)) / weight
            if score < best_score or (score == best_score and credit[index] < best_credit):
                best, best_score, best_credit, best_weight = node, score, credit[index], weight

        if best is None:  # all of weight 0
            best = min(candidates, key=lambda node: (load[node.index], credit[node.index]))
            best_credit = credit[best.index]
        best_credit = max(best_credit, self._present - LEAD)
        self._present = max(best_credit, self._present)
        credit[best.index] = best_credit + self.costs.get(best.index, 1.0) / best_weight
        return best


class RoundRobin(Chooser):
    """Smooth weighted round robin: every candidate gains its weight, the richest pays the sum."""

    def __init__(self, *, slow_start: float = 0.0) -> None:
        super().__init__(slow_start=slow_start)
        self._balance: dict[int, float] = {}

    def choose(
        self,
        candidates: Sequence[NodeView],
        load: Sequence[int],  # noqa: ARG002 - the rotation does not look at it
        now: float = _LONG_AGO_UP,
    ) -> NodeView:
        """Return the candidate whose turn it is."""
        balance = self._balance
        weights = self._weights(candidates, now)
        best = candidates[0]
        richest = -_LONG_AGO_UP
        for node, weight in zip(candidates, weights, strict=True):
            if weight <= 0:
                continue
            mine = balance[node.index] = balance.get(node.index, 0.0) + weight
            if mine > richest:
                best, richest = node, mine

        balance[best.index] -= sum(weights)
        return best


class Random(Chooser):
    """By weight, from a *random* function that returns [0, 1)."""

    def __init__(self, random: Callable[[], float], *, slow_start: float = 0.0) -> None:
        super().__init__(slow_start=slow_start)
        self._random = random

    def choose(
        self,
        candidates: Sequence[NodeView],
        load: Sequence[int],  # noqa: ARG002 - chance does not look at it
        now: float = _LONG_AGO_UP,
    ) -> NodeView:
        """Return a candidate drawn by weight."""
        weights = self._weights(candidates, now)
        point = self._random() * sum(weights)
        chosen = candidates[0]
        for node, weight in zip(candidates, weights, strict=True):
            if weight <= 0:
                continue
            chosen = node
            point -= weight
            if point < 0:
                break
        return chosen


def make_chooser(
    balance: Balance, *, random: Callable[[], float], slow_start: float = 0.0
) -> Chooser:
    """Return the chooser that `routing.balance` asks for; *random* returns [0, 1)."""
    match balance:
        case Balance.LEAST_CONNECTIONS:
            return LeastConnections(slow_start=slow_start)
        case Balance.ROUND_ROBIN:
            return RoundRobin(slow_start=slow_start)
        case Balance.RANDOM:
            return Random(random, slow_start=slow_start)
        case _:
            assert_never(balance)
