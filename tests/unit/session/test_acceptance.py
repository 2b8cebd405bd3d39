"""What servers are sure to take, and what they are said to have refused."""

from __future__ import annotations

import pytest

from rwsplit.session.acceptance import MOST, Acceptance, culprit, may_be_stuck
from rwsplit.session.parameters import NONE, ParameterStore

STORE = ParameterStore()


def test_what_depends_on_its_value_alone_is_sure_from_the_start():
    acceptance = Acceptance()

    assert acceptance.is_sure(NONE)
    assert acceptance.is_sure(STORE.intern({"search_path": "x", "work_mem": "4MB"}))
    assert not acceptance.is_sure(STORE.intern({"TimeZone": "UTC"}))
    assert not acceptance.is_sure(STORE.intern({"log_statement": "all", "work_mem": "4MB"}))


def test_a_value_taken_once_is_sure_and_another_is_not():
    acceptance = Acceptance()
    utc = STORE.intern({"TimeZone": "UTC", "work_mem": "4MB"})
    acceptance.took(utc)

    assert acceptance.is_sure(utc)
    assert acceptance.is_sure(STORE.intern({"TimeZone": "UTC"}))
    assert not acceptance.is_sure(STORE.intern({"TimeZone": "GMT"}))


def test_of_a_custom_parameter_any_value_is_taken_where_one_was():
    acceptance = Acceptance()
    acceptance.took(STORE.intern({"my.own": "1"}))

    assert acceptance.is_sure(STORE.intern({"my.own": "2"}))


def test_a_loaded_library_judges_each_time():
    acceptance = Acceptance()
    warnings = STORE.intern({"plpgsql.extra_warnings": "all"})
    acceptance.took(warnings)

    assert not acceptance.is_sure(warnings)


def test_a_privilege_can_be_taken_back_at_any_time():
    acceptance = Acceptance()
    logged = STORE.intern({"log_statement": "all", "work_mem": "4MB"})
    acceptance.took(logged)

    assert not acceptance.is_sure(logged)


def test_what_was_refused_is_not_sure_until_it_is_taken_again():
    acceptance = Acceptance()
    utc = STORE.intern({"TimeZone": "UTC"})
    path = STORE.intern({"search_path": "x"})
    acceptance.took(utc)
    for parameters in (utc, path):
        acceptance.refused(parameters)
        assert acceptance.has_refused(parameters)
        assert not acceptance.is_sure(parameters)
        acceptance.took(parameters)
        assert not acceptance.has_refused(parameters)
        assert acceptance.is_sure(parameters)


def test_a_pool_remembers_a_limited_number_of_values():
    acceptance = Acceptance()
    first = STORE.intern({"TimeZone": "0"})
    for number in range(MOST + 1):
        acceptance.took(STORE.intern({"TimeZone": str(number)}))

    assert not acceptance.is_sure(first)
    assert acceptance.is_sure(STORE.intern({"TimeZone": str(MOST)}))


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ('permission denied to set parameter "log_statement"', "log_statement"),
        ("ungültiger Wert für Parameter »TimeZone«: »Nowhere«", "timezone"),
        ('invalid configuration parameter name "plpgsql.nosuch"', "plpgsql.nosuch"),
        ('parameter "log_statement_sample_rate" is not there', None),
        ('parameter "xlog_statement"', None),
        ("log_statement", None),
        ('"log_statement" and "timezone"', None),
        ('role "role" does not exist', None),
        ("canceling statement due to user request", None),
        ('it ends with "log_statement', "log_statement"),
    ],
)
def test_the_message_of_a_refusal_names_the_parameter(message: str, name: str | None):
    parameters = STORE.intern(
        {"log_statement": "all", "timezone": "x", "plpgsql.nosuch": "1", "role": "clerk"}
    )

    assert culprit(parameters, message) == name


def test_what_a_set_was_refused_for_is_doubted_in_every_other_set():
    acceptance = Acceptance()
    both = STORE.intern({"timezone": "x", "work_mem": "4MB"})
    other = STORE.intern({"timezone": "x", "application_name": "x"})
    acceptance.took(other)
    acceptance.refused(both, "timezone")
    assert acceptance.has_refused(other)
    assert not acceptance.is_sure(other)
    assert not acceptance.has_refused(STORE.intern({"timezone": "y"}))
    acceptance.took(other)
    assert not acceptance.has_refused(other)
    assert acceptance.has_refused(both), "it has not been taken itself"


def test_what_is_doubted_elsewhere_is_not_sure_here_nor_is_it_refused():
    acceptance = Acceptance()
    there = STORE.intern({"timezone": "x", "search_path": "x"})
    acceptance.took(there)
    acceptance.doubt(there)
    assert not acceptance.is_sure(there)
    assert not acceptance.has_refused(there)


def test_no_more_is_blamed_than_there_is_room_for():
    acceptance = Acceptance()
    sets = [STORE.intern({"log_statement": str(number)}) for number in range(MOST + 1)]
    for parameters in sets:
        acceptance.refused(parameters, "log_statement")
    path = STORE.intern({"log_statement": "0", "search_path": "x"})
    last = STORE.intern({"log_statement": str(MOST), "search_path": "x"})
    assert not acceptance.has_refused(path)
    assert acceptance.has_refused(last)


def test_what_takes_a_privilege_may_not_be_given_up():
    privileged = STORE.intern({"work_mem": "4MB", "log_statement": "ddl"})
    ordinary = STORE.intern({"work_mem": "8MB"})
    assert may_be_stuck(privileged, NONE)
    assert may_be_stuck(privileged, ordinary)
    assert not may_be_stuck(privileged, STORE.intern({"log_statement": "all"}))
    assert not may_be_stuck(ordinary, privileged)
    assert not may_be_stuck(NONE, ordinary)
