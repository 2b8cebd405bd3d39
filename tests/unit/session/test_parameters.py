"""What a session wants its server's parameters to be, and the SQL that gets there."""

from __future__ import annotations

import gc

import pytest

from rwsplit.session.parameters import MOST_REMEMBERED, NONE, ParameterStore
from tests.support.frames import query

STORE = ParameterStore()


def test_equal_parameters_are_one_set_whatever_the_case_and_order_of_names():
    zone = STORE.intern({"TimeZone": "UTC", "work_mem": "4MB"})

    assert STORE.intern({"WORK_MEM": "4MB", "timezone": "UTC"}) is zone
    assert STORE.intern({"TimeZone": "utc", "work_mem": "4MB"}) is not zone
    assert zone.values == (("timezone", "UTC"), ("work_mem", "4MB"))
    assert repr(zone) == "ParameterSet({'timezone': 'UTC', 'work_mem': '4MB'})"


def test_no_parameters_are_what_a_new_server_has():
    assert STORE.intern({}) is NONE


def test_a_set_nobody_uses_any_more_is_forgotten():
    store = ParameterStore()
    mine = store.intern({"application_name": "job 1"})
    theirs = store.intern({"application_name": "job 2"})
    mine.change_from(theirs)
    theirs.change_from(mine)

    del theirs
    gc.collect()

    assert len(store._sets) == 2
    assert store.intern({"application_name": "job 1"}) is mine


# From one set to another...


def test_a_long_way_is_not_remembered():
    store = ParameterStore()
    short, long = store.intern({"a.b": "x"}), store.intern({"a.b": "x" * MOST_REMEMBERED})
    assert short.change_from(NONE) is short.change_from(NONE)
    assert long.change_from(NONE) == long.change_from(NONE)
    assert long.change_from(NONE) is not long.change_from(NONE)


def test_some_statements_that_bring_parameters_back_are_remembered():
    base = ParameterStore().intern({f"a.x{number}": "1" for number in range(30)})
    assert base.restored({"all"}) is base.restored({"all"})
    assert base.restored({"all"}) != base.restored({"all"}, unless_set=True)
    first = base.restored({"a.x0"})
    for number in range(30):
        assert f"a.x{number}'".encode() in (base.restored({f"a.x{number}"}) or b"")
    assert base.restored({"a.x0"}) == first
    assert base.restored({"nosuch"}) is None


def test_a_server_is_brought_from_nothing_to_a_set_by_one_query():
    zone = STORE.intern({"TimeZone": "Europe/Berlin", "search_path": "a, b"})

    assert zone.change_from(NONE) == query(
        "SELECT pg_catalog.set_config(E'search_path', E'a, b', false) IS NULL, "
        "pg_catalog.set_config(E'timezone', E'Europe/Berlin', false) IS NULL"
    )


def test_what_a_set_does_not_have_is_reset_and_what_is_equal_stays():
    old = STORE.intern({"TimeZone": "UTC", "work_mem": "4MB", "datestyle": "sql"})
    new = STORE.intern({"TimeZone": "UTC", "work_mem": "8MB"})

    assert new.change_from(old) == query(
        "RESET \"datestyle\"; SELECT pg_catalog.set_config(E'work_mem', E'8MB', false) IS NULL"
    )
    assert NONE.change_from(new) == query('RESET "timezone"; RESET "work_mem"')


def test_a_custom_parameter_is_left_by_reset_all_as_a_library_may_refuse_its_very_name():
    old = STORE.intern({"TimeZone": "UTC", "my.var": "1"})
    new = STORE.intern({"TimeZone": "UTC", "work_mem": "8MB"})

    assert new.change_from(old) == query(
        "RESET ALL; SELECT pg_catalog.set_config(E'timezone', E'UTC', false) IS NULL, "
        "pg_catalog.set_config(E'work_mem', E'8MB', false) IS NULL"
    )


def test_the_way_from_one_set_to_another_is_worked_out_once():
    zone = STORE.intern({"TimeZone": "UTC"})

    assert zone.change_from(NONE) is zone.change_from(NONE)


def test_a_role_is_left_first_and_taken_on_last():
    plain = STORE.intern({"TimeZone": "UTC"})
    clerk = STORE.intern({"role": "clerk", "session_authorization": "boss", "work_mem": "4MB"})

    assert clerk.change_from(plain) == query(
        'RESET "timezone"; '
        "SELECT pg_catalog.set_config(E'work_mem', E'4MB', false) IS NULL; "
        "SELECT pg_catalog.set_config(E'session_authorization', E'boss', false) IS NULL; "
        "SELECT pg_catalog.set_config(E'role', E'clerk', false) IS NULL"
    )
    assert plain.change_from(clerk) == query(
        'SET ROLE NONE; SET SESSION AUTHORIZATION DEFAULT; RESET "work_mem"; '
        "SELECT pg_catalog.set_config(E'timezone', E'UTC', false) IS NULL"
    )


def test_a_change_may_fail_where_it_makes_somebody_else_of_the_session_or_is_hurried():
    plain = STORE.intern({"TimeZone": "UTC"})
    clerk = STORE.intern({"role": "clerk"})
    hurried = STORE.intern({"statement_timeout": "1ms"})

    assert clerk.is_doubtful_from(plain)
    assert plain.is_doubtful_from(hurried)
    assert not plain.is_doubtful_from(clerk)
    assert not hurried.is_doubtful_from(plain)


@pytest.mark.parametrize(
    ("timeout", "hurries"),
    [
        ("1", True),
        ("999ms", True),
        ("0", False),
        ("1000", False),
        ("30s", False),
        ("1min", False),
    ],
)
def test_only_a_timeout_of_less_than_a_second_may_cut_short_what_rwsplit_does(
    timeout: str, hurries: bool
):
    assert STORE.intern({"transaction_timeout": timeout}).hurries is hurries


def test_a_set_gives_single_values():
    assert STORE.intern({"TimeZone": "UTC"}).get("timezone") == "UTC"
    assert NONE.get("timezone") is None


def test_a_session_gets_its_parameters_back_after_a_reset():
    both = STORE.intern({"TimeZone": "UTC", "work_mem": "4MB"})

    assert both.restored({"all"}) == (
        b"SELECT WHERE pg_catalog.set_config(E'timezone', E'UTC', false) IS NULL"
        b" OR pg_catalog.set_config(E'work_mem', E'4MB', false) IS NULL"
    )
    assert both.restored({"timezone"}) == (
        b"SELECT WHERE pg_catalog.set_config(E'timezone', E'UTC', false) IS NULL"
    )
    assert both.restored({"search_path"}) is None
    unless_set = both.restored({"timezone"}, unless_set=True)
    assert unless_set is not None
    assert unless_set.count(b"E'timezone'") == 2
    assert b"'session'" in unless_set


def test_reset_all_does_not_lead_back_to_the_role_of_the_startup():
    clerk = STORE.intern({"role": "clerk", "work_mem": "4MB"})

    restored = clerk.restored({"all"})
    assert restored is not None
    assert b"work_mem" in restored
    assert b"clerk" not in restored
    assert b"clerk" in (clerk.restored({"all", "role"}) or b"")


# Constants...


def test_no_client_encoding_lets_a_value_out_of_its_quotes():
    # In SJIS 0x81 is the first half of a character: it must not eat the backslash of an escape.
    frame = STORE.intern({"application_name": "\x81'; DROP TABLE t; --"}).change_from(NONE)

    assert rb"E'\u0081''; DROP TABLE t; --'" in frame
    assert all(byte < 0x80 for byte in frame)


# Options of the startup packet...


@pytest.mark.parametrize(
    ("text", "found"),
    [("", 0), ("0", 0), ("400", 0.4), (" 1.5 s ", 1.5), ("2min", 120), ("1d", 86400), ("x", 0)],
)
def test_a_duration_is_in_milliseconds_unless_it_says_otherwise(text: str, found: float):
    parameters = STORE.intern({"idle_session_timeout": text})
    assert (parameters.idle_session, parameters.idle_transaction) == (found, 0)
