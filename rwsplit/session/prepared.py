"""Prepared statements of the extended protocol on pooled servers.

A client's name means nothing on a server that many clients use: `s1` of one is not `s1` of another. So a
statement is known by its identity - query text and parameter type OIDs, the Parse message behind its name -
and gets one name of ours, the same on every server. A session maps its own names to identities, a server
remembers which identities it has been taught. What a unit needs and its server lacks is parsed ahead of it
and the answer swallowed; what it parses and the server already has is not sent, and the answer made up.

The unnamed statement is tracked the same way, since on a pooled server the next client replaces it; but it keeps
its empty name, because its lifetime (until the next Parse or Query) is part of the protocol.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from itertools import count
from typing import Final, NamedTuple

from rwsplit.protocol import codes
from rwsplit.protocol.framing import frame
from rwsplit.protocol.responses import FORWARD, SWALLOW, ResponseQueue, Step
from rwsplit.session.parameters import NONE, ParameterSet
from rwsplit.sql.cache import INLINE_LIMIT, StatementCache
from rwsplit.sql.statement import Script, Statement

PARSE_COMPLETE: Final = frame(codes.PARSE_COMPLETE, b"")
CLOSE_COMPLETE: Final = frame(codes.CLOSE_COMPLETE, b"")
SYNC: Final = frame(codes.SYNC, b"")


#: How the names of statements on servers begin.
OWN_NAME: Final = b"rwsplit_"
#: Bytes of a Parse beyond which its identity is not shared: such texts rarely come again.
SHARED_LIMIT: Final = 16 * 1024


class Prepared:
    """One statement identity."""

    __slots__ = ("in_band", "name", "query", "script", "tail", "version")

    def __init__(
        self,
        name: bytes,
        tail: bytes,
        query: bytes,
        script: Script | None,
        version: object | None = None,
    ) -> None:
        self.name = name
        """Its name on servers."""
        self.tail = tail
        """The Parse message behind the name: query, zero byte, parameter type OIDs."""
        self.query = query
        self.script = script
        """Facts of the query; None until a worker thread has parsed a long one."""
        self.version = version
        """Of the registry whose facts these are; None: it is nobody else's, and they do not change."""
        self.in_band: Statement | None = None
        """The in-band statement that *query* stands for."""

    def __repr__(self) -> str:
        return f"Prepared({self.name!r}, {self.query[:60]!r})"

    def parse(self, name: bytes) -> bytes:
        """Return the Parse frame that teaches a server this statement as *name*."""
        return frame(codes.PARSE, name + b"\0" + self.tail)


class PreparedRegistry:
    """Identities in use; bounded. An evicted one that a session still holds goes on living there.

    Several registries (`vocabulary.py`) share the *numbers* their names are made of: on a server the
    names of all of them meet.
    """

    def __init__(
        self,
        statements: StatementCache,
        *,
        size: int = 10_000,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self._statements = statements
        self._size = size
        self._by_tail: dict[bytes, Prepared] = {}
        self._numbers = numbers if numbers is not None else count(1)
        self.version = object()
        """Another one whenever facts may have changed."""

    def get(self, tail: bytes) -> Prepared:
        """Return the identity of the Parse message behind its name, *tail*.

        *tail* must hold a zero byte.
        """
        found = self._by_tail.get(tail)
        if found is None:
            query = tail[: tail.index(0)]
            found = Prepared(self._name(), tail, query, self._facts(query), self.version)
            if len(tail) > SHARED_LIMIT:
                return found
            if len(self._by_tail) >= self._size:
                del self._by_tail[next(iter(self._by_tail))]
            self._by_tail[tail] = found
        elif found.version is not self.version:
            found.script = self._facts(found.query)
            found.version = self.version
        return found

    def renewed(self, prepared: Prepared) -> Prepared:
        """Return *prepared* with the facts of now.

        It is the same identity unless it came from another registry, or is not remembered any more.
        """
        if prepared.version is None or prepared.version is self.version:
            return prepared
        return self.get(prepared.tail)

    def renew(self) -> None:
        """Find out all facts anew, each when it is next asked for."""
        self.version = object()

    def private(self, tail: bytes, script: Script) -> Prepared:
        """Return an identity that is shared with nobody and known only by the caller."""
        query = tail[: tail.index(0)]
        return Prepared(self._name(), tail, query, script)

    def _name(self) -> bytes:
        return b"%s%d" % (OWN_NAME, next(self._numbers))

    def _facts(self, query: bytes) -> Script | None:
        if len(query) <= INLINE_LIMIT:
            return self._statements.lookup(query)
        return self._statements.peek(query)


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
        self.unnamed: Prepared | None = None
        self.unsure = False
        """It may have statements that are not known."""
        self.parameters: ParameterSet | None = NONE
        """None: unknown, must be reset before anyone else uses it."""

    def forget(self) -> None:
        """Everything it was taught is gone (DISCARD ALL, DEALLOCATE ALL), unless that fails."""
        self.known.clear()
        self.unnamed = None
        self.unsure = True


Part = bytes | Prepared

#: Marks, among a unit's steps, the place of a Parse whose answer depends on the server.
PARSED: Final = -1


class Lesson(NamedTuple):
    """What one step of a unit does to what its server knows."""

    step: int
    prepared: Prepared
    known: bool
    """True: the server is taught it, False: it is closed there."""
    age: int = 0
    """How much DDL the statement has been taught after."""


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
    keep = (needs, parts)
    if listed is not None:
        for stranger in [known for known in server.known if known not in listed]:
            _close(server, stranger, after, lessons, first)
        needs = [*listed, *(prepared for prepared in needs if prepared not in listed)]
    for prepared in needs:
        if prepared in server.known:
            server.known[prepared] = server.known.pop(prepared)  # used last, closed last
        else:
            _teach(
                server, prepared, after, lessons, first=first, limit=limit, keep=keep, age=age
            )
            after.append(SWALLOW)
    if unnamed is not None and server.unnamed is not unnamed:
        out.append(unnamed.parse(b""))
        after.append(SWALLOW)
        server.unnamed = unnamed
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
            answer: Step = PARSE_COMPLETE
        else:
            _teach(server, part, after, lessons, first=first, limit=limit, keep=keep, age=age)
            answer = FORWARD
        after.append(answer)
    after.extend(remaining)
    return deque(after)


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
    keep: tuple[Sequence[Prepared], Sequence[Part]],
    age: int,
) -> None:
    """Queue the Parse of *prepared*; its own step is the caller's to append.

    Over *limit* the statement used longest ago is closed before, unless it is one of those to *keep*.
    """
    known = server.known
    needs, parts = keep
    while len(known) >= limit and prepared not in known:
        oldest = next((k for k in known if k not in needs and k not in parts), None)
        if oldest is None:
            break
        _close(server, oldest, after, lessons, first)
    if prepared in known or server.responses.owed or server.unsure:
        _close(server, prepared, after, lessons, first)
    lesson = Lesson(first + len(after), prepared, known=True, age=age)
    lessons.append(lesson)
    known[prepared] = lesson
    server.out.append(prepared.parse(prepared.name))


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
