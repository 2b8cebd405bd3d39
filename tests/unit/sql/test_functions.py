"""What a function means for routing, by name."""

from __future__ import annotations

import pytest

from rwsplit.sql.builtin import STEADY_FUNCTIONS, VOLATILE_FUNCTIONS
from rwsplit.sql.catalog import Catalog
from rwsplit.sql.classify import parse
from rwsplit.sql.facts import VOLATILE
from rwsplit.sql.functions import HARMLESS, LISTED_AS_WRITING, UNKNOWN, FunctionBook
from rwsplit.sql.implementing import IMPLEMENTING_FUNCTIONS
from rwsplit.sql.statement import PrimaryOnly, StateKind

BOOK = FunctionBook()


@pytest.mark.parametrize(
    ("symbol", "text"),
    [
        *(
            ("=", "select 1 in (2)"),
            ("=", "select case 1 when 2 then 3 end"),
            ("=", "select nullif(1, 2)"),
        ),
        *(
            ("=", "select 1 is distinct from 2"),
            ("=", "table a natural join b"),
            ("<>", "select 1 != 2"),
        ),
        *(
            (">=", "select 1 between 2 and 3"),
            ("~~", "select 1 like 2"),
            ("~~*", "select 1 not ilike 2"),
        ),
    ],
)
def test_words_stand_for_operators_of_the_users_own(symbol: str, text: str):
    mine = FunctionBook().within(Catalog(operators={symbol: VOLATILE}), ())
    assert parse(text.encode(), mine).primary_only is PrimaryOnly.VOLATILE_FUNCTION
    assert parse(text.encode(), BOOK).primary_only is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(
            ("int4", "c::int"),
            ("int4", "cast(c as integer)"),
            ("bool", "c::boolean"),
            ("numeric", "c::decimal(3)"),
        ),
        *(
            ("varchar", "c::character varying(3)"),
            ("timestamptz", "c::timestamp with time zone"),
        ),
    ],
)
def test_types_have_other_names(name: str, text: str):
    mine = FunctionBook().within(Catalog(types={name: VOLATILE}), ())
    assert (
        parse(f"select {text} from t".encode(), mine).primary_only
        is PrimaryOnly.VOLATILE_FUNCTION
    )


@pytest.mark.parametrize(
    "name",
    [
        "now",
        "pg_catalog.lower",
        "count",
        "information_schema._pg_expandarray",
        "random",
        "clock_timestamp",
        "gen_random_uuid",
        "uuidv7",
        "pg_sleep",
        "pg_total_relation_size",
        "pg_current_xact_id_if_assigned",
        "int4pl",
        "pg_catalog.texteq",
        "int4in",
        "enum_in",
        "record_send",
        "box_distance",
        "operator(->>)",
        "operator(<=>)",
    ],
)
def test_harmless_on_a_replica(name):
    assert BOOK.facts(name) == HARMLESS


@pytest.mark.parametrize(
    "name",
    [
        "nextval",
        "setval",
        "pg_notify",
        "txid_current",
        "pg_current_xact_id",
        "lo_create",
        "lo_import",
    ],
)
def test_writing(name):
    facts = BOOK.facts(name)
    assert facts.primary_only is PrimaryOnly.VOLATILE_FUNCTION
    assert facts.may_write
    assert facts.state is None


@pytest.mark.parametrize(
    "name",
    [
        "pg_current_wal_lsn",
        "pg_walfile_name",
        "pg_blocking_pids",
        "pg_stat_get_activity",
        "lo_get",
    ],
)
def test_right_only_on_the_primary(name):
    facts = BOOK.facts(name)
    assert facts.primary_only is PrimaryOnly.NEEDS_PRIMARY
    assert not facts.may_write


@pytest.mark.parametrize(
    "name",
    [
        "pg_is_in_recovery",
        "pg_catalog.pg_is_in_recovery",
        "pg_last_wal_receive_lsn",
        "pg_last_wal_replay_lsn",
        "pg_last_xact_replay_timestamp",
        "pg_is_wal_replay_paused",
        "pg_get_wal_replay_pause_state",
    ],
)
def test_what_tells_a_nodes_role(name):
    facts = BOOK.facts(name)
    assert facts.primary_only is PrimaryOnly.NODE_ROLE
    assert not facts.may_write


def test_an_operator_does_not_make_a_role_harmless_by_listing_it_as_reading():
    book = FunctionBook(reads=["pg_is_in_recovery"])
    assert book.facts("pg_is_in_recovery").primary_only is PrimaryOnly.NODE_ROLE


@pytest.mark.parametrize(
    "name", ["pg_backend_pid", "pg_listening_channels", "pg_advisory_unlock"]
)
def test_about_the_session(name):
    facts = BOOK.facts(name)
    assert facts.primary_only is PrimaryOnly.SESSION_STATE
    assert facts.needs_session
    assert facts.state is None


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("currval", StateKind.SEQUENCE),
        ("lastval", StateKind.SEQUENCE),
        ("pg_advisory_lock", StateKind.ADVISORY_LOCK),
        ("pg_try_advisory_lock_shared", StateKind.ADVISORY_LOCK),
        ("setseed", StateKind.SEED),
        ("set_config", StateKind.PARAMETER),
        ("pg_export_snapshot", StateKind.SNAPSHOT),
        ("lo_open", StateKind.LARGE_OBJECT),
        ("pg_create_logical_replication_slot", StateKind.UNRECOGNISED),
        ("query_to_xml", StateKind.UNKNOWN_FUNCTION),
    ],
)
def test_state_is_left_behind(name, state):
    facts = BOOK.facts(name)
    assert facts.primary_only is not None
    assert facts.state is state


@pytest.mark.parametrize("name", ["pg_advisory_xact_lock", "pg_try_advisory_xact_lock_shared"])
def test_transaction_level_locks_leave_nothing(name):
    assert BOOK.facts(name).primary_only is PrimaryOnly.NEEDS_PRIMARY
    assert BOOK.facts(name).state is None


@pytest.mark.parametrize(
    "name", ["my_function", "public.now", '"pg_catalog.now"', "?.now", "Now", "operator(&&&&)"]
)
def test_unknown_names_may_do_anything(name):
    assert BOOK.facts(name) == UNKNOWN
    assert UNKNOWN.may_write
    assert UNKNOWN.state is StateKind.UNKNOWN_FUNCTION


def test_the_operators_patterns_decide_about_unknown_names():
    book = FunctionBook(reads=["app.report_*", "Total"], writes=["app.report_and_save"])

    assert book.facts("app.report_sales") == HARMLESS
    assert book.facts("total") == HARMLESS
    assert book.facts("anything.total") == HARMLESS
    assert book.facts("report_sales") == UNKNOWN
    assert book.facts("app.report_and_save") == LISTED_AS_WRITING
    assert book.facts("report_and_save") == LISTED_AS_WRITING


def test_patterns_make_built_in_functions_write_but_never_harmless():
    book = FunctionBook(reads=["pg_advisory_lock"], writes=["pg_sleep"])

    assert book.facts("pg_catalog.pg_sleep") == LISTED_AS_WRITING
    assert book.facts("pg_advisory_lock").state is StateKind.ADVISORY_LOCK


@pytest.mark.parametrize("name", ["array_in", "record_in", "domain_in", "range_in"])
def test_the_input_of_a_type_that_is_told_in_a_value_may_do_anything(name):
    assert BOOK.facts(name) == UNKNOWN


def test_no_function_is_both_steady_and_volatile():
    assert not (STEADY_FUNCTIONS | IMPLEMENTING_FUNCTIONS) & VOLATILE_FUNCTIONS
    assert not STEADY_FUNCTIONS & IMPLEMENTING_FUNCTIONS
