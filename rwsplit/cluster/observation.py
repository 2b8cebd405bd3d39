"""Observation: what one probe saw of one node."""

from __future__ import annotations

import attrs

from rwsplit.cluster.node import Role
from rwsplit.lsn import LSN


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
    replay_age: float | None = None
    """Seconds since the last replayed commit was made on the primary; None on a primary, or
    before the first. Only meaningful while the replica is behind."""
