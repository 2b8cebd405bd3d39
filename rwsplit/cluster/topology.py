"""Topology: which node is the primary, among all that say so.

`pg_is_in_recovery()` is false on every node that was ever promoted and on the one it was promoted
away from, so the answer of one node proves nothing. What decides is the timeline: a promotion
begins a new one, with a higher number.

- The primary is the node that claims it on the highest timeline seen anywhere, by replicas too: a
  replica on timeline 2 proves that a primary on timeline 1 is obsolete, even while the new one has
  not been seen.
- It stays the primary by name while it is down: nobody else is, until somebody claims a higher
  timeline or a sole claim on the same one appears that was never a rival's.
- An old primary that comes back on its old timeline gets no writes, and no reads until it follows.
- Two that claim the *same* timeline are a split brain. The one known first keeps the writes; its
  rival gets nothing, also not when the first goes down, until the rival is seen as a replica or on
  a higher timeline, or the first is removed from the configuration. If none was known first, none
  is chosen until one of them is gone: a write refused can be repeated, one sent to the wrong side
  is lost.
- Nobody is chosen before every node was looked at once (*settled*), for the first to answer may be
  the obsolete one.
- A node with another system identifier is not of this cluster at all.
"""

from __future__ import annotations

from collections.abc import Mapping

from rwsplit.cluster.node import Role
from rwsplit.cluster.observation import Observation


class Topology:
    """Who is believed to lead; fed with the latest observation of every node that is up."""

    def __init__(self) -> None:
        self.primary: str | None = None
        """The node that is the primary, or was when last seen."""
        self.timeline: int | None = None
        """The timeline of the last primary; LSNs are compared on this one."""
        self.rivals: frozenset[str] = frozenset()
        """Nodes that claim to be primary on the timeline on which another does too."""
        self._identity: str | None = None
        self._highest = 0

    def consider(self, seen: Mapping[str, Observation], *, settled: bool) -> bool:
        """Decide again from *seen*; return True if LSNs known so far have lost their meaning.

        *seen* are the nodes that are up; *settled* says that every node has been looked at.
        """
        ours = {name: look for name, look in seen.items() if self.is_ours(look)}
        highest = max([self._highest, *(look.timeline for look in ours.values())])
        if highest > self._highest:
            self._highest = highest
            self.rivals = frozenset()
        claims = frozenset(
            name
            for name, look in ours.items()
            if look.role is Role.PRIMARY and look.timeline == highest
        )
        self.rivals = self.rivals - (seen.keys() - claims)

        if self.primary in claims:
            self.rivals |= claims - {self.primary}
            return False
        if self.primary in seen or self.timeline != highest:  # demoted, or obsolete
            self.primary = None
        if not settled:
            return False
        return self._choose(claims, ours)

    def is_ours(self, look: Observation) -> bool:
        """Return whether the node belongs to this cluster, as far as is known."""
        return self._identity is None or look.system_identifier == self._identity

    def follows(self, look: Observation) -> bool:
        """Return whether an LSN of this node may be compared with the primary's."""
        return look.timeline == self.timeline and self.is_ours(look)

    def forget(self, name: str) -> None:
        """Drop the node called *name*: it is no longer configured."""
        if name == self.primary:
            self.primary = None
            self.rivals = frozenset()
        self.rivals -= {name}

    def _choose(self, claims: frozenset[str], ours: Mapping[str, Observation]) -> bool:
        """Adopt the only claim, if there is one; the old primary, if any, is down or gone."""
        if self.primary is None:
            self.rivals = frozenset()
        candidates = claims - self.rivals
        if len(candidates) != 1:
            self.rivals |= candidates
            return False

        (name,) = candidates
        self.primary = name
        self.timeline = self._highest
        self._identity = ours[name].system_identifier
        return True
