"""The lexer cuts a query as scan.l does, and refuses what it cannot be sure of."""

from __future__ import annotations

import pytest

from rwsplit.sql.tokens import (
    MARK,
    NAME,
    NUMBER,
    OPERATOR,
    PARAMETER,
    STRING,
    WORD,
    scan,
    string_value,
)


def texts(query: str) -> list[str]:
    found = scan(query.encode())
    assert found is not None
    return [text for _, text in found.tokens]


def texts_of(query: str) -> list[tuple[int, str]]:
    found = scan(query.encode())
    assert found is not None
    return found.tokens


def test_every_kind_of_token_is_told_apart():
    found = scan(b"""Select "A""b".c, 'x', $q$ ; $q$, 1.5e-3, $1 <= .5 :: t""")
    assert found is not None
    assert found.tokens == [
        (WORD, "select"),
        (NAME, 'A"b'),
        (MARK, "."),
        (WORD, "c"),
        (MARK, ","),
        (STRING, "'x'"),
        (MARK, ","),
        (STRING, "$q$ ; $q$"),
        (MARK, ","),
        (NUMBER, "1.5e-3"),
        (MARK, ","),
        (PARAMETER, "$1"),
        (OPERATOR, "<="),
        (NUMBER, ".5"),
        (MARK, "::"),
        (WORD, "t"),
    ]


def test_only_ascii_letters_are_folded():
    assert texts("SELECT ÄÖ") == ["select", "ÄÖ"]


def test_unicode_white_space_is_part_of_a_name():
    assert texts("a\u00a0b c") == ["a\u00a0b", "c"]


def test_comments_nest():
    found = scan(b"1 /* a /* b */ c */ 2 /**/ 3 /*/ x */ 4")
    assert found is not None
    assert [text for _, text in found.tokens] == ["1", "2", "3", "4"]
    assert found.comments == [" a /* b */ c ", "", "/ x "]


def test_a_line_comment_ends_at_either_newline():
    assert texts("1 -- x ' \r 2 -- /* \n 3 --") == ["1", "2", "3"]


def test_an_operator_ends_where_a_comment_begins():
    assert texts("a*/* c */b") == ["a", "*", "b"]
    assert texts("a @--\n b") == ["a", "@", "b"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("a <-5", ["a", "<", "-", "5"]),
        ("a @-5", ["a", "@-", "5"]),
        ("- -5", ["-", "-", "5"]),
        ("a +-5", ["a", "+", "-", "5"]),
        ("a->b", ["a", "->", "b"]),
    ],
)
def test_a_trailing_sign_belongs_to_the_next_token_unless_the_operator_is_special(
    query, expected
):
    assert texts(query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("1..2", ["1", "..", "2"]),
        ("1.", ["1."]),
        ("0x1F 0o17 0b11 1_000", ["0x1F", "0o17", "0b11", "1_000"]),
        ("1e5 1.5E+3 1e", ["1e5", "1.5E+3", "1", "e"]),
        ("t.a a$1", ["t", ".", "a", "a$1"]),
        ("a[1:2] b := c", ["a", "[", "1", ":", "2", "]", "b", ":=", "c"]),
    ],
)
def test_numbers_and_names(query, expected):
    assert texts(query) == expected


def test_an_escape_literal_hides_its_quotes_on_continuation_lines_too():
    assert texts(r"E'\'' 1") == [r"E'\''", "1"]
    query = "e'a' -- c\n 'b\\' ; ' 1"
    assert texts(query) == ["e'a' -- c\n 'b\\' ; '", "1"]
    assert texts("E'a' 'b'") == ["E'a'", "'b'"]


@pytest.mark.parametrize(
    ("query", "tokens"),
    [
        (r'U&"d\0061t" . a', [(NAME, "dat"), (MARK, "."), (WORD, "a")]),
        (r"u&'d\0061t' 1", [(STRING, "'dat'"), (NUMBER, "1")]),
        ("U&'d!0061t' /**/ Uescape\n'!' 1", [(STRING, "'dat'"), (NUMBER, "1")]),
        ("U&\"d!0061t\" UESCAPE '!' ('x')", [(NAME, "dat"), *texts_of("( 'x' )")]),
        ("U&'\\0061'\n'\\0062' 'c'", [(STRING, "'ab'"), (STRING, "'c'")]),
        ("U & 'x'", [(WORD, "u"), (OPERATOR, "&"), (STRING, "'x'")]),
    ],
)
def test_unicode_escapes_are_read_as_the_parser_reads_them(query, tokens):
    found = scan(query.encode())
    assert found is not None
    assert found.tokens == tokens


def test_unicode_escapes_take_linear_time():
    assert len(texts("U&'\\0061' uescape '!', -- x\n" * 20_000)) == 40_000
    assert texts("U&'" + "\\0061" * 20_000 + "'" + "--" * 5000) == ["'" + "a" * 20_000 + "'"]


def test_many_comments_after_an_escape_literal_take_linear_time():
    assert texts("E'a'" + "--" * 5000) == ["E'a'"]


@pytest.mark.parametrize(
    "query",
    [
        "'open",
        '"open',
        '""',
        "$$open",
        "/* open /* */",
        "E'open\\'",
        r"select \ 1",
        "a { b",
        "select 1\0",
        "U&'open",
        'u&"open',
        'U&""',
        r"U&'\00zz'",
        "U&'a' uescape",
        "U&'a' uescape '+'",
        "U&'a' uescape '!'\n'' (1)",
        "U&'a'\n'\\' --",
        'prepare U&"p" as select 1',
        'execute U&"p"',
        'deallocate U&"p"',
    ],
)
def test_what_is_unterminated_or_stray_is_doubt(query):
    assert scan(query.encode()) is None


@pytest.mark.parametrize("query", [r"'a\'", r"x like 'a' escape '\'", r"'a\b\\'"])
def test_a_backslash_at_the_end_of_a_plain_literal_is_harmless_alone(query):
    assert scan(query.encode()) is not None


@pytest.mark.parametrize(
    "query", [r"'a\' --", r"'a\' /* */", "'a\\' \"n\"", r"'a\' $$x$$", r"'a\' E'x'"]
)
def test_a_backslash_at_the_end_of_a_plain_literal_is_doubt_beside_what_may_swallow_a_quote(
    query,
):
    assert scan(query.encode()) is None


def test_text_that_is_not_utf8_may_hold_such_bytes_in_plain_literals_only():
    assert scan(b"'t\xe9' \"\xe9\"") is not None
    assert scan(b"t\xe9") is None
    assert scan(b"E'\xe9'") is None
    assert scan(b"U&'\xe9'") is None
    assert scan(b'U&"\xe9"') is None
    assert scan(b"$\xe9$ $\xe9$") is None


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        *(
            ("'it''s'", "it's"),
            ("$q$it's$q$", "it's"),
            ("E'a'", "a"),
            ("N'a'", "a"),
            ("B'1'", "1"),
        ),
        (r"e'\n\t\'\\''\x41\101\u00e9\U0001F600\q'", "\n\t'\\'AA\u00e9\U0001f600q"),
        (r"'a\n'", r"a\n"),
    ],
)
def test_the_value_of_a_literal(raw, value):
    assert string_value(raw) == value


def read(text: str) -> list[tuple[int, str]]:
    found = scan(text.encode())
    assert found is not None
    return list(found.tokens)


def test_names_are_cut_where_postgresql_cuts_them():
    long = "x" * 63
    assert read(f'{long}y "{long}y" {"ü" * 31}üx') == [
        *((WORD, long), (NAME, long), (WORD, "ü" * 31)),
    ]


def test_not_equal_has_one_name():
    assert read("a != b !== c") == read("a <> b !== c")
