"""Chronicle: notes what changes about who leads the cluster: for the log, and for after a restart.

What is to be remembered is handed on at once when it changes; the position of the primary, which always changes, every
ten seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from rwsplit.cluster.doubt import Doubt
from rwsplit.cluster.node import NEVER
from rwsplit.cluster.picture import Picture
from rwsplit.cluster.remembered import Remembered

#: Seconds between two notes of the primary's position.
POSITION_INTERVAL: Final = 10.0

#: Doubts that are told: not those that are told as a split brain, nor that a primary was succeeded.
TOLD: Final = {Doubt.OTHER_CLUSTER, Doubt.DIVERGED, Doubt.NOT_FOLLOWED, Doubt.UNPROVEN}

_log = structlog.get_logger("rwsplit.monitor")


class Chronicle:
    """Looks at a picture each time a view was published."""

    def __init__(self) -> None:
        self.save: Callable[[Remembered], str | None] = lambda _: None
        """Called with what should be known after a restart; returns why that could not be saved."""
        self._noted: object = None
        self._position: object = None
        self._next_position = 0.0
        self._doubts: dict[str, Doubt] = {}
        self._no_writes = ""
        self._no_writes_since = NEVER

    def look(self, picture: Picture, now: float) -> None:
        """Take note of what has changed in *picture*."""
        topology = picture.topology
        if topology.doubts != self._doubts:
            for name, doubt in topology.doubts.items():
                if doubt in TOLD and self._doubts.get(name) is not doubt:
                    _log.warning(
                        "node_refused", node=name, doubt=doubt.name, reason=doubt.value
                    )
            self._doubts = dict(topology.doubts)
        self._look_for_writes(picture, now)
        self._remember(picture, now)

    def _look_for_writes(self, picture: Picture, now: float) -> None:
        """Tell why there are no writes, and when there are some again."""
        no_writes = picture.topology.no_writes
        if no_writes is None:
            if self._no_writes:
                seconds = round(now - self._no_writes_since, 3)
                primary = picture.topology.primary
                _log.warning("writes_resumed", node=primary, after_seconds=seconds)
            self._no_writes = ""
        elif no_writes.doubt is not Doubt.NOT_ALL_SEEN and str(no_writes) != self._no_writes:
            if not self._no_writes:
                self._no_writes_since = now
            self._no_writes = str(no_writes)
            _log.error("no_writes", reason=self._no_writes)

    def _remember(self, picture: Picture, now: float) -> None:
        topology = picture.topology
        if topology.timeline is None:
            return
        noted = (
            topology.no_writes
            is None,  # the last position of a primary that goes is worth knowing
            topology.identity,
            topology.timeline,
            topology.highest,
            topology.history,
            topology.primary,
            topology.members,
            topology.rivals,
            topology.abandoned,
        )
        moved = now >= self._next_position and picture.last_lsn != self._position
        if noted == self._noted and not moved:
            return
        self._noted, self._position = noted, picture.last_lsn
        self._next_position = now + POSITION_INTERVAL
        picture.unsaved = self.save(picture.remember())
