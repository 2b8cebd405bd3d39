"""Changes: what differs between two configurations, and what of it a running rwsplit can take over.

A reload is atomic: either every difference can be taken over, or nothing is and the operator reads
why. Listening sockets are bound once, before anything else runs, so `listen` is the one exception.
"""

from __future__ import annotations

import attrs

from rwsplit.config.model import Config
from rwsplit.config.settings import values

FIXED = {"listen": "cannot change while rwsplit runs; restart it to listen elsewhere"}


@attrs.frozen
class Change:
    """One setting that differs; texts are as the YAML would write them, empty where not set."""

    path: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.path}: {self.old or 'not set'} -> {self.new or 'not set'}"


@attrs.frozen
class Changes:
    """The differences between two configurations."""

    changed: tuple[Change, ...]
    refused: tuple[str, ...]
    """Why the reload is refused as a whole, `path: sentence`; empty when it can be done."""
    userlist: tuple[str, ...] = ()
    """What differs in the userlist, in sentences."""

    @property
    def told(self) -> tuple[str, ...]:
        """Return all that is taken over, a line each."""
        return (*map(str, self.changed), *self.userlist)


def compare(old: Config, new: Config) -> Changes:
    """Return what a reload from *old* to *new* changes."""
    before, after = values(old), values(new)
    changed = [
        Change(path, before.get(path, ""), after.get(path, ""))
        for path in dict.fromkeys([*before, *after])
        if before.get(path) != after.get(path)
    ]
    # Secrets are rendered alike, so that a difference shows only here.
    if old.monitor.password != new.monitor.password:
        changed = [change for change in changed if change.path != "monitor.password"]
        changed.append(Change("monitor.password", "****", "****"))
    names = [[node.name for node in config.nodes] for config in (old, new)]
    if names[0] != names[1] and sorted(names[0]) == sorted(names[1]):
        changed.append(Change("nodes", ", ".join(names[0]), ", ".join(names[1])))
    refused = [f"{each.path}: {FIXED[each.path]}" for each in changed if each.path in FIXED]
    return Changes(tuple(changed), tuple(refused))
