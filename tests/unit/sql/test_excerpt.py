"""An excerpt says of the names in a text what the whole book says, and knows nothing else."""

from __future__ import annotations

import pytest

from rwsplit.sql import catalog, excerpt
from rwsplit.sql.catalog import MOST_PATH, Catalog
from rwsplit.sql.classify import parse_scan, scan_query
from rwsplit.sql.excerpt import Excerpt, names_of
from rwsplit.sql.facts import ABOUT_THE_PRIMARY, HARMLESS, UNKNOWN, VOLATILE, leaving
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.script import Script
from rwsplit.sql.statement import PrimaryOnly, StateKind

CATALOG = Catalog(
    functions={
        ("public", "f"): HARMLESS,
        ("public", "g"): VOLATILE,
        ("a", "f"): VOLATILE,
        ("b", "f"): leaving(StateKind.SEED),
        ("public", "lower"): leaving(StateKind.SEED),
        ("Odd", 'a "b".c'): leaving(StateKind.LISTEN),
    },
    relations={
        ("public", "v"): ABOUT_THE_PRIMARY,
        ("a", "v"): HARMLESS,
        ("a", "w"): leaving(StateKind.TEMP_TABLE),
    },
    operators={"===": leaving(StateKind.LISTEN), "~~": VOLATILE},
    types={"checked": leaving(StateKind.LARGE_OBJECT)},
    fields={"total": VOLATILE},
)
BOOK = FunctionBook(["report_*"], ["log_*"]).within(CATALOG, ("public", "a"))

TEXTS = [
    "select f(), lower('x') from v",
    "select g()",
    "select a.f(), b.f(), c.f() from a.v, b.v, w",
    "select report_a(), log_b(), unheard_of() from plain",
    'select "Odd"."a ""b"".c"()',
    "select 1 === 2, x like 'y', y ~~ z",
    "select x::checked, cast(y as checked), t.total, total from t",
    "select x::text[] from t where a in (select f() from v)",
    "update v set a = f() where b = total",
    "select * from v where date[date[date[date[date[date[date[date[date[date[1]]]]]]]]]]",
    "select query_to_xml('select g() from w', true, true, '')",
    'select query_to_xml(\'select "Odd"."a ""b"".c"()\', true, true, \'\')',
    "select query_to_xml($$select a.f(), query_to_xml('select f() from a.w', 1, 2, '')$$, 1, 2, '')",
    "select table_to_xml('a.w', 1, 2, ''), schema_to_xml('a', 1, 2, '')",
    "select domain_in('x', 'checked'::regtype, -1)",
    "select 'select g() from w'",
    "do $$begin perform f(); execute 'select b.f()'; insert into w values ('x'::checked); end$$",
    "do $$declare r record; begin execute format('select %I.f() from a.w', x); end$$",
    "do 'begin perform 1 === 2, r.total; end'",
    "call f(); call g(); call a.f()",
    "create function h() returns int language sql as 'select 1'; select h(), f()",
    "create or replace view v as select 1; select * from v",
    "prepare p as select g(); explain analyze select f(); declare c cursor for select * from a.w",
    "begin; set search_path = b; select f()",
    'select U&"\\0066"()',
    "select (row).total, x.f from w x",
]


def scripts(text: str, book: FunctionBook = BOOK) -> tuple[Script, Script]:
    """Return what *book* and its excerpt make of *text*."""
    found = scan_query(text.encode())
    assert found is not None
    names = names_of(found.tokens)
    assert names is not None
    part = Excerpt.of(book, names)
    assert part is not None
    return parse_scan(found, book), parse_scan(found, part)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    "book",
    [
        BOOK,
        FunctionBook(),
        BOOK.within(CATALOG, (), frozenset({"f", "v", "operator(===)"})),
        BOOK.within(CATALOG, ("a", "b"), frozenset({"nothing_here"})),
        BOOK.within(CATALOG, ("a", *(f"s{number}" for number in range(MOST_PATH)))),
    ],
    ids=["path", "nothing", "doubts", "another path", "a long path"],
)
def test_the_verdict_is_that_of_the_whole_book(text: str, book: FunctionBook):
    whole, part = scripts(text, book)
    assert part.statements == whole.statements


def test_only_what_occurs_is_in_it():
    part = Excerpt.of(BOOK, frozenset({"f"}))
    assert part is not None
    assert {name for _, name in part._catalog.functions} == {"f"}
    assert not part._catalog.operators
    assert not part._catalog.fields


def test_what_was_not_asked_for_is_unknown():
    part = Excerpt.of(BOOK, frozenset({"f", "v"}))
    assert part is not None
    assert part.facts("f") == BOOK.facts("f")
    for facts in (part.facts("report_a"), part.facts("now"), part.relation("plain")):
        assert facts.primary_only is not None
        assert facts.state is StateKind.UNKNOWN_FUNCTION
    assert part.doubting(frozenset({"x"})).relation("plain") == UNKNOWN
    assert UNKNOWN in list(part.token_facts([(0, "total")]))
    assert UNKNOWN in list(part.mentioned([(0, "w")]))


def test_names_in_a_literal_are_asked_for_only_where_they_may_be_run():
    found = scan_query(b"select 'select hidden()'")
    assert found is not None
    assert "hidden" not in (names_of(found.tokens) or ())
    found = scan_query(b"do 'begin perform hidden(); end'")
    assert found is not None
    assert "hidden" in (names_of(found.tokens) or ())


def test_what_stands_for_too_much_is_not_excerpted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(catalog, "MOST_LOOKUPS", 5)
    assert Excerpt.of(BOOK, frozenset({"f", "g", "a", "b"})) is None
    domains = FunctionBook().within(Catalog(types={f"d{n}": VOLATILE for n in range(9)}), ())
    assert Excerpt.of(domains, frozenset({f"d{n}" for n in range(5)})) is not None
    assert Excerpt.of(domains, frozenset({f"d{n}" for n in range(6)})) is None
    monkeypatch.setattr(excerpt, "MOST_NAMES", 2)
    assert names_of([(0, "a"), (0, "b"), (0, "c")]) is None


def test_a_name_of_many_schemas_is_as_bad_as_the_worst_of_them():
    functions = {(f"s{number}", "f"): HARMLESS for number in range(30_000)}
    many = Catalog(functions={**functions, ("s7", "f"): VOLATILE})
    book = FunctionBook().within(many, ("s1",))
    assert scripts("select f()", book)[1].primary_only is None
    assert scripts("select s7.f()", book)[1].primary_only is PrimaryOnly.VOLATILE_FUNCTION
    whole, part = scripts("do $$begin perform f(); end$$", book)
    assert part.statements == whole.statements
