"""A client's program: bursts of statements without end, drawn from a seed.

A program is a row of episodes: reads; a write; a transaction with any of the ways to begin, end, chain and fail; a time below the
level. The statements of an episode are cut into bursts anywhere: several in one string, pipelined to one Sync, to one each, ended by
a Flush. So the forms a COMMIT can stand in need no list.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeAlias, TypeVar

from tests.support.guarantees.history import Level
from tests.support.guarantees.statements import (
    HINTS,
    WAYS_TO_READ,
    WAYS_TO_READ_ALL,
    WAYS_TO_WRITE,
    WAYS_TO_WRITE_ALONE,
    Begin,
    End,
    Other,
    Reading,
    Resolve,
    Restrict,
    Setting,
    Statement,
    WayToRead,
    Writing,
    hinted,
)

#: Registers each client writes.
REGISTERS: Final = 2


class Style(enum.Enum):
    """How the statements of a burst are put into messages; all of them go out in one write."""

    STRING = "one Query"
    QUERIES = "a Query each"
    PIPELINE = "the extended protocol, one Sync"
    SYNCS = "the extended protocol, a Sync each"
    FLUSH = "the extended protocol, a Flush in place of the Sync"


#: What may follow a burst that a Flush has ended.
_APART: Final = (Style.QUERIES, Style.SYNCS)


class Burst(NamedTuple):
    """What a client sends at once, after *pause* seconds."""

    style: Style
    statements: tuple[Statement, ...]
    pause: float = 0.0

    @property
    def units(self) -> list[tuple[Statement, ...]]:
        """Return its statements by the unit they belong to."""
        if self.style in _APART:
            return [(statement,) for statement in self.statements]
        return [self.statements]

    def __str__(self) -> str:
        texts = "; ".join(statement.sql for statement in self.statements)
        return f"{self.style.name.lower()}: {texts}"


Episode: TypeAlias = list[Burst]
#: Statements that stay together in one burst.
Group: TypeAlias = tuple[Statement, ...]

Drawn = TypeVar("Drawn")
#: Each with its weight.
Choices: TypeAlias = Sequence[tuple[Drawn, int]]

_STYLES: Final[Choices[Style]] = tuple(
    zip(Style, (4, 4, 4, 4, 1), strict=True)  # reads before a Flush are led to the primary
)
_AFTER_FLUSH: Final[Choices[Style]] = (
    (Style.PIPELINE, 2),
    (Style.SYNCS, 2),
    (Style.FLUSH, 1),
)
#: Ways to read and to write that pin a session: they are for few.
PINNING: Final = frozenset({"execute", "do", "call"})

_BEGINNINGS: Final = (
    (Begin("begin"), 8),
    (Begin("start transaction"), 1),
    (Begin("begin isolation level read committed read write"), 1),
    (Begin("begin isolation level repeatable read", is_frozen=True), 3),
    (Begin("begin isolation level serializable", is_frozen=True), 1),
)
_READ_ONLY_BEGINNINGS: Final = (
    (Begin("begin read only", reads_only=True), 2),
    (
        Begin(
            "begin isolation level repeatable read read only", is_frozen=True, reads_only=True
        ),
        1,
    ),
)
_COMMIT: Final = (End("commit"),)
_ROLLBACK: Final = (End("rollback"),)
_FAILURE: Final = (Other("select 1/0"),)
#: Groups that end a transaction, and whether another one is under way afterwards.
_ENDINGS: Final[Choices[tuple[tuple[Group, ...], bool]]] = (
    (((_COMMIT,), False), 6),
    ((((End("end"),),), False), 1),
    ((((End("commit and no chain"),),), False), 1),
    (((_ROLLBACK,), False), 2),
    (((_FAILURE, _ROLLBACK), False), 2),
    (((_FAILURE, _COMMIT), False), 1),
    ((((End("commit and chain", chains=True),),), True), 4),
    ((((End("rollback and chain", chains=True),),), True), 1),
    (((_COMMIT, (Begin("begin"),)), True), 4),
    (((_ROLLBACK, (Begin("begin"),)), True), 1),
)
_QUIET_ENDINGS: Final[Choices[tuple[tuple[Group, ...], bool]]] = (
    (((_ROLLBACK,), False), 2),
    (((_FAILURE, _ROLLBACK), False), 2),
    (((_COMMIT,), False), 1),
)
#: Most transactions that follow each other in one episode.
_LONGEST_CHAIN: Final = 3


class Program:
    """What client *number* of *clients* says; *two_phases*: the nodes allow prepared transactions."""

    def __init__(
        self, number: int, clients: int, seed: int, *, two_phases: bool = False
    ) -> None:
        self.registers = range(number * REGISTERS, (number + 1) * REGISTERS)
        """Those it writes."""
        self.prefix = f"c{number}_"
        """Of all names it makes."""
        self._all = clients * REGISTERS
        self._chance = random.Random(f"{seed} {number}")
        self._two_phases = two_phases
        self._written = dict.fromkeys(self.registers, 0)
        self._pins = False
        self._names = 0

    def begin_session(self) -> bool:
        """Begin a session; return whether it does what pins it, after having said `statements.PREPARE`."""
        self._pins = self._chance.random() < 0.1
        return self._pins

    def length(self) -> int:
        """Return the number of episodes of a session."""
        return self._chance.randint(10, 120)

    def episode(self, *, may_write: bool) -> Episode:
        """Return what the client does next; without *may_write* it gives no register a value."""
        bursts = self._drawn(self._writers() if may_write else self._readers())()
        if self._chance.random() < 0.1:  # long enough for replicas to have what it has seen
            bursts[0] = bursts[0]._replace(pause=self._chance.uniform(0.0, 0.3))
        return bursts

    def _writers(self) -> Choices[Callable[[], Episode]]:
        return (
            (self._write, 6),
            (self._transaction, 12),
            (self._alone, 2 if self._pins else 0),
            (self._in_two_phases, 2 if self._two_phases else 0),
            (partial(self._set, may_write=True), 1),
        )

    def _readers(self) -> Choices[Callable[[], Episode]]:
        return ((self._reads, 12), (self._read_only, 3), (self._below, 4), (self._set, 2))

    # -- episodes ----------------------------------------------------------------------------------

    def _reads(self) -> Episode:
        return self._cut([(self._reading(),) for _ in range(self._chance.randint(1, 24))])

    def _write(self) -> Episode:
        """In no transaction block; or in an implicit one with what is cut off with it."""
        groups: list[Group] = [(self._writing(),), *self._own_reads(2)]
        if self._chance.random() < 0.2:
            groups.insert(0, (self._reading(),))
        return self._cut(groups)

    def _read_only(self) -> Episode:
        groups: list[Group] = [(self._drawn(_READ_ONLY_BEGINNINGS),)]
        return self._cut(self._chained(groups, may_write=False), thinks=True)

    def _transaction(self) -> Episode:
        groups: list[Group] = [(self._drawn(_BEGINNINGS),)]
        if self._chance.random() < 0.1:
            groups.append((Restrict(),))
            self._chained(groups, may_write=True, is_restricted=True)
        else:
            self._chained(groups, may_write=True)
        if self._chance.random() < 0.4:
            groups.append((self._writing(),))
        return self._cut(groups + self._own_reads(3), thinks=True)

    def _chained(
        self, groups: list[Group], *, may_write: bool, is_restricted: bool = False
    ) -> list[Group]:
        """Add to *groups* what is done in a transaction, its end, and the transactions it chains.

        *is_restricted*: the first one and those it chains are READ ONLY, those that begin again are not.
        """
        for number in range(_LONGEST_CHAIN):
            # What is chained often does nothing, or fails: then only the tags have told of the commit before.
            does_nothing = number > 0 and self._chance.random() < 0.5
            if not does_nothing:
                groups += self._body(may_write=may_write and not is_restricted)
            ends, goes_on = self._drawn(_QUIET_ENDINGS if does_nothing else _ENDINGS)
            groups += ends
            if not goes_on:
                return groups
            is_restricted = is_restricted and not isinstance(ends[-1][0], Begin)
        groups.append(_ROLLBACK)
        return groups

    def _in_two_phases(self) -> Episode:
        name = self._name()
        resolve = (
            Resolve(f"commit prepared '{name}'", commits=True)
            if self._chance.random() < 0.8
            else Resolve(f"rollback prepared '{name}'", commits=False)
        )
        groups: list[Group] = [
            (Begin("begin"),),
            (self._writing(),),
            (End(f"prepare transaction '{name}'", prepares=name),),
        ]
        return [
            *self._cut(groups),
            Burst(self._chance.choice(_APART), (resolve,)),
            *self._cut(self._own_reads(3)),
        ]

    def _alone(self) -> Episode:
        make = self._chance.choice(list(WAYS_TO_WRITE_ALONE.values()))
        return [
            Burst(Style.STRING, (make(*self._next_value()),)),
            *self._cut(self._own_reads(2)),
        ]

    def _below(self) -> Episode:
        """Read with a hint, alone or in a transaction that begins so; then without."""
        hint = self._chance.choice(list(HINTS))
        reads = [hinted(self._reading(), hint) for _ in range(self._chance.randint(1, 3))]
        level = HINTS[hint]
        if level is Level.EVENTUAL and self._chance.random() < 0.2:
            groups: list[Group] = [(Begin("begin"),), *((read,) for read in reads), _COMMIT]
            return self._cut(groups + self._own_reads(3))
        style = self._chance.choice(_APART)
        return [Burst(style, tuple(reads)), *self._cut(self._own_reads(3))]

    def _set(self, *, may_write: bool = False) -> Episode:
        name, value, level = self._chance.choice(
            (
                ("consistency", "eventual", Level.EVENTUAL),
                ("consistency", "session", Level.SESSION),
                ("consistency", "cluster", Level.CLUSTER),
                ("route", "replica", None),
                ("max_lag", "1s", None),
            )
        )
        said = Setting(f"set rwsplit.{name} = '{value}'", level)
        unsaid = self._chance.choice(
            (f"reset rwsplit.{name}", f"set rwsplit.{name} to default")
        )
        meanwhile = self._reads()
        if may_write and name != "route":  # a function would be called on the replica asked for
            meanwhile += self._write()
        return [
            Burst(Style.STRING, (said,)),
            *meanwhile,
            Burst(Style.STRING, (Setting(unsaid, None),)),
            *self._cut(self._own_reads(3)),
        ]

    # -- their parts -------------------------------------------------------------------------------

    def _body(self, *, may_write: bool) -> list[Group]:
        groups: list[Group] = []
        for _ in range(self._chance.choice((0, 0, 1, 1, 2, 2, 3, 4))):
            luck = self._chance.random()
            if luck < 0.45 and may_write:
                groups.append((self._writing(),))
            elif luck < 0.5:
                groups.append((Other(f"savepoint {self._name()}", needs_snapshot=False),))
            elif luck < 0.6:
                groups.append(self._cursor())
            else:
                groups.append((self._reading(),))
        return groups

    def _cursor(self) -> Group:
        name = self._name()
        reading = WAYS_TO_READ["select"](self._register())
        return (
            Other(f"declare {name} cursor for {reading.sql}"),
            reading._replace(sql=f"fetch all from {name}"),
            Other(f"close {name}"),
        )

    def _own_reads(self, most: int) -> list[Group]:
        count = self._chance.randint(0, most)
        return [
            (self._way_to_read()(self._chance.choice(self.registers)),) for _ in range(count)
        ]

    def _reading(self) -> Reading:
        if self._chance.random() < 0.12:
            return self._chance.choice(list(WAYS_TO_READ_ALL.values()))(None)
        return self._way_to_read()(self._register())

    def _way_to_read(self) -> WayToRead:
        ways = [way for name, way in WAYS_TO_READ.items() if self._pins or name not in PINNING]
        return self._chance.choice(ways)

    def _writing(self) -> Writing:
        ways = [way for name, way in WAYS_TO_WRITE.items() if self._pins or name not in PINNING]
        return self._chance.choice(ways)(*self._next_value())

    def _next_value(self) -> tuple[int, int]:
        register = self._chance.choice(self.registers)
        self._written[register] += 1
        return register, self._written[register]

    def _register(self) -> int:
        if self._chance.random() < 0.4:
            return self._chance.choice(self.registers)
        return self._chance.randrange(self._all)

    def _name(self) -> str:
        self._names += 1
        return f"{self.prefix}{self._names}"

    # -- cutting -----------------------------------------------------------------------------------

    def _cut(self, groups: Sequence[Group], *, thinks: bool = False) -> Episode:
        """Return *groups* in bursts; *thinks*: the client may take its time between them."""
        bursts: Episode = []
        at = 0
        while at < len(groups):
            size = self._chance.choice((1, 1, 1, 2, 2, 3, 4, 8, 16))
            taken = groups[at : at + size]
            at += size
            is_open = bool(bursts) and bursts[-1].style is Style.FLUSH
            style = self._drawn(_AFTER_FLUSH if is_open else _STYLES)
            pause = self._chance.uniform(0.001, 0.01)
            rests = thinks and self._chance.random() < 0.2
            statements = tuple(statement for group in taken for statement in group)
            bursts.append(Burst(style, statements, pause if rests else 0.0))
        if bursts and bursts[-1].style is Style.FLUSH:
            bursts.append(Burst(Style.PIPELINE, ()))
        return bursts

    def _drawn(self, choices: Choices[Drawn]) -> Drawn:
        [drawn] = self._chance.choices(
            [choice for choice, _ in choices], [weight for _, weight in choices]
        )
        return drawn
