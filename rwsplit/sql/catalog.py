"""Catalog: what the names of one database stand for, as far as routing asks.

A frozen snapshot, composed by `census.py` of what the monitor has read. It holds every function of the user's own
(a name that is missing is unknown), and of the relations those about which there is something to say: views over
something that matters, unlogged and foreign tables, tables whose policies call functions. So it stays small
however many tables there are, and plain tables come and go without changing it. A plain relation
is in it only as the namesake of one that is not plain, which it hides where its schema comes first.

Functions of one name are overloads of each other across *all* schemas of the search path (PostgreSQL prefers
the better match of arguments, and the earlier schema only between equals): their facts are combined.
Relations are not: the first one hides the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

import attrs

from rwsplit.sql.facts import FunctionFacts, combine
from rwsplit.sql.search_path import DefaultPaths, Path, parse_search_path

Name = tuple[str, str]
"""Schema and name."""

ANY: Final = "\0"
"""In an excerpt: the schema or name that stands for all of them. No identifier can be equal to it."""
MOST_PATH: Final = 20
"""Schemas of a search path that are looked through; with a longer path a name counts as one of any schema."""
MOST_PATH_TEXT: Final = 4 << 10
"""Characters of a search path that are read; of a longer one it is not known which schemas it names."""
UNKNOWN_PATH: Final = "\0"
"""Stands for a search path that is not known now: a statement that sets it is on its way, or has been undone perhaps."""
ANYWHERE: Final[Path] = (ANY,) * (MOST_PATH + 1)
"""The path of a session in which a name may be one of any schema."""
MOST_LOOKUPS: Final = 5000
"""Look-ups (names times schemas, and types and fields) an excerpt may take: some milliseconds."""


@attrs.frozen(kw_only=True)
class Catalog:
    """Facts of names in one database."""

    functions: Mapping[Name, FunctionFacts] = attrs.field(factory=dict)
    relations: Mapping[Name, FunctionFacts] = attrs.field(factory=dict)
    operators: Mapping[str, FunctionFacts] = attrs.field(factory=dict)
    """By symbol, of all schemas together: `OPERATOR(schema.+)` needs no search path."""
    types: Mapping[str, FunctionFacts] = attrs.field(factory=dict)
    """Of types, by name alone, to which a cast is more than a conversion (domains whose checks call functions)."""
    fields: Mapping[str, FunctionFacts] = attrs.field(factory=dict)
    """Of functions of a row that may be written like a column, `r.f`, and are not harmless."""
    paths: DefaultPaths = attrs.field(factory=DefaultPaths)
    settings: str = ""
    """Another one whenever what sessions begin with may be another."""
    schemas: frozenset[str] = attrs.field(init=False, eq=False)
    """In which there is anything."""
    names: frozenset[str] = attrs.field(init=False, eq=False)
    """Of everything, whatever its schema; `operator(+)` for an operator."""

    hidden: frozenset[str] = attrs.field(init=False, eq=False)
    """Names of relations in several schemas of which one at least is not harmless."""

    every_relation: FunctionFacts = attrs.field(init=False, eq=False, repr=False)
    """The facts of all relations together."""
    every_type: FunctionFacts = attrs.field(init=False, eq=False, repr=False)

    functions_named: Mapping[str, FunctionFacts] = attrs.field(init=False, eq=False, repr=False)
    """The facts of all functions of a name together, whatever their schemas."""
    relations_named: Mapping[str, FunctionFacts] = attrs.field(init=False, eq=False, repr=False)
    """The same of relations."""

    @schemas.default
    def _every_schema(self) -> frozenset[str]:
        return frozenset(schema for schema, _ in (*self.functions, *self.relations))

    @names.default
    def _every_name(self) -> frozenset[str]:
        operators = (f"operator({symbol})" for symbol in self.operators)
        return frozenset(
            (*(name for _, name in (*self.functions, *self.relations)), *operators)
        )

    @hidden.default
    def _every_hidden(self) -> frozenset[str]:
        counts = Counter(name for schema, name in self.relations if schema != ANY)
        return frozenset(name for name, count in counts.items() if count > 1)

    @every_relation.default
    def _combine_relations(self) -> FunctionFacts:
        return combine(self.relations.values())

    @every_type.default
    def _combine_types(self) -> FunctionFacts:
        return combine(self.types.values())

    @functions_named.default
    def _combine_functions_named(self) -> Mapping[str, FunctionFacts]:
        return _by_name(self.functions)

    @relations_named.default
    def _combine_relations_named(self) -> Mapping[str, FunctionFacts]:
        return _by_name(self.relations)

    @property
    def is_empty(self) -> bool:
        """There is nothing a name could stand for that is not known without it."""
        return not (
            self.functions or self.relations or self.operators or self.types or self.fields
        )

    def excerpt(self, names: frozenset[str], path: Path) -> Catalog | None:
        """Return a catalog in which *names* mean what they mean here, and nothing else means anything.

        *names* are those of everything a text may be about, its schemas too, besides those of *path*; `operator(+)` for an
        operator. None if it would take too long: they stand for too much.
        """
        hits = names & self.names
        looked_through = path if len(path) <= MOST_PATH else ()
        schemas = {*looked_through, "pg_catalog", *(names & self.schemas)}
        types, fields = names & self.types.keys(), names & self.fields.keys()
        if len(hits) * len(schemas) + len(types) + len(fields) > MOST_LOOKUPS:
            return None
        relations = _excerpt(self.relations, self.relations_named, hits, schemas)
        return Catalog(
            functions=_excerpt(self.functions, self.functions_named, hits, schemas),
            relations={(ANY, ANY): self.every_relation, **relations},
            operators={
                symbol: self.operators[symbol]
                for symbol in map(symbol_of, hits)
                if symbol in self.operators
            },
            types={
                ANY: self.every_type,
                **{name: self.types[name] for name in types},
            },
            fields={name: self.fields[name] for name in fields},
        )

    def path(self, text: str | None, user: str) -> Path:
        """Return the part that matters here of the search path *text* of *user*; None: its default one."""
        said = self.paths.of(user) if text is None else text
        if said == UNKNOWN_PATH or len(said) > MOST_PATH_TEXT:
            return ANYWHERE
        path = parse_search_path(said, user)
        return tuple(schema for schema in path if schema in self.schemas)

    def function(self, schema: str | None, name: str, path: Path) -> FunctionFacts | None:
        """Return the facts of a function, None if there is none of that name."""
        if schema is None and len(path) > MOST_PATH:
            return self.functions_named.get(name)
        found = _found(self.functions, schema, name, path)
        return combine(found) if found else None

    def relation(self, schema: str | None, name: str, path: Path) -> FunctionFacts | None:
        """Return the facts of a relation, None if nothing is known against it."""
        if schema is None and len(path) > MOST_PATH:
            return self.relations_named.get(name)
        found = _found(self.relations, schema, name, path)
        return found[0] if found else None

    def any_function(self, schema: str | None, name: str) -> FunctionFacts | None:
        """Return the facts of a function, of all of that name if there is no *schema*, whatever the search path."""
        named = self.functions_named.get(name)
        return named if schema is None else self.functions.get((schema, name))

    def any_relation(self, schema: str | None, name: str) -> FunctionFacts | None:
        """Return the same of a relation."""
        named = self.relations_named.get(name)
        return named if schema is None else self.relations.get((schema, name))


def _by_name(facts: Mapping[Name, FunctionFacts]) -> dict[str, FunctionFacts]:
    found: dict[str, list[FunctionFacts]] = {}
    for (_, name), each in facts.items():
        found.setdefault(name, []).append(each)
    return {name: combine(parts) for name, parts in found.items()}


def _excerpt(
    facts: Mapping[Name, FunctionFacts],
    named: Mapping[str, FunctionFacts],
    names: frozenset[str],
    schemas: set[str],
) -> dict[Name, FunctionFacts]:
    """Return the facts of *names* in *schemas*, and those of each in all schemas together."""
    found = {
        (schema, name): facts[schema, name]
        for name in names
        for schema in schemas
        if (schema, name) in facts
    }
    found |= {(ANY, name): named[name] for name in names if name in named}
    return found


def symbol_of(name: str) -> str:
    """Return the symbol of an operator's *name*, `operator(+)`; nothing of any other name."""
    return name[len("operator(") : -1] if name.startswith("operator(") else ""


def _found(
    names: Mapping[Name, FunctionFacts], schema: str | None, name: str, path: Path
) -> list[FunctionFacts]:
    if schema is not None:
        places: Path = (schema,)
    else:
        places = path if "pg_catalog" in path else ("pg_catalog", *path)
    found = [names.get((place, name)) for place in places]
    return [each for each in found if each is not None]
