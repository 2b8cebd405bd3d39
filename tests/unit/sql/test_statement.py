"""Which of several reasons or states counts."""

from __future__ import annotations

from rwsplit.sql.statement import PrimaryOnly, StateKind, hardest, strictest


def test_the_strictest_reason_is_the_first_of_the_list():
    assert (
        strictest([PrimaryOnly.NEEDS_PRIMARY, None, PrimaryOnly.MAY_WRITE])
        is PrimaryOnly.MAY_WRITE
    )
    assert strictest([None]) is None


def test_of_states_the_last_of_the_list_is_hardest_to_get_rid_of():
    assert (
        hardest([StateKind.LISTEN, None, StateKind.PARAMETER, StateKind.SEED]) is StateKind.SEED
    )
    assert hardest([None]) is None
