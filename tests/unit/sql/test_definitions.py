"""Which names DDL may give another meaning."""

from __future__ import annotations

import pytest

from rwsplit.sql.classify import parse
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.statement import Redefined

BOOK = FunctionBook()


def redefines(text: str) -> Redefined | None:
    return parse(text.encode(), BOOK).redefines


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (
            "create or replace function app.f(a int) returns int as 'x' language sql",
            {"app", "f"},
        ),
        ('create procedure "P"() as $$ $$ language sql', {"P"}),
        ("create aggregate total (int) (sfunc = int4pl, stype = int)", {"total"}),
        ("create operator app.=== (leftarg = int)", {"app", "operator(===)"}),
        ("alter function f(int) rename to g", {"f", "int", "rename", "to", "g"}),
        ("drop routine if exists f, g", {"if", "exists", "f", "g"}),
    ],
)
def test_of_functions(text, names):
    assert redefines(text) == Redefined(functions=frozenset(names))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("create view v as select f()", {"v"}),
        ("create or replace recursive view app.v (a) as select 1", {"app", "v"}),
        ("alter view v set schema other", {"v", "set", "schema", "other"}),
        ("create rule r", {"r"}),
    ],
)
def test_of_views(text, names):
    assert redefines(text) == Redefined(views=frozenset(names))


@pytest.mark.parametrize(
    "text",
    [
        "create table t (a int)",
        "create unlogged table t (a int)",
        "create table t as select 1",
        "create materialized view m as select 1",
        "alter table t set unlogged",
        "create extension postgis",
        "create schema s",
        "drop schema s cascade",
        "import foreign schema s from server x into y",
        "do $$begin execute 'create function ...'; end$$",
        "create",
    ],
)
def test_what_calls_for_another_look_only(text):
    assert redefines(text) == Redefined()


@pytest.mark.parametrize(
    "text",
    [
        "create temp table t (a int)",
        "create temporary view v as select 1",
        "create unique index concurrently on t (a)",
        "create constraint trigger t after insert on t execute function f()",
        "drop index i",
        "create sequence s",
        "truncate t",
        "grant select on t to x",
        "comment on table t is 'x'",
        "refresh materialized view m",
        "select f()",
        "insert into t values (1)",
    ],
)
def test_what_changes_the_meaning_of_no_name(text):
    assert redefines(text) is None


def test_a_script_redefines_what_its_statements_do():
    both = redefines(
        "create function f() returns int as 'x'; create view v as select 1; select 1"
    )

    assert both == Redefined(frozenset({"f"}), frozenset({"v"}))
    assert parse(b"create function f() as 'x'", BOOK).notable
