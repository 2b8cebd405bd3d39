"""Remembered: what was seen of the cluster, in the form that outlives a restart.

A rwsplit that starts sees an obsolete primary, or a copy, as it sees the right one. What tells them apart is what was
known before: whose cluster it is, which node led on which timeline, how far, and which nodes have followed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from rwsplit.cluster.descent import Fork
from rwsplit.cluster.observation import Place
from rwsplit.lsn import LSN, format_lsn, parse_lsn


@attrs.frozen(kw_only=True)
class Remembered:
    """What is known of a cluster's past; the values of `Topology` without what is seen now."""

    identity: str | None = None
    """The system identifier."""
    timeline: int | None = None
    """The one the primary was on."""
    highest: int = 0
    """The highest number that counted."""
    history: tuple[Fork, ...] | None = None
    """The forks that led to *timeline*; None: not known."""
    primary: str | None = None
    lsn: LSN | None = None
    """The last insert LSN seen of the primary."""
    members: Mapping[str, Place] = attrs.field(factory=dict)
    """Nodes that were seen as the primary or following it, and their configured places."""
    rivals: frozenset[str] = frozenset()
    """Nodes that claimed to be primary beside the right one."""
    abandoned: frozenset[str] = frozenset()
    """Nodes an operator has decided against."""

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return {
            "system_identifier": self.identity,
            "timeline": self.timeline,
            "highest_timeline": self.highest,
            "history": self.history and [[f.timeline, format_lsn(f.lsn)] for f in self.history],
            "primary": self.primary,
            "lsn": None if self.lsn is None else format_lsn(self.lsn),
            "members": {name: list(self.members[name]) for name in sorted(self.members)},
            "rivals": sorted(self.rivals),
            "abandoned": sorted(self.abandoned),
        }

    @classmethod
    def from_plain(cls, said: Mapping[str, Any]) -> Remembered:
        """Read what `to_plain` made. Raises ValueError, TypeError, KeyError, AttributeError: it did not."""
        history, lsn, timeline = said["history"], said["lsn"], said["timeline"]
        return cls(
            identity=_name(said["system_identifier"]),
            timeline=None if timeline is None else int(timeline),
            highest=int(said["highest_timeline"]),
            history=None
            if history is None
            else tuple(Fork(int(number), parse_lsn(left)) for number, left in history),
            primary=_name(said["primary"]),
            lsn=None if lsn is None else parse_lsn(lsn),
            members={
                str(name): (str(host), int(port))
                for name, (host, port) in said["members"].items()
            },
            rivals=frozenset(map(str, said["rivals"])),
            abandoned=frozenset(map(str, said["abandoned"])),
        )


def _name(said: object) -> str | None:
    """Return *said* if it is a name or None. Raises TypeError otherwise."""
    if said is None or isinstance(said, str):
        return said
    raise TypeError(f"not a name: {said!r:.60}")
