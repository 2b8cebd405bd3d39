"""What sqlglot is given to read costs it no more than was estimated, whatever the text: counted in steps of its parser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings, strategies as st
from sqlglot.dialects.postgres import Postgres

from rwsplit.sql import queries
from rwsplit.sql.builtin import RESERVED
from rwsplit.sql.cache import INLINE_LIMIT, StatementCache
from rwsplit.sql.calls import KEY_WORDS, find_calls
from rwsplit.sql.classify import parse
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.parse_budget import BUDGET, INLINE_BUDGET, ParseBudget
from rwsplit.sql.parse_cost import parse_cost
from rwsplit.sql.rendering import render
from rwsplit.sql.statement import PrimaryOnly
from rwsplit.sql.tokens import scan
from tests.support.counted_parser import MOST, CountedParser, counted_parser

#: Steps for a word of the estimate, and for a text of none.
STEPS, FIRST_STEPS = 6, 300

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
def test_no_text_takes_more_steps_than_its_cost_says(parser: CountedParser, text: str):
    words = rendered(text)
    if words is not None and ParseBudget().affords(words):
        steps = parser.steps(" ".join(words))
        assert steps <= STEPS * parse_cost(words, BUDGET) + FIRST_STEPS


@given(st.lists(nests() | soups(), min_size=1, max_size=20), st.integers(1, 30))
@settings(deadline=None)
def test_what_is_parsed_in_a_turn_is_bounded_whatever_the_text(
    parser: CountedParser, texts: list[str], times: int
):
    text = "; ".join(texts * times).encode()[:INLINE_LIMIT]
    read: list[str] = []

    class Recorded(Postgres):
        def parse(self, sql: str, **options):
            read.append(sql)
            return super().parse(sql, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queries, "_POSTGRES", Recorded())
        StatementCache(FunctionBook(), size=10).lookup(text)
    steps = sum(map(parser.steps, read))
    assert steps <= STEPS * INLINE_BUDGET + FIRST_STEPS * len(read)
    assert len(read) <= INLINE_BUDGET


@pytest.mark.parametrize("opening", NESTED)
def test_what_sqlglot_reads_twice_for_each_level_is_estimated_so(
    parser: CountedParser, opening: str
):
    closing = "]" if opening.endswith("[") else ")"
    for depth in range(1, 12):
        words = rendered(f"select {opening * depth}1{closing * depth}")
        assert words is not None
        steps = parser.steps(" ".join(words))
        assert steps < MOST
        assert steps <= STEPS * parse_cost(words, limit=MOST) + FIRST_STEPS
    deep = parse(f"select {opening * 30}1{closing * 30}".encode(), FunctionBook())
    assert deep.primary_only is PrimaryOnly.UNPARSED


def test_joins_without_a_condition_are_estimated_as_read_twice(parser: CountedParser):
    for count in range(1, 12):
        words = rendered("select x from a" + " join b" * count)
        assert words is not None
        assert parser.steps(" ".join(words)) <= STEPS * parse_cost(words, BUDGET) + FIRST_STEPS
    named = rendered("select x from a" + " join natural" * 12)
    assert named is not None
    assert parser.steps(" ".join(named)) <= STEPS * parse_cost(named, BUDGET) + FIRST_STEPS
    missing = "select x from a" + " join b" * 30
    assert parse(missing.encode(), FunctionBook()).primary_only is PrimaryOnly.UNPARSED


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


def test_a_turn_is_wary_of_what_it_does_not_know_to_be_harmless(parser: CountedParser):
    """What sqlglot does with `notnull, (` is not known; it might read the bracket twice."""
    text = "select " + "x notnull, (" * 12 + "1" + ")" * 12
    words = rendered(text)
    assert words is not None
    assert parser.steps(" ".join(words)) < STEPS * len(words) + FIRST_STEPS
    assert (
        parse_cost(words, BUDGET, wary=True)
        > BUDGET
        > INLINE_BUDGET
        > parse_cost(words, BUDGET)
    )
    cache = StatementCache(FunctionBook(), size=10)
    assert cache.lookup(text.encode()) is None
    assert cache.statistics().dear == 1


def test_statements_of_one_text_share_a_budget():
    one = "select " + "int(" * 9 + "1" + ")" * 9
    words = rendered(one)
    assert words is not None
    budget = ParseBudget()
    afforded = sum(budget.affords(words) for _ in range(1000))
    assert afforded == BUDGET // parse_cost(words, BUDGET)
    assert parse("; ".join([one] * 100).encode(), FunctionBook()).may_write


@pytest.mark.parametrize("chain", ["[b]", "[b[c]]", "[(b)]"])
def test_subscripts_copy_what_they_are_of(chain: str):
    def cost(times: int) -> float:
        words = rendered(f"select a{chain * times}")
        assert words is not None
        return parse_cost(words, limit=1e9)

    assert cost(200) > 3.5 * cost(100)
    assert cost(400) > BUDGET


@pytest.mark.parametrize(
    "text",
    [
        *("select 1)", "select f(1))", "select a[1]]"),
        *("select (1", "select a[1", "select " + "(select x from a join b, " * 8 + "1"),
        *("select 1, select 2", "select x from t, from u", "select x from lateral from t"),
        *("select 1 union from t", "select 1 except all from t", "select x from t join from u"),
    ],
)
def test_what_is_no_sql_is_not_read(text: str):
    words = rendered(text)
    assert words is not None
    assert not ParseBudget().affords(words)
