"""Following: which primary each replica takes its WAL from, through cascades.

A replica names the address of its walsender as it sees it, and each node is known under several: the configured
one, what that resolved to, and what the node itself says. A replica whose walsender is no configured node counts for none.
"""

from __future__ import annotations

from collections.abc import Mapping

from rwsplit.cluster.node import Role
from rwsplit.cluster.observation import Observation


def leaders(looks: Mapping[str, Observation]) -> dict[str, str]:
    """Return for each replica among *looks* whose WAL comes from a primary there which one that is."""
    names = {place: name for name, look in looks.items() for place in look.places}
    above = {
        name: names[look.upstream]
        for name, look in looks.items()
        if look.role is Role.REPLICA and look.upstream in names
    }
    found = {}
    for name in above:
        at, passed = above[name], {name}
        while at in above and at not in passed:
            passed.add(at)
            at = above[at]
        if looks[at].role is Role.PRIMARY:
            found[name] = at
    return found
