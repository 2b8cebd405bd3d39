"""Facts of several things at once."""

from __future__ import annotations

from rwsplit.sql.facts import (
    ABOUT_THE_PRIMARY,
    ABOUT_THE_SESSION,
    HARMLESS,
    VOLATILE,
    combine,
    leaving,
)
from rwsplit.sql.statement import PrimaryOnly, StateKind


def test_nothing_and_harmless_things_are_harmless():
    assert combine([]) == HARMLESS
    assert combine([HARMLESS, HARMLESS]) == HARMLESS


def test_one_thing_keeps_its_facts():
    assert combine([HARMLESS, VOLATILE]) is VOLATILE


def test_the_strictest_reason_and_the_first_state_win():
    lock, listen = leaving(StateKind.ADVISORY_LOCK), leaving(StateKind.LISTEN)
    together = combine([VOLATILE, lock, listen, ABOUT_THE_PRIMARY])

    assert together.primary_only is PrimaryOnly.SESSION_STATE
    assert together.may_write
    assert together.state is StateKind.ADVISORY_LOCK
    assert not together.needs_session
    assert combine([VOLATILE, ABOUT_THE_SESSION]).needs_session
