"""From what was read of a database to what its names mean."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from rwsplit.sql import census
from rwsplit.sql.body import UNREADABLE, Body, read_body
from rwsplit.sql.catalog import Catalog
from rwsplit.sql.census import (
    Builtin,
    Census,
    FunctionRow,
    OperatorRow,
    RelationRow,
    TypeRow,
    compose,
)
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
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.statement import PrimaryOnly, StateKind


def function(oid: int, name: str, volatility: str = "v", language: str = "plpgsql", **more):
    schema, _, bare = name.rpartition(".")
    return FunctionRow(oid, schema or "public", bare, volatility, language, **more)


def texts(**by_key: str) -> Mapping[int, Body]:
    return {int(key[1:]): read_body(text) for key, text in by_key.items()}


def composed(book: FunctionBook | None = None, **parts) -> Catalog:
    return compose(Census(**parts), (book or FunctionBook()).listed)


def test_functions_are_what_they_are_declared_as():
    catalog = composed(
        functions=[
            function(1, "reads", "s"),
            function(2, "computes", "i", "sql"),
            function(3, "writes"),
            function(4, "outside", "v", "c"),
            function(5, "inside", "s", "c"),
            function(6, "uuid_generate_v4", "v", "c", extension="uuid-ossp"),
            function(7, "crosstab", "s", "c", extension="tablefunc"),
            function(8, "crosstab_of_mine", "s"),
        ],
    )

    facts = {name: facts for (_, name), facts in catalog.functions.items()}
    assert facts["reads"] == facts["computes"] == facts["inside"] == HARMLESS
    assert facts["writes"] == VOLATILE
    assert facts["outside"] == VOLATILE._replace(state=StateKind.UNKNOWN_FUNCTION)
    assert facts["uuid_generate_v4"] == HARMLESS
    assert facts["crosstab"] == UNKNOWN
    assert facts["crosstab_of_mine"] == HARMLESS


def test_one_volatile_overload_makes_the_name_volatile():
    catalog = composed(
        functions=[function(1, "f", "s"), function(2, "f"), function(3, "a.f", "s")]
    )

    assert catalog.functions["public", "f"] == VOLATILE
    assert catalog.functions["a", "f"] == HARMLESS


def test_state_is_found_in_any_body_and_in_the_sql_that_makes_up():
    catalog = composed(
        functions=[
            function(1, "steady", "s"),
            function(2, "woven"),
            function(3, "steady_woven", "s"),
            function(4, "steady_opaque", "s"),
            function(5, "spelt"),
            function(6, "steady_spelt", "s"),
            function(7, "extension_opaque", "s", extension="postgis"),
        ],
        bodies=texts(
            _1="begin perform set_config('a', 'b', false); end",
            _2="begin execute 'select ' || x; end",
            _3="begin return query execute 'select ' || x; end",
            _4="begin return query execute x; end",
            _5="begin execute format('select %L', x); end",
            _6="begin execute 'select woven()'; end",
            _7="begin execute x; end",
        ),
    )

    def facts(name: str) -> FunctionFacts:
        return catalog.functions["public", name]

    assert facts("steady").state is StateKind.PARAMETER
    assert facts("woven").state is StateKind.UNKNOWN_FUNCTION
    assert facts("steady_woven") == HARMLESS
    assert facts("steady_opaque") == UNKNOWN
    assert facts("spelt") == VOLATILE
    assert facts("steady_spelt").state is StateKind.UNKNOWN_FUNCTION
    assert facts("extension_opaque") == HARMLESS


def test_who_opens_a_cursor_or_handles_one_does_so_on_the_primary_and_leaves_nothing_else():
    catalog = composed(
        functions=[
            function(1, "opens", "s"),
            function(2, "calls", "i"),
            function(3, "returns", "s", "c", has_cursor=True),
            function(4, "writes_too", "v", has_cursor=True),
            function(5, "loops", "s"),
        ],
        bodies=texts(
            _1="begin open c for select 1; return c; end",
            _2="begin return opens(); end",
            _4="begin return 'x'; end",
            _5="declare open int; begin for r in select t.open from t loop end loop; end",
        ),
    )

    for name in ("opens", "calls", "returns"):
        assert catalog.functions["public", name] == OPENING, name
    assert catalog.functions["public", "writes_too"] == VOLATILE
    assert catalog.functions["public", "loops"] == HARMLESS


def test_what_is_called_counts_however_deep():
    catalog = composed(
        functions=[
            function(1, "top", "s"),
            function(2, "app.middle", "s"),
            function(3, "app.bottom"),
            function(4, "other.bottom", "s"),
            function(5, "precise", "s"),
        ],
        bodies=texts(
            _1="begin return middle(1); end",
            _2="begin perform app.bottom(); perform top(); end",
            _3="begin listen x; end",
            _5="begin return other.bottom(); end",
        ),
    )

    assert catalog.functions["public", "top"].state is StateKind.LISTEN
    assert catalog.functions["public", "top"].may_write
    assert catalog.functions["public", "precise"] == HARMLESS


def test_the_operators_patterns_count_in_views_too():
    book = FunctionBook(reads=["app.report"], writes=["audit"])
    catalog = composed(
        book,
        functions=[function(1, "app.report"), function(2, "audit", "s")],
        relations=[
            RelationRow(10, "public", "reported", "v", "p"),
            RelationRow(11, "public", "audited", "v", "p"),
        ],
        bodies=texts(
            _1="begin execute x; end", _10="select app.report()", _11="select audit()"
        ),
    )

    assert ("public", "reported") not in catalog.relations
    assert catalog.relations["public", "audited"].primary_only is PrimaryOnly.MAY_WRITE


def test_views_are_expanded_to_what_is_behind_them():
    catalog = composed(
        functions=[function(1, "app.f")],
        relations=[
            RelationRow(10, "app", "calls", "v", "p"),
            RelationRow(11, "app", "over", "v", "p"),
            RelationRow(12, "app", "sets", "v", "p"),
            RelationRow(13, "app", "plain", "v", "p"),
            RelationRow(14, "app", "quick", "r", "u"),
            RelationRow(15, "app", "far", "f", "p"),
            RelationRow(16, "app", "over_quick", "v", "p"),
            RelationRow(17, "app", "unreadable", "v", "p"),
        ],
        namesakes=[("app", "calls"), ("other", "calls"), ("other", "plain")],
        bodies={
            **texts(
                _10="select app.f() as f",
                _11="select c.f from app.calls c",
                _12="select set_config('a', 'b', false)",
                _13="select a from app.t",
                _16="select q.a from (app.quick q join app.t on true)",
            ),
            17: UNREADABLE,
        },
    )

    relations = {
        name: facts for (schema, name), facts in catalog.relations.items() if schema == "app"
    }
    assert relations == {
        "calls": VOLATILE,
        "over": VOLATILE,
        "sets": relations["sets"],
        "quick": ABOUT_THE_PRIMARY,
        "far": ABOUT_THE_PRIMARY,
        "over_quick": ABOUT_THE_PRIMARY,
        "unreadable": UNKNOWN,
    }
    assert relations["sets"].state is StateKind.PARAMETER
    assert catalog.relations["other", "calls"] == HARMLESS
    assert ("other", "plain") not in catalog.relations


def test_a_table_is_no_better_than_its_partitions_and_policies():
    catalog = composed(
        functions=[function(1, "allowed")],
        relations=[
            RelationRow(10, "app", "measured", "p", "p"),
            RelationRow(11, "app", "measured_2025", "p", "p", (10,)),
            RelationRow(12, "app", "measured_2025_12", "r", "u", (11, 10, 99)),
            RelationRow(13, "app", "guarded", "r", "p"),
            RelationRow(14, "app", "guarded_oddly", "r", "p"),
        ],
        policies={
            13: [read_body("(allowed(id) AND (a = 1))")],
            14: [UNREADABLE, read_body("true")],
        },
    )

    assert catalog.relations["app", "measured"] == ABOUT_THE_PRIMARY
    assert catalog.relations["app", "measured_2025"] == ABOUT_THE_PRIMARY
    assert catalog.relations["app", "guarded"] == VOLATILE
    assert catalog.relations["app", "guarded_oddly"] == UNKNOWN


def test_what_is_called_without_parentheses():
    catalog = composed(
        functions=[
            function(1, "eq"),
            function(2, "to_checked"),
            function(3, "full_name", is_field=True),
            function(4, "initials", "s", is_field=True),
            function(5, "step"),
            function(6, "total", "i", "internal", uses=(5, 0)),
            function(7, "casts", "s"),
            function(8, "compares", "s"),
            function(9, "names", "s"),
        ],
        operators=[OperatorRow("===", 1), OperatorRow("~~~", 4), OperatorRow("!!!", 77)],
        types=[
            TypeRow("converted", 2),
            TypeRow("checked", check=read_body("CHECK (public.eq(VALUE, 1))")),
            TypeRow("narrow", check=read_body("CHECK (VALUE > 0)")),
        ],
        bodies=texts(
            _7="begin return x::checked; end",
            _8="begin return a === b; end",
            _9="begin return r.full_name; end",
        ),
    )

    assert catalog.operators == {"===": VOLATILE, "~~~": HARMLESS, "!!!": HARMLESS}
    assert catalog.types == {"converted": VOLATILE, "checked": VOLATILE}
    assert catalog.fields == {"full_name": VOLATILE}
    for name in ("total", "casts", "compares", "names"):
        assert catalog.functions["public", name] == VOLATILE


def test_functions_of_postgresql_behind_what_has_another_name():
    catalog = composed(
        functions=[
            function(20_001, "sets", "i", "internal", uses=(101, 0)),
            function(20_002, "adds", "i", "internal", uses=(102, 103)),
        ],
        operators=[OperatorRow("@@@", 104), OperatorRow("+++", 102), OperatorRow("!!!", 105)],
        types=[TypeRow("locked", 104), TypeRow("added", 102)],
        builtins={
            101: Builtin("set_config", "v"),
            102: Builtin("int4pl", "i"),
            103: Builtin("int4_avg_accum_of_another_version", "i"),
            104: Builtin("pg_try_advisory_lock", "v"),
            105: Builtin("does_what_nobody_knows", "v"),
        },
    )

    assert catalog.functions["public", "sets"].state is StateKind.PARAMETER
    assert catalog.functions["public", "adds"] == HARMLESS
    locking = catalog.operators["@@@"]
    assert locking.state is StateKind.ADVISORY_LOCK
    assert catalog.operators == {"@@@": locking, "+++": HARMLESS, "!!!": UNKNOWN}
    assert catalog.types == {"locked": locking}


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("standard_conforming_strings=off", UNKNOWN),
        ("standard_conforming_strings=on", HARMLESS),
        ("search_path=pg_temp, public", leaving(StateKind.TEMP_TABLE)),
        ('search_path="pg_temp"', leaving(StateKind.TEMP_TABLE)),
        ("search_path=public, pg_temp", HARMLESS),
        ('search_path=""', HARMLESS),
        ("work_mem=1MB", HARMLESS),
    ],
)
def test_what_a_function_is_run_with(setting: str, expected: FunctionFacts):
    functions = [
        function(1, "f", settings=(setting,)),
        function(2, "g", "s", settings=(setting,)),
    ]
    catalog = composed(functions=functions, bodies=texts(_1="select 1", _2="select 1"))
    assert catalog.functions["public", "f"] == combine((VOLATILE, expected))
    steady = expected if expected == UNKNOWN else HARMLESS  # it may not create anything
    assert catalog.functions["public", "g"] == steady


def test_functions_of_postgresql_that_call_casts():
    functions = [
        function(20_001, "to_json", language="plpgsql"),
        function(20_002, "to_text", "s"),
        function(20_003, "tells", "s"),
    ]
    catalog = composed(
        functions=functions,
        types=[TypeRow("json", 20_001), TypeRow("text", 20_002)],
        bodies=texts(_20003="begin return json_build_object('a', x); end"),
    )
    assert catalog.functions["pg_catalog", "json_agg"] == VOLATILE
    assert catalog.functions["pg_catalog", "quote_literal"] == HARMLESS
    assert catalog.operators == {"||": HARMLESS}
    assert catalog.functions["public", "tells"] == VOLATILE
    assert ("pg_catalog", "json_agg") not in composed(functions=functions).functions
    volatile = composed(functions=functions, types=[TypeRow("text", 20_001)])
    assert volatile.operators == {"||": VOLATILE}


def test_a_type_made_of_a_checked_one_is_checked():
    catalog = composed(
        functions=[function(1, "eq")],
        types=[
            TypeRow("outer", part="inner"),
            TypeRow("_inner", part="inner"),
            TypeRow("inner", part="checked"),
            TypeRow("checked", check=read_body("CHECK (public.eq(VALUE, 1))")),
            TypeRow("free", part="plain"),
            TypeRow("of_itself", part="of_itself"),
        ],
    )
    assert catalog.types == dict.fromkeys(("outer", "_inner", "inner", "checked"), VOLATILE)


def chain(length: int) -> dict[str, object]:
    """Return functions each of which calls the next one, of which the last is volatile, in the worst order."""
    functions = [function(20_000 + n, f"app.f{n}", "s", "sql") for n in range(length)]
    functions[-1] = functions[-1]._replace(volatility="v")
    calls = {20_000 + n: read_body(f"select app.f{n + 1}()") for n in range(length - 1)}
    return {"functions": functions, "bodies": calls}


def namesakes(length: int) -> dict[str, object]:
    """Return functions of one name in many schemas, all of which call that name."""
    functions = [function(20_000 + n, f"s{n}.f", "s", "sql") for n in range(length)]
    functions[0] = functions[0]._replace(volatility="v")
    return {
        "functions": functions,
        "bodies": {row.oid: read_body("select f()") for row in functions},
    }


def ring(length: int) -> dict[str, object]:
    """Return functions that call each other round and round."""
    parts = chain(length)
    parts["bodies"][20_000 + length - 1] = read_body("select app.f0()")  # type: ignore[index]
    return parts


@pytest.mark.parametrize("shape", [chain, namesakes, ring])
def test_facts_spread_in_linear_time_and_however_far(shape, monkeypatch: pytest.MonkeyPatch):
    looks = 0

    def counted(parts):
        nonlocal looks
        looks += 1
        return combine(parts)

    monkeypatch.setattr(census, "combine", counted)
    steps = []
    for length in (100, 400):
        looks = 0
        catalog = composed(**shape(length))
        assert {facts.primary_only for facts in catalog.functions.values()} == {
            PrimaryOnly.VOLATILE_FUNCTION
        }
        steps.append(looks)
    assert steps[1] <= 4.5 * steps[0]
