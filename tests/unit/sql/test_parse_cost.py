"""What sqlglot will have to do is estimated; `tests/property/test_parse_cost.py` compares that with what it does."""

from __future__ import annotations

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
