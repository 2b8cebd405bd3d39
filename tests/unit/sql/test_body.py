"""What a function's or a view's own text may do."""

from __future__ import annotations

import pytest

from rwsplit.sql.body import LIMIT, UNREADABLE, read_body
from rwsplit.sql.dynamic import Dynamic
from rwsplit.sql.facts import HARMLESS, LOCKING, TELLING_ROLE
from rwsplit.sql.statement import PrimaryOnly, StateKind


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("begin set work_mem = '1MB'; end", StateKind.PARAMETER),
        ("set search_path to a", StateKind.PARAMETER),
        ("begin if x then reset all; end if; end", StateKind.PARAMETER),
        ("begin perform set_config('a.b', v, false); end", StateKind.PARAMETER),
        ("begin perform set_config('a.b', v, local); end", StateKind.PARAMETER),
        ("begin perform setseed(0.5); end", StateKind.SEED),
        ("begin set local seed = 0.5; end", StateKind.SEED),
        ("begin set seed = 0.5; end", StateKind.SEED),
        ("begin perform set_config('seed', '0.5', true); end", StateKind.SEED),
        ("begin loop listen news; end loop; end", StateKind.LISTEN),
        ("select 1; prepare p as select 1", StateKind.PREPARED),
        ("begin << here >> load 'auto_explain'; end", StateKind.LIBRARY),
        ("begin create temp table t (a int); end", StateKind.TEMP_TABLE),
        ("select 1 into temporary t", StateKind.TEMP_TABLE),
        ("insert into pg_temp.t values (1)", StateKind.TEMP_TABLE),
        ("declare c cursor with hold for select 1", StateKind.HOLD_CURSOR),
        ("begin perform pg_advisory_lock(1); end", StateKind.ADVISORY_LOCK),
        ("begin return pg_catalog.currval('s'); end", StateKind.SEQUENCE),
        ("begin return lo_open(1, 2); end", StateKind.LARGE_OBJECT),
        ("begin return query_to_xml('select 1'); end", StateKind.UNKNOWN_FUNCTION),
    ],
)
def test_words_that_leave_session_state(text, state):
    assert read_body(text).facts.state is state


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select now()", True),
        ("begin return pg_catalog.transaction_timestamp(); end", True),
        ("select a from t where b < current_date - 1", True),
        ("select age(b) from t", True),
        ("begin return ' NOW '::timestamptz; end", True),
        ("select clock_timestamp(), statement_timestamp()", False),
        ("select t.localtime, a as current_date from t where b = 'nowhere'", False),
    ],
)
def test_what_says_when_its_transaction_began(text, expected):
    assert read_body(text).facts.tells_time is expected


@pytest.mark.parametrize(
    "text",
    [
        "begin update t set a = 1 where b = 2; return 1; end",
        "begin insert into t values (1) on conflict (a) do update set a = 2; end",
        "begin set local work_mem = '1MB'; set transaction read only; end",
        "begin set constraints all deferred; end",
        "begin perform set_config('a.b', v, true); perform set_config('a.b', v, 't'); end",
        "declare temp int; reset_at timestamp; begin temp := 1; return t.set; end",
        "begin return nextval('s'); -- set it\n /* listen */ end",
        "begin raise notice 'execute set_config'; end",
        "begin perform pg_advisory_xact_lock(1); end",
        "begin return hold; end",
        "",
    ],
)
def test_words_that_do_not(text):
    body = read_body(text)
    assert body.facts.state is None
    assert body.dynamic is Dynamic.NONE


@pytest.mark.parametrize(
    "text",
    [
        "begin execute 'select 1'; end",
        "begin return query execute format('select %I', a); end",
        "begin do $$begin end$$; end",
    ],
)
def test_dynamic_sql(text):
    assert read_body(text).dynamic is not Dynamic.NONE


def test_a_column_called_execute_is_no_dynamic_sql():
    assert read_body("select t.execute, a as execute from t").dynamic is Dynamic.NONE


def test_what_cannot_be_read_or_is_too_long():
    assert read_body("select 'unfinished") is UNREADABLE
    assert read_body("select " + "1 + " * LIMIT) is UNREADABLE


def test_a_column_called_index_makes_no_index():
    assert "f" in read_body("begin perform index from a join b on f(1); end").calls
    assert "t" not in read_body("begin create unique index concurrently i on t (a); end").calls


def test_an_update_of_pg_settings_sets_parameters():
    for name in ("pg_settings", 'pg_catalog."pg_settings"', "only pg_settings"):
        body = read_body(f"begin update {name} set setting = 1; end")
        assert body.facts.state is StateKind.PARAMETER
    assert read_body("begin update t set a = 1 from pg_settings; end").facts.state is None


def test_names_keep_the_schema_they_are_written_with():
    body = read_body(
        'select f(x), app.g(1), "Odd.Name"(2), (r).h from app.v as w, t where a === w.k'
    )

    assert {"f", "app.g", '"Odd.Name"', "operator(===)"} <= body.calls
    assert {"app.v", "t", "w.k", "?.h", "a"} <= body.names
    assert "app" not in body.names
    assert body.facts == HARMLESS


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("select current_setting('In_Hot_Standby')::bool", TELLING_ROLE),
        ("select pg_catalog.current_setting('transaction_read_only', true)", TELLING_ROLE),
        ("select tenant = current_setting('app.tenant', true)", HARMLESS),
        ("select tenant = current_setting(name)", HARMLESS),
    ],
)
def test_settings_that_depend_on_the_nodes_role(text, facts):
    assert read_body(text).facts == facts


def test_what_belongs_on_the_primary():
    assert read_body("select * from pg_stat_activity").facts.primary_only is (
        PrimaryOnly.NEEDS_PRIMARY
    )
    assert read_body("select * from pg_cursors").facts.needs_session
    assert read_body("select pg_backend_pid()").facts.needs_session
    assert read_body("return not pg_is_in_recovery()").facts == TELLING_ROLE
    assert read_body("select * from t for update").facts == LOCKING
    assert read_body("select txid_current()").facts.may_write


def test_calls_within_calls_take_linear_time():
    assert read_body("select " + "set_config(" * 20_000).facts.state is StateKind.PARAMETER


@pytest.mark.parametrize(
    "text",
    [
        r"begin perform length('a\'' || set_config('a.b', 'c', false) || 'b'); -- '",
        r"select 'a\'' || set_config('a.b', 'c', false) /* '*/",
    ],
)
def test_a_session_may_run_it_with_other_strings(text: str):
    """With standard_conforming_strings off a backslash escapes, so other words are in literals."""
    assert read_body(text).facts.state is StateKind.PARAMETER


@pytest.mark.parametrize(
    "text",
    [r"select x ~ '\d+'", r"select replace(x, '\', '/')"],
)
def test_strings_in_which_nothing_can_hide(text: str):
    assert read_body(text).facts == HARMLESS
    assert read_body(text).dynamic is Dynamic.NONE
