"""SELECTs that do nothing but set parameters for their transaction."""

from __future__ import annotations

import pytest

from rwsplit.sql.classify import parse
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.statement import PrimaryOnly

BOOK = FunctionBook()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("select set_config('app.tenant', 'x', true)", {"app.tenant"}),
        ("SELECT pg_catalog.set_config('App.Tenant', $1, 'on') AS tenant;", {"app.tenant"}),
        ("select set_config('a.b', $1::text, true)", {"a.b"}),
        ("select set_config('a.b', 'x'::varchar, true) \"x\"", {"a.b"}),
        (
            "select set_config('a.b', '1', true), set_config('a.c', '2', 't') as c",
            {"a.b", "a.c"},
        ),
        ("select set_config('a.b', 1::text, true)", {"a.b"}),
        # It does more, or it is not known what it does.
        ("select set_config('a.b', 'x', false)", set()),
        ("select set_config('a.b', 'x', $1)", set()),
        ("select set_config($1, 'x', true)", set()),
        ("select set_config('a.b', current_setting('c.d'), true)", set()),
        ("select set_config('a.b', 'x' || 'y', true)", set()),
        ("select set_config('a.b', $1::my_text, true)", set()),
        ("select set_config('a.b', (select 'x'), true)", set()),
        ("select set_config('a.b', 'x', true) from t", set()),
        ("select set_config('a.b', 'x', true) where false", set()),
        ("select set_config('a.b', 'x', true), 1", set()),
        ("select 1, set_config('a.b', 'x', true)", set()),
        ("select set_config('a.b', 'x', true), f()", set()),
        ("select upper(set_config('a.b', 'x', true))", set()),
        ("select mine.set_config('a.b', 'x', true)", set()),
        ("select set_config('a.b', 'x', true), set_config('a.c', 'x', false)", set()),
        ("select distinct set_config('a.b', 'x', true)", set()),
        ("select set_config('a.b', 'x', true) union select 'y'", set()),
        ("with c as (select 1) select set_config('a.b', 'x', true)", set()),
        ("values (set_config('a.b', 'x', true))", set()),
        ("select set_config('a.b', 'x', true) for update", set()),
        ("select 1", set()),
    ],
)
def test_what_it_assigns(text: str, names: set[str]):
    statement = parse(text.encode(), BOOK).statements[0]
    assert statement.assigns == names
    if names:
        assert statement.primary_only is PrimaryOnly.SESSION_STATE
