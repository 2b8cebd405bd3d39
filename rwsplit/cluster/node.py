"""Node: one PostgreSQL instance as seen at one moment, on three independent axes.

*role* is what it is (a probe says so), *health* whether it answers (probes and failures say so),
*admin state* what the operator wants. They are never mixed into one: a node that fails heals by
itself, a node an operator detached stays detached.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import ClassVar, Final

import attrs

from rwsplit.cluster.doubt import Doubt
from rwsplit.lsn import LSN

NEVER: Final = -math.inf
#: Why a node is down that has not been probed yet.
NOT_PROBED: Final = "not probed yet"


class Role(Enum):
    """What a node is, derived from `pg_is_in_recovery()`."""

    PRIMARY = "primary"
    REPLICA = "replica"
    UNKNOWN = "unknown"


class AdminState(Enum):
    """What the operator wants of a node."""

    ATTACHED = "attached"
    DRAINING = "draining"
    DETACHED = "detached"


@attrs.frozen
class Up:
    """The node answers."""


@attrs.frozen
class Suspect:
    """The node owes an answer and has given no sign of life for unusually long: it gets nothing new."""

    since: float
    """The moment of the last sign of life, or of the first question after it (monotonic seconds)."""
    reason: ClassVar[str] = "late with an answer"


@attrs.frozen
class Frozen:
    """The node has left a probe unanswered, too: what it has not begun to answer runs elsewhere."""

    since: float
    until: float
    """No work before this moment, even if it answers sooner."""
    strikes: int
    reason: ClassVar[str] = "frozen: it leaves reads and probes unanswered"


@attrs.frozen
class Banned:
    """The node failed: no work until *until* (monotonic seconds) and a probe that succeeds."""

    reason: str
    until: float
    strikes: int


@attrs.frozen
class Down:
    """The node has not answered since *since* (monotonic seconds)."""

    since: float
    reason: str
    silent: bool = False
    """Not one byte comes from it. A node that only refuses the monitor may still serve its other connections."""


Health = Up | Suspect | Frozen | Banned | Down
#: Health of a node whose probes have not failed for good: it still is what it is known to be.
PRESENT: Final = (Up, Suspect, Frozen)


class Refusal(Enum):
    """Why a node may not answer a read now."""

    DETACHED = "detached by an operator"
    DRAINING = "being drained by an operator"
    DOWN = "down"
    BANNED = "banned after a failure"
    SUSPECT = Suspect.reason
    FROZEN = Frozen.reason
    NOT_A_REPLICA = "not a replica"
    NOT_THE_PRIMARY = "not the primary"
    NOT_NAMED = "not the node that a hint or rule names"
    UNKNOWN_FRESHNESS = "not known to be fresh yet"
    OTHER_CLUSTER = "of another cluster: its system identifier is another"
    OTHER_TIMELINE = "on another timeline than the primary"
    OTHER_SOURCE = "following another primary"
    NO_SOURCE = "receiving no WAL"
    LAGGING = "lagging more than max_lag"
    BEHIND_SESSION = "behind what this session has written or read"


@attrs.frozen(kw_only=True, eq=False)
class NodeView:
    """What is known of one node; a frozen value, replaced when anything changes."""

    name: str
    host: str
    port: int
    index: int
    """Position in the configuration; stable for the life of the configuration."""
    weight: int = 1
    backup: bool = False
    role: Role = Role.UNKNOWN
    health: Health = attrs.field(factory=lambda: Down(since=0.0, reason=NOT_PROBED))
    admin: AdminState = AdminState.ATTACHED
    timeline: int | None = None
    lsn: LSN | None = None
    """The insert LSN of a primary, the replay LSN of a replica."""
    received: LSN | None = None
    """Up to where a replica has received WAL."""
    doubt: Doubt | None = None
    """Why it is not taken for the primary it says it is, or is of another cluster."""
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    """Age of the last replayed commit while behind; 0.0 when not behind; None when unknown."""
    fresh_until: float = NEVER
    """Every commit acknowledged before this moment (monotonic seconds) is visible on the node."""
    lost_at: float = NEVER
    """When a connection to it was last lost: it may have restarted and replayed from further back."""
    refusal: Refusal | None = Refusal.DOWN
    """Why it may not read at all, before any statement's own demands; None: it may."""
    up_since: float = NEVER
    """When it last became Up (for slow_start)."""
    server_version: str | None = None
