"""FunctionBook: what calling a function, or reading a relation, means for routing, by name alone.

Arguments and overloads are not looked at: one volatile overload makes the name volatile. The order of
authority: the operator's patterns, what is known of PostgreSQL's own functions (`chart.py`), the catalog of the
database if it has been read (`catalog.py`). A name nobody knows may do anything, so it writes and leaves
state behind.

`set_config` and `current_setting` depend on their arguments and are judged by these (`setting_calls.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import translate
from typing import Final

from rwsplit.sql.body import Body
from rwsplit.sql.calls import KEY_WORDS
from rwsplit.sql.catalog import ANYWHERE, Catalog, symbol_of
from rwsplit.sql.chart import builtin_facts
from rwsplit.sql.facts import ABOUT_THE_PRIMARY, HARMLESS, UNKNOWN, FunctionFacts, combine
from rwsplit.sql.relations import relation_needs
from rwsplit.sql.search_path import Path
from rwsplit.sql.statement import PrimaryOnly, Redefined
from rwsplit.sql.tokens import MARK, NAME, OPERATOR, WORD, Token

BEFORE_PARENTHESES: Final = KEY_WORDS | {"if", "elsif", "elseif", "while", "return", "assert"}
"""Words of SQL and PL/pgSQL behind which a parenthesis is no call."""
LISTED_AS_WRITING: Final = FunctionFacts(PrimaryOnly.MAY_WRITE, may_write=True)


class FunctionBook:
    """Facts of functions, and of relations, by name. Immutable.

    Patterns (`app.report_*`) are shell patterns over lower-case names. A pattern with a schema matches calls written
    with that schema; one without matches the name in any schema. In *writes* a pattern with a schema also
    matches the bare name, which may resolve to it. *reads* overrides the catalog, but not what is known to be state or
    a write of PostgreSQL's own functions.
    """

    __slots__ = ("_catalog", "_doubted", "_path", "_reads", "_writes", "watches_tokens")

    def __init__(self, reads: Iterable[str] = (), writes: Iterable[str] = ()) -> None:
        self._reads = _compile(reads)
        self._writes = _compile([form for pattern in writes for form in _forms(pattern)])
        self._catalog = Catalog()
        self._path: Path = ()
        self._doubted: frozenset[str] = frozenset()
        self.watches_tokens = False
        """`token_facts` has something to look for."""

    def within(
        self, catalog: Catalog, path: Path, doubted: frozenset[str] = frozenset()
    ) -> FunctionBook:
        """Return a book with the same patterns for names that *path* resolves in *catalog*.

        *doubted* are names (`operator(+)` for an operator) about which the catalog may be out of date.
        """
        book = FunctionBook()
        book._reads, book._writes = self._reads, self._writes
        book._catalog, book._path, book._doubted = catalog, path, doubted
        book.watches_tokens = bool(catalog.operators or catalog.types or catalog.fields)
        return book

    def anywhere(self) -> FunctionBook:
        """Return a book that is the same, but a name may be one of any schema."""
        return self.within(self._catalog, ANYWHERE, self._doubted)

    def doubted_by(self, redefined: Redefined) -> frozenset[str]:
        """Return the names that mean something else, perhaps, behind DDL that has *redefined* them."""
        hidden = self._catalog.hidden if redefined.reveals else frozenset()
        return redefined.functions | redefined.views | hidden

    def doubting(self, names: frozenset[str]) -> FunctionBook:
        """Return a book that is the same but does not know *names*."""
        return self.within(self._catalog, self._path, self._doubted | names)

    def facts(self, name: str) -> FunctionFacts:
        """Return the facts of the function *name*: `now`, `app.f`, `operator(<->)`."""
        return self.facts_as(name, builtin_facts(name))

    def facts_as(self, name: str, known: FunctionFacts | None) -> FunctionFacts:
        """Return the facts of *name*, *known* being those of PostgreSQL's own function of that name."""
        listed = self.listed(name)
        if listed is LISTED_AS_WRITING:
            return listed
        if known is None and listed is not None:
            return listed
        schema, bare = split_name(name)
        if bare in self._doubted:
            own: FunctionFacts | None = UNKNOWN
        elif symbol := symbol_of(bare):
            own = self._catalog.operators.get(symbol)
        else:
            own = self._catalog.function(schema, bare, self._path)
        if own is None or (known is not None and listed is not None):
            return known or UNKNOWN
        return own if known is None else combine((known, own))

    def listed(self, name: str) -> FunctionFacts | None:
        """Return what the operator's patterns say of the function *name*, None if they say nothing."""
        if self._writes is None and self._reads is None:
            return None
        lower = name.lower()
        bare = lower.rpartition(".")[2]
        if self._writes is not None and (self._writes.match(lower) or self._writes.match(bare)):
            return LISTED_AS_WRITING
        if self._reads is not None and (self._reads.match(lower) or self._reads.match(bare)):
            return HARMLESS
        return None

    def relation(self, name: str) -> FunctionFacts:
        """Return the facts of reading the relation *name*: `t`, `app.t`."""
        needs = relation_needs(name)
        if needs is not None:
            return FunctionFacts(needs, needs_session=needs is PrimaryOnly.SESSION_STATE)
        schema, bare = split_name(name)
        if bare in self._doubted:
            return UNKNOWN
        return self._catalog.relation(schema, bare, self._path) or HARMLESS

    def any_relation(self) -> FunctionFacts:
        """Return the facts of reading some relation, or all of them."""
        doubted = UNKNOWN if self._doubted else HARMLESS
        return combine((ABOUT_THE_PRIMARY, doubted, self._catalog.every_relation))

    def any_type(self) -> FunctionFacts:
        """Return the facts of a cast to some type."""
        return self._catalog.every_type

    def of_body(self, body: Body) -> FunctionFacts:
        """Return the facts of *body*, which stands in a statement (DO), and of all it mentions.

        Names are resolved as in the bodies of the catalog: under whatever search path.
        """
        facts, catalog = [body.facts], self._catalog
        for name in body.calls:
            schema, bare = split_name(name)
            listed = self.listed(name)
            if listed is not None:  # the operator has the last word
                facts.append(listed)
                continue
            own = catalog.any_function(schema, bare)
            if bare in self._doubted:
                facts.append(UNKNOWN)
            elif symbol := symbol_of(bare):
                facts.append(catalog.operators.get(symbol, HARMLESS))
            elif not (
                own or builtin_facts(name) or (bare in BEFORE_PARENTHESES and not schema)
            ):
                facts.append(UNKNOWN)
            facts.append(own or HARMLESS)
        for name in body.names:
            schema, bare = split_name(name)
            if bare in self._doubted:
                facts.append(UNKNOWN)
            facts.append(catalog.any_relation(schema, bare) or HARMLESS)
            facts.append(catalog.types.get(bare, HARMLESS))
            if schema is not None:
                facts.append(catalog.fields.get(bare, HARMLESS))
        return combine(facts)

    def token_facts(self, tokens: Sequence[Token]) -> Iterable[FunctionFacts]:
        """Yield the facts of what is called without parentheses: operators, casts, `row.function`."""
        catalog, before = self._catalog, ""
        for symbol in behind_words(tokens) if catalog.operators else ():
            yield catalog.operators.get(symbol, HARMLESS)
        for kind, text in tokens:
            if kind == OPERATOR:
                yield catalog.operators.get(text, HARMLESS)
            elif kind in {WORD, NAME}:
                yield catalog.types.get(text, HARMLESS)
                for name in TYPE_WORDS.get(text, ()):
                    yield catalog.types.get(name, HARMLESS)
                if before == ".":
                    yield catalog.fields.get(text, HARMLESS)
            before = text if kind == MARK else ""

    def mentioned(self, tokens: Sequence[Token]) -> Iterable[FunctionFacts]:
        """Yield the facts of every relation that *tokens*, which could not be parsed, may be about."""
        if not (self._doubted or self._catalog.relations):
            return
        words = {text for kind, text in tokens if kind in {WORD, NAME}}
        if words & self._doubted:
            yield UNKNOWN
        named = self._catalog.relations_named
        yield from (named[word] for word in words if word in named)


def behind_words(tokens: Sequence[Token]) -> Iterable[str]:
    """Return the operators that words of the grammar among *tokens* may stand for: IN, CASE, LIKE."""
    return () if _STANDING_FOR.isdisjoint(tokens) else _BEHIND_WORDS


def split_name(name: str) -> tuple[str | None, str]:
    """Return schema and name of *name*, whose parts are as `calls.quoted` says."""
    if '"' in name:
        parts = [plain or quoted.replace('""', '"') for quoted, plain in _PART.findall(name)]
        schema, bare = (parts[-2] if len(parts) > 1 else ""), parts[-1]
    else:
        qualifier, _, bare = name.rpartition(".")
        schema = qualifier.rpartition(".")[2]
    return schema or None, bare


_BEHIND_WORDS: Final = frozenset(
    {*("=", "<>", "<", ">", "<=", ">="), *("~~", "!~~", "~~*", "!~~*", "~", "!~")}
)
"""Operators that words of the grammar stand for."""
_STANDING_FOR: Final = frozenset(
    (WORD, word)
    for word in (
        *("in", "any", "some", "all", "case", "nullif", "distinct", "between", "like", "ilike"),
        *("similar", "using", "natural", "greatest", "least", "union", "intersect", "except"),
        *("order", "group", "partition"),
    )
)
TYPE_WORDS: Final = {
    "int": ("int4",),
    "integer": ("int4",),
    "smallint": ("int2",),
    "bigint": ("int8",),
    "boolean": ("bool",),
    "real": ("float4",),
    "float": ("float4", "float8"),
    "precision": ("float8",),
    "decimal": ("numeric",),
    "dec": ("numeric",),
    "char": ("bpchar",),
    "character": ("bpchar", "varchar"),
    "nchar": ("bpchar",),
    "timestamp": ("timestamptz",),
    "time": ("timetz",),
    "bit": ("varbit",),
}
"""Names that types have by words of the grammar."""

_PART: Final = re.compile(r'"((?:[^"]|"")*)"|([^."]+)')


def _forms(pattern: str) -> set[str]:
    return {pattern, pattern.rpartition(".")[2]}


def _compile(patterns: Iterable[str]) -> re.Pattern[str] | None:
    alternatives = "|".join(translate(pattern.lower()) for pattern in patterns)
    return re.compile(alternatives) if alternatives else None
