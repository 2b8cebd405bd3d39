"""Route: where a statement goes, and why. The reasons are a closed vocabulary.

A reason's name is the metric label, its value the sentence shown by `explain` and
`SHOW rwsplit.last_route`; tests assert the members.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Target(Enum):
    """The kind of node a statement needs."""

    PRIMARY = "primary"
    REPLICA = "replica"
    SAME = "same"
    """The server the session already holds."""
    NODE = "node"
    """One node by name (a hint or a rule)."""


class RouteReason(Enum):
    """Why a statement went where it went."""

    def __init__(self, _text: str) -> None:
        self.number = len(type(self).__members__)
        """Position among the members, for counters."""

    READ = "it only reads"
    PARAMETER = "it is about the session alone, which any node can do"
    REFUSED_PARAMETER = "it sets anew what the primary refuses"
    MAY_WRITE = "it may write"
    LOCKS_ROWS = "it locks rows"
    VOLATILE_FUNCTION = "it calls a volatile function"
    UNKNOWN_FUNCTION = "it calls a function rwsplit does not know"
    UNPARSED = "it could not be parsed, so it may write"
    SESSION_STATE = "it changes or needs the state of its session"
    NEEDS_PRIMARY = "its answer is only right on the primary"
    NODE_ROLE = "its answer tells the role of its node"
    SERIALIZABLE = "a hot standby refuses SERIALIZABLE"
    LEARNED_WRITE = "a replica refused this shape before"
    LEARNED_STATE = "a READ ONLY transaction like it wanted what only the primary allows"
    IN_TRANSACTION = "its session is in a transaction there"
    READ_ONLY_TRANSACTION = "it begins a READ ONLY transaction"
    TRANSACTION = "it begins a transaction that may write"
    SESSION_MODE = "its pool is in session mode"
    LATE_TRANSACTION = "its transaction runs where the first statement belongs"
    PINNED = "its session is pinned to a server"
    OPEN_UNIT = (
        "its unit has no Sync yet, or its rows are fetched in parts, so it may still write"
    )
    HINT = "a hint says so"
    SESSION_ROUTE = "SET rwsplit.route says so"
    RULE = "a rule says so"
    NO_FRESH_REPLICA = "no replica is eligible"
    SHARED_READ = "the primary takes part in reads"
    WAITED_FOR_REPLICA = "it waited for a replica to be fresh"
    RETRIED_READ_ONLY = "a replica refused it as a write"
    RETRIED_CONFLICT = "a replica cancelled it for recovery"
    RETRIED_LOST = "its replica was lost before it answered"
    RETRIED_NOT_REPLAYED = "the replica may not have replayed what it needs"


class Route(NamedTuple):
    """A verdict: the *target*, the *reason*, and what a hint or rule asked for on top."""

    target: Target
    reason: RouteReason
    node: str | None = None
    max_lag: float | None = None
    consistency: str | None = None
