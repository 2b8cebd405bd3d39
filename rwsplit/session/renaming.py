"""Renaming: what the messages of one unit do to what its session calls statements, until it is known whether they did.

A client that pipelines says the next thing before it has heard of the one before, so a name means at once what the last
message has made of it. But behind an error everything is skipped up to the Sync, and then it was not made, or is
not gone. What was said in vain is taken back when the unit has ended. Nothing in that unit has relied on it, since what
follows is skipped, too; and a message of a later unit that uses such a name waits until the name is settled
(`Unsettled`). Waiting costs a turn of the network only where a pipeline names a statement and uses it behind a Sync.
"""

from __future__ import annotations

from typing import Any, Final

from rwsplit.session.names import Names, UnnamedChange
from rwsplit.session.pinning import drops_prepared
from rwsplit.session.prepared import Prepared
from rwsplit.sql.script import Script
from rwsplit.sql.statement import Verb

#: Changes of one unit that are simply kept.
MANY_CHANGES: Final = 4096


class Renaming(UnnamedChange):
    """What one unit does to its session's *names*."""

    __slots__ = ("_entries", "_many", "_names", "_places", "named")

    def __init__(self, names: Names) -> None:
        super().__init__()
        self._names = names
        self._entries: list[tuple[int, dict[bytes, Any], bytes, Any, Any]] = []
        """For each change the number of the message that makes it, the table, the name, what it meant and means."""
        self._many = MANY_CHANGES
        """The number of changes at which they are reduced to what they leave."""
        self.named = 0
        """How many of them are of statements that have a name."""
        self._places: dict[Any, list[int]] = {}
        """Where the entries are that let a name mean a statement."""

    def note(self, script: Script, number: int = 0) -> None:
        """Take note of the names that *script*, run by the unit's message *number*, makes (PREPARE) and drops."""
        for statement in script.statements:
            name = (statement.name or "").encode()
            if statement.verb is Verb.PREPARE:
                self.name_in_sql(number, name)
            elif drops_prepared(statement):
                self.drop_all(number)
            elif statement.verb is Verb.DEALLOCATE and name in self._names.in_sql:
                self.drop(number, name)

    def name(self, number: int, name: bytes, prepared: Prepared) -> None:
        """Let *name* mean *prepared*, by the unit's message *number*."""
        self._change(number, self._names, name, new=prepared)

    def name_in_sql(self, number: int, name: bytes) -> None:
        """Let *name* be one made by PREPARE."""
        self._change(number, self._names.in_sql, name, new=True)

    def drop(self, number: int, name: bytes) -> None:
        """Let *name* mean nothing."""
        for table in (self._names, self._names.in_sql):
            if name in table:
                self._change(number, table, name, new=None)

    def drop_all(self, number: int) -> None:
        """Let no name mean anything; the unnamed statement has none to be deallocated by."""
        for name in [*self._names, *self._names.in_sql]:
            if name:
                self.drop(number, name)

    def _change(self, number: int, table: dict[bytes, Any], name: bytes, *, new: Any) -> None:
        names = self._names
        if not name and names.unnamed_by is not self:
            self.before, names.unnamed_by = names.unnamed_by, self
        self.named += bool(name)
        if table is names and new is not None:
            self._places.setdefault(new, []).append(len(self._entries))
        self._entries.append((number, table, name, table.get(name), new))
        self._put(table, name, new)

    def tidy(self, told: int) -> None:
        """Drop intermediate changes of the unnamed statement, now that *told* messages have succeeded.

        A client may parse the unnamed statement any number of times before its Sync; only the last of these that succeeded counts.
        """
        if len(self._entries) <= self._many:
            return
        done = [
            at for at, entry in enumerate(self._entries) if not entry[2] and entry[0] < told
        ]
        # The first tells what was before all of them.
        passed = set(done[1:-1])
        self._entries = [entry for at, entry in enumerate(self._entries) if at not in passed]
        self._many = max(MANY_CHANGES, 2 * len(self._entries))
        self._places.clear()
        for at, (_, table, _, _, new) in enumerate(self._entries):
            if table is self._names and new is not None:
                self._places.setdefault(new, []).append(at)

    def exchange(self, old: Prepared, new: Prepared) -> None:
        """Let the names that the unit has given to *old* mean *new*: what it has parsed turned out to be that, or is told apart."""
        places = self._places.pop(old, ())
        for at in places:
            number, table, name, before, _ = self._entries[at]
            self._entries[at] = (number, table, name, before, new)
            if table.get(name) is old:
                table[name] = new
        if places:
            self._places.setdefault(new, []).extend(places)

    # Until it is settled...

    def end(self) -> None:
        """The unit is complete: what comes now cannot rely on its names before it is settled."""
        unsettled = self._names.unsettled
        for _, _, name, _, _ in self._entries:
            unsettled[name] = unsettled.get(name, 0) + 1

    def settle(self, told: int | None) -> None:
        """The unit has ended; of its messages *told* did what they say, None: all of them.

        A Parse of the unnamed statement that failed leaves none.
        """
        unsettled = self._names.unsettled
        for number, table, name, old, new in reversed(self._entries):
            count = unsettled.get(name, 0) - 1
            if count > 0:
                unsettled[name] = count
            else:
                unsettled.pop(name, None)
            if not name:
                continue
            if told is None or number < told or table.get(name) is not new:
                continue
            self._put(table, name, old)
        if any(not name for _, _, name, _, _ in self._entries):
            self._settle_unnamed(told)
        self._entries.clear()
        self._places.clear()

    def _put(self, table: dict[bytes, Any], name: bytes, value: Any) -> None:
        if table is self._names and name:
            self._names.size += _size(value) - _size(table.get(name))
        _put(table, name, value)

    def _settle_unnamed(self, told: int | None) -> None:
        """Only the unnamed statement can have been changed by several units of which none has ended."""
        names, before = self._names, self.before
        entries = [entry for entry in self._entries if not entry[2]]
        left = entries[0][3] if before is None else before.left
        for number, _, _, _, new in entries:
            if told is None or number < told:
                left = new
            elif number == told:
                left = None
        self.left = left
        self.before = None
        if names.unnamed_by is self:
            names.unnamed_by = None
            _put(names, b"", left)


def _size(value: Any) -> int:
    """Return how many bytes of text *value*, what a name means, has."""
    return len(value.tail) if value is not None else 0


def _put(table: dict[bytes, Any], name: bytes, value: Any) -> None:
    if value is None:
        table.pop(name, None)
        if not table:
            table.clear()  # a new dict, since a dict never gives back the memory of its entries
    else:
        table[name] = value
