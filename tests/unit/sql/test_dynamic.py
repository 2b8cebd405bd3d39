"""What is known of the SQL that a body makes up."""

from __future__ import annotations

import pytest

from rwsplit.sql.body import read_body
from rwsplit.sql.dynamic import Dynamic, body_of_do, made_up, spelt
from rwsplit.sql.facts import HARMLESS
from rwsplit.sql.statement import StateKind
from rwsplit.sql.tokens import Token, scan


def tokens(text: str) -> list[Token]:
    found = scan(text.encode())
    assert found is not None
    return found.tokens


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("'select 1'", "select 1"),
        ("'select ' || 'f()'", "select f()"),
        (r"E'select 1 --\n, f()'", "select 1 --\n, f()"),
        ("'table ' || quote_ident(t) || ' where a = ' || quote_literal(b.c)", None),
        ("format('select %% from %I.%2$I where a = %L', s, t, v)", None),
        ("format('analyze')", "analyze"),
        ("quote_nullable(x)", "'x'"),
    ],
)
def test_only_names_and_values_are_put_into_it(expression, text):
    found = spelt(tokens(expression))
    assert found is not None
    assert text is None or found == text


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "q",
        "'select ' || q",
        "'select ' + 'x'",
        "'select ' ||",
        "format('select %s', q)",
        "format(q, 'x')",
        "format('a' || q)",
        "format(",
        "format",
        "upper('select 1')",
    ],
)
def test_something_else_may_be_in_it(expression):
    assert spelt(tokens(expression)) is None


@pytest.mark.parametrize(
    ("rest", "body"),
    [
        ("$$begin end$$", "begin end"),
        ("language plpgsql 'x'", "x"),
        ("'x' language \"plpgsql\"", "x"),
        ("language plpython3u 'x'", None),
        ("language", None),
        ("'x' 1", None),
        ("1", None),
        ("", None),
    ],
)
def test_the_body_of_a_do(rest, body):
    assert body_of_do(tokens(rest)) == body


@pytest.mark.parametrize(
    ("body", "dynamic"),
    [
        ("begin perform 1; end", Dynamic.NONE),
        ("begin execute 'select 1' into x; execute format('set %I = 1', y) using 2; end", 1),
        ("begin for r in execute 'select (1)' loop perform 1; end loop; end", 1),
        ("begin do $$begin perform 1; end$$; end", 1),
        ("begin do $$begin execute q; end$$; end", Dynamic.OPAQUE),
        ("begin execute format('create table %I.%I (like %I)', s, t, u); end", 1),
        ("begin q := 'select ' || c || ' from t'; return query execute q; end", Dynamic.WOVEN),
        ("begin execute 'with x as (' || q || ') select'; raise 'not executed'; end", 2),
        ("begin execute ' where a = ''' || b || 'x'; end", Dynamic.OPAQUE),
        ("begin execute 'select a from t where b = ''' || c || ''''; end", Dynamic.WOVEN),
        ("begin execute 'select ' || q || '$x$ 1'; end", Dynamic.OPAQUE),
        ("begin execute q; end", Dynamic.OPAQUE),
        ("begin execute 'x', q; raise 'no'; end", Dynamic.OPAQUE),
        ("begin execute 'select ' || q using format('%s(1)', f); end", Dynamic.OPAQUE),
        ("begin execute format('select %I(%L)', f, v); end", Dynamic.OPAQUE),
        ("begin execute format('select %I.f(%L)', s, v); end", Dynamic.OPAQUE),
        ("begin do $a$begin do $b$begin do $c$begin do $d$begin end$d$; end$c$; end$b$; end$a$; end", 3),
    ],
)  # fmt: skip
def test_how_much_is_known(body, dynamic):
    assert read_body(body).dynamic == dynamic


@pytest.mark.parametrize(
    "body",
    [
        "begin execute 'select set_config(''a.b'', $1, false)' using x; end",
        "begin execute format('select set_config(%L, %L, %L)', a, b, c); end",
        "begin q := 'select set_config(''' || a || ''', ''x'', false)'; execute q; end",
        "begin execute 'set a.b = 1'; end",
        "begin do $$begin perform set_config('a', 'b', false); end$$; end",
    ],
)
def test_what_it_makes_up_counts_like_its_own_text(body):
    assert read_body(body).facts.state is StateKind.PARAMETER


def test_names_in_what_it_makes_up_count_too():
    body = read_body("begin execute 'select f(a) from v, ' || q; end")
    assert {"f", "v"} <= body.calls | body.names
    assert read_body("begin raise notice 'select setseed(1)'; end").facts == HARMLESS


def test_what_is_run_within_what_is_run_is_not_spelt_out():
    body = tokens("execute (execute 'select 1')")
    assert made_up(body, [0, 2]) == (Dynamic.WOVEN, ["select 1"])


def test_nothing_is_made_up_where_nothing_is_run():
    assert made_up(tokens("select 'x'"), []) == (Dynamic.NONE, [])
