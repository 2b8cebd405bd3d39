"""Observation: what one probe saw of one node."""

from __future__ import annotations

from enum import Enum

import attrs

from rwsplit.cluster.descent import Fork
from rwsplit.cluster.node import Role
from rwsplit.lsn import LSN

#: A host name or address and a port.
Place = tuple[str, int]


class Source(Enum):
    """Where a replica takes its WAL from."""

    UNSEEN = "not to be seen: the monitor's role lacks pg_monitor"
    NONE = "nowhere"
    ARCHIVE = "an archive"
    STREAM = "a walsender"


@attrs.frozen(kw_only=True)
class Observation:
    """The answer to one probe."""

    role: Role
    timeline: int
    lsn: LSN
    """A primary's insert LSN (normalised), a replica's replay LSN."""
    system_identifier: str
    """The same for all nodes that descend from one initdb."""
    server_version: str
    reloads: int = 0
    """How often the node has been seen to read its configuration again."""
    replay_age: float | None = None
    """Seconds since the last replayed commit was made on the primary; None on a primary, or
    before the first. Only meaningful while the replica is behind."""
    received: LSN | None = None
    """Up to where a replica has received WAL, which it will replay; None: nothing since it started."""
    source: Source = Source.UNSEEN
    upstream: Place | None = None
    """Where the walsender is that a replica streams from, as the replica sees it."""
    places: frozenset[Place] = attrs.field(default=frozenset(), eq=False)
    """Where the node is reached, as rwsplit and the node itself see it."""
    history: tuple[Fork, ...] | None = attrs.field(default=None, eq=False)
    """The forks that led to a primary's timeline, oldest first; None: not to be seen."""
    started_at: float | None = attrs.field(default=None, eq=False)
    """When its postmaster was started, in rwsplit's monotonic seconds; None: not known."""
    promoted_at: float | None = attrs.field(default=None, eq=False)
    """When a primary's timeline began, likewise; None: not to be seen, or it is the first."""
    examined: bool = True
    """False for the first look after a change of role or timeline: what led to that is not read yet."""
