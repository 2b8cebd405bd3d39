"""What sqlglot is given to read instead of a client's query."""

from __future__ import annotations

import re

import pytest

from rwsplit.sql.rendering import decoded_name, encoded_name, render
from rwsplit.sql.tokens import Token, scan


def tokens(query: str) -> list[Token]:
    found = scan(query.encode())
    assert found is not None
    return found.tokens


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("select 1, 'a', 2 from t", "select 'x' from \"t\""),
        ("select a, 1 , b", 'select "a" , \'x\' , "b"'),
        (
            'select "a""b", ü, n_x, "N", x_1',
            'select "n_612262" , "n_c3bc" , "n_6e5f78" , "N" , "x_1"',
        ),
        ("a -> b <@ c = d", '"a" - "b" - "c" = "d"'),
        ("a operator(s.##) b", '"a" - "b"'),
        ("operator", "operator"),
        ("operator (", "operator ("),
        ("operator ( x )", 'operator ( "x" )'),
        ("operator . operator ( - )", "operator . -"),
        ("array[a[1], [b]]", 'row ( "a" [ \'x\' ] , ( "b" ) )'),
        ("array", "array"),
        ("[a]", '( "a" )'),
        ("x ) ]", '"x" ) ]'),
        ("a as select, b as not", '"a" as "select" , "b" as not'),
        ("select int4 '1', s.int4 '2'", "select 'x'"),
        ("select mytype(1, 2) '1' + 1", "select 'x' + 'x'"),
        ("select (mytype '1')", "select ( 'x' )"),
        ("int4 '1'", "\"int4\" 'x'"),
        ("select national character varying(3) 'a'", "select 'x'"),
        ("select varying 'a', precision 'b'", "select varying 'x' , precision 'x'"),
        ("select time(3) with time zone 'a'", "select 'x'"),
        ("select date with time zone 'a'", "select \"date\" with time zone 'x'"),
        ("select a at time zone 'b'", "select \"a\" at time zone 'x'"),
        ("select timestamp at time zone 'b'", "select timestamp at time zone 'x'"),
        ("select a[1] 'b', a 'c'", "select \"a\" [ 'x' ] 'x'"),
        ("select a[1] b 'c'", "select \"a\" [ 'x' ] \"b\" 'x'"),
        ("(a) b 'c'", '( "a" ) "b" \'x\''),
        ("distinct on (a) mytype 'c'", "distinct on ( \"a\" ) 'x'"),
        ("on (a) mytype 'c'", 'on ( "a" ) "mytype" \'x\''),
        ("a operator(s.+) mytype 'c'", "\"a\" + 'x'"),
        ("order by 'a'", "order by 'x'"),
        ("a int path 'b' default mytype 'c'", "\"a\" int path 'x' default 'x'"),
        ("a timestamp with time zone path 'b'", "\"a\" timestamp with time zone path 'x'"),
        ("select path 'b'", "select 'x'"),
        ("select interval '1' day day", "select 'i' day"),
        ("select interval '1' day to second(3) a", "select 'i' \"a\""),
        ("select interval '1', 1 hour b", "select 'i' \"b\""),
        ("select 1, interval '1' hour b", "select 'i' \"b\""),
        ("select interval '1' second(a)", "select 'i' ( \"a\" )"),
        ("select interval '1' second(", "select 'i' ("),
        ("select s.interval '1' day", "select 'x' day"),
        ("select interval(3) '1' hour", "select 'i'"),
        ("order by a using <, b using operator(s.>) desc", 'order by "a" , "b" desc'),
        ("join u using (a)", 'join "u" using ( "a" )'),
        ("using operator", "using operator"),
        ("using operator(a)", 'using operator ( "a" )'),
        ("a::int, b::s.T[]", '"a" , "b"'),
        ("json_object('{a,1}')", "f_ ( 'x' )"),
        ("json_object('a', 'b')", "f_ ( 'x' )"),
        ("json_object('a': 1), json_object()", "json_object ( 'x' : 'x' ) , json_object ( )"),
        ("json_object('a' value b)", "json_object ( 'x' value \"b\" )"),
        ("json_object(a), json_object", 'f_ ( "a" ) , json_object'),
        ("a::bit varying(3)[][2] b", '"a" "b"'),
        ("- a::double precision::text || b", '- "a" - "b"'),
        ("a::national character varying(3)", '"a"'),
        ("a::timestamp(3) with time zone at time zone b", '"a" at time zone "b"'),
        ("a::time without time zone b", '"a" "b"'),
        ("a::interval day to second(3) b, a::interval(3)", '"a" "b" , "a"'),
        ("a::int array[3], a::int array", '"a" , "a"'),
        ("a::int[b]", '"a" [ "b" ]'),
        ("a::s.mytype(3, 'x') = 1", "\"a\" = 'x'"),
        ("a::int % b, (a::t).*", '"a" % "b" , ( "a" ) . *'),
        ("a::select, a::'b', a::", '"a" :: select , "a" :: \'x\' , "a" ::'),
        ("a::mytype 'b'", "\"a\" 'x'"),
        ("cast(a as bit varying(3)[]) as b", 'cast ( "a" as text ) as "b"'),
        ("cast((select a as b) as int)", 'cast ( ( select "a" as "b" ) as text )'),
        ("cast(a as 'b')", "cast ( \"a\" as 'x' )"),
        ('a "as" b, "using" <', '"a" "as" "b" , "using" <'),
    ],
)
def test_rendering(query, words):
    assert render(tokens(query), ()) == words.split()


@pytest.mark.parametrize(
    "name", ["a", "A b", "n_", "n_61", "ü", 'a"b', "a.b", "1", "$", "int("]
)
def test_a_name_is_encoded_as_a_word_and_decoded(name: str):
    encoded = encoded_name(name)
    assert re.fullmatch("[A-Za-z_0-9]+", encoded)
    assert decoded_name(encoded) == name


def test_what_is_no_key_word_of_postgresql_is_a_name():
    found = render(tokens("select * from t pivot(f(x) for a in (b)) connect by prior a"), ())
    assert found is not None
    assert {'"pivot"', '"connect"'} <= {*found}
    found = render(tokens("select 1 from t tablesample bernoulli (1)"), ())
    assert found is not None
    assert "bernoulli" in found


def test_functions_are_rendered_alike():
    words = render(tokens("select date_add(1), greatest(2)"), {1})
    assert " ".join(words or ()) == "select f_ ( 'x' ) , f_ ( 'x' )"


def test_no_name_in_front_of_a_bracket_is_one_of_sqlglots_functions():
    found = render(tokens('select "Left" (1), regexp_replace (1), other (1), left from t'), ())
    assert found is not None
    names = [word for word in found if word.startswith('"')]
    assert names[1:3] == [
        '"' + encoded + '"' for encoded in ("n_" + b"regexp_replace".hex(), "other")
    ]
    assert decoded_name(names[0].strip('"')) == "Left"
