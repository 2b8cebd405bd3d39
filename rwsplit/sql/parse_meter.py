"""Parse meter: counts what sqlglot's parser does while it does it, and stops it.

Its time is not bounded by the length of a text: where it tries one meaning of some words and then another, it reads the same words
again, and twice as often with each level of brackets (decision 25). It is compiled, so nothing can interrupt it from outside.

But it is driven by tables, attributes of its class: which words begin a type, which are operators, which can be names. Whatever it tries,
it looks into some of them, as a rule several times for each word it moves on by. So all of them are replaced here by tables that count
the looks and raise `SpentError` behind the last one allowed. Outside of a `Metered` block there is no limit. Otherwise the tables
are sqlglot's own. The compiled parser looks into some of them without asking them (`x in self.T`, where it knows the type of T); it asks in
`_match_set`, `_match_texts` and `T[x]`, which is enough; `T.get(x)` it looks up itself.

Between two looks it may go through the tree it has built so far, say for `a.f(1).f(1)...`; so where others wait, a clock is looked at
every few looks, too.

`tests/unit/sql/test_parse_meter.py` searches the sources of the parser for a way round the tables, and
`tests/property/test_parse_meter.py` compares looks with steps.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, TypeAlias

from sqlglot import Parser
from sqlglot.dialects.postgres import Postgres

#: Looks between two looks at the clock.
CHUNK: Final = 4
_NO_LIMIT: Final = 1 << 62

#: Returns seconds, of processor time or of any.
Clock: TypeAlias = Callable[[], float]


class SpentError(Exception):
    """The parser has looked once too often, or for too long."""


class _Meter:
    """What the parser that runs may still do."""

    __slots__ = ("clock", "deadline", "now", "then")

    def __init__(self) -> None:
        self.now = _NO_LIMIT
        """Looks until it is decided whether there are more."""
        self.then = 0
        """Looks behind those."""
        self.clock: Clock = float  # 0.0: no time passes
        self.deadline = 0.0

    def go_on(self) -> None:
        """Decide whether there are more looks. Raises: SpentError."""
        if not self.then or self.clock() > self.deadline:
            raise SpentError
        self.now = min(self.then, CHUNK)
        self.then -= self.now
        self.now -= 1  # the one that asks


_METER: Final = _Meter()


class Metered:
    """While a block of code runs, the parser may look so many times, for so many *seconds* by *clock*; with the next look the block ends."""

    __slots__ = ("_clock", "_looks", "_seconds", "stopped", "taken")

    def __init__(self, looks: int, *, clock: Clock | None = None, seconds: float = 0.0) -> None:
        self._looks = looks
        self._clock = clock
        self._seconds = seconds
        self.taken = 0
        """How many looks it took."""
        self.stopped = False
        """Whether it was stopped."""

    def __enter__(self) -> Metered:
        clock = self._clock
        if clock is None:
            _METER.now, _METER.then = self._looks, 0
        else:
            _METER.now = min(self._looks, CHUNK)
            _METER.then = self._looks - _METER.now
            _METER.clock = clock
            _METER.deadline = clock() + self._seconds
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self.taken = self._looks - _METER.then - max(0, _METER.now)
        self.stopped = isinstance(error, SpentError)
        _METER.now, _METER.then = _NO_LIMIT, 0
        return self.stopped


def _watched(kind: Any) -> type:
    """Return *kind*, of which a table is, with looks that count."""

    class Watched(kind):  # type: ignore[misc]  # one of three
        __slots__ = ()

        def __contains__(self, key: object) -> bool:
            _METER.now -= 1
            if _METER.now < 0:
                _METER.go_on()
            return bool(kind.__contains__(self, key))

    if kind is not dict:
        return Watched

    class WatchedDict(Watched):
        __slots__ = ()

        def __getitem__(self, key: object) -> Any:
            _METER.now -= 1
            if _METER.now < 0:
                _METER.go_on()
            return dict.__getitem__(self, key)

    return WatchedDict


def _watch(parser: Any) -> None:
    """Replace the tables of *parser*."""
    watched = {kind: _watched(kind) for kind in (dict, set, frozenset)}
    for name in TABLES:
        table: Any = getattr(parser, name, None)
        kind: Any = type(table)
        if kind in watched:
            setattr(parser, name, watched[kind](table))


TABLES: Final = tuple(
    name
    for name in dir(Postgres.Parser)
    if name.isupper() and type(getattr(Postgres.Parser, name)) in (dict, set, frozenset)
)
"""The names of the tables."""

_watch(Postgres.Parser)
_watch(Parser)  # which some of its methods use for what they read within a text
