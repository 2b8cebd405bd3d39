"""The operating system account PostgreSQL runs under: ours, or an unprivileged one when we are root.

PostgreSQL refuses to run as root. Then its programs get the `postgres` account where one exists,
else `nobody`, through subprocess's own user switch; sudo and su are not needed.
"""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path
from typing import Final, TypedDict

import attrs

UNPRIVILEGED: Final = ("postgres", "nobody")


class Switch(TypedDict, total=False):
    """subprocess's arguments that make a child another user."""

    user: int
    group: int
    extra_groups: list[int]


@attrs.frozen
class Account:
    """The account that runs the servers. *name* is None when that is the one that runs rwsplit."""

    name: str | None = None
    uid: int = -1
    gid: int = -1

    @classmethod
    def for_servers(cls) -> Account:
        """Return the account to use; as root an unprivileged one.

        Raises: LookupError when root has no unprivileged account to switch to.
        """
        if os.geteuid() != 0:
            return cls()
        for name in UNPRIVILEGED:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(name, entry.pw_uid, entry.pw_gid)
        raise LookupError(f"none of the accounts {', '.join(UNPRIVILEGED)} exists")

    @property
    def switch(self) -> Switch:
        """Arguments of subprocess for a program of this account."""
        if self.name is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def stopped_at(self, path: Path) -> Path | None:
        """Return the first directory on the way to and including *path* the account may not enter."""
        if self.name is None:
            return None
        for directory in (*reversed(path.parents), path):
            status = directory.stat()
            shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
            if not status.st_mode >> shift & 0o1:
                return directory
        return None

    def own(self, path: Path) -> None:
        """Give *path* to the account."""
        if self.name is not None:
            shutil.chown(path, self.uid, self.gid)
