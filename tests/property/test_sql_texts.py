"""Standing properties of the lexer, the shape and the classifier, over generated texts.

Texts are made of fragments that matter to a lexer, in any order: most are not SQL, which is the point.
"""

from __future__ import annotations

import re
from typing import Final

import hypothesis.strategies as st
from hypothesis import assume, example, given, settings
from sqlglot.dialects.postgres import Postgres

from rwsplit.sql.cache import StatementCache
from rwsplit.sql.classify import parse
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.hints import parse_hints
from rwsplit.sql.shape import fingerprint, is_sound, shape_of
from rwsplit.sql.statement import PrimaryOnly
from rwsplit.sql.tokens import MARK, NAME, NUMBER, STRING, Token, scan

BOOK: Final = FunctionBook()
FRAGMENTS: Final = (
    *(
        "'",
        "''",
        "\\",
        "E'",
        "x'",
        "U&'",
        'U&"\\0061" ',
        "uescape '!'",
        '"',
        "$$",
        "$a$",
        "--",
        "/*",
        "*/",
        "\n",
        "\r",
        "\t",
        " ",
    ),
    *(
        ",",
        ";",
        "(",
        ")",
        "[",
        "]",
        "+",
        "-",
        "*",
        "/",
        ".",
        "::",
        "||",
        "&",
        "?",
        "\0",
        "\u00a0",
        "é",
    ),
    *(
        "1",
        "2.5",
        ".5",
        "1e5",
        "1_0",
        "0x1F",
        "$1",
        "a",
        "b1",
        "'x'",
        "E'\\''",
        "'a''b'",
        "'a', 'b'",
    ),
    *(
        "select ",
        "from t ",
        "as ",
        "with a(b) as (",
        "insert into ",
        "for update ",
        "set ",
        "begin ",
    ),
    *(
        "nextval('s')",
        "f(",
        "set_config('a','b',true)",
        "array[",
        "case when ",
        "operator(",
        "in (",
    ),
)
texts = st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join)
queries = st.one_of(texts, texts.map("select ".__add__))
PLAIN: Final = (
    *(
        "select ",
        "from ",
        "t",
        "a1",
        "(",
        ")",
        ",",
        ";",
        "+",
        "-",
        "*",
        "=",
        "<",
        ">",
        "[",
        "]",
        "\n",
    ),
    *(" 1 ", " 2.5 ", " 1e5 ", " 'x' ", " 'it''s' ", " '--' ", " '' ", "as ", "join "),
)
plain_queries = (
    st.lists(st.sampled_from(PLAIN), max_size=12)
    .map(lambda words: "select " + "".join(words))
    .filter(lambda query: is_sound(shape_of(query.encode())))
)
literals = st.one_of(
    st.integers(0, 10**6).map(str),
    st.sampled_from(
        ["2.5", "1e5", ".5", "''", "'it''s'", "'--'", "'/*'", "';'", "'\"'", "1, 'a', 2"]
    ),
    st.text('ab ;-/*"$', max_size=5).map("'{}'".format),
)


def without_literals(tokens: list[Token]) -> list[object]:
    """Return *tokens* with one None for each literal or list of literals."""
    found: list[object] = []
    for token in tokens:
        if token[0] not in {STRING, NUMBER}:
            found.append(token)
        elif found[-2:] == [None, (MARK, ",")]:
            found.pop()
        else:
            found.append(None)
    return found


@settings(deadline=None)  # a busy machine
@given(st.one_of(queries.map(str.encode), st.binary(max_size=60)))
@example(b"select " + b"(" * 5000)
@example(b"select " + b"not " * 5000)
@example(b"\xff\xfe'")
def test_parse_never_raises_and_what_it_cannot_read_is_for_the_primary(query):
    script = parse(query, BOOK)

    if scan(query) is None:
        assert script.primary_only is PrimaryOnly.UNPARSED
        assert script.may_write
        assert script.state is not None
    for statement in script.statements:
        assert statement.primary_only is not None or not statement.may_write


@given(queries, st.lists(literals, min_size=8, max_size=8))
@example('select ""', ["1"])
def test_equal_shapes_have_equal_tokens_but_for_literals_and_equal_facts(query, others):
    shape = shape_of(query.encode())
    assume(is_sound(shape))
    spare = iter(others)
    twin = re.sub("\1", lambda _: next(spare, "1"), shape.decode()).encode()
    # A literal that touches a comma joins the list beside it, so the twin's shape may differ.
    assume(shape_of(twin) == shape)

    one, two = scan(query.encode()), scan(twin)
    assert (one is None) == (two is None)
    if one is not None and two is not None:
        assert without_literals(one.tokens) == without_literals(two.tokens)
    assert parse(query.encode(), BOOK).statements == parse(twin, BOOK).statements


@given(plain_queries)
def test_our_tokens_are_sqlglots_where_nothing_is_special(query):
    """Comments, prefixes, `$`, `.5`, operators and bytes beyond ASCII are where the two differ."""
    found = scan(query.encode())
    assert found is not None
    assert is_sound(shape_of(query.encode()))

    ours = "".join(text for kind, text in found.tokens if kind not in {STRING, NUMBER})
    theirs = "".join(
        token.text.lower()
        for token in Postgres().tokenize(query)
        if token.token_type.name not in {"STRING", "NUMBER"}
    )
    assert ours == theirs.replace(" ", "")


@given(st.lists(queries, max_size=6))
def test_the_cache_never_changes_a_fact(several):
    cache = StatementCache(BOOK, size=4)
    for query in several * 2:
        expected = parse(query.encode(), BOOK)
        found = cache.lookup(query.encode())
        assert found.statements == expected.statements
        assert found.hints == expected.hints


@given(queries, st.sampled_from([" ", "\n", "/* 'x' */", " -- ;\n"]), literals)
def test_equal_fingerprints_mean_equal_facts(query, between, literal):
    found = scan(query.encode())
    assume(found is not None)
    assert found is not None
    mark = fingerprint(found, parse_hints(found.comments))
    assume(mark is not None)

    twin = between.join(_spelled(token, literal) for token in found.tokens).encode()
    again = scan(twin)
    assert again is not None
    assert fingerprint(again, parse_hints(again.comments)) == mark
    assert parse(query.encode(), BOOK).statements == parse(twin, BOOK).statements


def _spelled(token: Token, literal: str) -> str:
    kind, text = token
    if kind == NAME:
        return '"' + text.replace('"', '""') + '"'
    return literal.partition(",")[0] if kind in {STRING, NUMBER} else text


@given(
    st.sampled_from(
        [
            "insert into t values (1)",
            "delete from t",
            "select nextval('s')",
            "select unknown_function(1)",
            "select * from t for update",
            "with a as (update t set b = 1 returning b) select * from a",
            "select 1 into t",
            "create table t (a int)",
            "set a = 1",
            "listen a",
        ]
    ),
    st.sampled_from(
        ["{}", "/* x */ {}", "-- x\n{}", "select 1; {}", "{}; select 1", "explain analyze {}"]
    ),
    st.sampled_from([" ", "\n", "/**/", "/* /* */ */", " -- x'\n"]),
    st.booleans(),
)
def test_a_statement_for_the_primary_stays_one_in_any_dress(statement, dress, space, upper):
    query = dress.format(statement.replace(" ", space))
    if upper and "'" not in query:
        query = query.upper()
    assert parse(query.encode(), BOOK).primary_only is not None
