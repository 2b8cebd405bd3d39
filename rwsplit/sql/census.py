"""Census: what the monitor read of one database, and the Catalog that follows from it.

What an object means is what it is declared as, what its text does (`body.py`), and what everything mentioned there
means, and so on: a view over a function that calls another one which is volatile belongs on the primary. Facts
only ever get worse on the way, so they are combined again and again until nothing changes.

A function is trusted in what it is declared as: one that is STABLE and calls none that is not is a read
(if it writes all the same, PostgreSQL refuses that everywhere). Session state is another matter, since a STABLE
function may well call set_config() or open a cursor: it is looked for in every text of SQL and PL/pgSQL, and in what these make up
(`dynamic.py`). A function that runs a text of which nothing is known, and a volatile one in any other language, or which runs SQL
that is not spelt out, may leave anything behind.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

import attrs

from rwsplit.sql.body import Body
from rwsplit.sql.calls import quoted
from rwsplit.sql.catalog import Catalog, Name, symbol_of
from rwsplit.sql.chart import builtin_facts
from rwsplit.sql.dynamic import Dynamic
from rwsplit.sql.facts import (
    ABOUT_THE_PRIMARY,
    HARMLESS,
    OPENING,
    UNKNOWN,
    VOLATILE,
    FunctionFacts,
    combine,
    leaving,
)
from rwsplit.sql.functions import split_name
from rwsplit.sql.relations import is_temporary
from rwsplit.sql.search_path import DefaultPaths, parse_search_path
from rwsplit.sql.statement import StateKind

K = TypeVar("K", bound=Hashable)
Key = int | tuple[str, str, str]
"""Of a function, relation or type; of a name: kind, schema, name."""

READ_LANGUAGES: Final = frozenset({"sql", "plpgsql"})
_ANYTHING: Final = VOLATILE._replace(state=StateKind.UNKNOWN_FUNCTION)
_ONLY_COMPUTE: Final = frozenset({"uuid-ossp", "pgcrypto"})
"""Extensions whose volatile functions are random, not writing."""
_TYPE: Final = 1 << 40
_CASTER: Final = 1 << 41
_CASTERS: Final = {
    "json": (
        *("to_json", "to_jsonb", "row_to_json", "array_to_json", "json_agg", "jsonb_agg"),
        *("json_agg_strict", "jsonb_agg_strict", "json_build_array", "jsonb_build_array"),
        *("json_build_object", "jsonb_build_object", "json_object_agg", "jsonb_object_agg"),
        *("json_object_agg_strict", "jsonb_object_agg_strict", "json_object_agg_unique"),
        *("jsonb_object_agg_unique", "json_object_agg_unique_strict", "json_scalar"),
        *("jsonb_object_agg_unique_strict", "json_object", "json_array", "json_arrayagg"),
        *("json_objectagg", "json_serialize", "json"),
    ),
    "text": ("quote_literal", "quote_nullable"),
}
"""Functions that cast what they are given to a type, by that type's name."""
_NO_BODY: Final = Body(HARMLESS)
_RUN_SQL: Final = ("crosstab", "connectby", "xpath_table")
"""How the names of functions begin that run SQL they are given, although they are declared as STABLE."""


class FunctionRow(NamedTuple):
    """One overload of a function or procedure."""

    oid: int
    schema: str
    name: str
    volatility: str
    """`i`, `s` or `v`, as in pg_proc."""
    language: str
    extension: str | None = None
    uses: tuple[int, ...] = ()
    """OIDs of what an aggregate is made of."""
    is_field: bool = False
    """It takes one row, so `r.f` calls it."""
    has_cursor: bool = False
    """It takes or returns a cursor."""
    settings: tuple[str, ...] = ()
    """What it is run with, `name=value` each, as pg_proc.proconfig."""


class RelationRow(NamedTuple):
    """One relation that is not a plain table, or has partitions or policies that matter."""

    oid: int
    schema: str
    name: str
    kind: str
    """As pg_class.relkind."""
    persistence: str
    """As pg_class.relpersistence."""
    parents: tuple[int, ...] = ()


class OperatorRow(NamedTuple):
    """One operator and the function behind it."""

    symbol: str
    function: int


class TypeRow(NamedTuple):
    """A type to which a cast calls the function *function*, runs the text *check*, or is a cast to the type *part*, too."""

    name: str
    function: int = 0
    check: Body = _NO_BODY
    part: str = ""
    """The name of what it is a domain over, an array of, or composed of."""


class Builtin(NamedTuple):
    """A function of PostgreSQL's own."""

    name: str
    volatility: str


@attrs.frozen(kw_only=True)
class Census:
    """Everything that was read of one database."""

    functions: Sequence[FunctionRow] = ()
    relations: Sequence[RelationRow] = ()
    namesakes: Sequence[Name] = ()
    """Relations of any kind that are called like one of *relations*."""
    operators: Sequence[OperatorRow] = ()
    types: Sequence[TypeRow] = ()
    builtins: Mapping[int, Builtin] = attrs.field(factory=dict)
    """PostgreSQL's own functions, by OID, behind aggregates, operators and casts of the database."""
    bodies: Mapping[int, Body] = attrs.field(factory=dict)
    """By OID of a function or view."""
    policies: Mapping[int, Sequence[Body]] = attrs.field(factory=dict)
    """Of row security, by OID of their table."""
    paths: DefaultPaths = attrs.field(factory=DefaultPaths)
    settings: str = ""
    """Stands for all of pg_db_role_setting and the configuration."""


Listed = Callable[[str], FunctionFacts | None]
"""What the operator's patterns say of a function."""


def compose(census: Census, listed: Listed) -> Catalog:
    """Return the catalog that follows from *census*."""
    return _Composer(_with_casters(census), listed).run()


def _with_casters(census: Census) -> Census:
    """Return *census* with those of PostgreSQL's own functions that call explicit casts of the user's own (json.c; `e || 'x'`)."""
    functions, operators = [*census.functions], [*census.operators]
    for target, names in _CASTERS.items():
        casts = tuple(t.function for t in census.types if t.name == target and t.function)
        for name in names if casts else ():
            oid = _CASTER | len(functions)
            functions.append(FunctionRow(oid, "pg_catalog", name, "i", "internal", uses=casts))
            if target == "text":
                operators.append(OperatorRow("||", oid))
    return attrs.evolve(census, functions=functions, operators=operators)


class _Names:
    """Which functions, relations and types the names in a body may stand for; all have keys of their own.

    A name has a key of its own, which mentions everything the name may stand for. So ten thousand bodies that call `f`, with
    ten thousand functions called `f`, do not make a hundred million pairs.
    """

    def __init__(self, census: Census) -> None:
        functions = census.functions
        self._functions = _index((f.schema, f.name, f.oid) for f in functions)
        self._fields = _index(("", f.name, f.oid) for f in functions if f.is_field)
        self._relations = _index((r.schema, r.name, -r.oid) for r in census.relations)
        self._operators = _index(("", o.symbol, o.function) for o in census.operators)
        self._types = _index(("", t.name, _TYPE | n) for n, t in enumerate(census.types))
        self._by_kind = {
            "function": self._functions,
            "operator": self._operators,
            "relation": self._relations,
            "type": self._types,
            "field": self._fields,
        }

    def mentioned(self, body: Body) -> Iterator[Key]:
        """Yield the keys of the names *body* mentions, of those that stand for anything."""
        for name in body.calls:
            schema, bare = split_name(name)
            if (schema or "", bare) in self._functions:
                yield "function", schema or "", bare
            if ("", symbol_of(bare)) in self._operators:
                yield "operator", "", symbol_of(bare)
        for name in body.names:
            schema, bare = split_name(name)
            if (schema or "", bare) in self._relations:
                yield "relation", schema or "", bare
            if ("", bare) in self._types:
                yield "type", "", bare
            if schema is not None and ("", bare) in self._fields:
                yield "field", "", bare

    def parts(self, row: TypeRow) -> Iterator[Key]:
        """Yield the key of what a type is made of, if that stands for anything."""
        if ("", row.part) in self._types:
            yield "type", "", row.part

    def meant(self, key: Key) -> Sequence[int]:
        """Return the keys of what a name may stand for."""
        assert isinstance(key, tuple)
        kind, schema, bare = key
        return self._by_kind[kind][schema, bare]


class _Composer:
    """Facts of everything in a census, by key: a function's OID, a relation's negated, a type's number; and of names."""

    def __init__(self, census: Census, listed: Listed) -> None:
        self._census = census
        self._listed = listed
        self._facts: dict[Key, FunctionFacts] = {}
        self._mentions: dict[Key, set[Key]] = {}

    def run(self) -> Catalog:
        census = self._census
        names = _Names(census)
        for oid, builtin in census.builtins.items():
            self._facts[oid] = _own(builtin)
        for function in census.functions:
            self._enter_function(function, names)
        for relation in census.relations:
            self._enter_relation(relation, names)
        for number, row in enumerate(census.types):
            self._facts[_TYPE | number] = _read(row.check)
            self._mentions[_TYPE | number] = {
                row.function,
                *names.mentioned(row.check),
                *names.parts(row),
            }
        for mentions in list(self._mentions.values()):
            for key in mentions:
                if isinstance(key, tuple) and key not in self._facts:
                    self._facts[key] = HARMLESS
                    self._mentions[key] = set(names.meant(key))
        self._hand_up_partitions()
        self._settle()
        return self._catalog()

    def _enter_function(self, function: FunctionRow, names: _Names) -> None:
        listed = self._listed(f"{quoted(function.schema)}.{quoted(function.name)}")
        if listed is not None:  # the operator has the last word
            self._facts[function.oid] = listed
            return
        body = self._census.bodies.get(function.oid, _NO_BODY)
        own = _declared(function, body), _run_with(function), body.facts
        self._facts[function.oid] = combine(own)
        self._mentions[function.oid] = {*names.mentioned(body), *function.uses}

    def _enter_relation(self, relation: RelationRow, names: _Names) -> None:
        bodies = [*self._census.policies.get(relation.oid, ())]
        if relation.kind == "v":
            bodies.append(self._census.bodies[relation.oid])
        own = combine((_storage(relation), *map(_read, bodies)))
        self._facts[-relation.oid] = own
        self._mentions[-relation.oid] = {
            key for body in bodies for key in names.mentioned(body)
        }

    def _hand_up_partitions(self) -> None:
        """A table is read with its partitions: it is no better than how they are stored."""
        by_oid = {relation.oid: relation for relation in self._census.relations}
        for relation in self._census.relations:
            storage = _storage(relation)
            above, seen = list(relation.parents), set[int]()
            while storage != HARMLESS and above:
                parent = above.pop()
                if parent in by_oid and parent not in seen:
                    seen.add(parent)
                    self._facts[-parent] = combine((self._facts[-parent], storage))
                    above += by_oid[parent].parents

    def _settle(self) -> None:
        """Let facts spread, from what is mentioned to what mentions it, until nothing changes.

        Facts can get worse some twenty times only, so that takes no more than so many looks at each mention.
        """
        by: dict[Key, list[Key]] = {}
        for key, others in self._mentions.items():
            for other in others:
                by.setdefault(other, []).append(key)
        news = [key for key, facts in self._facts.items() if facts != HARMLESS]
        while news:
            key = news.pop()
            for user in by.get(key, ()):
                worse = combine((self._facts[user], self._facts[key]))
                if worse != self._facts[user]:
                    self._facts[user] = worse
                    news.append(user)

    def _of(self, key: Key) -> FunctionFacts:
        """What is missing is there no more, or was not read."""
        return self._facts.get(key, HARMLESS)

    def _catalog(self) -> Catalog:
        census, of = self._census, self._of
        relations = _troubled(((r.schema, r.name), of(-r.oid)) for r in census.relations)
        troubled = {name for _, name in relations}
        for schema, name in census.namesakes:
            if name in troubled:
                relations.setdefault((schema, name), HARMLESS)
        return Catalog(
            functions=_merged(((f.schema, f.name), of(f.oid)) for f in census.functions),
            relations=relations,
            operators=_merged((o.symbol, of(o.function)) for o in census.operators),
            types=_troubled((t.name, of(_TYPE | n)) for n, t in enumerate(census.types)),
            fields=_troubled((f.name, of(f.oid)) for f in census.functions if f.is_field),
            paths=census.paths,
            settings=census.settings,
        )


def _declared(function: FunctionRow, body: Body) -> FunctionFacts:
    if function.name.startswith(_RUN_SQL) and function.extension is not None:
        return UNKNOWN
    own = OPENING if function.has_cursor else HARMLESS
    if function.volatility != "v" and function.extension is None:
        return UNKNOWN if body.dynamic is Dynamic.OPAQUE else own
    if function.volatility != "v" or function.extension in _ONLY_COMPUTE:
        return own
    is_read = function.language in READ_LANGUAGES and body.dynamic <= Dynamic.SPELT
    return VOLATILE if is_read else _ANYTHING


def _own(builtin: Builtin) -> FunctionFacts:
    """Return the facts of a function of PostgreSQL's own; what no query calls by its name only computes unless it is volatile."""
    known = builtin_facts(builtin.name)
    if known is not None:
        return known
    return UNKNOWN if builtin.volatility == "v" else HARMLESS


def _run_with(function: FunctionRow) -> FunctionFacts:
    """Return the facts of *function*, whatever its text, because of the settings it is run with.

    Its text may mean something else than was read, or what it creates is temporary without a word about that.
    """
    values = dict(setting.split("=", 1) for setting in function.settings)
    if values.get("standard_conforming_strings", "on") != "on":
        return UNKNOWN
    first = parse_search_path(values.get("search_path", ""), "")[:1]
    creates = function.volatility == "v" and any(map(is_temporary, first))
    return leaving(StateKind.TEMP_TABLE) if creates else HARMLESS


def _read(body: Body) -> FunctionFacts:
    """Return the facts of a text that may only read, unless it could not be read."""
    return body.facts if body.dynamic is Dynamic.NONE else UNKNOWN


def _storage(relation: RelationRow) -> FunctionFacts:
    """A standby has no data of unlogged tables, that of sequences is ahead, and a foreign table is not replicated at all."""
    only_here = relation.kind in {"f", "S"} or relation.persistence == "u"
    return ABOUT_THE_PRIMARY if only_here else HARMLESS


def _index(rows: Iterable[tuple[str, str, int]]) -> dict[Name, list[int]]:
    """Return OIDs by schema and name, and by name alone (in no schema)."""
    found: dict[Name, list[int]] = {}
    for schema, name, oid in rows:
        found.setdefault((schema, name), []).append(oid)
        if schema:
            found.setdefault(("", name), []).append(oid)
    return found


def _merged(rows: Iterable[tuple[K, FunctionFacts]]) -> dict[K, FunctionFacts]:
    found: dict[K, FunctionFacts] = {}
    for key, facts in rows:
        found[key] = combine((found[key], facts)) if key in found else facts
    return found


def _troubled(rows: Iterable[tuple[K, FunctionFacts]]) -> dict[K, FunctionFacts]:
    return _merged(row for row in rows if row[1] != HARMLESS)
