"""Teaching: servers learn the statements that units use, and forget them; what each knows is kept in its `ServerState`.

What a unit needs and its server lacks is parsed ahead of it and the answer swallowed; what it parses and the server already has is not
sent, and the answer made up. Each statement that is taught is described, too, to compare it with what its clients were told (`protocol.looks`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from rwsplit.protocol import codes
from rwsplit.protocol.framing import frame
from rwsplit.protocol.looks import Look
from rwsplit.protocol.responses import FORWARD, SWALLOW, ResponseQueue, Step
from rwsplit.session.parameters import NONE, ParameterSet
from rwsplit.session.prepared import PARSE_COMPLETE, PARSED, Part, Prepared

#: Statements closed, at most, to make room for one.
MOST_CLOSED: Final = 32

_DESCRIBE_UNNAMED: Final = frame(codes.DESCRIBE, b"S\0")

NOTHING_SEEN: Final = Look(lambda _: None)


class Lesson(NamedTuple):
    """What one step of a unit does to what its server knows."""

    step: int
    prepared: Prepared
    known: bool
    """True: the server is taught it, False: it is closed there."""
    age: int = 0
    """How much DDL the statement has been taught after."""
    look: Look = NOTHING_SEEN
    """What it turned out to be."""

    @property
    def differs(self) -> bool:
        """It turned out to be something else than clients were told."""
        shape = self.look.shape
        return shape is not None and shape != self.prepared.told


class Lessons(list[Lesson]):
    """The lessons of an open unit, to which each of its pieces adds."""

    __slots__ = ("latest",)

    def __init__(self, first: Sequence[Lesson] = ()) -> None:
        super().__init__()
        self.latest: dict[Prepared, Lesson] = {}
        """By statement: the last lesson of it."""
        self.learn(first)

    def learn(self, lessons: Sequence[Lesson]) -> None:
        """Append *lessons*."""
        self.extend(lessons)
        for lesson in lessons:
            if lesson.known:
                self.latest[lesson.prepared] = lesson


class ServerState:
    """What rwsplit knows of one server: what it owes, what it was taught, what waits to be sent.

    Knowledge is recorded when the bytes that teach it are queued, so that the next unit behind them
    can rely on it, and taken back if they fail.
    """

    __slots__ = ("known", "out", "parameters", "responses", "unnamed", "unsure")

    def __init__(self) -> None:
        self.responses = ResponseQueue()
        self.out: list[bytes] = []
        self.known: dict[Prepared, Lesson] = {}
        """Named statements it has, the one used longest ago first, and what taught it."""
        self.unnamed: Prepared | Look | None = None
        """What it has under the empty name; a look: one that has not been found to be what its client was told yet."""
        self.unsure = False
        """It may have statements that are not known."""
        self.parameters: ParameterSet | None = NONE
        """None: unknown, must be reset before anyone else uses it."""

    def forget(self) -> None:
        """Everything it was taught is gone (DISCARD ALL, DEALLOCATE ALL), unless that fails."""
        self.known.clear()
        self.unnamed = None
        self.unsure = True

    def has(self, prepared: Prepared) -> bool:
        """Return whether *prepared* is there and known to be what its sessions were told, as far as they rely on that."""
        lesson = self.known.get(prepared)
        if lesson is None:
            return False
        return lesson.look.shape is not None or not prepared.is_relied_on


def compose(
    server: ServerState,
    parts: Sequence[Part],
    needs: Sequence[Prepared],
    steps: Sequence[Step] | None,
    lessons: list[Lesson],
    *,
    unnamed: Prepared | None,
    limit: int,
    first: int = 0,
    may_omit: bool = True,
    age: int = 0,
    listed: Collection[Prepared] | None = None,
) -> deque[Step] | None:
    """Append a unit's *parts* to the outbox of *server*, preceded by what it lacks.

    *needs* are identities the unit relies on, *unnamed* the one it expects under the empty name. A `Prepared`
    among *parts* is a Parse the client sent: it is left out if the server knows it.
    *limit* bounds the statements a server keeps. In an open unit, of which *first* steps went before, nothing
    may be omitted (not *may_omit*), since an answer can only be made up next to a real one.

    What a server with work in flight knows may still be taken back. So there, and where it is not sure, a
    statement is closed before it is parsed: to close what does not exist is not an error, to parse what does is.

    *age* grows with DDL: a Parse that the client sends means what names mean now, so what a server was taught
    before is taught once more. *listed*, if given, are the statements its session has, in their order: the unit
    asks for them, so the server is to have no other named ones.

    Append to *lessons* what is to be taken back if a step fails. Return the steps of the answers, None for
    "forward all".
    """
    out = server.out
    after: list[Step] = []
    spare = _spare(server.known, needs, parts)
    if listed is not None:
        for stranger in [known for known in server.known if known not in listed]:
            _close(server, stranger, after, lessons, first)
        needs = list(dict.fromkeys((*listed, *needs)))
    for prepared in needs:
        if server.has(prepared):
            server.known[prepared] = server.known.pop(prepared)  # used last, closed last
        else:
            look = _teach(
                server, prepared, after, lessons, first=first, limit=limit, spare=spare, age=age
            )
            after += (SWALLOW, look)
    if unnamed is not None and server.unnamed is not unnamed:
        _teach_unnamed(server, unnamed, after, lessons, first)
    if steps is None:
        out.extend(parts)  # type: ignore[arg-type]  # without steps, all parts are bytes
        return deque(after) if after else None
    remaining = iter(steps)
    for part in parts:
        if isinstance(part, bytes):
            out.append(part)
            continue
        after.extend(iter(remaining.__next__, PARSED))  # those in front of it
        lesson = server.known.get(part) if may_omit and not server.responses.owed else None
        if lesson is not None and lesson.age == age:
            after.append(PARSE_COMPLETE)
        else:
            look = _teach(
                server,
                part,
                after,
                lessons,
                first=first,
                limit=limit,
                spare=spare,
                age=age,
                by_client=True,
            )
            after += (FORWARD, look)
    after.extend(remaining)
    return deque(after)


def _spare(
    known: Mapping[Prepared, Lesson], needs: Sequence[Prepared], parts: Sequence[Part]
) -> Iterator[Prepared]:
    """Yield the statements *known* that a unit of *needs* and *parts* can do without, the one used longest ago first."""
    wanted = {*needs, *(part for part in parts if not isinstance(part, bytes))}
    while spare := [prepared for prepared in known if prepared not in wanted]:
        yield from spare


def unlearn(server: ServerState, lessons: Sequence[Lesson], done: int) -> None:
    """Take back what a unit that failed after *done* steps did not do to *server* after all.

    What a unit behind it has taught the server once more stays. What it did not close may be there or not:
    more may be known to a server than is known of it, never less, which would be an error to the next session.
    """
    for lesson in reversed(lessons):
        if lesson.step < done:
            return
        if not lesson.known:
            server.unsure = True
        elif server.known.get(lesson.prepared) is lesson:
            del server.known[lesson.prepared]


def _teach(
    server: ServerState,
    prepared: Prepared,
    after: list[Step],
    lessons: list[Lesson],
    *,
    first: int,
    limit: int,
    spare: Iterator[Prepared],
    age: int,
    by_client: bool = False,
) -> Look:
    """Queue the Parse of *prepared*, *by_client* if it is one, and a look at it; the steps of both are the caller's to append.

    Over *limit* the statement used longest ago of the *spare* ones is closed before. One unit may have left many more: they go
    little by little.
    """
    known = server.known
    for _ in range(MOST_CLOSED):
        if len(known) < limit or prepared in known:
            break
        oldest = next(spare, None)
        if oldest is None:
            break
        _close(server, oldest, after, lessons, first)
    if prepared in known or server.responses.owed or server.unsure:
        _close(server, prepared, after, lessons, first)
    if not by_client and prepared.told is not None:
        age = prepared.age  # what it means now is for a client to ask
    look = Look(partial(_compare, server, prepared, age))
    lesson = Lesson(first + len(after), prepared, known=True, age=age, look=look)
    lessons.append(lesson)
    known[prepared] = lesson
    parse = prepared.parse if by_client else prepared.parse_as_told
    server.out.append(parse(prepared.name))
    server.out.append(frame(codes.DESCRIBE, b"S" + prepared.name + b"\0"))
    return look


def _teach_unnamed(
    server: ServerState,
    unnamed: Prepared,
    after: list[Step],
    lessons: list[Lesson],
    first: int,
) -> None:
    """Queue the Parse of *unnamed* under the empty name and, if its client relies on what it was told, a look at it."""
    server.out.append(unnamed.parse_as_told(b""))
    after.append(SWALLOW)
    server.unnamed = unnamed
    if unnamed.is_relied_on:
        look = server.unnamed = Look(partial(_compare_unnamed, server, unnamed))
        lessons.append(Lesson(first + len(after) - 1, unnamed, known=True, look=look))
        server.out.append(_DESCRIBE_UNNAMED)
        after.append(look)


def _compare_unnamed(server: ServerState, unnamed: Prepared, look: Look) -> None:
    if server.unnamed is look:  # nothing else has been queued under that name since
        server.unnamed = unnamed if look.shape == unnamed.told else None


def _compare(server: ServerState, prepared: Prepared, age: int, look: Look) -> None:
    """Judge what *server* has under the name of *prepared*: nobody may use it who was told something else."""
    if prepared.told is None or not prepared.is_fixed:
        prepared.told = look.shape
    if prepared.told == look.shape:
        prepared.age = age
        return
    lesson = server.known.get(prepared)
    if lesson is not None and lesson.look is look:
        del server.known[prepared]
        server.unsure = True


def _close(
    server: ServerState,
    prepared: Prepared,
    after: list[Step],
    lessons: list[Lesson],
    first: int,
) -> None:
    if prepared in server.known:
        lessons.append(Lesson(first + len(after), prepared, known=False))
        del server.known[prepared]
    server.out.append(frame(codes.CLOSE, b"S" + prepared.name + b"\0"))
    after.append(SWALLOW)
