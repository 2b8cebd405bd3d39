"""Calls are found as written, and nothing that only looks like one is."""

from __future__ import annotations

import pytest

from rwsplit.sql.calls import MOST_ARGUMENTS, Calls, find_calls
from rwsplit.sql.tokens import scan


def calls(query: str) -> Calls:
    found = scan(query.encode())
    assert found is not None
    return find_calls(found.tokens)


@pytest.mark.parametrize(
    ("query", "functions"),
    [
        ("select f(1), G ( 2 )", {"f", "g"}),
        ('select "F"(1), s.f(1), d."S".f(1)', {"F", "s.f", "d.S.f"}),
        ('select "s.f"(1)', {'"s.f"'}),
        ("select (x).f(1)", {"?.f"}),
        ("select date_add(a, b), levenshtein(a, b)", {"date_add", "levenshtein"}),
        ("select left(a, 1), right(a, 1)", {"left", "right"}),
        ("select * from f(1) with ordinality as t(a, b)", {"f"}),
        ("select * from unnest(x) with ordinality t(a, b)", {"unnest"}),
        ("select * from rows from (f(1), g(2)) as t(a int, b numeric(3))", {"f", "g"}),
        ("select * from t, lateral f(t.a) u(b)", {"f"}),
        ("select distinct on (f(a)) g(b) from t", {"f", "g"}),
        ("select a operator(pg_catalog.+) f(1)", {"f"}),
        ("select operator(x) from t", {"operator"}),
        ("select a <-> b, a + b, a @@@@ b", {"operator(<->)", "operator(@@@@)"}),
        ("select a[f(1)], a[1:g(2)]", {"f", "g"}),
        ("select h(a => f(1), b := g(2))", {"f", "g", "h"}),
        ("select * from t group by cube(a, f(b)), rollup(c)", {"f"}),
        ("select * from t group by grouping sets ((a), rollup(b), cube(c))", set()),
        ("select cube(a) from t group by a having rollup(a) order by 1", {"cube", "rollup"}),
        ("select 1 group by distinct cube(a), all rollup(b)", set()),
        ("select 1 group by a + cube(1), (rollup(2)), cube(a, rollup(3))", {"cube", "rollup"}),
        ("select 1 as group, cube(1)", {"cube"}),
        ("select t.group, cube(1) from t", {"cube"}),
        ("with f(a) as (select 1), g(b) as materialized (select h(1)) select * from f", {"h"}),
        ('with "f"(a) as (values (1)) values (g(1))', {"g"}),
        ("with recursive a as (select 1) search depth first by x set y select f(1)", {"f"}),
        ("select 1 as with, f(1)", {"f"}),
        ("select a, (with f(a) as (select 1) select g(a) from f) from t", {"g"}),
        ("with a as (select 1) (select 2) order by f(1)", {"f"}),
        ("select sum(a) filter (where b) over (partition by (c) order by (d)) from t", {"sum"}),
        ("select over(1), filter(2)", {"over", "filter"}),
        (
            "select x::varchar(3), x::s.t(3), cast(x as numeric(3)), cast(x as bit varying(3))",
            set(),
        ),
        ("select x at time zone ('utc')", set()),
        ("select * from (values (1)) v(a) join (select 1) w(b) on (a = b)", set()),
        ("select * from t u(a, b)", set()),
        ("select * from t fetch first (5) rows only", set()),
        ("select 1 fetch first binary(1) rows only", {"binary"}),
        ("select 1 fetch next set(1) rows only", {"set"}),
        ("select first like ('a'), next in (1), version binary(1) from t", set()),
        (
            "select json_object('a' value filter(1)), json_objectagg(a value like(1))",
            {"filter", "like"},
        ),
        (
            "select json_object(value like ('a') value 1, t.value like ('b') : value like ('c'))",
            set(),
        ),
        ("select value like ('a'), f(value ilike ('b')) from t value join (u) on true", {"f"}),
        (
            "select xmlroot(x, version binary(1)), xmlexists('a' passing by ref inner(1))",
            {"binary", "inner"},
        ),
        ("select xmlexists('a' passing by value like(1))", {"like"}),
        (
            "select * from xmltable('a' passing x columns a text path f(1) default like(2))",
            {"f", "like"},
        ),
        (
            "select * from xmltable('a' passing x columns a text path binary(1) default g(2))",
            {"binary", "g"},
        ),
        (
            'select * from xmltable(\'a\' passing x columns a text "path" f(1) "default" g(2))',
            {"f", "g"},
        ),
        ("select * from t tablesample bernoulli (1)", set()),
        ("select * from t tablesample system_rows(1)", {"system_rows"}),
        (
            "select coalesce(a, f(b)), nullif(a, b), row(1), array(select 1), exists(select 1)",
            {"f"},
        ),
        ("select interval '1' day to second(3), x::interval hour to second (2)", set()),
        ("select a similar to second(3), second(4)", {"second"}),
        ("select mytype(3) 'x', s.mytype(f(1), 2) '1', mytype(3) 5", {"f"}),
        ("select f(1) 'x', f(2) from f(3) 'y'", {"f"}),
        ("select name ilike ('a'), b not ilike ('b'), not c like ('d')", set()),
        ("select ilike(1), not ilike(2), a between ilike(3) and 4", {"ilike"}),
        ("select null ilike ('a'), (b) like ('c'), 'd' ilike ('e')", set()),
        ("select * from a left join (b join c on (d = e)) on f(1)", {"f"}),
        ("select join(1)", {"join"}),
        ("select * from t where a in (1) and b = any (c)", set()),
        (
            "insert into t (a, b) values (f(1)) on conflict (a) do update set (a, b) = (1, g(2))",
            {"f", "g"},
        ),
        ("insert into s.t (a) select 1", set()),
        ("insert into t (a) values (1) on conflict (a) where a > 1 do nothing", set()),
        ("insert into t select * from u join v on conflict(1) where true", {"conflict"}),
        (
            "insert into t select * from u join v on conflict(1) where true on conflict (a) do nothing",
            {"conflict"},
        ),
        ("insert into t select case when true then insert(1) end", {"insert"}),
        ("insert into t select a from u group by 1 returning 1, cube(1)", {"cube"}),
        ("table t fetch first by(1) row only", {"by"}),
        ("insert into t with x(a) as (select f(1)) select a from x", {"f"}),
        ("update t set (a, b) = (1, 2)", set()),
        (
            "merge into t using s on (a = b) when not matched then insert (a) values (f(1))",
            {"f"},
        ),
        ("select * from a join b on conflict(1)", {"conflict"}),
        ("select case when a then insert(1) end", {"insert"}),
        ("select 1 ) f(1)", set()),
    ],
)
def test_functions(query, functions):
    assert calls(query).functions == functions


@pytest.mark.parametrize(
    ("query", "main"),
    [
        ("select 1", "select"),
        ("(select 1)", "("),
        ("with a as (select 1) select 2", "select"),
        ("with a as (select 1) values (2)", "values"),
        ("with a as (select 1) delete from t", "delete"),
        ("with update as (select 1), values as (select 2) table update", "table"),
        ("with a as (select 1)", "with"),
    ],
)
def test_the_main_verb_comes_after_the_ctes(query, main):
    assert calls(query).main == main


def test_nothing_calls_nothing():
    assert find_calls([]) == Calls("", frozenset(), writes=False, settings=(), heads={})


@pytest.mark.parametrize(
    "query",
    [
        "insert into t values (1)",
        "with a as (delete from t returning *) select * from a",
        "with a as materialized (update only t set b = 1 returning *) select * from a",
        "with a as (select 1) update t set b = 1",
        "select (with a as (merge into t using s on true when matched then delete) select 1)",
        'with a as (update "t" set b = 1 returning 1) select 1',
    ],
)
def test_writes_are_seen_wherever_they_stand(query):
    assert calls(query).writes


@pytest.mark.parametrize(
    "query",
    [
        "select update, t.delete, (insert), f(merge, 1), (update.a) from update",
        "select 1 as update",
        "select 'delete from t' from t for update",
    ],
)
def test_columns_named_like_verbs_do_not_write(query):
    assert not calls(query).writes


def test_arguments_of_set_config_are_kept():
    found = calls("select pg_catalog.set_config('a', f(1, 2), true), current_setting($1)")
    assert [[text for _, text in call] for call in found.settings] == [
        ["set_config", "(", "'a'", ",", "f", "(", "1", ",", "2", ")", ",", "true"],
        ["current_setting", "(", "$1"],
    ]


def test_an_open_set_config_ends_with_the_text():
    found = calls("select set_config('a'")
    assert [text for _, text in found.settings[0]] == ["set_config", "("]


def test_a_set_config_of_very_many_tokens_keeps_no_arguments():
    found = calls("select set_config('a', f(" + "1, " * MOST_ARGUMENTS + "2), true), 1")
    assert [text for _, text in found.settings[0]] == ["set_config", "("]


def test_calls_within_calls_take_linear_time():
    assert len(calls("select " + "set_config(" * 20_000).settings) == 20_000
