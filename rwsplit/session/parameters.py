"""Parameters: what a session wants its server's run-time parameters to be, and how to get there.

A server is dialed with no parameters of its own, so a RESET or DISCARD ALL always leads back to what the
database and role define. What a session asked for at startup (`client_encoding`, `TimeZone`, `options`...) and
has set since (`journal`) is a `ParameterSet`; a server that differs is brought there by one query in front of the
session's unit, whose answer is swallowed. Sets are interned, so that "does it differ" is one identity test on the
hot path.

The order of a change matters: who one is decides what one may set. So a server leaves the role it has first, and
takes on the new one last.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final
from weakref import WeakKeyDictionary, WeakValueDictionary

from rwsplit.protocol import codes
from rwsplit.protocol.framing import frame
from rwsplit.session.literals import literal

#: Columns rwsplit selects in one row.
MOST_COLUMNS: Final = 1000
#: Bytes of the longest way from one set to another that is remembered.
MOST_REMEMBERED: Final = 4 << 10
#: Statements that bring parameters back which are remembered of one set.
MOST_RESTORED: Final = 8
#: Who a session acts as; the later one rests on the earlier.
IDENTITY: Final = ("session_authorization", "role")
#: Parameters under which even a short query of rwsplit's own may be cancelled if they are less than a second.
_TIMEOUTS: Final = ("statement_timeout", "transaction_timeout")
_TINY: Final = re.compile(r"\s*+0*+[1-9][0-9]{0,2}+(?:\.[0-9]*+)?\s*+(?:ms|us)?\s*+")


_UNITS: Final = {
    "us": 1e-6,
    "": 1e-3,
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_DURATION: Final = re.compile(
    r"\s*+([0-9]++(?:\.[0-9]*+)?|\.[0-9]++)\s*+(us|ms|s|min|h|d|)\s*+"
)


def seconds(text: str) -> float:
    """Return how long *text*, a duration as PostgreSQL takes it (milliseconds without a unit), is; 0 if it is none."""
    found = _DURATION.fullmatch(text)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0


class ParameterSet:
    """Run-time parameters that differ from the database's and role's own; immutable, interned."""

    __slots__ = (
        "__weakref__",
        "_by_name",
        "_changes",
        "_restored",
        "has_identity",
        "hurries",
        "idle_session",
        "idle_transaction",
        "values",
    )

    def __init__(self, values: tuple[tuple[str, str], ...]) -> None:
        self.values = values
        """Pairs (lower-case name, value), sorted."""
        self._by_name = dict(values)
        self.has_identity = any(name in self._by_name for name in IDENTITY)
        """It acts as another role: what runs as the wrong one may see what it must not."""
        self.hurries = any(_TINY.fullmatch(self._by_name.get(name, "")) for name in _TIMEOUTS)
        self.idle_session = seconds(self._by_name.get("idle_session_timeout", ""))
        """Seconds its session may idle, 0 without a limit; a server that has it ends by itself."""
        self.idle_transaction = seconds(
            self._by_name.get("idle_in_transaction_session_timeout", "")
        )
        """Seconds its session may idle in a transaction, 0 without a limit."""
        self._changes: WeakKeyDictionary[ParameterSet, bytes] = WeakKeyDictionary()
        self._restored: dict[tuple[frozenset[str], frozenset[str], bool], bytes | None] = {}

    @property
    def size(self) -> int:
        """Characters of all names and values."""
        return sum(len(name) + len(value) for name, value in self.values)

    def get(self, name: str) -> str | None:
        """Return the value of the parameter *name*, None if it is the database's or role's own."""
        return self._by_name.get(name)

    def is_doubtful_from(self, other: ParameterSet) -> bool:
        """Return whether the way here from *other* may fail, so that nothing may be sent behind it blindly."""
        return self.has_identity or other.hurries

    def __repr__(self) -> str:
        return f"ParameterSet({dict(self.values)!r})"

    def change_from(self, other: ParameterSet) -> bytes:
        """Return the Query frame that turns a server whose parameters are *other* into this set."""
        change = self._changes.get(other)
        if change is None:
            change = frame(codes.QUERY, _sql(other, self) + b"\0")
            if len(change) <= MOST_REMEMBERED:
                self._changes[other] = change
        return change

    def restored(
        self,
        names: Collection[str],
        but: Collection[str] = frozenset(),
        *,
        unless_set: bool = False,
    ) -> bytes | None:
        """Return the statement that sets those of *names* it has anew, except *but*, None if it has none.

        *unless_set*: only where the session has no value of its own when it runs. PostgreSQL tells that of its own
        parameters (pg_settings), not of custom ones.

        `all` stands for what RESET ALL leads back, which is not who one acts as. The statement returns no row, so
        that one message answers it: no value is null, so all are set to find that out.
        """
        key = (frozenset(names), frozenset(but), unless_set)
        if key not in self._restored:
            if len(self._restored) >= MOST_RESTORED:
                self._restored.clear()
            self._restored[key] = self._restoring(names, but, unless_set=unless_set)
        return self._restored[key]

    def _restoring(
        self, names: Collection[str], but: Collection[str], *, unless_set: bool
    ) -> bytes | None:
        setting = _setting_unless_set if unless_set else _setting
        settings = [
            f"{setting(name, value)} IS NULL"
            for name, value in self.values
            if (name in names or ("all" in names and name not in IDENTITY)) and name not in but
        ]
        return f"SELECT WHERE {' OR '.join(settings)}".encode() if settings else None


class ParameterStore:
    """Makes every distinct set exist once, for as long as a session or server uses it."""

    def __init__(self) -> None:
        self._sets: WeakValueDictionary[tuple[tuple[str, str], ...], ParameterSet]
        self._sets = WeakValueDictionary()
        self._sets[()] = NONE

    def intern(self, values: Mapping[str, str]) -> ParameterSet:
        """Return the set of *values*; names are compared without regard to case."""
        key = tuple(sorted((name.lower(), value) for name, value in values.items()))
        found = self._sets.get(key)
        if found is None:
            found = self._sets[key] = ParameterSet(key)
        return found


def _sql(old: ParameterSet, new: ParameterSet) -> bytes:
    before, after = dict(old.values), dict(new.values)
    # One leaves a role even to take it on again: in between, one's own privileges count.
    statements = [_LEAVING[name] for name in reversed(IDENTITY) if before.pop(name, None)]
    becomes = [_setting(name, after.pop(name)) for name in IDENTITY if name in after]
    left = [name for name in before if name not in after]
    if any("." in name for name in left):
        # By its name alone it cannot be reset where a library has been loaded meanwhile that refuses it.
        statements.append("RESET ALL")
        before.clear()
    else:
        statements += [f"RESET {_identifier(name)}" for name in left]
    changed = [_setting(*pair) for pair in after.items() if before.get(pair[0]) != pair[1]]
    # What is answered says nothing of the values: one may have no equivalent in the session's encoding.
    changed = [f"{setting} IS NULL" for setting in changed]
    statements += [selected(changed)] if changed else []
    statements += [f"SELECT {setting} IS NULL" for setting in becomes]
    return "; ".join(statements).encode()


def selected(columns: Sequence[str], where: str = "") -> str:
    """Return what selects *columns*, in as many rows as it takes: PostgreSQL has 1664 in one at most; no row unless *where*."""
    parts = (columns[at : at + MOST_COLUMNS] for at in range(0, len(columns), MOST_COLUMNS))
    rest = f" WHERE {where}" if where else ""
    return "; ".join(f"SELECT {', '.join(part)}{rest}" for part in parts)


def _setting(name: str, value: str) -> str:
    return f"pg_catalog.set_config({literal(name)}, {literal(value)}, false)"


def _setting_unless_set(name: str, value: str) -> str:
    return (
        "CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_settings "
        f"WHERE pg_catalog.lower(name) OPERATOR(pg_catalog.=) {literal(name)} "
        "AND source OPERATOR(pg_catalog.=) 'session') "
        f"THEN '' ELSE {_setting(name, value)} END"
    )


_LEAVING: Final = {
    "role": "SET ROLE NONE",
    "session_authorization": "SET SESSION AUTHORIZATION DEFAULT",
}


def _identifier(name: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))


#: What a freshly dialed server has.
NONE: Final = ParameterSet(())
