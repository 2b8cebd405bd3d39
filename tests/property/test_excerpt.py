"""Whoever classifies by an excerpt comes to the verdict of the whole book: for every statement of the fixture and generated ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, strategies as st

from rwsplit.sql.catalog import Catalog
from rwsplit.sql.classify import parse_scan, scan_query
from rwsplit.sql.excerpt import Excerpt, names_of
from rwsplit.sql.facts import ABOUT_THE_PRIMARY, HARMLESS, VOLATILE, leaving
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.statement import StateKind, Statement

FIXTURE: Final = Path(__file__).parent.parent / "fixtures" / "routing_cases.jsonl"
CASES: Final = [json.loads(line)["sql"] for line in FIXTURE.read_text().splitlines()]

FACTS: Final = [HARMLESS, VOLATILE, ABOUT_THE_PRIMARY, leaving(StateKind.LISTEN)]
NAMES: Final = ["f", "g", "t", "v", "lower", "count", "x", "a b", "Ä", "table"]
SCHEMAS: Final = ["public", "app", "f", "pg_catalog"]
SYMBOLS: Final = ["===", "~~", "<->", "||", "-"]


@st.composite
def books(draw: st.DrawFn) -> FunctionBook:
    """Generate what is known of some names."""
    facts = st.sampled_from(FACTS)
    names = st.tuples(st.sampled_from(SCHEMAS), st.sampled_from(NAMES))
    catalog = Catalog(
        functions=draw(st.dictionaries(names, facts, max_size=6)),
        relations=draw(st.dictionaries(names, facts, max_size=6)),
        operators=draw(st.dictionaries(st.sampled_from(SYMBOLS), facts, max_size=3)),
        types=draw(st.dictionaries(st.sampled_from(NAMES), facts, max_size=2)),
        fields=draw(st.dictionaries(st.sampled_from(NAMES), facts, max_size=2)),
    )
    path = draw(st.permutations(SCHEMAS))[: draw(st.integers(0, 3))]
    doubted = draw(st.frozensets(st.sampled_from([*NAMES, "operator(===)"]), max_size=2))
    return FunctionBook(["x"], ["app.g"]).within(catalog, tuple(path), doubted)


PIECES: Final = [
    *("f()", "app.f(x)", '"a b"()', "t", "app.v", "v", "x::t", "(x).g", "'f'", "1", "count(*)"),
    *(
        "greatest",
        "interval '1' day",
        "x === y",
        "x like 'a'",
        "a || b",
        "-x",
        "x <-> y",
        "date[1]",
        "'Ä'::\"Ä\"",
        "lower(x)",
    ),
    *(
        "query_to_xml('select f() from v', true, true, '')",
        "f.g()",
        "null",
        "*",
        "set_config('a', 'b', true)",
    ),
]
SHAPES: Final = [
    *("select {0}, {1}", "select {0} from {1} where {2}", "insert into {0} values ({1})"),
    *(
        "select {0} from t, lateral (select {1}) x order by {2}",
        "with x as (select {0}) select {1} from x",
    ),
    *("create function f() returns int as 'x' language c; select {0}", "call app.f({0})"),
    *(
        "do $$begin perform {0}; execute 'select {1}'; end$$",
        "do $$begin perform {0}, ä; execute 'select {1} from a' || '_b.c' || '_d'; end$$",
        "explain analyze select {0}",
        "table {0}",
    ),
    *(
        "update {0} set x = {1} returning {2}",
        "select {0} union select {1}; select {2}",
        "select {0} from {1},",
    ),
]


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Generate statements about such names."""
    pieces = [draw(st.sampled_from(PIECES)) for _ in range(3)]
    return draw(st.sampled_from(SHAPES)).format(*pieces)


def verdicts(text: str, book: FunctionBook) -> tuple[object, object]:
    found = scan_query(text.encode())
    if found is None:
        return None, None
    names = names_of(found.tokens)
    assert names is not None
    part = Excerpt.of(book, names)
    assert part is not None
    whole, ours = parse_scan(found, book), parse_scan(found, part)
    return whole.statements, ours.statements


@given(texts(), books())
def test_an_excerpt_leads_to_the_verdict_of_the_whole_book(text: str, book: FunctionBook):
    whole, ours = verdicts(text, book)
    assert ours == whole


@pytest.mark.parametrize("book", [FunctionBook(), None], ids=["nothing known", "something"])
def test_so_it_does_for_every_statement_of_the_fixture(book: FunctionBook | None):
    catalog = Catalog(
        functions={("public", "f"): HARMLESS, ("public", "count"): VOLATILE},
        relations={("public", "t"): ABOUT_THE_PRIMARY},
        operators={"=": HARMLESS, "~~": VOLATILE},
        types={"int": VOLATILE},
    )
    judge = book or FunctionBook(["lower"], ["nextval"]).within(catalog, ("public",))
    different = [text for text in CASES if len(set(map(_key, verdicts(text, judge)))) > 1]
    assert not different


def _key(statements: object) -> tuple[Statement, ...]:
    assert statements is None or isinstance(statements, tuple)
    return statements or ()
