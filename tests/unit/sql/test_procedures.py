"""CALL and DO are judged by what they run."""

from __future__ import annotations

import pytest

from rwsplit.sql.catalog import Catalog
from rwsplit.sql.classify import parse
from rwsplit.sql.facts import ABOUT_THE_PRIMARY, HARMLESS, LOCKING, VOLATILE, leaving
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.statement import PrimaryOnly, Redefined, StateKind, Statement, Verb

CATALOG = Catalog(
    functions={
        ("app", "p"): VOLATILE,
        ("app", "sets"): leaving(StateKind.PARAMETER),
        ("b", "f"): leaving(StateKind.ADVISORY_LOCK),
        ("a", "f"): HARMLESS,
        ("app", "lower"): leaving(StateKind.SEED),
    },
    relations={("app", "v"): leaving(StateKind.TEMP_TABLE), ("app", "u"): ABOUT_THE_PRIMARY},
    operators={"===": leaving(StateKind.LISTEN)},
    types={"checked": leaving(StateKind.LARGE_OBJECT)},
    fields={"total": LOCKING},
)
BOOK = FunctionBook().within(CATALOG, ("app",))


def facts(text: str, book: FunctionBook = BOOK) -> Statement:
    single = parse(text.encode(), book).single
    assert single is not None
    return single


def do(body: str, book: FunctionBook = BOOK) -> StateKind | None:
    found = facts(f"do $body${body}$body$", book)
    assert (found.verb, found.may_write) == (Verb.DO, True)
    assert found.redefines == Redefined(reveals=True)
    assert found.primary_only in {
        PrimaryOnly.MAY_WRITE,
        PrimaryOnly.UNPARSED,
    }, "of all reasons the strictest"
    return found.state


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("call p()", None),
        ("CALL app.p(1, 'x', now())", None),
        ("call p(a => 1)", None),
        ("call sets()", StateKind.PARAMETER),
        ("call p(b.f(1))", StateKind.ADVISORY_LOCK),
        ("call nobody_knows()", StateKind.UNKNOWN_FUNCTION),
        ("call p(currval('s'))", StateKind.SEQUENCE),
    ],
)
def test_a_call_leaves_what_its_procedure_leaves(text, state):
    found = facts(text)
    assert (found.verb, found.may_write, found.state) == (Verb.CALL, True, state)
    assert found.primary_only is PrimaryOnly.MAY_WRITE


def test_a_call_of_what_sets_a_parameter_by_name_says_which():
    assert facts("call p(set_config('work_mem', '1MB', false))").sets == {"work_mem"}


@pytest.mark.parametrize(
    "body",
    [
        "begin perform 1; end",
        "begin insert into t (a) values (1); update t set a = 2 where (a = 1); end",
        "begin if (1 = 1) then raise notice '%', lower('X'); end if; end",
        "begin create table if not exists app.t2 (a numeric(3, 1), b varchar(2)); end",
        "begin create unique index if not exists i on app.t2 (a); end",
        "begin with recursive w (a) as (select 1) insert into t select * from w; end",
        "declare r record; begin for r in select * from app.t loop call p(r.a); end loop; end",
        "begin perform a.f(1); perform app.p(); execute format('analyze %I', 't'); end",
        "begin perform pg_notify('a', 'b'); perform set_config('a.b', 'c', true); end",
    ],
)
def test_a_body_that_leaves_nothing_behind_pins_nobody(body):
    book = FunctionBook().within(
        Catalog(
            functions={key: f for key, f in CATALOG.functions.items() if key[1] != "lower"}
        ),
        ("app",),
    )
    assert do(body, book) is None


@pytest.mark.parametrize(
    ("body", "state"),
    [
        ("begin set a.b = 1; end", StateKind.PARAMETER),
        ("begin perform sets(); end", StateKind.PARAMETER),
        ("begin perform f(1); end", StateKind.ADVISORY_LOCK),
        ("begin perform lower('x'); end", StateKind.SEED),
        ("begin perform 1 === 2; end", StateKind.LISTEN),
        ("begin perform * from v; end", StateKind.TEMP_TABLE),
        ("begin perform * from app.u; end", None),
        ("begin perform 1::checked; end", StateKind.LARGE_OBJECT),
        ("begin perform t.total from t; end", None),
        ("begin create temp table x (a int); end", StateKind.TEMP_TABLE),
        ("begin perform nobody_knows(1); end", StateKind.UNKNOWN_FUNCTION),
        ('begin perform a."if"(1); end', StateKind.UNKNOWN_FUNCTION),
        ("begin perform 1 from t join x on g(1); end", StateKind.UNKNOWN_FUNCTION),
        ("begin execute q; end", StateKind.UNKNOWN_FUNCTION),
        ("begin execute 'select ' || q; end", StateKind.UNKNOWN_FUNCTION),
        ("begin execute 'select setseed(0.5)'; end", StateKind.SEED),
    ],
)
def test_a_body_leaves_what_it_runs_leaves(body, state):
    assert do(body) is state


@pytest.mark.parametrize(
    "text", ["do language plpython3u 'x'", "do", "do $$begin x$$ 1", "do 'begin ''x'"]
)
def test_what_cannot_be_read_may_leave_anything(text):
    assert facts(text).state is StateKind.UNKNOWN_FUNCTION


def test_where_no_catalog_has_been_read_functions_are_unknown_in_bodies_too():
    book = FunctionBook()
    assert do("begin perform app.p(); end", book) is StateKind.UNKNOWN_FUNCTION
    assert do("begin insert into t (a) values (lower('x')); end", book) is None


def test_what_is_in_doubt_may_do_anything_in_bodies_too():
    book = FunctionBook().within(CATALOG, ("app",), frozenset({"p", "t"}))
    assert do("begin perform p(); end", book) is StateKind.UNKNOWN_FUNCTION
    assert do("begin perform * from app.t; end", book) is StateKind.UNKNOWN_FUNCTION
    assert do("begin perform * from t2; end", book) is None


def test_the_operators_patterns_hold_in_bodies():
    book = FunctionBook(reads=["sets"], writes=["q"]).within(CATALOG, ("app",))
    assert do("begin perform app.q(); end", book) is None
    assert do("begin perform sets(); end", book) is None


def test_a_do_that_locks_or_looks_at_its_session():
    assert facts("do $$begin perform 1 from t for update; end$$").locks_rows
    assert facts("do $$begin perform pg_backend_pid(); end$$").needs_session
