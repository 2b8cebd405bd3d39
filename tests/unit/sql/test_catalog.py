"""What names stand for in one database, under a search path."""

from __future__ import annotations

import pytest

from rwsplit.sql.calls import quoted
from rwsplit.sql.catalog import MOST_PATH, MOST_PATH_TEXT, Catalog
from rwsplit.sql.classify import parse
from rwsplit.sql.facts import ABOUT_THE_PRIMARY, HARMLESS, UNKNOWN, VOLATILE, leaving
from rwsplit.sql.functions import FunctionBook, split_name
from rwsplit.sql.search_path import DefaultPaths
from rwsplit.sql.statement import PrimaryOnly, StateKind

SETS = leaving(StateKind.PARAMETER)
CATALOG = Catalog(
    functions={
        ("a", "f"): HARMLESS,
        ("b", "f"): VOLATILE,
        ("b", "g"): HARMLESS,
        ("public", "lower"): VOLATILE,
        ("pg_catalog", "extra"): HARMLESS,
    },
    relations={
        ("a", "v"): SETS,
        ("b", "v"): HARMLESS,
        ("b", "u"): ABOUT_THE_PRIMARY,
        ("b", "my.table"): ABOUT_THE_PRIMARY,
    },
    operators={"===": VOLATILE, "+": VOLATILE, "<=>": HARMLESS},
    types={"checked": VOLATILE},
    fields={"total": VOLATILE},
    paths=DefaultPaths("b, public", {"ann": '"$user", a'}),
)


def book(*path: str, doubted: frozenset[str] = frozenset()) -> FunctionBook:
    return FunctionBook().within(CATALOG, path, doubted)


def reason(text: str, *path: str) -> PrimaryOnly | None:
    return parse(text.encode(), book(*path)).primary_only


def test_an_empty_catalog_says_nothing():
    assert Catalog().is_empty
    assert not CATALOG.is_empty


def test_only_schemas_that_hold_something_count_in_a_path():
    assert CATALOG.path(None, "bob") == ("b", "public")
    assert CATALOG.path(None, "ann") == ("a",)
    assert CATALOG.path("nowhere, a", "bob") == ("a",)


@pytest.mark.parametrize(
    ("name", "path", "facts"),
    [
        ("f", ("a",), HARMLESS),
        ("f", ("b",), VOLATILE),
        ("f", ("a", "b"), VOLATILE),
        ("a.f", ("b",), HARMLESS),
        ("shop.a.f", ("b",), HARMLESS),
        ('"a".f', (), HARMLESS),
        ("f", (), UNKNOWN),
        ("g", ("a",), UNKNOWN),
        ("extra", ("a",), HARMLESS),
        ("extra", ("a", "pg_catalog"), HARMLESS),
        ("operator(===)", (), VOLATILE),
        ("operator(<=>)", (), HARMLESS),
        ("operator(&&&&)", (), UNKNOWN),
    ],
)
def test_functions_of_the_path_are_overloads_of_each_other(name, path, facts):
    assert book(*path).facts(name) == facts


def test_an_overload_of_a_builtin_function_counts_where_it_is_seen():
    assert book("a").facts("lower") == HARMLESS
    assert book("public").facts("lower") == VOLATILE
    assert book("public").facts("pg_catalog.lower") == HARMLESS


def test_the_operators_patterns_have_the_last_word():
    listing = FunctionBook(reads=["f", "lower"], writes=["a.g"]).within(
        CATALOG, ("b", "public")
    )

    assert listing.facts("f") == HARMLESS
    assert listing.facts("lower") == HARMLESS
    assert listing.facts("g").primary_only is PrimaryOnly.MAY_WRITE


def test_the_first_relation_of_the_path_hides_the_others():
    assert book("a", "b").relation("v") == SETS
    assert book("b", "a").relation("v") == HARMLESS
    assert book("a").relation("b.u") == ABOUT_THE_PRIMARY
    assert book("a").relation("u") == HARMLESS
    assert book("b").relation('"my.table"') == ABOUT_THE_PRIMARY


def test_what_is_doubtful_is_unknown():
    doubting = book("a", doubted=frozenset({"f", "v", "operator(<=>)"}))

    assert doubting.facts("f") == UNKNOWN
    assert doubting.relation("v") == UNKNOWN
    assert doubting.facts("operator(<=>)") == UNKNOWN
    assert doubting.facts("g") == UNKNOWN
    assert parse(b"select * from v", doubting).state is StateKind.UNKNOWN_FUNCTION


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("select f()", ("a",), None),
        ("select f()", ("b",), PrimaryOnly.VOLATILE_FUNCTION),
        ("select * from v", ("b",), None),
        ("select * from v", ("a",), PrimaryOnly.SESSION_STATE),
        ("select * from b.u", (), PrimaryOnly.NEEDS_PRIMARY),
        ("with u as (select 1) select * from u", ("b",), None),
        ("copy u to stdout", ("b",), PrimaryOnly.NEEDS_PRIMARY),
        ("select 1 + 1", (), PrimaryOnly.VOLATILE_FUNCTION),
        ("select 1 - 1", (), None),
        ("select 1::checked", (), PrimaryOnly.VOLATILE_FUNCTION),
        ('select cast(1 as "checked")', (), PrimaryOnly.VOLATILE_FUNCTION),
        ("select t.total from t", (), PrimaryOnly.VOLATILE_FUNCTION),
        ("select total from t", (), None),
    ],
)
def test_a_statement_is_what_its_names_are(text, path, expected):
    assert reason(text, *path) is expected


def test_a_query_that_cannot_be_parsed_may_be_about_every_relation_it_mentions():
    unparsable = b"select * from v for some reason"

    assert parse(unparsable, book("a")).state is StateKind.PARAMETER
    doubted = book("b", doubted=frozenset({"reason"}))
    assert parse(unparsable, doubted).state is StateKind.UNKNOWN_FUNCTION
    assert parse(b"select * from t for some reason", book("a")).state is None


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("f", (None, "f")),
        ("a.f", ("a", "f")),
        ("db.a.f", ("a", "f")),
        ('"a.b".f', ("a.b", "f")),
        ('"a.b"', (None, "a.b")),
        ('"say ""hi"".x"', (None, 'say "hi".x')),
        ('"A.b"."c.d"', ("A.b", "c.d")),
        ("?.f", ("?", "f")),
    ],
)
def test_names_are_split_at_their_dots(name, parts):
    assert split_name(name) == parts


@pytest.mark.parametrize("name", ["a", "a.b", 'a"b', '"', ".", 'a"."b', '".', "ü ."])
@pytest.mark.parametrize("schema", ["s", "Odd.S", '"q"'])
def test_what_is_quoted_is_split_again(schema: str, name: str):
    assert split_name(f"{quoted(schema)}.{quoted(name)}") == (schema, name)


def test_on_a_very_long_path_a_name_may_be_that_of_any_schema():
    catalog = Catalog(
        functions={("a", "f"): HARMLESS, ("b", "f"): VOLATILE},
        relations={("a", "v"): HARMLESS, ("b", "v"): VOLATILE},
    )
    long = ("a", *(f"s{number}" for number in range(MOST_PATH)))
    for path, facts in ((("a",), HARMLESS), (long[:-1], HARMLESS), (long, VOLATILE)):
        assert catalog.function(None, "f", path) == facts
        assert catalog.relation(None, "v", path) == facts
        assert catalog.function("a", "f", path) == HARMLESS
    assert catalog.function(None, "g", long) is None


def test_a_path_that_is_too_long_to_be_read_may_name_any_schema():
    catalog = Catalog(functions={("a", "f"): HARMLESS, ("b", "f"): VOLATILE})
    text = "a," * (MOST_PATH_TEXT // 2 - 1) + "a"
    assert catalog.path(text, "me") == ("a",)
    path = catalog.path(text + " " * 2, "me")
    assert len(path) > MOST_PATH
    assert catalog.function(None, "f", path) == VOLATILE
