"""The schemas a search path names, as PostgreSQL reads it."""

from __future__ import annotations

import pytest

from rwsplit.sql.search_path import DefaultPaths, parse_search_path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('"$user", public', ("ann", "public")),
        ("App, PUBLIC", ("app", "public")),
        ('"App","with ""quotes"", and commas"', ("App", 'with "quotes", and commas')),
        ("a,a, b", ("a", "b")),
        ("$user", ("ann",)),
        ('""', ("",)),
        ("", ()),
        ("a, b c", ("a",)),
        ('a, "unfinished', ("a",)),
    ],
)
def test_a_search_path_is_a_list_of_names(text, path):
    assert parse_search_path(text, "ann") == path


def test_a_role_may_start_with_a_path_of_its_own():
    paths = DefaultPaths("shared", {"ann": "hers"})

    assert paths.of("ann") == "hers"
    assert paths.of("bob") == "shared"
    assert DefaultPaths().of("bob") == '"$user", public'
