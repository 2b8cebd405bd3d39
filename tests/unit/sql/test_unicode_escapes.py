r"""`U&` literals and names say what PostgreSQL reads in them, or nothing."""

from __future__ import annotations

import pytest

from rwsplit.sql.unicode_escapes import escape_of, literal_of, name_of


@pytest.mark.parametrize(
    ("lexeme", "escape", "name"),
    [
        (r'U&"d\0061t\+000061"', "\\", "data"),
        (r'u&"plain"', "\\", "plain"),
        ('U&"d!0061ta"', "!", "data"),
        (r'U&"a\\b"', "\\", "a\\b"),
        (r'U&"\\\\"', "\\", "\\\\"),
        (r'U&"a""b\0022"', "\\", 'a"b"'),
        (r'U&"\D83D\DE00"', "\\", "\U0001f600"),
        (r'U&"\+01F600"', "\\", "\U0001f600"),
        (r'U&"a\00621"', "\\", "ab1"),
    ],
)
def test_a_name(lexeme: str, escape: str, name: str):
    assert name_of(lexeme, escape) == name


@pytest.mark.parametrize(
    "lexeme",
    [
        r'U&"\00"',
        r'U&"a\"',
        r'U&"\x061"',
        r'U&"\0_61"',
        r'U&"\+0061"',
        r'U&"\0000"',
        r'U&"\+110000"',
        r'U&"\d83d"',
        r'U&"\d83dx\de00"',
        r'U&"\de00\d83d"',
    ],
)
def test_what_postgresql_refuses_says_nothing(lexeme: str):
    assert name_of(lexeme) is None


@pytest.mark.parametrize(
    ("lexeme", "literal"),
    [
        (r"U&'d\0061ta'", "'data'"),
        ("U&''", "''"),
        (r"U&'it''s \0027 '", "'it''s '' '"),
        ("U&'a'\n'\\0062'", "'ab'"),
        ("U&'a' -- it's 'x'\n -- y\n '\\0062'\n''", "'ab'"),
        ("U&'''\n'''", "'''\n'''"),
    ],
)
def test_a_literal(lexeme: str, literal: str):
    assert literal_of(lexeme) == literal


def test_half_an_escape_at_the_end_of_a_part_goes_on_in_the_next():
    assert literal_of("U&'\\00'\n'61'") == "'a'"


@pytest.mark.parametrize(
    ("literal", "escape"),
    [
        ("'!'", "!"),
        ("'\\'", "\\"),
        *((literal, None) for literal in ("''", "'!!'", "'a'", "'5'", "'+'", "' '", "'\"'")),
        *((literal, None) for literal in ("'é'", "E'!'", "$$!$$", "''''")),
    ],
)
def test_the_escape_character(literal: str, escape: str | None):
    assert escape_of(literal) == escape
