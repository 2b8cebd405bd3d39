"""Which names DDL may give another meaning."""

from __future__ import annotations

import pytest

from rwsplit.sql.catalog import Catalog
from rwsplit.sql.classify import parse
from rwsplit.sql.facts import HARMLESS, leaving
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.statement import Redefined, StateKind

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
    reveals = "drop" in text or "rename" in text
    assert redefines(text) == Redefined(functions=frozenset(names), reveals=reveals)


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
    reveals = "set schema" in text
    assert redefines(text) == Redefined(views=frozenset(names), reveals=reveals)


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
        "import foreign schema s from server x into y",
        "grant select on t to x",
        "revoke r from x",
        "create",
    ],
)
def test_what_calls_for_another_look_only(text):
    assert redefines(text) == Redefined()


@pytest.mark.parametrize(
    "text",
    [
        "drop schema s cascade",
        "drop table t",
        "drop sequence s",
        "drop materialized view if exists m",
        "drop owned by app",
        "alter table t rename to u",
        "alter table t set schema a",
        "alter schema s rename to r",
        "do $$begin execute 'drop table ...'; end$$",
        "commit prepared 'x'",
    ],
)
def test_what_may_show_relations_that_were_hidden(text):
    assert redefines(text) == Redefined(reveals=True)


def test_a_relation_that_was_hidden_by_a_harmless_one_is_doubted():
    catalog = Catalog(
        relations={
            ("a", "v"): HARMLESS,
            ("b", "v"): leaving(StateKind.ADVISORY_LOCK),
            ("b", "w"): leaving(StateKind.ADVISORY_LOCK),
        }
    )
    assert catalog.hidden == {"v"}
    book = BOOK.within(catalog, ("a", "b"))
    assert parse(b"select * from v", book).state is None
    assert parse(b"drop table a.t cascade; select * from v", book).state is not None
    assert parse(b"drop table a.t cascade; select * from t", book).state is None


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


def test_a_script_does_not_trust_what_it_defines_itself():
    catalog = Catalog(functions={("a", "f"): HARMLESS, ("a", "g"): HARMLESS})
    book = BOOK.within(catalog, ("a",))

    script = parse(b"create or replace function f() returns int as 'x'; select f()", book)
    assert script.state is StateKind.UNKNOWN_FUNCTION
    script = parse(b"create table t (a int); select f()", book)
    assert script.state is None
    script = parse(b"create or replace function f() returns int as 'x'; select g()", book)
    assert script.state is None
    script = parse(b"create view v as select set_config('a', 'b', false); table v", book)
    assert script.state is StateKind.UNKNOWN_FUNCTION


@pytest.mark.parametrize(
    ("text", "database"),
    [
        ("drop database d", "d"),
        ('DROP DATABASE IF EXISTS "D" WITH (FORCE)', "D"),
        ("alter database d rename to e", "d"),
        ("alter database d set tablespace t", "d"),
        ("alter database d set search_path = a", None),
        ("alter database d owner to me", None),
        ("create database d", "template1"),
        ("create database d template default", "template1"),
        ("create database d with owner = o template = e encoding 'UTF8'", "e"),
        ("create database d template e", "e"),
        ("drop table d", None),
        ("drop database", None),
    ],
)
def test_the_database_that_must_be_empty(text, database):
    assert parse(text.encode(), BOOK).vacates == database


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("alter role app set search_path = x", True),
        ("ALTER USER app RESET ALL", True),
        ("alter role all in database d set work_mem = 1", True),
        ("alter database d reset work_mem", True),
        ("alter system set work_mem = 1", True),
        ("select pg_reload_conf()", True),
        ("select pg_catalog.pg_reload_conf()", True),
        ("begin; alter role app set search_path = x", True),
        ("alter role app nologin", False),
        ("alter table t set (fillfactor = 70)", False),
        ("create role app", False),
        ("select 1", False),
    ],
)
def test_what_sessions_begin_with_may_be_another_afterwards(text: str, changes: bool):
    redefines = parse(text.encode(), FunctionBook()).redefines
    assert (redefines is not None and redefines.defaults) is changes
