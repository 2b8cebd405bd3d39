"""Whole texts: several statements, hints, and whatever bytes come."""

from __future__ import annotations

import pytest

from rwsplit.sql import classify
from rwsplit.sql.catalog import Catalog
from rwsplit.sql.classify import MOST_STATEMENTS, PARSE_LIMIT, parse
from rwsplit.sql.facts import HARMLESS, VOLATILE
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.parse_budget import INLINE_BUDGET, PATIENT_BUDGET, ParseBudget
from rwsplit.sql.script import Script
from rwsplit.sql.statement import Hints, PrimaryOnly, StateKind, Verb

BOOK = FunctionBook()


def script(query: str, budget: ParseBudget | None = None) -> Script:
    return parse(query.encode(), BOOK, budget)


def verbs(query: str) -> list[Verb]:
    return [statement.verb for statement in script(query).statements]


@pytest.mark.parametrize("query", ["", " ", ";", "; ;", "-- x", "/* x */ ;"])
def test_empty_queries_hold_no_statement(query):
    assert script(query).statements == ()
    assert script(query).primary_only is None
    assert script(query).state is None


def test_statements_end_at_semicolons_that_are_tokens():
    assert verbs("select ';'; begin; select $$;$$ /* ; */ -- ;\n; commit;") == [
        Verb.QUERY,
        Verb.BEGIN,
        Verb.QUERY,
        Verb.COMMIT,
    ]


def test_the_strictest_statement_wins():
    found = script("select 1; insert into t values (1); select * from t for update; set a = 1")
    assert found.primary_only is PrimaryOnly.MAY_WRITE
    assert found.state is StateKind.PARAMETER
    assert found.may_write
    assert found.single is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            "create rule r as on insert to t do (select 1; select 2); select 3",
            [Verb.DDL, Verb.QUERY],
        ),
        (
            "create function f() returns int begin atomic select case when a then 1 end; "
            "select 2 as end; select t.case from t; end; listen a",
            [Verb.DDL, Verb.LISTEN],
        ),
        ("create function f() begin atomic select 1; end", [Verb.DDL]),
        ("create function f() begin atomic end; listen a", [Verb.DDL, Verb.LISTEN]),
        # Labels may be key words.
        (
            "create or replace procedure p() begin atomic select 1 case; select 2 end; end; listen a",
            [Verb.DDL, Verb.LISTEN],
        ),
        ("create view v as select begin atomic from t; listen a", [Verb.DDL, Verb.LISTEN]),
        ("begin; select case a when 1 then 2 end; end", [Verb.BEGIN, Verb.QUERY, Verb.COMMIT]),
        ("select atomic; begin atomic; listen a", [Verb.QUERY, Verb.BEGIN, Verb.LISTEN]),
        ("select 1); listen a", [Verb.QUERY, Verb.LISTEN]),
    ],
)
def test_semicolons_within_a_statement_do_not_end_it(query, expected):
    assert verbs(query) == expected


def test_hints_come_from_comments_only():
    assert script("/* rwsplit: primary */ select 1").hints == Hints(route="primary")
    assert script("select /* rwsplit: node=pg2 */ 1").hints == Hints(node="pg2")
    assert script("select '/* rwsplit: primary */'").hints is None


@pytest.mark.parametrize(
    "query", [b"select 'open", b"select U&'\\x'", b"\xff\x00", b"x" * (PARSE_LIMIT + 1)]
)
def test_what_cannot_be_read_may_do_anything(query):
    found = parse(query, BOOK)
    assert found.primary_only is PrimaryOnly.UNPARSED
    assert found.may_write
    assert found.state is StateKind.UNRECOGNISED


def test_a_surprise_makes_a_query_unreadable_but_keeps_its_hints(monkeypatch):
    def surprise(*_args: object, **_options: object) -> None:
        raise LookupError

    monkeypatch.setattr(classify, "classify_statement", surprise)
    found = script("/* rwsplit: primary */ select 1")
    assert found.primary_only is PrimaryOnly.UNPARSED
    assert found.hints == Hints(route="primary")


def test_of_very_many_statements_none_is_read_but_they_may_define_names():
    few = script("; ".join(["select 1"] * MOST_STATEMENTS), ParseBudget(PATIENT_BUDGET))
    assert few.primary_only is None
    many = script("; ".join(["select 1"] * (MOST_STATEMENTS + 1)), ParseBudget(PATIENT_BUDGET))
    assert many.primary_only is PrimaryOnly.UNPARSED
    assert many.redefines is not None
    assert len(many.statements) == 1


@pytest.mark.parametrize(
    "first",
    [
        "set search_path = b",
        "set local role to c",
        "select set_config('search_path', 'b', true)",
    ],
)
def test_behind_a_change_of_path_names_of_the_same_text_may_be_those_of_any_schema(first: str):
    catalog = Catalog(functions={("a", "f"): HARMLESS, ("b", "f"): VOLATILE})
    book = FunctionBook().within(catalog, ("a",))
    alone = parse(b"select f()", book)
    assert (alone.primary_only, alone.changes_path) == (None, False)
    both = parse(f"{first}; select f()".encode(), book)
    assert both.changes_path
    assert both.statements[1].primary_only is PrimaryOnly.VOLATILE_FUNCTION
    before = parse(f"select f(); {first}".encode(), book)
    assert before.statements[0].primary_only is None


def test_names_that_are_defined_count_as_well():
    few = script("drop view " + ", ".join(f"v{n}" for n in range(MOST_STATEMENTS)))
    assert few.redefines is not None
    assert len(few.redefines.views) == MOST_STATEMENTS
    assert few.weight == MOST_STATEMENTS // 8
    many = script("drop view " + ", ".join(f"v{n}" for n in range(MOST_STATEMENTS + 1)))
    assert many.primary_only is PrimaryOnly.UNPARSED


def test_statements_within_others_count_as_well():
    def explains(levels: int, count: int) -> Script:
        text = "; ".join(f"{'explain ' * levels}set a.x{number} = 1" for number in range(count))
        return script(text, ParseBudget(PATIENT_BUDGET))

    assert len(explains(7, MOST_STATEMENTS // 8).statements) == MOST_STATEMENTS // 8
    assert explains(7, MOST_STATEMENTS // 8 + 1).primary_only is PrimaryOnly.UNPARSED
    same = script(
        "explain explain explain select 1; " * (MOST_STATEMENTS // 2),
        ParseBudget(PATIENT_BUDGET),
    )
    assert same.primary_only is None, "equal ones are one"


@pytest.mark.parametrize(
    "broken",
    [
        "select 1 from t connect by (",
        "select 1 from t connect by f(select 1 connect by prior x)",
    ],
)
def test_a_query_that_fails_leaves_nothing_behind_in_sqlglot(broken):
    script(broken)
    assert script("select prior from t where prior > 2").primary_only is None


def test_what_uses_a_function_it_has_just_defined_is_never_read_without_a_doubt():
    define = "create or replace function f() returns int language sql stable as 'select 1'; select f(); "
    dear = "select " + "int(" * 30 + "1" + ")" * 30
    for text in (define + dear, define + dear + "; select 1"):
        found = script(text, ParseBudget(INLINE_BUDGET))
        assert found.statements == classify.unread().statements
