"""StatementCache: from a text to its facts, by the cheapest way that is sound.

    exact text      one dict look-up             0.1 us     prepared and parameterised statements
    shape           one regular expression       1-2 us     literals in the text (`shape.py`)
    fingerprint     the lexer                    5-10 us    comments, E'' and $$ literals
    parse           lexer, calls, sqlglot        50-200 us  once per shape

A text with literals is usually met once (pgbench -M simple), so a text whose shape is known is not worth an
entry of its own, unless it is the same text as the last of its shape: then it is a constant (`LIMIT 21`) and will
come again. Everything is bounded in number and bytes; long texts are keyed by their hash.

A text over INLINE_LIMIT, or one that takes more than INLINE_BUDGET (`parse_budget.py`), must not be parsed in the turn loop. For the first
call `peek`; for the second `lookup` returns None. `relay.parsing` stores the facts that the parser process finds (`store`).
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, TypeAlias

import attrs

from rwsplit.sql.classify import PARSE_LIMIT, parse_scan, unreadable
from rwsplit.sql.effort import Effort
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.generations import Generations
from rwsplit.sql.hints import parse_hints
from rwsplit.sql.parse_budget import INLINE_BUDGET, ParseBudget
from rwsplit.sql.script import Script
from rwsplit.sql.shape import (
    HOLE,
    LITERALS,
    Fingerprint,
    fingerprint,
    is_sound,
    shape_of,
    shorten,
)
from rwsplit.sql.statement import PrimaryOnly
from rwsplit.sql.tokens import scan

__all__ = ["INLINE_LIMIT", "PARSE_LIMIT", "CacheStatistics", "StatementCache"]

INLINE_LIMIT: Final = 4 << 10
"""Bytes of a query beyond which parsing takes milliseconds, and others must not wait for it."""
SHAPE_LIMIT: Final = 64 << 10
"""Bytes of a query beyond which even its shape takes a millisecond; such a text is known by its hash only."""
HASH_LIMIT: Final = 4 << 10
"""Bytes of a text or shape beyond which its hash is the key."""

Key: TypeAlias = bytes | str | Fingerprint


@attrs.frozen
class CacheStatistics:
    """How often each way was taken since the start, and what is remembered now."""

    text_hits: int
    shape_hits: int
    fingerprint_hits: int
    parses: int
    dear: int
    """How many texts were not parsed here because they are too expensive."""
    unparsed: int
    """Of the parses, those that ended in UNPARSED."""
    texts: int
    shapes: int


class _Shape:
    """The script of one shape, and the last text met of it."""

    __slots__ = ("last", "script")

    def __init__(self, script: Script, last: bytes) -> None:
        self.script = script
        self.last = last


WORD_BYTES: Final = 500
"""Memory for each word that the facts of a text weigh (`Script.weight`)."""


class StatementCache:
    """Facts of at most *size* texts and *size* shapes."""

    __slots__ = (
        "_dear",
        "_fingerprint_hits",
        "_functions",
        "_parses",
        "_shape_hits",
        "_shapes",
        "_text_hits",
        "_texts",
        "_too_long",
        "_unparsed",
        "effort",
        "size",
        "stored",
    )

    def __init__(
        self, functions: FunctionBook, *, size: int, effort: Effort | None = None
    ) -> None:
        self.size = size
        self.effort = effort if effort is not None else Effort()
        """The work of `lookup`, of all caches of a process together."""
        self.stored = 0
        """How often `store` was called: while that is the same, `peek` would find the same."""
        self._functions = functions
        self._texts: Generations[Key, Script] = Generations(
            size, lambda script: WORD_BYTES * script.weight
        )
        self._shapes: Generations[Key, _Shape] = Generations(
            size, lambda shape: WORD_BYTES * shape.script.weight
        )
        self._too_long = unreadable()
        self._text_hits = self._shape_hits = self._fingerprint_hits = 0
        self._parses = self._unparsed = self._dear = 0

    def lookup(self, query: bytes) -> Script | None:
        """Return the facts of *query*, parsing it if need be; None: that would take too long."""
        script = self._texts.young.get(query)
        if script is not None:
            self._text_hits += 1
            return script
        # `peek` for the common case: another text of a shape met lately.
        known = self._shapes.young.get(LITERALS.sub(HOLE, query))
        if known is not None and known.last != query and len(query) <= HASH_LIMIT:
            self._shape_hits += 1
            known.last = query
            return known.script
        return self.peek(query) or self._parse(query)

    def peek(self, query: bytes) -> Script | None:
        """Return the facts of *query* if they are known without parsing it."""
        size = len(query)
        if size > PARSE_LIMIT:
            return self._too_long
        if size <= SHAPE_LIMIT:
            shape = LITERALS.sub(HOLE, query)
            known = self._shapes.get(_key(shape), len(shape))
            if known is not None:
                self._shape_hits += 1
                if known.last == query:
                    self._texts.put(query, known.script, size)
                elif size <= HASH_LIMIT:
                    known.last = query
                return known.script
        script = self._texts.get(_key(query), size)
        if script is not None:
            self._text_hits += 1
        return script

    def store(self, query: bytes, script: Script) -> None:
        """Remember *script*, which the parser process has found, as the facts of *query*."""
        self.stored += 1
        if len(query) <= INLINE_LIMIT:
            found = scan(shorten(query))
            mark = fingerprint(found, parse_hints(found.comments)) if found else None
            if mark is not None:
                self._shapes.put(mark, _Shape(script, b""), len(query))
        self._remember(query, script)

    def _remember(self, query: bytes, script: Script) -> None:
        size = len(query)
        shape = shape_of(query) if size <= SHAPE_LIMIT else query
        sound = size <= SHAPE_LIMIT and is_sound(shape)
        if sound:
            last = query if size <= HASH_LIMIT else b""
            self._shapes.put(_key(shape), _Shape(script, last), len(shape))
        if not sound or shape == query:
            self._texts.put(_key(query), script, size)

    def statistics(self) -> CacheStatistics:
        """Return what the cache has done so far."""
        return CacheStatistics(
            text_hits=self._text_hits,
            shape_hits=self._shape_hits,
            fingerprint_hits=self._fingerprint_hits,
            parses=self._parses,
            dear=self._dear,
            unparsed=self._unparsed,
            texts=len(self._texts),
            shapes=len(self._shapes),
        )

    def resize(self, size: int) -> None:
        """Hold at most *size* texts and as many shapes from now on."""
        self.size = size
        self._texts.resize(size)
        self._shapes.resize(size)

    def clear(self, functions: FunctionBook | None = None) -> None:
        """Forget every text and shape; from now on go by *functions*, if given."""
        if functions is not None:
            self._functions = functions
        self._texts.clear()
        self._shapes.clear()

    def _parse(self, query: bytes) -> Script | None:
        found = scan(shorten(query))
        mark = fingerprint(found, parse_hints(found.comments)) if found else None
        known = self._shapes.get(mark, len(query)) if mark else None
        if known is not None:
            self._fingerprint_hits += 1
            script = known.script
        else:
            budget = ParseBudget(INLINE_BUDGET, self.effort.clock)
            script = parse_scan(found, self._functions, budget) if found else unreadable()
            words = len(found.tokens) if found else len(query)
            self.effort.parsed(max(words, int(budget.spent)), len(script.statements))
            if budget.is_spent:
                self._dear += 1
                return None
            self._parses += 1
            self._unparsed += script.primary_only is PrimaryOnly.UNPARSED
            if mark is not None:
                self._shapes.put(mark, _Shape(script, b""), len(query))
        self._remember(query, script)
        return script


def _key(data: bytes) -> Key:
    return data if len(data) <= HASH_LIMIT else _hash(data)


def _hash(data: bytes) -> str:
    """A string, so that no text can be mistaken for the hash of another."""
    return blake2b(data, digest_size=16).hexdigest()
