"""Utility statements by their verbs."""

from __future__ import annotations

import pytest

from rwsplit.sql.classify import parse
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.settings import UNRECOGNISED
from rwsplit.sql.statement import PrimaryOnly, StateKind, Statement, Verb

BOOK = FunctionBook()


def facts(query: str) -> Statement:
    single = parse(query.encode(), BOOK).single
    assert single is not None
    return single


@pytest.mark.parametrize(
    ("query", "verb", "name", "chain", "tag"),
    [
        ("COMMIT", Verb.COMMIT, None, False, "COMMIT"),
        ("end", Verb.COMMIT, None, False, "COMMIT"),
        ("end work and chain", Verb.COMMIT, None, True, None),
        ("COMMIT TRANSACTION AND NO CHAIN", Verb.COMMIT, None, False, "COMMIT"),
        ("commit and", Verb.COMMIT, None, False, None),
        ("commit nonsense", Verb.COMMIT, None, False, None),
        ("ROLLBACK", Verb.ROLLBACK, None, False, "ROLLBACK"),
        ("abort work", Verb.ROLLBACK, None, False, "ROLLBACK"),
        ("abort and chain", Verb.ROLLBACK, None, True, None),
        ("ROLLBACK WORK TO SAVEPOINT a", Verb.ROLLBACK_TO, "a", False, None),
        ("ROLLBACK TO a", Verb.ROLLBACK_TO, "a", False, None),
        ("SAVEPOINT a", Verb.SAVEPOINT, "a", False, None),
        ("RELEASE SAVEPOINT a", Verb.RELEASE, "a", False, None),
        ("release a", Verb.RELEASE, "a", False, None),
    ],
)
def test_transaction_control(query, verb, name, chain, tag):
    assert facts(query) == Statement(verb, name=name, chain=chain, tag=tag)


@pytest.mark.parametrize(
    "query", ["COMMIT PREPARED 'x'", "ROLLBACK PREPARED 'x'", "CHECKPOINT"]
)
def test_other_writing(query):
    found = facts(query)
    assert found.verb is Verb.OTHER
    assert found.primary_only is PrimaryOnly.MAY_WRITE
    assert found.may_write
    assert found.state is None


def test_prepare_transaction():
    found = facts("PREPARE TRANSACTION 'x'")
    assert found.verb is Verb.PREPARE_TRANSACTION
    assert found.primary_only is PrimaryOnly.MAY_WRITE


@pytest.mark.parametrize(
    ("query", "verb", "name", "state"),
    [
        ("LISTEN ch", Verb.LISTEN, "ch", StateKind.LISTEN),
        ("UNLISTEN ch", Verb.UNLISTEN, "ch", None),
        ("UNLISTEN *", Verb.UNLISTEN, "*", None),
        ("DEALLOCATE p", Verb.DEALLOCATE, "p", None),
        ("DEALLOCATE PREPARE ALL", Verb.DEALLOCATE, "all", None),
        ("CLOSE c", Verb.CLOSE, "c", None),
        ("LOAD 'auto_explain'", Verb.OTHER, None, StateKind.LIBRARY),
        ("DISCARD PLANS", Verb.DISCARD, "plans", None),
    ],
)
def test_session_state(query, verb, name, state):
    found = facts(query)
    assert (found.verb, found.name, found.state) == (verb, name, state)
    assert found.primary_only is PrimaryOnly.SESSION_STATE
    assert not found.discards


def test_discard_all():
    assert facts("DISCARD ALL").discards


@pytest.mark.parametrize(
    ("query", "name"),
    [("FETCH 1 FROM c", "c"), ("move all in c", "c"), ('FETCH "C"', "C"), ("FETCH", None)],
)
def test_fetch_may_write_and_needs_its_session(query, name):
    found = facts(query)
    assert (found.verb, found.name) == (Verb.FETCH, name)
    assert found.may_write
    assert found.needs_session


def test_execute_may_write():
    found = facts("EXECUTE p(1, 2)")
    assert (found.verb, found.name) == (Verb.EXECUTE, "p")
    assert found.primary_only is PrimaryOnly.MAY_WRITE
    assert found.needs_session


def test_notify_writes():
    found = facts("NOTIFY ch, 'x'")
    assert (found.verb, found.name) == (Verb.NOTIFY, "ch")
    assert found.primary_only is PrimaryOnly.MAY_WRITE


def test_lock():
    assert facts("LOCK TABLE t").primary_only is PrimaryOnly.LOCKS_ROWS
    assert facts("LOCK t").verb is Verb.LOCK


@pytest.mark.parametrize(
    ("query", "verb"), [("CALL p(1)", Verb.CALL), ("DO $$ begin execute q; end $$", Verb.DO)]
)
def test_code_may_leave_anything(query, verb):
    found = facts(query)
    assert found.verb is verb
    assert found.may_write
    assert found.state is StateKind.UNKNOWN_FUNCTION


@pytest.mark.parametrize("query", ["VACUUM", "vacuum full t", "ANALYZE t", "ANALYSE"])
def test_vacuum(query):
    assert facts(query).verb is Verb.VACUUM
    assert facts(query).primary_only is PrimaryOnly.MAY_WRITE


@pytest.mark.parametrize(
    "query",
    [
        "CREATE TABLE t (a int default nextval('s'), b int generated always as (f(a)) stored)",
        "CREATE INDEX ON t (f(a))",
        "CREATE OR REPLACE VIEW v AS SELECT f()",
        "CREATE TABLE t AS SELECT now()",
        "CREATE UNLOGGED TABLE t AS TABLE u WITH NO DATA",
        "CREATE TABLE t (a) AS VALUES (1)",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END",
        "ALTER TABLE t ADD b int",
        "ALTER SYSTEM SET work_mem = '4MB'",
        "DROP TABLE t",
        "GRANT SELECT ON t TO u",
        "COMMENT ON TABLE t IS 'x'",
        "TRUNCATE t",
        "REFRESH MATERIALIZED VIEW mv",
    ],
)
def test_ddl_leaves_nothing_in_its_session(query):
    found = facts(query)
    assert found.verb is Verb.DDL
    assert found.primary_only is PrimaryOnly.MAY_WRITE
    assert found.may_write
    assert found.state is None


@pytest.mark.parametrize(
    ("query", "state"),
    [
        ("CREATE TEMP TABLE t (a int)", StateKind.TEMP_TABLE),
        ("CREATE LOCAL TEMPORARY SEQUENCE s", StateKind.TEMP_TABLE),
        ("CREATE OR REPLACE TEMP RECURSIVE VIEW v (a) AS SELECT 1", StateKind.TEMP_TABLE),
        ("CREATE TABLE pg_temp.t (a int)", StateKind.TEMP_TABLE),
        (
            "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'select 1'",
            StateKind.TEMP_TABLE,
        ),
        ("CREATE TABLE t AS SELECT f(1)", StateKind.UNKNOWN_FUNCTION),
        ("CREATE TEMP TABLE t AS SELECT f(1)", StateKind.UNKNOWN_FUNCTION),
        ("CREATE TEMP TABLE t AS SELECT 1", StateKind.TEMP_TABLE),
        ("CREATE TABLE t AS SELECT set_config('a', 'b', false)", StateKind.PARAMETER),
        ("CREATE TABLE t AS", StateKind.UNRECOGNISED),
        ("CREATE MATERIALIZED VIEW v AS SELECT f(1)", StateKind.UNKNOWN_FUNCTION),
        ("ALTER TABLE t ALTER a TYPE int USING f(a)", StateKind.UNKNOWN_FUNCTION),
        (
            "ALTER TABLE t ADD a int DEFAULT 1 + f(2), ADD b numeric(3)",
            StateKind.UNKNOWN_FUNCTION,
        ),
        ("ALTER TABLE t ADD CHECK (a > f(1))", StateKind.UNKNOWN_FUNCTION),
        ("ALTER DOMAIN d ADD CHECK (f(VALUE))", StateKind.UNKNOWN_FUNCTION),
        ("COPY t FROM STDIN WHERE f(a)", StateKind.UNKNOWN_FUNCTION),
        ("COPY t (a) FROM '/file' CSV WHERE f(a)", StateKind.UNKNOWN_FUNCTION),
        ("EXECUTE p (1, f(2))", StateKind.UNKNOWN_FUNCTION),
        ('UPDATE "pg_settings" SET setting = 1', StateKind.PARAMETER),
        ("SET search_path = pg_temp, public", StateKind.PARAMETER),
        ("SET LOCAL search_path = 'PG_TEMP'", StateKind.PARAMETER),
        ("SELECT set_config('search_path', 'pg_temp', false)", StateKind.PARAMETER),
    ],
)
def test_ddl_that_leaves_something(query, state):
    assert facts(query).state is state
    assert facts(query).may_write or "search_path" in query


@pytest.mark.parametrize(
    "query",
    [
        "ALTER TABLE t ADD a numeric(3) DEFAULT now(), ADD UNIQUE (a), ADD FOREIGN KEY (a) REFERENCES u (b)",
        "ALTER TABLE t ADD EXCLUDE USING gist (c WITH &&)",
        "ALTER TABLE t ADD CHECK (a > 0) NOT VALID, ADD CONSTRAINT c CHECK (b IN (1, 2))",
        "COPY t FROM STDIN WITH (FORMAT csv)",
        "COPY t FROM STDIN WHERE a > 1",
        "EXECUTE p (1, 'x', $1)",
    ],
)
def test_expressions_of_nothing_unknown_leave_nothing(query):
    assert facts(query).state is None


@pytest.mark.parametrize(
    ("query", "reason", "may_write"),
    [
        ("EXPLAIN SELECT 1", None, False),
        ("EXPLAIN ANALYZE VERBOSE SELECT 1", None, False),
        ("EXPLAIN (ANALYZE, COSTS off) TABLE t", None, False),
        ("EXPLAIN INSERT INTO t VALUES (1)", PrimaryOnly.MAY_WRITE, False),
        ("EXPLAIN (VERBOSE) DELETE FROM t", PrimaryOnly.MAY_WRITE, False),
        ("EXPLAIN ANALYZE INSERT INTO t VALUES (1)", PrimaryOnly.MAY_WRITE, True),
        ("EXPLAIN (BUFFERS, ANALYSE) UPDATE t SET a = 1", PrimaryOnly.MAY_WRITE, True),
        ("EXPLAIN nonsense", PrimaryOnly.UNPARSED, True),
        ("EXPLAIN", PrimaryOnly.UNPARSED, True),
    ],
)
def test_explain(query, reason, may_write):
    found = facts(query)
    assert found.verb is Verb.EXPLAIN
    assert found.primary_only is reason
    assert found.may_write is may_write
    assert found.inner is not None


def test_prepare_keeps_what_it_prepares():
    found = facts("PREPARE p (int, text) AS SELECT * FROM t WHERE a = $1")
    assert (found.verb, found.name, found.state) == (Verb.PREPARE, "p", StateKind.PREPARED)
    assert found.inner is not None
    assert found.inner.primary_only is None
    assert found.tables == {"t"}
    assert not found.may_write


def test_a_prepare_without_as_is_not_recognised():
    assert facts("PREPARE p SELECT 1") is UNRECOGNISED


@pytest.mark.parametrize(
    ("query", "state"),
    [
        ("DECLARE c CURSOR FOR SELECT 1", None),
        ("DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1", None),
        (
            "DECLARE c INSENSITIVE SCROLL CURSOR WITH HOLD FOR SELECT 1",
            StateKind.HOLD_CURSOR,
        ),
        ("DECLARE c CURSOR FOR SELECT f(1)", StateKind.UNKNOWN_FUNCTION),
    ],
)
def test_declare(query, state):
    found = facts(query)
    assert (found.verb, found.name, found.state) == (Verb.DECLARE, "c", state)
    assert found.primary_only is PrimaryOnly.SESSION_STATE
    assert found.inner is not None


def test_a_declare_without_for_is_not_recognised():
    assert facts("DECLARE c CURSOR") is UNRECOGNISED


@pytest.mark.parametrize(
    ("query", "verb", "reason"),
    [
        ("COPY t TO STDOUT", Verb.COPY_OUT, None),
        ("COPY s.t (a, b) TO STDOUT (FORMAT csv)", Verb.COPY_OUT, None),
        ("COPY BINARY t TO STDIN", Verb.COPY_OUT, None),
        ("COPY (SELECT 1) TO STDOUT", Verb.COPY_OUT, None),
        ("COPY pg_stat_activity TO STDOUT", Verb.COPY_OUT, PrimaryOnly.NEEDS_PRIMARY),
        ("COPY (DELETE FROM t RETURNING *) TO STDOUT", Verb.COPY_OUT, PrimaryOnly.MAY_WRITE),
        ("COPY t FROM STDIN", Verb.COPY_IN, PrimaryOnly.MAY_WRITE),
        ("COPY t (a) FROM STDOUT WITH CSV", Verb.COPY_IN, PrimaryOnly.MAY_WRITE),
        ("COPY t FROM '/file'", Verb.OTHER, PrimaryOnly.MAY_WRITE),
        ("COPY t FROM PROGRAM 'x'", Verb.OTHER, PrimaryOnly.MAY_WRITE),
        ("COPY t TO '/file'", Verb.OTHER, PrimaryOnly.MAY_WRITE),
        ("COPY (SELECT 1) TO PROGRAM 'x'", Verb.OTHER, PrimaryOnly.MAY_WRITE),
        ("COPY 1", Verb.OTHER, PrimaryOnly.UNPARSED),
        ("COPY () TO STDOUT", Verb.COPY_OUT, PrimaryOnly.UNPARSED),
    ],
)
def test_copy(query, verb, reason):
    found = facts(query)
    assert (found.verb, found.primary_only) == (verb, reason)


@pytest.mark.parametrize(
    "query", ["FOO", "IDENTIFY_SYSTEM", "1", '"select" 1', ") x", "'select'"]
)
def test_other_verbs_may_do_anything(query):
    assert facts(query) is UNRECOGNISED


def test_statements_within_statements_have_a_limit():
    assert facts("EXPLAIN " * 100 + "SELECT 1").primary_only is PrimaryOnly.UNPARSED


def test_deallocate_all_is_for_any_node_and_a_name_for_the_one_that_knows_it():
    assert parse(b"DEALLOCATE ALL", FunctionBook()).anywhere
    assert not parse(b"DEALLOCATE p", FunctionBook()).anywhere
