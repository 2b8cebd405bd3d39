"""Identity: which system identifier the nodes of this cluster have.

Every initdb makes another one, and every copy keeps it. The first time the majority of the nodes that answer says
which is ours; from then on it is known, across restarts, and what has another one is never used. Only an operator who
accepts a node changes it (after pg_upgrade, which makes a new one).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


def majority(identifiers: Iterable[str]) -> str | None:
    """Return the most frequent of *identifiers*, None if there is none or two are equally frequent."""
    ranked = Counter(identifiers).most_common(2)
    if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]):
        return None
    return ranked[0][0]
