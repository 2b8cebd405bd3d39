"""The rules: what a history may not contain.

A read must not be older than what its session is *bound* to know. A session is bound by what it wrote, by what it read, and by
all that those who wrote what it read were bound by: a value carries its writer's bounds along (causality), and every other value
of its transaction. At level `cluster` a read is also bound by every write that was acknowledged before it began.

A read below the level of this rwsplit (`node=`, `consistency=eventual`, SET) is judged by its own level and binds nobody
afterwards: it leaves no trace.

A replica may show a commit a moment before the primary does: PostgreSQL writes and streams its record first, and then lets the
primary's other sessions see it; its client hears of it last (docs/decisions/0026). So a read on the primary may miss what a replica has
shown, as long as the writer has not been told.

One pass over the history's moments in the order of time; a write becomes visible when it begins, and binds its session when it ends.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from tests.support.guarantees.history import Event, Level, Outcome, Read, Write


class Rule(enum.Enum):
    """What was broken."""

    READ_YOUR_WRITES = "a read is older than what its session wrote"
    MONOTONIC_READS = "a read is older than what its session read before"
    MONOTONIC_WRITES = "a read misses a write that came before one the session has seen"
    WRITES_FOLLOW_READS = "a read is older than what the writer of a value it has seen had read"
    REAL_TIME_ORDER = "a read is older than a write acknowledged before it began"
    TORN_TRANSACTION = "a read sees one part of a transaction and not the other"
    REPEATABLE_READ = "a REPEATABLE READ transaction sees two values"
    OWN_TRANSACTION = "a transaction does not see what it has written itself"
    NEVER_COMMITTED = "a read sees what nobody committed"


class Bound(NamedTuple):
    """The least value of a register that may be read, which rule demands it, and why."""

    value: int
    rule: Rule
    cause: Event


class Violation(NamedTuple):
    """One register of a read that breaks a rule."""

    rule: Rule
    event: Read
    register: int
    found: int
    expected: int
    cause: Event | None

    def __str__(self) -> str:
        return (
            f"{self.rule.value}: session {self.event.session} read {self.found} in register {self.register}, "
            f"expected {self.expected}"
        )


Bounds = dict[int, Bound]

#: By what those are bound who see a value, if its writer was bound by a rule.
_INHERITED: Final = {
    Rule.READ_YOUR_WRITES: Rule.MONOTONIC_WRITES,
    Rule.MONOTONIC_WRITES: Rule.MONOTONIC_WRITES,
    Rule.MONOTONIC_READS: Rule.WRITES_FOLLOW_READS,
    Rule.WRITES_FOLLOW_READS: Rule.WRITES_FOLLOW_READS,
}
PRIMARY: Final = "primary"
"""The primary's name in histories, while it is one."""
_SEEN_FIRST: Final = frozenset(
    {Rule.MONOTONIC_READS, Rule.MONOTONIC_WRITES, Rule.WRITES_FOLLOW_READS}
)
"""What a commit that is not acknowledged yet may break on the primary."""
_BEGINS, _APPEARS, _ACKNOWLEDGED, _ENDS = range(4)


def violations(history: Iterable[Event], level: Level = Level.SESSION) -> list[Violation]:
    """Return what is wrong with *history* if *level* is promised to reads that asked for none."""
    judge = _Judge(level)
    return [
        violation
        for moment, event in _moments(history)
        for violation in judge.look(moment, event)
    ]


def _moments(history: Iterable[Event]) -> list[tuple[int, Event]]:
    """Return the moments of *history* in their order; at the same time a read still begins before a write ends."""
    moments: list[tuple[float, int, int, Event]] = []
    for number, event in enumerate(history):
        if isinstance(event, Read):
            moments.append((event.began, _BEGINS, number, event))
            moments.append((event.ended, _ENDS, number, event))
            continue
        moments.append((event.began, _APPEARS, number, event))
        if event.outcome is Outcome.ACKNOWLEDGED:
            moments.append((event.ended, _ACKNOWLEDGED, number, event))
    moments.sort(key=lambda moment: moment[:3])
    return [(kind, event) for _, kind, _, event in moments]


class _Judge:
    """What is known at one moment of a history."""

    def __init__(self, level: Level) -> None:
        self._level = level
        self._bounds: dict[int, Bounds] = {}
        """Of each session."""
        self._carried: dict[tuple[int, int], Bounds] = {}
        """What a session that sees a (register, value) is bound by."""
        self._told: dict[tuple[int, int], float] = {}
        """When the writer of a (register, value) knew."""
        self._newest: Bounds = {}
        """What has been acknowledged, to any session."""
        self._floors: dict[int, Bounds] = {}
        """The same when a read began, by the read's id."""
        self._snapshots: dict[int, dict[int, int]] = {}
        """What REPEATABLE READ transactions have seen."""

    def look(self, moment: int, event: Event) -> Iterable[Violation]:
        """Take note of *event*; return what is wrong with it."""
        if isinstance(event, Write):
            if moment == _APPEARS:
                self._appears(event)
            else:
                self._acknowledged(event)
            return ()
        if moment == _BEGINS:
            self._floors[id(event)] = {
                register: self._newest[register]
                for register in event.values
                if register in self._newest
            }
            return ()
        return list(self._judge(event))

    def _appears(self, write: Write) -> None:
        if write.outcome is Outcome.FAILED:
            return
        carried = {
            register: bound._replace(rule=_INHERITED[bound.rule])
            for register, bound in self._bounds.get(write.session, {}).items()
        }
        for register, value in write.values.items():
            carried[register] = Bound(value, Rule.TORN_TRANSACTION, write)
        for register, value in write.values.items():
            self._carried[register, value] = carried
            self._told[register, value] = write.ended

    def _acknowledged(self, write: Write) -> None:
        bounds = self._bounds.setdefault(write.session, {})
        for register, value in write.values.items():
            _raise(bounds, register, Bound(value, Rule.READ_YOUR_WRITES, write))
            _raise(self._newest, register, Bound(value, Rule.REAL_TIME_ORDER, write))

    def _judge(self, read: Read) -> Iterator[Violation]:
        floors = self._floors.pop(id(read))
        for register, value in read.uncommitted.items():
            found = read.values.get(register, value)
            if found != value:
                yield Violation(Rule.OWN_TRANSACTION, read, register, found, value, None)
        seen = {r: v for r, v in read.values.items() if r not in read.uncommitted}
        yield from self._never_committed(read, seen)
        level = self._level if read.level is None else read.level
        yield from self._in_itself(read, seen)
        if level is Level.EVENTUAL:
            return
        bounds = self._bounds.setdefault(read.session, {})
        yield from (v for v in _older(read, seen, bounds) if not self._is_seen_first(v))
        if level is Level.CLUSTER:
            yield from _older(read, seen, floors)
        if level >= self._level:
            self._bind(bounds, read, seen)

    def _is_seen_first(self, violation: Violation) -> bool:
        """Say whether the primary misses a commit that its writer did not know of yet, and that a replica has shown."""
        read, cause = violation.event, violation.cause
        told = self._told.get((violation.register, violation.expected))
        return (
            read.node == PRIMARY
            and violation.rule in _SEEN_FIRST
            and told is not None
            and told > read.began
            and not (isinstance(cause, Read) and cause.node == PRIMARY)
        )

    def _never_committed(self, read: Read, seen: Mapping[int, int]) -> Iterator[Violation]:
        for register, value in seen.items():
            if value and (register, value) not in self._carried:
                yield Violation(Rule.NEVER_COMMITTED, read, register, value, 0, None)

    def _in_itself(self, read: Read, seen: dict[int, int]) -> Iterator[Violation]:
        """Yield what no snapshot can contain, at whatever level."""
        snapshot = seen
        if read.transaction is not None:
            snapshot = self._snapshots.setdefault(read.transaction, {})
            for register, value in seen.items():
                if snapshot.setdefault(register, value) != value:
                    first = snapshot[register]
                    yield Violation(Rule.REPEATABLE_READ, read, register, value, first, None)
        if len(snapshot) < 2:
            return
        demanded: Bounds = {}
        for place in snapshot.items():
            for register, bound in self._carried.get(place, {}).items():
                if register in snapshot:
                    _raise(demanded, register, bound)
        yield from _older(read, snapshot, demanded)

    def _bind(self, bounds: Bounds, read: Read, seen: Mapping[int, int]) -> None:
        for register, value in seen.items():
            _raise(bounds, register, Bound(value, Rule.MONOTONIC_READS, read))
            for other, bound in self._carried.get((register, value), {}).items():
                if (
                    bound.rule is Rule.TORN_TRANSACTION
                ):  # for later reads it is one of two writes
                    _raise(bounds, other, bound._replace(rule=Rule.MONOTONIC_WRITES))
                else:
                    _raise(bounds, other, bound)


def _raise(bounds: Bounds, register: int, bound: Bound) -> None:
    known = bounds.get(register)
    if known is None or known.value < bound.value:
        bounds[register] = bound


def _older(read: Read, seen: Mapping[int, int], bounds: Bounds) -> Iterator[Violation]:
    for register, value in seen.items():
        bound = bounds.get(register)
        if bound is not None and value < bound.value:
            yield Violation(bound.rule, read, register, value, bound.value, bound.cause)
