"""A unit that resets sets again what its session asked for at startup."""

from __future__ import annotations

import pytest

from rwsplit.protocol.responses import FORWARD, SWALLOW
from rwsplit.session.parameters import NONE
from rwsplit.session.restoring import extend, kept_names, restored_names
from rwsplit.session.session import Session
from rwsplit.session.unit import Kind
from tests.support.frames import SYNC, bind, execute, parse, query
from tests.unit.session.pieces import one

RESTORED = b"SELECT WHERE pg_catalog.set_config(E'timezone', E'UTC', false) IS NULL"


def codes_of(session: Session, *parts: object) -> bytes:
    """Return the codes of the frames in *parts*."""
    data = b"".join(part for part in parts if isinstance(part, bytes))
    found, at = b"", 0
    while at < len(data):
        found += data[at : at + 1]
        at += 1 + int.from_bytes(data[at + 1 : at + 5], "big")
    return found


@pytest.fixture
def session(session: Session) -> Session:
    session.adopt_parameters(session.knowledge.parameters.intern({"timezone": "UTC"}))
    session.journal.base = session.parameters
    return session


def test_a_query_becomes_messages_of_which_only_its_own_answer_is_forwarded(session: Session):
    unit = one(session, query("reset timezone"))

    assert restored_names(unit) == {"timezone"}
    assert extend(unit, session.journal.base, {"timezone"})
    assert unit.kind is Kind.EXTENDED
    assert codes_of(session, *unit.piece.parts) == b"CPBECC" * 2 + b"S"
    assert unit.piece.plan == [SWALLOW] * 3 + [FORWARD] + [SWALLOW] * 8
    assert RESTORED in b"".join(part for part in unit.piece.parts if isinstance(part, bytes))


def test_messages_get_more_in_front_of_their_sync(session: Session):
    unit = one(session, parse("", "reset all") + bind() + execute() + SYNC)

    assert extend(unit, session.journal.base, restored_names(unit))
    assert codes_of(session, *unit.piece.parts) == b"PBE" + b"CPBECC" + b"S"
    assert unit.piece.plan == [FORWARD] * 3 + [SWALLOW] * 6


def test_what_was_not_asked_for_at_startup_is_left_alone(session: Session):
    unit = one(session, query("reset work_mem"))

    assert extend(unit, session.journal.base, restored_names(unit))
    assert extend(unit, NONE, {"all"})
    assert unit.kind is Kind.SIMPLE
    assert unit.piece.plan is None


def test_a_statement_that_is_only_parsed_resets_nothing(session: Session):
    assert restored_names(one(session, parse("", "reset all") + SYNC)) == set()


def test_a_reset_among_other_statements_cannot_be_followed_at_once(session: Session):
    unit = one(session, query("reset timezone; select 1"))
    assert not extend(unit, session.journal.base, restored_names(unit))

    unit = one(session, parse("", "reset timezone") + bind() + execute() + SYNC)
    unit.piece.plan = None
    assert not extend(unit, session.journal.base, restored_names(unit))

    unit = one(session, parse("s", "select 1") + SYNC)
    unit.piece.parts = [part for part in unit.piece.parts if not isinstance(part, bytes)]
    assert not extend(unit, session.journal.base, {"timezone"})


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("reset all; set timezone = 'GMT'", {"timezone"}),
        ("reset all; select set_config('timezone', 'GMT', false)", {"timezone"}),
        ("set timezone = 'GMT'; reset all", set()),
        ("set timezone = 'GMT'; reset timezone", set()),
        ("set timezone = 'GMT'; set timezone to default", set()),
        ("set role clerk; reset all", {"role"}),
        ("reset all; set local timezone = 'GMT'", set()),
    ],
)
def test_what_is_set_after_a_reset_in_the_same_query_is_not_set_back(
    session: Session, text: str, kept: set[str]
):
    unit = one(session, query(text))
    assert kept_names(unit) == kept
    restored = session.journal.base.restored(restored_names(unit), kept_names(unit))
    assert (restored is None) == ("timezone" in kept or not restored_names(unit))


def test_what_is_set_after_a_reset_in_the_same_pipeline_is_not_set_back(session: Session):
    resets = parse("", "reset all") + bind() + execute()
    unit = one(session, resets + parse("", "set timezone = 'GMT'") + bind() + execute() + SYNC)

    assert extend(unit, session.journal.base, restored_names(unit))
    assert codes_of(session, *unit.piece.parts) == b"PBE" * 2 + b"S"


def test_after_discard_all_nothing_is_left_of_what_was_set_before(session: Session):
    sets = parse("", "set timezone = 'GMT'") + bind() + execute()
    unit = one(session, sets + parse("", "discard all") + bind() + execute() + SYNC)
    assert kept_names(unit) == set()
    assert kept_names(one(session, parse("", "reset all") + SYNC)) == set()
