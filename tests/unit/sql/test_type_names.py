"""Where the name of a type begins and ends."""

from __future__ import annotations

import pytest

from rwsplit.sql.tokens import Token, scan
from rwsplit.sql.type_names import after_fields, cast_end, kind_at, text_at, type_start


def tokens(query: str) -> list[Token]:
    found = scan(query.encode())
    assert found is not None
    return found.tokens


@pytest.mark.parametrize(
    ("query", "start"),
    [
        ("a + int4", 2),
        ('a + s."T"', 2),
        ("a, national character varying", 2),
        ("a, double precision", 2),
        ("a precision", -1),
        ("a, zone", -1),
        ("a, select", -1),
        ("a, 1", -1),
        ("int4", -1),
        (". int4", 1),
    ],
)
def test_where_the_type_of_a_literal_begins(query: str, start: int):
    found = tokens(query)
    assert type_start(found, len(found) - 1) == start


@pytest.mark.parametrize(
    ("query", "rest"),
    [
        ("int b", "b"),
        ("s.t.u(3)[][2] b", "b"),
        ('"T" [b]', "[ b ]"),
        ("t [1", "[ 1"),
        ("timestamp(3) with time zone b", "b"),
        ("timestamp with zone", "with zone"),
        ("interval year to month b", "b"),
        ("interval second(3, 4) b", "b"),
        ("interval day to second(a)", "( a )"),
        ("int array[3] b", "b"),
        ("a.*", ". *"),
        ("a.", "."),
    ],
)
def test_where_the_type_of_a_cast_ends(query: str, rest: str):
    found = tokens(query)
    assert [text for _, text in found[cast_end(found, 0) :]] == rest.split()


@pytest.mark.parametrize("query", ["select", "'a'", "(a)"])
def test_what_is_no_type_ends_nowhere(query: str):
    assert cast_end(tokens(query), 0) == 0


def test_fields_of_an_interval_only():
    assert after_fields(tokens("b day"), 0) == 0
    assert after_fields(tokens("day to b"), 0) == 2


def test_beyond_the_end_there_is_nothing():
    assert text_at([], 0) == ""
    assert text_at(tokens("a"), -1) == ""
    assert kind_at([], 0) == kind_at(tokens(","), 0)
