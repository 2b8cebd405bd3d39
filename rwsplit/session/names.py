"""Names: what a client calls statements, and what each name means by now.

A client names statements in two ways: by a Parse message, which every server can be taught (`prepared`), and by PREPARE, which only
the server it is pinned to knows. What units on their way do to the names is undone if it did not come to that (`renaming`).
"""

from __future__ import annotations

from typing import Final

from rwsplit.session.pinning import renames
from rwsplit.session.prepared import Prepared
from rwsplit.sql.script import Script

#: Statements a session may name unless the operator says otherwise.
MOST_NAMES: Final = 10_000
#: Bytes their texts may have together, for each of them.
BYTES_PER_NAME: Final = 4096


class Unsettled(Exception):
    """A message uses a name of which it is not known yet what it means."""


class UnnamedChange:
    """What a unit has done to the unnamed statement, which several units can have changed of which none has ended."""

    __slots__ = ("before", "left")

    def __init__(self) -> None:
        self.before: UnnamedChange | None = None
        """Whose change of it was the last before this one, while that was not settled."""
        self.left: Prepared | None = None
        """What it was behind the unit, as far as that is settled."""


class Names(dict[bytes, Prepared]):
    """By the client's name: the statement a Parse message has given it."""

    __slots__ = ("in_sql", "meant", "most", "size", "unnamed_by", "unsettled")

    def __init__(self) -> None:
        super().__init__()
        self.most = MOST_NAMES
        """Statements that may have a name, and portals between two Syncs."""
        self.size = 0
        """Bytes of the statements that have one."""
        self.meant: dict[bytes, Prepared] = {}
        """What was bound last for those of them that name another one (EXECUTE)."""
        self.in_sql: dict[bytes, bool] = {}
        """Statements made by PREPARE, which the server the session is pinned to has under these names."""
        self.unsettled: dict[bytes, int] = {}
        """Names that units on their way have changed, and how many of them."""
        self.unnamed_by: UnnamedChange | None = None
        """What changed the unnamed statement last, if that is not settled."""

    @property
    def are_too_many(self) -> bool:
        """There are as many named statements as there may be, or as many bytes of them."""
        return (
            len(self) + len(self.in_sql) >= self.most or self.size >= self.most * BYTES_PER_NAME
        )

    def await_settled(self, script: Script) -> None:
        """Raise Unsettled if *script* changes names of which some are not settled."""
        if self.unsettled and renames(script):
            raise Unsettled

    def drop_unnamed(self) -> None:
        """Let the empty name mean nothing, as a Query does."""
        self.pop(b"", None)
        self.unnamed_by = None
