"""What set_config() and current_setting() do is told by literals among their arguments, by nothing else."""

from __future__ import annotations

import pytest

from rwsplit.sql.calls import Calls, find_calls
from rwsplit.sql.setting_calls import asked_for, set_by, sets_locally, string_value_of
from rwsplit.sql.tokens import STRING, WORD, scan_text


def calls_of(text: str) -> Calls:
    found = scan_text(text)
    assert found is not None
    return find_calls(found.tokens)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("select current_setting('Role')", "role"),
        ("select current_setting('role', true)", "role"),
        ("select current_setting('role'::text)", "role"),
        ("select current_setting($$role$$)", "role"),
        ("select current_setting('ro' || 'le')", None),
        ("select current_setting(e'role')", None),
        ("select current_setting($1)", None),
        ("select current_setting(name) from names", None),
        ("select current_setting()", None),
    ],
)
def test_the_parameter_asked_for_is_known_where_one_literal_says_it(
    text: str, name: str | None
):
    [call] = calls_of(text).settings
    assert asked_for(call) == name


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("select set_config('a.B', 'x', false)", {"a.b"}),
        ("select set_config('a.b', 'x', true)", set()),
        ("select set_config('a.b', 'x', true), set_config('a.c', 'x', $1)", {"a.c"}),
        ("select set_config('a' || '.b', 'x', false)", {"?"}),
        ("select set_config($$a.b$$, 'x', false)", {"?"}),
        ("select set_config('', 'x', false)", {"?"}),
        ("select set_config($1, 'x', false)", {"?"}),
        ("select current_setting('a.b')", set()),
        ("select now()", set()),
    ],
)
def test_what_is_set_beyond_the_transaction_is_known_or_anything(text: str, names: set[str]):
    assert set_by(calls_of(text)) == names


@pytest.mark.parametrize(
    ("arguments", "locally"),
    [
        ("'a.b', 'x', true", True),
        ("'a.b', 'x', 't'", True),
        ("'a.b', 'x', false", False),
        ("'a.b', 'x', $1", False),
        ("'a.b', 'x', not true", False),
        ("", False),
    ],
)
def test_it_is_set_for_the_transaction_where_a_literal_says_so(arguments: str, locally: bool):
    [call] = calls_of(f"select set_config({arguments})").settings
    assert sets_locally(call) is locally


def test_a_string_has_a_value_and_a_word_has_none():
    assert string_value_of((STRING, "'It''s'")) == "it's"
    assert string_value_of((WORD, "true")) is None
