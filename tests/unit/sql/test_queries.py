"""Facts of queries and DML: the tokens and the tree must agree that a statement only reads."""

from __future__ import annotations

import gc

import pytest

from rwsplit.sql import queries
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.parse_budget import ParseBudget
from rwsplit.sql.queries import classify_query, read_tree
from rwsplit.sql.statement import PrimaryOnly, StateKind, Statement, Verb
from rwsplit.sql.tokens import Token, scan
from tests.support.unusual_reads import UNUSUAL_READS

BOOK = FunctionBook()


def tokens(query: str) -> list[Token]:
    found = scan(query.encode())
    assert found is not None
    return found.tokens


def facts(query: str) -> Statement:
    return classify_query(tokens(query), BOOK, ParseBudget())


@pytest.mark.parametrize(
    "query",
    [
        "select 1",
        "SELECT abalance FROM pgbench_accounts WHERE aid = 12345",
        "table t",
        "values (1, 'a'), (2, 'b')",
        "((select 1) union all (select 2)) order by 1 limit 1",
        "with recursive n(i) as (values (1) union all select i + 1 from n where i < 9) select * from n",
        "select * from t where name = 'for update' and \"into\" = t.into",
        "select a as into, b as update, c as for, d as select from t",
        "select array[[1, 2], [3]], (array[1])[1], a[1:2], array[]::int[] from t",
        "select a from t tablesample bernoulli (1) repeatable (2)",
        "select 'a' operator(pg_catalog.||) 'b', a <=> b, j ? 'k', @ -1",
        "select now(), random(), pg_sleep(1), count(*), string_agg(a, ',' order by b) from t",
        "select substring('abc', 1, 2), nullif(1, 2), coalesce(1, 2, 3), left('a', 1)",
        "select E'a\\'b', $q$ ; $q$, B'1', N'x'",
        "select name from Ünï where größe = 1",
        "select * from information_schema.tables",
        "select x.* from t, xmltable('/r' passing doc columns id int path '@id') as x",
        "select interval '1 day' * 2, interval from t where a > now() - '1 day'::interval",
    ],
)
def test_pure_reads_are_safe_on_a_replica(query):
    found = facts(query)
    assert found.primary_only is None
    assert not found.may_write
    assert found.state is None
    assert found.verb is Verb.QUERY


@pytest.mark.parametrize(
    ("query", "verb"),
    [
        ("insert into t values (1)", Verb.DML),
        ("update t set a = 1", Verb.DML),
        ("delete from t", Verb.DML),
        ("merge into t using s on t.a = s.a when matched then delete", Verb.DML),
        ("merge into t using s on t.a = s.a when not matched by source then delete", Verb.DML),
        ("with a as (select 1) insert into t select * from a", Verb.DML),
        ("with a as (insert into t values (1) returning *) select * from a", Verb.QUERY),
        ("select * into s from t", Verb.QUERY),
        ("select 1 union (select 2 into s)", Verb.QUERY),
    ],
)
def test_writes(query, verb):
    found = facts(query)
    assert found.primary_only is PrimaryOnly.MAY_WRITE
    assert found.may_write
    assert found.verb is verb
    assert found.state is None


@pytest.mark.parametrize(
    "clause", ["for update", "for no key update", "for share", "FOR KEY SHARE OF t NOWAIT"]
)
def test_row_locks_anywhere(clause):
    for query in (f"select * from t {clause}", f"select * from (select * from t {clause}) s"):
        found = facts(query)
        assert found.primary_only is PrimaryOnly.LOCKS_ROWS
        assert found.locks_rows


@pytest.mark.parametrize(
    "query",
    [
        "select 1 into temp t",
        "select 1 into temporary table t",
        "select 1 into local temp t",
        "select 1 into pg_temp.t",
    ],
)
def test_select_into_a_temporary_table_leaves_it(query):
    assert facts(query).state is StateKind.TEMP_TABLE


def test_a_temporary_schema_needs_its_session():
    found = facts("select * from pg_temp.t")
    assert found.primary_only is PrimaryOnly.SESSION_STATE
    assert found.needs_session


@pytest.mark.parametrize("query", ["select * form t1", "select f(1) from t order by a using"])
def test_what_sqlglot_cannot_parse_may_write_but_leaves_only_what_its_functions_leave(query):
    found = facts(query)
    assert found.primary_only is PrimaryOnly.UNPARSED
    assert found.may_write
    assert found.state is (StateKind.UNKNOWN_FUNCTION if "f(1)" in query else None)


def test_unicode_escapes_hide_nothing():
    found = facts(r"""select U&"d\0061ta", U&'x' uescape '!' from U&"t!0061" uescape '!'""")
    assert found.primary_only is None
    assert found.tables == {"ta"}

    found = facts(r"""select U&"n!0065xtval" uescape '!' ('s') from U&"pg_t\0065mp".t""")
    assert found.functions == {"nextval"}
    assert found.may_write
    assert found.primary_only is PrimaryOnly.SESSION_STATE


@pytest.mark.parametrize("query", UNUSUAL_READS)
def test_reads_that_sqlglot_does_not_know_are_reads(query):
    found = facts(query)
    assert found.primary_only is None
    assert not found.may_write
    assert found.state is None


@pytest.mark.parametrize(
    ("query", "functions"),
    [
        ("select mytype(f(1)) 'x' from mytype(2)", {"f", "mytype"}),
        ("select a from t order by f(a) using operator(s.<<<)", {"f", "operator(<<<)"}),
        ("select interval '1' second(3), f (1)", {"f"}),
        ("select f(1) as 'x'", {"f"}),
        ("select f(1)::mytype 'x'", {"f"}),
    ],
)
def test_what_is_left_out_of_the_tree_hides_no_function(query, functions):
    assert facts(query).functions == functions


def test_what_is_left_out_of_the_tree_hides_no_table():
    assert facts("select interval '1' second (select 1 from u)").primary_only is not None
    assert facts("select date '1' from t, s.date u where a > date '1'").tables == {
        "t",
        "s.date",
    }


def test_functions_decide():
    found = facts("select nextval('s'), app.f(1), currval('s')")
    assert found.primary_only is PrimaryOnly.SESSION_STATE
    assert found.may_write
    assert found.state is not None
    assert found.needs_session
    assert found.functions == {"nextval", "app.f", "currval"}


@pytest.mark.parametrize(
    ("query", "reason", "state"),
    [
        ("select set_config('a', 'b', true)", PrimaryOnly.SESSION_STATE, None),
        ("select pg_catalog.set_config('a', 'b', 't')", PrimaryOnly.SESSION_STATE, None),
        (
            "select set_config('a', 'b', false)",
            PrimaryOnly.SESSION_STATE,
            StateKind.PARAMETER,
        ),
        ("select set_config('a', 'b', $1)", PrimaryOnly.SESSION_STATE, StateKind.PARAMETER),
        (
            "select set_config('a', 'b', not true)",
            PrimaryOnly.SESSION_STATE,
            StateKind.PARAMETER,
        ),
        (
            "select set_config('a', 'b', false), set_config('a', 'b', true)",
            PrimaryOnly.SESSION_STATE,
            StateKind.PARAMETER,
        ),
        (
            "select set_config('a', 'b', true), pg_catalog.set_config('a', 'b', false)",
            PrimaryOnly.SESSION_STATE,
            StateKind.PARAMETER,
        ),
        ("select current_setting('app.tenant', true)", None, None),
        ("select current_setting('app.tenant'::text), current_setting($$a.b$$)", None, None),
        ("select current_setting($1)", PrimaryOnly.NODE_ROLE, None),
        ("select current_setting('in_' || 'hot_standby')", PrimaryOnly.NODE_ROLE, None),
        ("select current_setting('in_'\n'hot_standby')", PrimaryOnly.NODE_ROLE, None),
        (r"select current_setting(E'in\x5fhot_standby')", PrimaryOnly.NODE_ROLE, None),
        (r"select current_setting(U&'in\005fhot_standby')", PrimaryOnly.NODE_ROLE, None),
        ("select current_setting('Transaction_Read_Only')", PrimaryOnly.NODE_ROLE, None),
        (
            "select current_setting('default_transaction_read_only')",
            PrimaryOnly.NODE_ROLE,
            None,
        ),
        ("select pg_catalog.current_setting('in_hot_standby')", PrimaryOnly.NODE_ROLE, None),
    ],
)
def test_settings_are_judged_by_their_arguments(query, reason, state):
    assert facts(query).primary_only is reason
    assert facts(query).state is state


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("select set_config('Search_Path', '', false)", {"search_path"}),
        ("select set_config('a.b', '1', $1), set_config('c', '2', false)", {"a.b", "c"}),
        ("select set_config('a', '1', true)", set()),
        ("insert into t select set_config('a', '1', false)", {"a"}),
        ("explain analyze select set_config('a', '1', false)", {"a"}),
        ("update pg_settings set setting = 1 where name = 'work_mem'", {"*"}),
        ('update pg_catalog."pg_settings" set setting = 1', {"*"}),
        # Not known which, so not known at all.
        ("select set_config($1, '1', false), set_config('a', '1', false)", set()),
        (r"select set_config(E'a\x62', '1', false)", set()),
        ("select set_config('search_path', 'a, pg_temp', false)", set()),
        ("select set_config('a' || 'b', '1', false)", set()),
    ],
)
def test_parameters_set_by_a_function_are_known_by_name(query, names):
    found = facts(query)
    assert found.sets == names
    assert (found.state is StateKind.PARAMETER) == ("true" not in query)


@pytest.mark.parametrize(
    ("query", "state"),
    [
        ("select set_config('a', '1', false), pg_advisory_lock(1)", StateKind.ADVISORY_LOCK),
        ("select set_config($1, '1', false), pg_advisory_lock(1)", StateKind.PARAMETER),
        ("select pg_advisory_lock(1), currval('s')", StateKind.SEQUENCE),
        ("select f(1) into temp t", StateKind.UNKNOWN_FUNCTION),
        ("select set_config('seed', '1', false)", StateKind.SEED),
        ("select set_config('seed', '1', true)", StateKind.SEED),
        ("select set_config('a', '1', false) into temp t", StateKind.TEMP_TABLE),
    ],
)
def test_of_several_states_the_one_hardest_to_get_rid_of_counts(query, state):
    assert facts(query).state is state


@pytest.mark.parametrize(
    ("query", "tables"),
    [
        ('select * from a, s.B, "C"."d.e" join only f on true', {"a", "s.b", 'C."d.e"', "f"}),
        ("with a as (select * from b) select * from a, c.a", {"b", "c.a"}),
        ("with a as (select * from a) select * from a", {"a"}),
        ("with a as (select 1), b as (select * from a) select * from b", set()),
        ("with b as (select * from a), a as (select 1) select * from b", {"a"}),
        (
            "with recursive b as (select * from a), a as (select * from a) select * from b",
            set(),
        ),
        ("select * from a where exists (with a as (select 1) select * from a)", {"a"}),
        ("select (with a as (select 1) select b from a, c) from d", {"c", "d"}),
        ("select * from f(1), unnest(x)", set()),
        ("insert into t select * from u", {"t", "u"}),
    ],
)
def test_tables_without_ctes(query, tables):
    assert facts(query).tables == tables


def test_relations_of_postgres_decide_too():
    assert facts("select * from pg_class").is_catalog
    assert facts("select * from pg_class").primary_only is None
    assert facts("select * from pg_stat_activity").primary_only is PrimaryOnly.NEEDS_PRIMARY
    assert facts("select * from pg_cursors").needs_session


def test_what_nests_too_deep_or_is_too_long_is_not_parsed():
    assert facts("select " + "(" * 300 + "1" + ")" * 300).primary_only is PrimaryOnly.UNPARSED
    assert facts("select " + "not " * 1000 + "true").primary_only is PrimaryOnly.UNPARSED
    assert facts("select 1" + " + a" * queries.MAX_WORDS).primary_only is PrimaryOnly.UNPARSED


def test_long_dml_is_known_without_its_tables():
    found = facts("insert into t values " + "(a, b)," * 500 + "(a, b)")
    assert found.primary_only is PrimaryOnly.MAY_WRITE
    assert found.tables == frozenset()


def test_a_long_list_of_literals_is_one_word():
    assert facts("select * from t where a in (" + "1, " * 6000 + "2)").primary_only is None


def test_nested_arrays_take_linear_time():
    query = "select " + "array[" * 60 + "1" + "]" * 60
    assert facts(query).primary_only is None


def test_a_node_of_an_unknown_kind_may_write():
    tree = read_tree(tokens("insert into t values (1)"), (), ParseBudget())
    assert tree is not None
    assert not tree.reads_only


def test_several_trees_or_none_are_nothing():
    assert read_tree(tokens("select 1; select 2"), (), ParseBudget()) is None
    assert read_tree([], (), ParseBudget()) is None


def test_a_tree_knows_locks_and_into_by_itself():
    locked = read_tree(tokens("select * from t for update"), (), ParseBudget())
    into = read_tree(tokens("select 1 into t"), (), ParseBudget())
    assert locked is not None
    assert locked.locks
    assert into is not None
    assert not into.reads_only


@pytest.mark.parametrize(
    "query",
    [
        "select a, f(b) from t join u on t.x = u.x where a = 1 order by b limit 3",
        "with x as (select 1) select * from x, (values (1)) v union all select a[1] from y",
        "insert into t select 1",
        "select (((",
        "select from from",
    ],
)
def test_a_tree_is_gone_when_it_has_been_read(query: str):
    """Trees are full of cycles; searching for them stops everybody for as long as there is much else to look at."""
    facts(query)
    gc.collect()
    gc.disable()
    try:
        facts(query)
        assert gc.collect() == 0
    finally:
        gc.enable()
