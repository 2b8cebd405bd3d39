"""What an ErrorResponse says."""

from __future__ import annotations

from rwsplit.protocol.refusals import STALE_PLAN, is_fatal, is_stale_plan, sqlstate
from tests.support.frames import error, message


def test_a_changed_result_is_told_in_postgresqls_words():
    assert sqlstate(STALE_PLAN) == b"0A000"
    assert is_stale_plan(STALE_PLAN)
    assert not is_fatal(STALE_PLAN)
    assert b"Mcached plan must not change result type\0" in STALE_PLAN
    assert message("E", STALE_PLAN[5:]) == STALE_PLAN


def test_an_error_without_a_code_is_internal():
    assert sqlstate(message("E", b"\0")) == b"XX000"
    assert sqlstate(message("E", b"Sx")) == b"XX000"
    assert sqlstate(error("42601")) == b"42601"
