"""What happened: the reads and writes of concurrent sessions, each with the client's times.

A session's events are in the order in which it learned of them. Times are monotonic seconds of one clock: *began* is taken before
anything is sent, *ended* after the answer has come, so that what a history proves is true whatever the threads were doing.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias


class Level(enum.IntEnum):
    """What a read sees at least (docs/configuration.md, `consistency.level`)."""

    EVENTUAL = 0
    SESSION = 1
    CLUSTER = 2


class Outcome(enum.Enum):
    """What the writer was told."""

    ACKNOWLEDGED = "acknowledged"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """The connection was lost before the answer came: it binds nobody, and may be seen."""


class Write(NamedTuple):
    """One transaction that wrote."""

    session: int
    entries: tuple[tuple[int, int], ...]
    """(register, value) in the order they were written; what comes later in one register hides what was before."""
    began: float
    """When what may have committed it was sent."""
    ended: float
    """When the client knew."""
    outcome: Outcome = Outcome.ACKNOWLEDGED
    said: str = ""

    @property
    def values(self) -> dict[int, int]:
        """Return what it leaves behind, by register."""
        return dict(self.entries)


class Read(NamedTuple):
    """One statement that read registers, in one snapshot."""

    session: int
    values: Mapping[int, int]
    """By register."""
    began: float
    """When the statement was sent that took the snapshot."""
    ended: float
    level: Level | None = None
    """What was asked for; None: the level of this rwsplit."""
    transaction: int | None = None
    """The number of the REPEATABLE READ transaction it belongs to; its reads share one snapshot."""
    uncommitted: Mapping[int, int] = {}
    """What its own transaction had written before, by register."""
    node: str = ""
    said: str = ""


Event: TypeAlias = Read | Write
