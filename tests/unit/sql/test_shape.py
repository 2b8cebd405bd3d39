"""Shapes: texts that differ in literals only, as far as one expression can tell."""

from __future__ import annotations

import pytest

from rwsplit.sql.hints import parse_hints
from rwsplit.sql.shape import LONG, fingerprint, is_sound, shape_of, shorten
from rwsplit.sql.tokens import scan


@pytest.mark.parametrize(
    ("query", "shape"),
    [
        ("select 1", "select ?"),
        ("select 'it''s', 1.5e-3 , .5 from t1", "select ? from t1"),
        ("select a, 1, b", "select a, ?, b"),
        ("select -1 - 2", "select -? - ?"),
        ("a in (1,\n2, 'c')", "a in (?)"),
        ('select "a 1" = 1', 'select "a ?" = ?'),
        ("a[1:2]", "a[?:?]"),
        ("$1 t2 a$3 1a 0x1F 1_000 1..2 t.5 1e", "$1 t2 a$3 1a 0x1F 1_000 1..2 t.5 1e"),
        ("1. 1.e5", "? ?"),
    ],
)
def test_shape_of(query, shape):
    assert shape_of(query.encode()) == shape.encode().replace(b"?", b"\1")


@pytest.mark.parametrize(
    "query",
    [
        "select * from t where a = 5 and b like 'x%' limit 10;",
        " ( select 1 ) ; ",
        'SELECT "T"."a 1" FROM "T" WHERE "T"."b""" = 5'.replace("a 1", "a"),
        "insert into t values (1, 'a''b'), (2, 'c')",
        "select * from t where a = $1 and b = $22",
        "with a as (select 1) select * from a",
    ],
)
def test_sound_shapes(query):
    assert is_sound(shape_of(query.encode()))


@pytest.mark.parametrize(
    "query",
    [
        "set work_mem = 5",
        "selected 1",
        "explain select 1",
        "",
        "select 1 -- x",
        "select 1 /* x */",
        "select E'x'",
        "select date'2020-01-01'",
        "select U&'x'",
        'select U&"x" from t',
        "select $$x$$",
        "select $a$x$a$",
        "select a$b",
        "select 1$",
        "select 'a\\b'",
        "select 'open",
        'select "a 1" from t',
        'select "open',
        "select 'a'from t",
        "select 'a''b'5",
        "select 1; select 2",
        "select set_config('a', 'b', true)",
        "select CURRENT_SETTING('a')",
        "select é",
        "select 'a\0b' \0",
    ],
)
def test_shapes_that_are_not_sound(query):
    assert not is_sound(shape_of(query.encode()))


def mark(query: str) -> object:
    found = scan(query.encode())
    assert found is not None
    return fingerprint(found, parse_hints(found.comments))


def test_a_fingerprint_sees_through_comments_and_all_kinds_of_literals():
    assert mark("select E'a\\'', $$b$$ FROM t /* trace=1 */") == mark("Select 1 from t -- x")
    assert mark('select "a"') != mark("select a")
    assert mark("select 1, a") != mark("select 1 a")


def test_hints_are_part_of_a_fingerprint():
    assert mark("select 1 /* rwsplit: primary */") != mark("select 1")


@pytest.mark.parametrize(
    "query",
    [
        "",
        "set a = 1",
        "select 1; select 2",
        "select set_config('a', 'b', true)",
        "select \"set_config\"('a', 'b', true)",
        "select u&\"current\\005fsetting\"('a')",
    ],
)
def test_no_fingerprint_where_literals_matter(query):
    assert mark(query) is None


def test_long_texts_become_short():
    rows = b"insert into t values " + b"(1, 'a'), " * LONG + b"(2, 'b') on conflict do nothing"
    assert shorten(rows) == b"insert into t values (1) on conflict do nothing"
    literal = b"select '" + b"x" * LONG + b"' from (values (1), (2)) t"
    assert shorten(literal) == b"select 1 from (values (1), (1)) t"


def test_short_texts_and_those_without_a_shape_stay():
    assert shorten(b"select 'x'") == b"select 'x'"
    setting = b"set a = '" + b"x" * LONG + b"'"
    assert shorten(setting) == setting
