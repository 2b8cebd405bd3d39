"""What an ErrorResponse says."""

from __future__ import annotations

import pytest

from rwsplit.protocol.refusals import (
    BARE_MARK,
    STALE_PLAN,
    bare,
    is_fatal,
    is_for_recovery_only,
    is_stale_plan,
    may_heal,
    move_position,
    sqlstate,
)
from tests.support.frames import error, message


def test_a_changed_result_is_told_in_postgresqls_words():
    assert sqlstate(STALE_PLAN) == b"0A000"
    assert is_stale_plan(STALE_PLAN)
    assert not is_fatal(STALE_PLAN)
    assert b"Mcached plan must not change result type\0" in STALE_PLAN
    assert message("E", STALE_PLAN[5:]) == STALE_PLAN


def test_only_a_standby_says_so():
    assert is_for_recovery_only(error("25006", routine="PreventCommandDuringRecovery"))
    assert not is_for_recovery_only(error("25006", routine="PreventCommandIfReadOnly"))


def test_an_error_without_a_code_is_internal():
    assert sqlstate(message("E", b"\0")) == b"XX000"
    assert sqlstate(message("E", b"Sx")) == b"XX000"
    assert sqlstate(error("42601")) == b"42601"


@pytest.mark.parametrize(
    ("position", "moved"), [(1, 1), (9, 9), (10, 9), (19, 9), (20, 10), (30, 20)]
)
def test_a_position_is_that_in_the_clients_text(position: int, moved: int):
    """Of `EXECUTE rwsplit_123(x)` for `EXECUTE p(x)`."""
    frame = message("E", b"SERROR\0C42703\0P%d\0Rx\0\0" % position)

    assert move_position(frame, 8, 10) == message("E", b"SERROR\0C42703\0P%d\0Rx\0\0" % moved)


@pytest.mark.parametrize("fields", [b"SERROR\0\0", b"SERROR\0Px\0\0", b"SERROR\0P\0\0"])
def test_an_error_without_a_position_is_left_as_it_is(fields: bytes):
    frame = message("E", fields)

    assert move_position(frame, 8, 10) == frame


def test_a_transaction_that_has_failed_has_failed_everywhere():
    assert may_heal(error("42P01"))
    assert not may_heal(error("25P02"))


def test_an_error_raised_in_a_clients_name_loses_what_tells_of_it():
    said = b"SERROR\0VERROR\0C22023\0Mno\0Dbecause\0Hperhaps\0"
    told = b"Wfunction\0s%s\0Fpl_exec.c\0L3925\0Rexec_stmt_raise\0" % BARE_MARK.encode()

    assert bare(message("E", said + told + b"\0")) == message("E", said + b"\0")
