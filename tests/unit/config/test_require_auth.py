"""libpq's list of methods."""

from __future__ import annotations

import pytest

from rwsplit.config.require_auth import ANY, METHODS, allowed_methods


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("", set(METHODS)),
        ("  ", set(METHODS)),
        ("scram-sha-256", {"scram-sha-256"}),
        ("md5, none", {"md5", "none"}),
        ("!password,!md5", set(METHODS) - {"password", "md5"}),
        ("!none", set(METHODS) - {"none"}),
    ],
)
def test_a_list_allows_what_it_names_or_all_but_that(text, allowed):
    assert allowed_methods(text) == allowed <= ANY


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scram", "must be a list of password, md5"),
        ("!", "must be a list of"),
        ("md5,", "must be a list of"),
        ("md5,!none", "cannot have both"),
        ("md5,md5", "names md5 twice"),
    ],
)
def test_what_is_no_list_is_refused_in_words(text, words):
    with pytest.raises(ValueError, match=words):
        allowed_methods(text)
