"""SQL, and names of relations, that are handed to functions in literals."""

from __future__ import annotations

import pytest

from rwsplit.sql import queries
from rwsplit.sql.cache import StatementCache
from rwsplit.sql.catalog import Catalog
from rwsplit.sql.classify import parse
from rwsplit.sql.facts import ABOUT_THE_PRIMARY, VOLATILE, leaving
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.given import BY_LITERAL, GIVEN
from rwsplit.sql.shape import is_sound, shape_of
from rwsplit.sql.statement import PrimaryOnly, StateKind, Statement

BOOK = FunctionBook()


def facts(query: str, book: FunctionBook = BOOK) -> Statement:
    [statement] = parse(query.encode(), book).statements
    return statement


@pytest.mark.parametrize(
    "call",
    [
        "query_to_xml('select 1', true, false, '')",
        "pg_catalog.query_to_xmlschema('values (1)', true, false, '')",
        "query_to_xml_and_xmlschema('(table t)', true, false, '')",
        "query_to_xml($q$ with x as (select 'a') select * from x; $q$, true, false, '')",
        "query_to_xml(query => 'select ''it''''s''', nulls => true, tableforest => true)",
        r"query_to_xml(query := U&'select \0031', nulls := f, tableforest := f)",
        "ts_stat('select v from t', 'ab')",
        "ts_rewrite(a, 'select t, s from aliases')",
        "ts_rewrite(a, b, c)",
        "ts_rewrite(a, (array[b, c])[1], c)",
        "table_to_xml('t', true, false, '')",
        "table_to_xml_and_xmlschema('s.\"T\"'::regclass, true, false, '')",
        "pg_input_is_valid('1', 'int4')",
        "domain_in('1', 'd'::regtype, -1)",
    ],
)
def test_what_is_spelt_out_and_reads_is_a_read(call: str):
    found = facts(f"select {call} from u")
    assert found.primary_only is None
    assert not found.may_write
    assert found.state is None


@pytest.mark.parametrize(
    "text",
    [
        "$1",
        "a",
        "'select ' || '1'",
        "'select '\n'1'",
        "E'select 1'",
        r"'select ''\'''",
        "text 'select 1'",
        "'select 1'::mytext",
        "(('select 1'))",
        "variadic 'select 1'",
        "''",
        "';'",
        "'select 1; select 2'",
        "'insert into t values (1)'",
        "'call f()'",
        "'set a = 1'",
        "'show work_mem'",
        "'select ''open'",
        "nulls => true, query => 'select 1', a => 1",
    ],
)
@pytest.mark.parametrize("call", ["query_to_xml({}, true)", "ts_stat({})", "ts_rewrite(a, {})"])
def test_what_is_not_a_query_spelt_out_may_do_anything(call: str, text: str):
    found = facts("select " + call.format(text))
    assert found.primary_only is PrimaryOnly.UNKNOWN_FUNCTION
    assert found.may_write
    assert found.state is StateKind.UNKNOWN_FUNCTION


@pytest.mark.parametrize(
    ("inner", "reason", "may_write", "state"),
    [
        ("select nextval($$s$$)", PrimaryOnly.VOLATILE_FUNCTION, True, None),
        ("select f()", PrimaryOnly.UNKNOWN_FUNCTION, True, StateKind.UNKNOWN_FUNCTION),
        ("select 1 from t for share", PrimaryOnly.LOCKS_ROWS, False, None),
        ("select 1 into t", PrimaryOnly.MAY_WRITE, True, None),
        ("with a as (delete from t) select 1", PrimaryOnly.MAY_WRITE, True, None),
        ("select form t x y", PrimaryOnly.UNPARSED, True, None),
        ("table pg_stat_activity", PrimaryOnly.NEEDS_PRIMARY, False, None),
        ("table pg_temp.t", PrimaryOnly.SESSION_STATE, False, None),
        ("select pg_is_in_recovery()", PrimaryOnly.NODE_ROLE, False, None),
        (
            "select pg_advisory_lock(1)",
            PrimaryOnly.SESSION_STATE,
            False,
            StateKind.ADVISORY_LOCK,
        ),
        (
            "select set_config($$a.b$$, $$c$$, false), pg_advisory_lock(1)",
            PrimaryOnly.SESSION_STATE,
            False,
            StateKind.PARAMETER,
        ),
    ],
)
def test_it_is_judged_like_a_statement_of_its_own(
    inner: str, reason: PrimaryOnly, may_write: bool, state: StateKind | None
):
    found = facts(f"select query_to_xml('{inner}', true, false, '')")
    assert found.primary_only is reason
    assert found.may_write is may_write
    assert found.locks_rows is (reason is PrimaryOnly.LOCKS_ROWS)
    assert found.state is state
    assert not found.sets


def test_its_tables_functions_and_time_are_those_of_the_statement():
    found = facts("select query_to_xml('select lower(a), now() from s.t', true, false) from u")
    assert found.tables == {"u", "s.t"}
    assert found.functions == {"query_to_xml", "lower", "now"}
    assert found.tells_time


def test_of_several_calls_the_worst_counts():
    found = facts("select ts_stat('select 1'), ts_stat('select f()'), ts_stat('select 2')")
    assert found.primary_only is PrimaryOnly.UNKNOWN_FUNCTION


def nested(depth: int) -> str:
    text = "select 1"
    for level in range(depth):
        text = f"select * from ts_stat($t{level}${text}$t{level}$)"
    return text


def test_queries_in_queries_are_read_to_some_depth():
    assert facts(nested(queries.MAX_GIVEN)).primary_only is None
    assert facts(nested(queries.MAX_GIVEN + 1)).primary_only is PrimaryOnly.UNKNOWN_FUNCTION
    assert facts(nested(2000)).primary_only is PrimaryOnly.UNKNOWN_FUNCTION


def test_of_very_many_calls_none_is_read():
    call = "ts_stat('select 1')"
    assert facts("select " + ", ".join([call] * queries.MOST_GIVEN)).primary_only is None
    many = facts("select " + ", ".join([call] * (queries.MOST_GIVEN + 1)))
    assert many.primary_only is PrimaryOnly.UNKNOWN_FUNCTION


def test_a_function_of_the_users_own_counts_too():
    catalog = Catalog(functions={("app", "ts_stat"): VOLATILE})
    for path in ((), ("app",)):
        found = facts("select ts_stat('select 1')", BOOK.within(catalog, path))
        assert found.primary_only is (PrimaryOnly.VOLATILE_FUNCTION if path else None)
    assert facts("select app.query_to_xml('select 1')").primary_only is not None
    writes = FunctionBook(writes=["query_to_xml"])
    found = facts("select query_to_xml('select 1')", writes)
    assert found.primary_only is PrimaryOnly.MAY_WRITE


def test_a_table_is_read_as_by_a_query():
    catalog = Catalog(relations={("app", "v"): leaving(StateKind.LISTEN)})
    book = BOOK.within(catalog, ("app",))
    assert facts("select table_to_xml('v', true, false, '')", book).state is StateKind.LISTEN
    assert facts("select table_to_xml('t', true, false, '')", book).primary_only is None
    assert facts("select table_to_xml('t', true, false, '')").tables == {"t"}


@pytest.mark.parametrize(
    "call",
    [
        "table_to_xml(1259)",
        "table_to_xml('1259')",
        "table_to_xml('t, u')",
        "table_to_xml('')",
        "table_to_xml($1)",
        "table_to_xml('a' || 'b')",
        "table_to_xml()",
        "schema_to_xml('s', true, false, '')",
        "pg_catalog.database_to_xml_and_xmlschema(true, false, '')",
    ],
)
def test_what_may_read_any_relation_is_no_better_than_the_worst(call: str):
    assert facts(f"select {call}").primary_only is PrimaryOnly.NEEDS_PRIMARY
    assert facts(f"select {call}").state is None
    catalog = Catalog(relations={("app", "v"): leaving(StateKind.LISTEN)})
    assert facts(f"select {call}", BOOK.within(catalog, ())).state is StateKind.LISTEN
    doubting = BOOK.doubting(frozenset({"v"}))
    assert facts(f"select {call}", doubting).state is StateKind.UNKNOWN_FUNCTION


def test_a_type_told_in_a_value_is_no_better_than_the_worst():
    book = BOOK.within(Catalog(types={"d": VOLATILE, "e": ABOUT_THE_PRIMARY}), ())
    for call in ("pg_input_is_valid('1', 'd')", "array_in('{}', a, -1)"):
        assert facts(f"select {call}", book).primary_only is PrimaryOnly.VOLATILE_FUNCTION


def test_facts_that_hang_on_a_literal_are_not_shared():
    cache = StatementCache(BOOK, size=10)
    for comment in ("", " -- x", " /* y */"):
        for name in ("ts_stat", '"ts_stat"', "pg_catalog.ts_stat", r'U&"ts\005fstat"'):
            query = f"select {name}('select {{}}'){comment}"
            read = cache.lookup(query.format("1").encode())
            write = cache.lookup(query.format("f()").encode())
            assert read.primary_only is None
            assert write.primary_only is PrimaryOnly.UNKNOWN_FUNCTION


@pytest.mark.parametrize("name", sorted(BY_LITERAL))
def test_there_is_no_shape_of_what_hangs_on_a_literal(name: str):
    assert not is_sound(shape_of(f"select {name}('a')".encode()))
    assert not is_sound(shape_of(f'select "{name}"(1)'.encode()))


@pytest.mark.parametrize("name", sorted(GIVEN))
def test_a_call_without_arguments_is_judged(name: str):
    assert facts(f"select {name}()").functions == {name}
