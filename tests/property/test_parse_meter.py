"""sqlglot's parser takes at most twice as many steps as looks into its tables, whatever the text, and in a turn no more than may be."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from sqlglot.dialects.postgres import Postgres

from rwsplit.sql import cache, parse_budget
from rwsplit.sql.builtin import RESERVED
from rwsplit.sql.cache import INLINE_LIMIT, StatementCache
from rwsplit.sql.calls import KEY_WORDS, find_calls
from rwsplit.sql.classify import parse
from rwsplit.sql.effort import Effort
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.parse_budget import INLINE_BUDGET, LOOKS, PATIENT_BUDGET, ParseBudget
from rwsplit.sql.parse_meter import Clock, Metered
from rwsplit.sql.rendering import render
from rwsplit.sql.statement import PrimaryOnly
from rwsplit.sql.tokens import scan
from tests.support.counted_parser import MOST, CountedParser, counted_parser

#: Steps for a look, and steps of a text that takes none.
STEPS, FIRST_STEPS = 2, 300
PLENTY = 100_000
#: Seconds of processor time; an idle machine needs 0.03 at most, without the meter it would be many, or never.
ENDS_SOON = 0.15

WORDS = sorted(
    {word.lower() for word in Postgres.Tokenizer.KEYWORDS if word[:1].isalpha()}
    | {word.lower() for word in Postgres.Parser.FUNCTION_PARSERS}
    | {*KEY_WORDS, *RESERVED}
    | {"f", "x", "t.a", "*", "'x'", "1", "$1", "=", "+", "-", "::int", "::text[]", "from t"}
    | {"select x from", "with x as", "union all", "t join", "t join u on x", "x limit"}
)
BRACKETS = [
    *(("(", ")"), ("[", "]"), ("((", "))"), ("(x, ", ")"), ("(select ", ")"), ("(x as ", ")")),
    *(("", ""), (" x ", ""), (", ", ""), ("<", ">"), (".", "")),
]
STARTS = [
    "select",
    "select x from",
    "select x from t where",
    "select x from t order by",
    "values (",
]
ENDS = ["x", "1", "", "x y", "x as int"]

#: What froze everybody: 30 levels of them are some 200 bytes.
NESTED = [
    *("int(", "time(", "float(", "numeric(", "bit(", "timestamp(", "char(", "varchar("),
    *("double precision(", "decimal(", "union(", "date[", "int[", "text[", "null["),
    *("x limit (select ", "x offset (select ", "x, lateral (x as ", "limit, f(x, "),
    *("x limit f(x, ", "1 limit 1, (select "),
    *("array(char(", "int array, (", "map array, (select ", "1::cast["),
]


@pytest.fixture(scope="module")
def parser() -> Iterator[CountedParser]:
    with counted_parser() as running:
        yield running


def rendered(text: str) -> list[str] | None:
    """Return the words of *text* that sqlglot would be given."""
    found = scan(text.encode())
    if found is None or not found.tokens:
        return None
    return render(found.tokens, find_calls(found.tokens).heads)


@st.composite
def nests(draw: st.DrawFn) -> str:
    """Generate a few words and brackets within each other, again and again."""
    parts = draw(
        st.lists(
            st.tuples(st.sampled_from(WORDS), st.sampled_from(BRACKETS)), min_size=1, max_size=4
        )
    )
    opening = "".join(f"{word} {bracket[0]}" for word, bracket in parts)
    closing = "".join(bracket[1] for _, bracket in reversed(parts))
    depth = draw(st.sampled_from([3, 7, 14]))
    start, end = draw(st.sampled_from(STARTS)), draw(st.sampled_from(ENDS))
    return f"{start} {opening * depth}{end}{closing * depth}"


@st.composite
def soups(draw: st.DrawFn) -> str:
    """Generate a few words and brackets in any order; what was opened is closed."""
    few = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5)
    pieces = ["(", "[", ")", ",", "x", *draw(few)]
    words: list[str] = []
    closing: list[str] = []
    for piece in draw(st.lists(st.sampled_from(pieces), min_size=10, max_size=80)):
        if piece != ")":
            words.append(piece)
            closing += [")" if bracket == "(" else "]" for bracket in piece if bracket in "(["]
        elif closing:
            words.append(closing.pop())
    return f"{draw(st.sampled_from(STARTS))} {' '.join(words + closing[::-1])}"


@given(nests() | soups())
@settings(deadline=None)
def test_no_text_takes_many_more_steps_than_looks(parser: CountedParser, text: str):
    words = rendered(text)
    if words is not None:
        found = parser.counts(" ".join(words), looks=LOOKS * INLINE_BUDGET)
        assert found.steps <= STEPS * found.looks + FIRST_STEPS
        assert found.looks <= LOOKS * INLINE_BUDGET


@given(st.lists(nests() | soups(), min_size=1, max_size=20), st.integers(1, 30))
@settings(deadline=None)
def test_what_is_parsed_in_a_turn_is_bounded_whatever_the_text(texts: list[str], times: int):
    text = "; ".join(texts * times).encode()[:INLINE_LIMIT]
    budgets: list[ParseBudget] = []
    looks = 0

    class Noted(ParseBudget):
        def __init__(self, whole: float, clock: Clock | None) -> None:
            super().__init__(whole, clock)
            budgets.append(self)

    class Counted(Metered):
        def __exit__(self, *how: Any) -> bool:
            nonlocal looks
            stopped = super().__exit__(*how)
            looks += self.taken
            return stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "ParseBudget", Noted)
        patch.setattr(parse_budget, "Metered", Counted)
        script = StatementCache(FunctionBook(), size=10).lookup(text)
    assert looks <= LOOKS * INLINE_BUDGET
    assert all(budget.whole == INLINE_BUDGET for budget in budgets)
    assert len(budgets) <= 1
    assert (script is None) == any(budget.is_spent for budget in budgets)


@pytest.mark.parametrize("opening", NESTED)
def test_what_sqlglot_reads_twice_for_each_level_takes_looks_for_its_steps(
    parser: CountedParser, opening: str
):
    closing = "]" if opening.endswith("[") else ")"
    for depth in (1, 5, 9, 11, 30):
        words = rendered(f"select {opening * depth}1{closing * depth}")
        assert words is not None
        found = parser.counts(" ".join(words), looks=PLENTY)
        assert found.steps < MOST
        assert found.steps <= STEPS * found.looks + FIRST_STEPS
    ends_soon(f"select {opening * 30}1{closing * 30}".encode())


@pytest.mark.parametrize(
    "text",
    [
        "select x from a" + " join b using (x)" * 300,
        "select x from a" + " left join b on a.x = b.x" * 300,
        "select x from a" + " natural left outer join b" * 300,
        "select x from a" + " cross join b" * 300,
        "select x from a" + " cross join lateral (select 1) b" * 150,
        "select x from a join (b join (c join d on x = y) on x = y) on x = y",
        "select " + ", ".join(f't."c{n}" as "c{n}"' for n in range(300)) + " from t",
        "select x[1], y[1][2], z['a']['b']['c'] from t",
        "select " + ", ".join(["a[1]"] * 150) + " from t",
        "select " + "coalesce(nullif(" * 40 + "x" + ", 1), 2)" * 40,
        "select " + "case when x then (" * 40 + "1" + ") end" * 40,
        "select " + "(select max(a) from t where b in (" * 20 + "1" + "))" * 20,
        " union all ".join(["select a, b from t where c = 1"] * 200),
        "select if, if[1] from t where if = (if) and if is not null",
        "select date(x), date_trunc('day', timestamptz(date(y))), text(int4(float8(z))) from t",
        "select x from t limit (select count(*) from (select y from u limit 3) v)",
        "select x from t, lateral (select y from u, lateral (select z from v limit 1) w) s",
        "select x from json_to_record('{}') as t(a numeric(10, 2), b text[], c varchar(5))",
        "select x from t where (a, b) in (select c, d from u) and exists (select 1 from v)",
        "; ".join(["select a from t where b = 1"] * 100),
        "select 1 from a" + " left join lateral (select 1 from a" * 15 + ") s on true" * 15,
        "select 1 from a" + ", lateral (select 1 from a" * 5 + ") s" * 5,
        "select " + "lower(trim(" * 30 + "x" + "))" * 30,
        "select 1 from a" + " join b" * 12 + " on x = y" * 12,
        "select from a where trim(from b) is distinct from c and apply = 1",
        "select a, cross_join, apply from t union all select all from u",
        "select 1 from a" + ", lateral upper(a.x)" * 12,
        "select " + ", ".join(["x::int array"] * 30),
    ],
)
def test_what_people_write_is_well_within_the_budget(text: str):
    assert parse(text.encode(), FunctionBook()).primary_only is None


def test_what_takes_too_long_in_a_turn_is_for_the_parser_process():
    text = b"select " + b"int(" * 11 + b"1" + b")" * 11
    statements = StatementCache(FunctionBook(), size=10)
    assert statements.lookup(text) is None
    assert statements.statistics().dear == 1
    assert parse(text, FunctionBook(), ParseBudget(PATIENT_BUDGET)).primary_only is None


def test_statements_of_one_text_share_a_budget():
    one = "select " + "int(" * 9 + "1" + ")" * 9
    assert parse(one.encode(), FunctionBook()).primary_only is None
    together = parse("; ".join([one] * 100).encode(), FunctionBook())
    assert together.primary_only is PrimaryOnly.UNPARSED


@pytest.mark.parametrize(
    "chain",
    ["[b]", "[b[c]]", "[(b)]", ".f(1)", ".f(a.b.c.d)", "::a.f(1)", "(1)", "[1].b", "->b"],
)
def test_what_goes_through_all_it_has_built_ends_in_time(chain: str):
    for start in ("a", "a.b.c.d", "(a)", "'a'", "f(1)"):
        ends_soon(f"select {start}{chain * (INLINE_LIMIT // len(chain) - 7)}".encode())


@pytest.mark.parametrize(
    "text",
    [
        "select case else interval (x" + " between symmetric 1 and 1" * 140 + ")",
        "select * from t pivot(f(x) for" + " a in (a,b,c,d)" * 200 + ")",
        "select 1 from t as a(x \"int(generate_series(a,b,'"
        + "int(" * 30
        + "1"
        + ")" * 30
        + "'))\")",
        'select 1 from t as a(x "int(case else interval ('
        + "to_array(" * 30
        + "a"
        + ")" * 32
        + '")',
        "select 1 from t as a(x \"int(interval '" + " " * 1900 + "9" * 1900 + "')\")",
        "with "
        + ",".join(f"a{n} as(select)" for n in range(150))
        + " select from a"
        + ",a" * 800,
        "select 1 from t with(x),regexp_replace(x,x,x,x,(select '1'b order by "
        + "exists(select '1'b order by " * 100
        + "b"
        + "+b" * 500
        + ")" * 102,
        "create view a;" + "();" * 1360,
    ],
    ids=[
        "generator",
        "product",
        "type",
        "type, generator",
        "type, pattern",
        "ctes",
        "annotator",
        "many",
    ],
)
def test_what_goes_on_without_a_look_is_not_given_to_the_parser(text: str):
    ends_soon(text.encode())


def test_short_chains_are_dear_together():
    ends_soon(b"; ".join([b"select a" + b".f(1)" * 90] * 8))


def ends_soon(text: bytes) -> None:
    """Have *text* classified in a turn."""
    assert len(text) <= INLINE_LIMIT
    statements = StatementCache(FunctionBook(), size=10, effort=Effort(time.thread_time))
    gc.disable()  # here it has to look through all that pytest has
    try:
        before = time.thread_time()
        statements.lookup(text)
    finally:
        gc.enable()
    assert time.thread_time() - before < ENDS_SOON
