"""Prepared statements of the extended protocol on pooled servers.

A client's name means nothing on a server that many clients use: `s1` of one is not `s1` of another. So a
statement is known by its identity - query text and parameter type OIDs, the Parse message behind its name -
and gets one name of ours, the same on every server. A session maps its own names to identities, a server
remembers which identities it has been taught. What a unit needs and its server lacks is parsed ahead of it
and the answer swallowed; what it parses and the server already has is not sent, and the answer made up.

What clients were **told** of a statement - its shape (`protocol.looks`), as of the Parse they sent - is part of its identity. So rwsplit describes
each statement it parses. A client's Parse that is answered by another shape makes another identity (`PreparedRegistry.fork`); a statement
that is parsed behind a client's back is parsed with the parameter types the client was told, and is of no use if its shape differs
(`relay.trials`).

The unnamed statement is tracked the same way, since on a pooled server the next client replaces it; but it keeps
its empty name, because its lifetime (until the next Parse or Query) is part of the protocol. What its client is told of it is known only
where the client describes it: then it gets an identity that is the session's alone (`PreparedRegistry.apart`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Final, NamedTuple

from rwsplit.protocol import codes
from rwsplit.protocol.framing import frame
from rwsplit.protocol.looks import Look, Shape
from rwsplit.session.stand_ins import of_prepared
from rwsplit.sql.cache import INLINE_LIMIT, StatementCache
from rwsplit.sql.script import Script
from rwsplit.sql.statement import Statement, Verb

PARSE_COMPLETE: Final = frame(codes.PARSE_COMPLETE, b"")
CLOSE_COMPLETE: Final = frame(codes.CLOSE_COMPLETE, b"")
SYNC: Final = frame(codes.SYNC, b"")


#: How the names of statements on servers begin.
OWN_NAME: Final = b"rwsplit_"
#: The name of a statement that no server has: a Bind of it fails, and with it the transaction. The error is reworded
#: to what PostgreSQL says of a statement whose result has changed (`Unit.reword`).
CHANGED: Final = b"rwsplit_changed"
#: As CHANGED, for a session that has as many statements, or portals, as it may.
TOO_MANY: Final = b"rwsplit_too_many"
TOO_MANY_PORTALS: Final = b"rwsplit_too_many_portals"
#: Bytes of a Parse beyond which its identity is not shared: such texts rarely come again.
SHARED_LIMIT: Final = 16 * 1024
#: Bytes of the Parse messages whose identities are remembered.
MOST_BYTES: Final = 64 << 20


class Meaning(NamedTuple):
    """What runs instead of a statement that names something of rwsplit's own."""

    query: bytes
    facts: Script
    used: Prepared | None = None
    """The statement the server must know for it."""
    name: bytes = b""
    """What the client calls that."""
    shift: tuple[int, int] = (0, 0)
    """Behind how many characters of the client's text the names are, and how much longer ours is."""
    drops: bool = False
    """It takes the statement from the server."""
    of: Prepared | None = None
    """The client's own statement, if that is prepared, too."""


_NOT_FIXED: Final = frozenset({Verb.EXECUTE, Verb.FETCH, Verb.SHOW})


class Prepared:
    """One statement identity."""

    __slots__ = (
        "age",
        "in_band",
        "key",
        "meaning",
        "name",
        "query",
        "script",
        "tail",
        "told",
        "version",
    )

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
        """Facts of the query; None while the parser process still has to parse it."""
        self.version = version
        """Of the registry whose facts these are; None: it is nobody else's, and they do not change."""
        self.key: _Key | None = None
        """Under what its registry has it, if it has."""
        self.age = 0
        """How much DDL a client has last parsed it after."""
        self.told: Shape | None = None
        """What the sessions that have it were told, or could have been; None: it is not known yet."""
        self.meaning: Meaning | None = None
        """What it says instead of the client's own statement."""
        self.in_band: Statement | None = None
        """The in-band statement that *query* stands for."""

    def __repr__(self) -> str:
        return f"Prepared({self.name!r}, {self.query[:60]!r})"

    @property
    def own(self) -> Prepared:
        """Return the client's own statement."""
        return self.meaning.of or self if self.meaning is not None else self

    @property
    def is_fixed(self) -> bool:
        """PostgreSQL fixes what it returns when it is parsed; what a utility statement returns is seen when it runs."""
        statement = None if self.script is None else self.script.single
        return self.meaning is None and (statement is None or statement.verb not in _NOT_FIXED)

    @property
    def is_relied_on(self) -> bool:
        """Clients may decode rows as they were told when it was parsed."""
        return self.told is not None and bool(self.told.columns) and self.is_fixed

    def note(self, look: Look) -> None:
        """Take note of what its client was told."""
        self.told = look.shape

    def parse(self, name: bytes) -> bytes:
        """Return the Parse frame of a client's that calls this statement *name*."""
        return frame(codes.PARSE, name + b"\0" + self.tail)

    def parse_as_told(self, name: bytes) -> bytes:
        """Return the Parse frame that teaches a server, as *name*, what clients have parsed already: its types are settled."""
        if self.told is None:
            return self.parse(name)
        return frame(codes.PARSE, b"%s\0%s\0%s" % (name, self.query, self.told.types))


#: The place of a statement (whose search path resolves its names) and its tail.
_Key = tuple[object, bytes]


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
        self._by_key: dict[_Key, Prepared] = {}
        self._weight = 0
        """Bytes of what it remembers."""
        self._numbers = numbers if numbers is not None else count(1)
        self.version = object()
        """Another one whenever facts may have changed."""

    def get(self, tail: bytes, place: object = None) -> Prepared:
        """Return the identity of the Parse message behind its name, *tail*, for sessions in the same *place*.

        *tail* must hold a zero byte.
        """
        key = (place, tail)
        found = self._by_key.get(key)
        if found is None:
            query = tail[: tail.index(0)]
            found = Prepared(self._name(), tail, query, self._facts(query), self.version)
            if len(tail) <= SHARED_LIMIT:
                self._share(key, found)
        elif found.version is not self.version:
            found.script = self._facts(found.query)
            found.version = self.version
        return found

    def _share(self, key: _Key, prepared: Prepared) -> None:
        known, weight = self._by_key, len(key[1])
        if key not in known:
            while known and (len(known) >= self._size or self._weight + weight > MOST_BYTES):
                self._forget(next(iter(known)))
            self._weight += weight
        known[key] = prepared
        prepared.key = key

    def _forget(self, key: _Key) -> None:
        del self._by_key[key]
        self._weight -= len(key[1])

    def refresh(self, prepared: Prepared) -> Prepared:
        """Find out anew the facts of *prepared*, which one session has for itself."""
        prepared.script, prepared.version = self._facts(prepared.query), self.version
        return prepared

    def renewed(self, prepared: Prepared, place: object = None) -> Prepared:
        """Return *prepared* with the facts of now, for a session in *place*.

        It is the same identity unless it came from another registry, or is not remembered any more.
        """
        if prepared.version is None or prepared.version is self.version:
            return prepared
        found = self.get(prepared.tail, place)
        if found is prepared or prepared.told is None:
            return found
        if found.told is None:
            found.told, found.age = prepared.told, prepared.age
        elif found.told != prepared.told:
            found = self._twin(prepared)
            found.told, found.age = prepared.told, prepared.age
        return found

    def fork(self, prepared: Prepared, shape: Shape, age: int = 0) -> Prepared:
        """Return the identity of what a client has parsed as *prepared*, after so much DDL, and was told *shape* of.

        It is what others get that parse the same from now on.
        """
        key = prepared.key
        found = None if key is None else self._by_key.get(key)
        if found is None or found.told != shape:
            found = self._twin(prepared)
            found.told, found.age = shape, age
            if key is not None and prepared.version is self.version:
                self._share(key, found)
        return found

    def retire(self, prepared: Prepared) -> None:
        """Have who parses the same as *prepared* from now on get another identity: its shape is of the past."""
        if prepared.key is not None and self._by_key.get(prepared.key) is prepared:
            self._forget(prepared.key)

    def apart(self, prepared: Prepared) -> Prepared:
        """Return the identity of *prepared* for one session, whose client is about to be told what it is."""
        return self._twin(prepared)

    def _twin(self, prepared: Prepared) -> Prepared:
        version = prepared.version and self.version
        script = prepared.script if version is None else self._facts(prepared.query)
        return Prepared(self._name(), prepared.tail, prepared.query, script, version)

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
            return of_prepared(self._statements.lookup(query))
        return of_prepared(self._statements.peek(query))


Part = bytes | Prepared

#: Marks, among a unit's steps, the place of a Parse whose answer depends on the server.
PARSED: Final = -1
