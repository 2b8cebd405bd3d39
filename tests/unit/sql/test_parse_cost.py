"""What sqlglot will have to do is estimated; `tests/property/test_parse_cost.py` compares that with what it does."""

from __future__ import annotations

import re

import pytest

from rwsplit.sql.calls import find_calls
from rwsplit.sql.parse_cost import parse_cost
from rwsplit.sql.rendering import render
from rwsplit.sql.tokens import scan

ENOUGH = 2.0**40


def words(text: str) -> list[str]:
    """Return the words of *text* that sqlglot would be given."""
    found = scan(text.encode())
    assert found is not None
    rendered = render(found.tokens, find_calls(found.tokens).heads)
    assert rendered is not None
    return rendered


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_what_follows_joins_without_a_condition_is_read_twice_for_each_of_them(count: int):
    before, behind = words("select x from a join"), words("b" + " join b" * (count - 1))

    cost = parse_cost([*before, *behind], ENOUGH)

    assert cost == len(before) + len(behind) * 2**count


@pytest.mark.parametrize(
    "join",
    [
        "cross join b",
        "natural join b",
        "natural left outer join b",
        "join b on x = y",
        "join b using (x)",
        "join b cross join c on x = y",
        "join b join c on x = y on y = z",
    ],
)
def test_joins_that_have_or_want_no_condition_cost_what_they_have_of_words(join: str):
    text = words(f"select x from a {join} {join} {join}")

    assert parse_cost(text, ENOUGH) == len(text)


def test_a_join_behind_one_that_wants_no_condition_wants_its_own():
    before, behind = words("select x from a cross join b join"), words("c where x")

    assert parse_cost([*before, *behind], ENOUGH) == len(before) + len(behind) * 2


@pytest.mark.parametrize("modifier", ["cross", "natural"])
def test_behind_join_or_a_comma_they_are_names(modifier: str):
    before, behind = words("select x from a join"), words(f"{modifier} join b on x")
    assert parse_cost([*before, *behind], ENOUGH) == len(before) + len(behind) * 2


def test_what_follows_an_array_without_bounds_is_read_once_more():
    before, behind = words("select int array"), words(", x, y")
    assert parse_cost([*before, *behind], ENOUGH) == len(before) + 2 * len(behind)
    bounded = words("select int array[1]")
    assert parse_cost(bounded, ENOUGH) < parse_cost([*bounded, *bounded], ENOUGH)


@pytest.mark.parametrize("kind", ["lateral", "cross apply", "outer apply"])
def test_what_is_tried_behind_a_comma_counts_twice_however_many_there_are(kind: str):
    one = words(f"select 1 from a, {kind} f(b)")
    two = words(f"select 1 from a, {kind} f(b), {kind} f(b)")
    assert len(one) < parse_cost(one, ENOUGH) < 3 * len(one)
    assert parse_cost(two, ENOUGH) < 6 * len(two)


@pytest.mark.parametrize(
    "text",
    [
        *("select (1", "select a[1", "select 1)", "select (1]"),
        *("select 1, select 2", "select 1 from a, from b", "select 1 from lateral from a"),
        *(
            "select 1 from a join select b",
            "select 1 union from a",
            "select 1 except all from a",
        ),
    ],
)
def test_what_is_no_sql_costs_more_than_any_limit(text: str):
    assert parse_cost(re.findall(r"\w+|\S", text), ENOUGH) > ENOUGH


def test_the_wary_doubt_every_word_that_is_not_known_to_be_harmless():
    harmless = words("select x, (y)")
    assert parse_cost(harmless, ENOUGH, wary=True) == parse_cost(harmless, ENOUGH)
    doubtful = words("select x notnull, (y)")
    inside = len(words("(y)")) - 1
    assert parse_cost(doubtful, ENOUGH, wary=True) == len(doubtful) + inside
    more = words("select x notnull, x isnull, (y)")
    assert parse_cost(more, ENOUGH, wary=True) == len(more) + 2 * inside


def test_a_from_without_a_select_is_doubtful():
    trimmed = words("select x from t where trim(from y) = (z)")
    assert parse_cost(trimmed, ENOUGH, wary=True) == parse_cost(trimmed, ENOUGH)
    within = ["(", "from", "x", "(", "y", ")", ")"]
    assert parse_cost(within, ENOUGH, wary=True) > parse_cost(within, ENOUGH)


def test_a_bracket_behind_any_key_word_may_be_a_subscript_of_its_type():
    text = ["1", "::", "cast", "[", "x", "]"]
    assert parse_cost(text, ENOUGH) > parse_cost(["1", "::", "f", "[", "x", "]"], ENOUGH)


def test_the_columns_of_an_alias_count_twice():
    text = ["from", "t", "as", "a", "(", "x", "y", ")", "for", "update"]
    assert parse_cost(text, ENOUGH) == len(text) + len(["x", "y", ")"])


def test_a_query_of_lateral_is_read_once():
    query, call = (
        words("select 1 from a join lateral (select 1) b on x"),
        words("select 1 from a join lateral (x) b on x"),
    )
    assert parse_cost(query, ENOUGH) == len(query)
    assert parse_cost(call, ENOUGH) > len(call)


@pytest.mark.parametrize("clause", ["limit", "offset", "fetch"])
def test_what_follows_a_limit_counts_twice(clause: str):
    before, behind = ["select", "x", clause], ["f", "+", "1"]
    assert parse_cost([*before, *behind], ENOUGH) == len(before) + 2 * len(behind)


def test_it_is_enough_to_know_that_it_is_too_much():
    assert 10 < parse_cost(["x"] * 1000, 10) < 20
