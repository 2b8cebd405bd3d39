"""SET, RESET, SHOW and the modes of transactions, where values matter."""

from __future__ import annotations

import pytest

from rwsplit.sql.classify import parse
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.statement import PrimaryOnly, StateKind, Statement, Verb

BOOK = FunctionBook()


def facts(query: str) -> Statement:
    single = parse(query.encode(), BOOK).single
    assert single is not None
    return single


@pytest.mark.parametrize(
    ("query", "isolation", "read_only", "deferrable", "reason"),
    [
        ("BEGIN", None, None, None, PrimaryOnly.MAY_WRITE),
        ("begin work", None, None, None, PrimaryOnly.MAY_WRITE),
        ("BEGIN READ WRITE", None, False, None, PrimaryOnly.MAY_WRITE),
        ("BEGIN READ ONLY", None, True, None, None),
        ("START TRANSACTION READ ONLY, NOT DEFERRABLE", None, True, False, None),
        (
            "begin transaction isolation level repeatable read, read only, deferrable",
            "repeatable read",
            True,
            True,
            None,
        ),
        (
            "begin isolation level read uncommitted",
            "read uncommitted",
            None,
            None,
            PrimaryOnly.MAY_WRITE,
        ),
        (
            "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE",
            "serializable",
            True,
            True,
            PrimaryOnly.SERIALIZABLE,
        ),
        ("begin isolation level nonsense", None, None, None, PrimaryOnly.MAY_WRITE),
    ],
)
def test_begin(query, isolation, read_only, deferrable, reason):
    found = facts(query)
    assert found.verb is Verb.BEGIN
    assert (found.isolation, found.read_only, found.deferrable) == (
        isolation,
        read_only,
        deferrable,
    )
    assert found.primary_only is reason
    assert found.state is None
    assert not found.may_write


@pytest.mark.parametrize(
    ("query", "setting", "value", "local"),
    [
        ("SET work_mem = '4MB'", "work_mem", "4MB", False),
        ("set Work_Mem to 4096", "work_mem", "4096", False),
        ("SET SESSION work_mem TO DEFAULT", "work_mem", None, False),
        ("SET LOCAL statement_timeout = -1", "statement_timeout", "-1", True),
        ("SET extra_float_digits = +3", "extra_float_digits", "3", False),
        ("SET search_path TO a, b", "search_path", None, False),
        ('SET search_path = "$user"', "search_path", "$user", False),
        ("SET app.tenant = 'x'", "app.tenant", "x", False),
        ("SET TIME ZONE 'UTC'", "timezone", "UTC", False),
        ("SET time = 'x'", "time", "x", False),
        ("SET NAMES 'utf8'", "client_encoding", "utf8", False),
        ("SET names = 'x'", "names", "x", False),
        ("SET SCHEMA 'app'", "search_path", "app", False),
        ("SET XML OPTION DOCUMENT", "xmloption", "document", False),
        ("SET ROLE admin", "role", "admin", False),
        ("SET LOCAL ROLE NONE", "role", "none", True),
        ("SET SESSION AUTHORIZATION bob", "session_authorization", "bob", False),
        ("SET SESSION SESSION AUTHORIZATION DEFAULT", "session_authorization", None, False),
        ("SET x = $1", "x", None, False),
        ("SET x", "x", None, False),
    ],
)
def test_set_leaves_a_parameter_unless_it_is_local(query, setting, value, local):
    found = facts(query)
    assert found.verb is Verb.SET
    assert (found.setting, found.value, found.local) == (setting, value, local)
    assert found.state is (None if local else StateKind.PARAMETER)
    assert found.primary_only is PrimaryOnly.SESSION_STATE


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("SET work_mem = '1MB'", {"work_mem"}),
        ("SET work_mem TO DEFAULT", {"work_mem"}),
        ("SET app.tenant = 'x'", {"app.tenant"}),
        ("SET NAMES 'utf8'", {"client_encoding"}),
        ("SET ROLE admin", {"role"}),
        ("SET SESSION AUTHORIZATION bob", {"session_authorization", "role"}),
        ("RESET TIME ZONE", {"timezone"}),
        ("RESET ALL", {"all"}),
        ("RESET 1", {"all"}),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            {
                "default_transaction_isolation",
                "default_transaction_read_only",
                "default_transaction_deferrable",
            },
        ),
        ("SET LOCAL work_mem = 1", set()),
        ("SET TRANSACTION READ ONLY", set()),
        # It ends with the transaction, cannot be read, is nobody's to read, is no plain name.
        ("SET transaction_isolation = serializable", set()),
        ("SET seed = 0.5", set()),
        ("SET session_preload_libraries = 'x'", set()),
        ('SET "a-b".c = 1', set()),
        ('SET "a.b" = 1', {"a.b"}),
    ],
)
def test_what_a_set_changes_is_known_by_name(query, names):
    assert facts(query).sets == names


@pytest.mark.parametrize(
    ("query", "state"),
    [
        ("SET transaction_isolation = serializable", None),
        ("SET seed = 0.5", StateKind.SEED),
        ("SET session_preload_libraries = 'x'", StateKind.PARAMETER),
    ],
)
def test_what_cannot_be_read_back_is_left_behind(query, state):
    assert facts(query).state is state


@pytest.mark.parametrize(
    ("query", "anywhere"),
    [
        ("SET work_mem = 1", True),
        ("RESET ALL", True),
        ("RESET 1", False),
        ("SET LOCAL work_mem = 1", False),
        ("SET ROLE admin", False),
        ("RESET SESSION AUTHORIZATION", False),
        ("SET default_transaction_isolation = serializable", False),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", False),
        ("SET temp_tablespaces = x", False),
        ("SET rwsplit.route = 'primary'", False),
        ("SELECT 1", False),
    ],
)
def test_a_replica_takes_a_set_that_needs_nothing_of_the_database(query, anywhere):
    assert parse(query.encode(), BOOK).anywhere is anywhere


def test_set_of_transaction_modes():
    found = facts("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY")
    assert (found.setting, found.isolation, found.read_only) == (
        "transaction",
        "serializable",
        True,
    )
    assert found.local
    assert found.state is None
    assert found.primary_only is PrimaryOnly.SERIALIZABLE
    assert facts("SET TRANSACTION READ WRITE").primary_only is PrimaryOnly.SESSION_STATE


def test_set_of_session_characteristics_stays():
    found = facts("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE")
    assert found.setting == "session characteristics"
    assert found.isolation == "serializable"
    assert found.state is StateKind.PARAMETER
    assert found.primary_only is PrimaryOnly.SESSION_STATE


def test_snapshots_are_the_primarys():
    found = facts("SET TRANSACTION SNAPSHOT '00000003-1'")
    assert (found.setting, found.value) == ("transaction snapshot", "00000003-1")
    assert found.primary_only is PrimaryOnly.NEEDS_PRIMARY
    assert found.local


@pytest.mark.parametrize(
    ("query", "isolation", "read_only"),
    [
        ("SET transaction_isolation = 'Serializable'", "serializable", None),
        ("SET transaction_read_only = on", None, True),
        ("SET transaction_read_only TO false", None, False),
        ("SET transaction_read_only TO maybe", None, None),
        ("SET transaction_read_only TO DEFAULT", None, None),
    ],
)
def test_modes_set_as_parameters(query, isolation, read_only):
    found = facts(query)
    assert (found.isolation, found.read_only) == (isolation, read_only)


def test_set_constraints_is_of_its_transaction():
    found = facts("SET CONSTRAINTS ALL DEFERRED")
    assert found.verb is Verb.SET_CONSTRAINTS
    assert found.state is None
    assert found.primary_only is PrimaryOnly.SESSION_STATE


@pytest.mark.parametrize("scope", ["SESSION", "LOCAL"])
def test_a_scope_in_front_of_modes_changes_nothing(scope: str):
    assert facts(f"SET {scope} TRANSACTION READ ONLY") == facts("SET TRANSACTION READ ONLY")
    plain = "SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"
    assert facts(f"SET {scope} {plain}") == facts(f"SET {plain}")


@pytest.mark.parametrize("name", ["transaction.a", "constraints.a", "session.a", "local.b"])
def test_a_parameter_may_be_called_like_a_clause(name: str):
    assert facts(f"SET {name} = '1'").sets == {name}


@pytest.mark.parametrize(
    ("query", "path", "encoding"),
    [
        ("SET search_path TO a, b", True, False),
        ("SET LOCAL search_path = a", True, False),
        ("SET SCHEMA 'a'", True, False),
        ("RESET search_path", True, False),
        ("RESET ALL", True, False),
        ("SET ROLE a", True, False),
        ("SET SESSION AUTHORIZATION DEFAULT", True, False),
        ("DISCARD ALL", True, False),
        ("DISCARD PLANS", False, False),
        ("SET work_mem = 1", False, False),
        ("SET client_encoding = 'SJIS'", False, True),
        ("SET LOCAL client_encoding = 'SJIS'", False, True),
        ("SET NAMES 'UTF8'", False, False),
        ("SET NAMES 'gbk'", False, True),
        ("SET standard_conforming_strings = off", False, True),
        ("SET standard_conforming_strings = on", False, False),
        ("SELECT set_config('role', 'a', true)", True, False),
        ("SELECT set_config($1, 'a', true)", True, False),
        ("SELECT set_config('client_encoding', 'a', true)", False, True),
        ("SELECT set_config('a.b', 'a', false)", False, False),
        ("UPDATE pg_settings SET setting = 1", True, True),
    ],
)
def test_what_changes_the_meaning_of_what_follows(query: str, path: bool, encoding: bool):
    found = facts(query)
    assert (found.changes_path, found.changes_encoding) == (path, encoding)


def test_a_set_of_nothing_is_not_recognised():
    assert facts("SET 1").state is StateKind.UNRECOGNISED


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("SET rwsplit.route = 'primary'", "primary"),
        ("SET RWSPLIT.Route TO replica", "replica"),
        ("SET rwsplit.max_lag = 5s", "5s"),
        ("SET rwsplit.route TO DEFAULT", None),
    ],
)
def test_settings_of_rwsplit_reach_no_server(query, value):
    found = facts(query)
    assert found.verb is Verb.SET
    assert found.value == value
    assert found.state is None
    assert found.primary_only is None
    assert facts("RESET rwsplit.route").state is None


def test_settings_of_rwsplit_among_others_do_reach_one():
    assert parse(b"SET rwsplit.route = 'primary'; SELECT 1", BOOK).state is StateKind.PARAMETER
    assert parse(b"SELECT 1; RESET rwsplit.route", BOOK).state is StateKind.PARAMETER


@pytest.mark.parametrize(
    ("query", "setting"),
    [
        ("RESET work_mem", "work_mem"),
        ("RESET ALL", "all"),
        ("RESET SESSION AUTHORIZATION", "session_authorization"),
        ("RESET TIME ZONE", "timezone"),
        ("RESET 1", None),
    ],
)
def test_reset(query, setting):
    found = facts(query)
    assert found.verb is Verb.RESET
    assert found.setting == setting
    assert found.state is StateKind.PARAMETER


@pytest.mark.parametrize(
    ("query", "setting"),
    [
        ("SHOW work_mem", "work_mem"),
        ("SHOW TIME ZONE", "timezone"),
        ("SHOW TRANSACTION ISOLATION LEVEL", "transaction_isolation"),
        ("SHOW rwsplit.last_route", "rwsplit.last_route"),
    ],
)
def test_show_is_free(query, setting):
    assert facts(query) == Statement(Verb.SHOW, setting=setting)


@pytest.mark.parametrize(
    "setting",
    ["all", "in_hot_standby", "transaction_read_only", "Default_Transaction_Read_Only"],
)
def test_show_of_what_depends_on_the_nodes_role(setting):
    assert facts(f"SHOW {setting}").primary_only is PrimaryOnly.NODE_ROLE
