"""Excerpt: the part of a book of functions that one text needs, for the parser process.

The parser process cuts the text into tokens, asks for the names in it (`names_of`), and gets an `Excerpt`, which leads to the
same verdict as the whole book. A catalog may be large and change often, so the process keeps nothing of it. A name that was not
asked for is unknown: then a read may lose its replica, but a write never goes to one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from rwsplit.sql.body import Body, read_body
from rwsplit.sql.catalog import ANY, Catalog
from rwsplit.sql.classify import split
from rwsplit.sql.dynamic import MADE_UP, body_of_do
from rwsplit.sql.facts import UNKNOWN, FunctionFacts, combine
from rwsplit.sql.functions import TYPE_WORDS, FunctionBook, behind_words, split_name
from rwsplit.sql.given import BY_LITERAL
from rwsplit.sql.search_path import Path
from rwsplit.sql.tokens import NAME, OPERATOR, STRING, WORD, Token, scan_text, string_value

MOST_NAMES: Final = 50_000
"""The most names asked for of one text."""
_MOST_NESTING: Final = 4
"""How deep literals within literals are searched for SQL."""
_PUT_IN: Final = ("select", "table", "x", "i", "f_")
"""Words that the classifier adds to some texts: CALL f() is judged like SELECT f(), any literal is 'x' to sqlglot, any function f_."""
_NAME: Final = re.compile(r'"((?:[^"]|"")+)"|([A-Za-z_\x80-\U0010ffff][\w$]*)')


def names_of(tokens: Sequence[Token]) -> frozenset[str] | None:
    """Return every name *tokens* may refer to, `operator(+)` for an operator; None if there are too many."""
    names = {MADE_UP, *_PUT_IN}
    _collect(tokens, names, 0)
    if (WORD, "do") in tokens:
        for statement in split(tokens):
            names.update(_mentioned_by(statement))
    return frozenset(names) if len(names) <= MOST_NAMES else None


def _mentioned_by(statement: Sequence[Token]) -> Iterator[str]:
    """Yield the names in the body that *statement* runs if it is a DO: some are only put together there."""
    source = body_of_do(statement[1:]) if statement[0] == (WORD, "do") else None
    body = None if source is None else read_body(source)
    for name in () if body is None else (*body.calls, *body.names):
        schema, bare = split_name(name)
        yield bare
        if schema is not None:
            yield schema


def _collect(tokens: Sequence[Token], names: set[str], depth: int) -> None:
    literals: list[str] = []
    names.update(f"operator({symbol})" for symbol in behind_words(tokens))
    for kind, text in tokens:
        if kind in {WORD, NAME}:
            names.add(text)
            names.update(TYPE_WORDS.get(text, ()))
        elif kind == OPERATOR:
            names.add(f"operator({text})")
        elif kind == STRING:
            literals.append(text)
    if depth == _MOST_NESTING or (not depth and names.isdisjoint(BY_LITERAL)):
        return
    for literal in literals:
        value = string_value(literal)
        for quoted, plain in _NAME.findall(value):
            names.add(quoted.replace('""', '"') or plain.lower())
        found = scan_text(value)
        _collect(found.tokens if found else (), names, depth + 1)


class Excerpt(FunctionBook):
    """A book of functions reduced to *given* names; all others are unknown."""

    __slots__ = ("_given",)

    def __init__(self, book: FunctionBook, given: frozenset[str]) -> None:
        super().__init__()
        self._reads, self._writes = book._reads, book._writes
        self._catalog, self._path, self._doubted = book._catalog, book._path, book._doubted
        self.watches_tokens = book.watches_tokens
        self._given = given

    @classmethod
    def of(cls, book: FunctionBook, names: frozenset[str]) -> Excerpt | None:
        """Return the excerpt of *book* for *names*; None if they stand for too many functions and relations."""
        catalog = book._catalog.excerpt(names, book._path)
        if catalog is None:
            return None
        doubted = book._doubted & names | ({ANY} if book._doubted else set())
        return cls(book.within(catalog, book._path, frozenset(doubted)), names)

    def __reduce__(self) -> tuple[Callable[..., Excerpt], tuple[object, ...]]:
        """Pickle it without the names: the receiver, who asked for them, has them (`asked_for`)."""
        parts = self._reads, self._writes, self._catalog, self._path, self._doubted
        return _received, parts

    def asked_for(self, names: frozenset[str]) -> Excerpt:
        """Return this excerpt, which was received as the answer for *names*, with these names."""
        return Excerpt(self, names)

    def doubting(self, names: frozenset[str]) -> Excerpt:
        """Return an excerpt that is the same but does not know *names*."""
        return Excerpt(super().doubting(names), self._given)

    def anywhere(self) -> Excerpt:
        """Return an excerpt that is the same, but a name may be one of any schema."""
        return Excerpt(super().anywhere(), self._given)

    def facts_as(self, name: str, known: FunctionFacts | None) -> FunctionFacts:
        """Return the facts of *name*, *known* being those of PostgreSQL's own function of that name."""
        return self._guarded(super().facts_as(name, known), name)

    def relation(self, name: str) -> FunctionFacts:
        """Return the facts of reading the relation *name*."""
        return self._guarded(super().relation(name), name)

    def of_body(self, body: Body) -> FunctionFacts:
        """Return the facts of *body* and of all it mentions."""
        return self._guarded(super().of_body(body), *body.calls, *body.names)

    def token_facts(self, tokens: Sequence[Token]) -> Iterable[FunctionFacts]:
        """Yield the facts of functions called without parentheses, and of missing names."""
        yield from super().token_facts(tokens)
        yield from self._of_missing(tokens)

    def mentioned(self, tokens: Sequence[Token]) -> Iterable[FunctionFacts]:
        """Yield the facts of every relation that *tokens* may be about."""
        yield from super().mentioned(tokens)
        yield from self._of_missing(tokens)

    def _of_missing(self, tokens: Sequence[Token]) -> Iterable[FunctionFacts]:
        if any(kind in {WORD, NAME} and text not in self._given for kind, text in tokens):
            yield UNKNOWN

    def _guarded(self, facts: FunctionFacts, *names: str) -> FunctionFacts:
        if all(split_name(name)[1] in self._given for name in names):
            return facts
        return combine((facts, UNKNOWN))


def _received(reads: Any, writes: Any, catalog: Catalog, path: Path, doubted: Any) -> Excerpt:
    book = FunctionBook()
    book._reads, book._writes = reads, writes
    return Excerpt(book.within(catalog, path, doubted), frozenset())
