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
    assert extend(unit, session.journal.base)
    assert unit.kind is Kind.EXTENDED
    assert codes_of(session, *unit.piece.parts) == b"CPBECC" * 2 + b"S"
    assert unit.piece.plan == [SWALLOW] * 3 + [FORWARD] + [SWALLOW] * 8
    assert RESTORED in b"".join(part for part in unit.piece.parts if isinstance(part, bytes))


RESET = parse("", "reset all") + bind() + execute()
PLAIN = parse("", "select 1") + bind() + execute()
RESTORES = b"CPBECC"


@pytest.mark.parametrize(
    ("messages", "codes", "plan"),
    [
        (RESET + SYNC, b"PBE*S", "FFF*"),
        (PLAIN + RESET + PLAIN + SYNC, b"PBEPBE*PBES", "FFFFFF*FFF"),
        (RESET + RESET + SYNC, b"PBE*PBE*S", "FFF*FFF*"),
        (parse("", "discard all") + bind() + execute() + SYNC, b"PBE***S", "FFF***"),
        (
            RESET + parse("", "reset work_mem") + bind() + execute() + SYNC,
            b"PBE*PBES",
            "FFF*FFF",
        ),
        # A portal of this unit, and one of another.
        (
            parse("", "reset all") + bind(portal="p") + execute("p") + execute("q") + SYNC,
            b"PBE*ES",
            "FFF*F",
        ),
    ],
)
def test_messages_get_more_behind_each_that_resets(
    session: Session, messages: bytes, codes: bytes, plan: str
):
    unit = one(session, messages)

    assert extend(unit, session.journal.base)
    assert codes_of(session, *unit.piece.parts) == codes.replace(b"*", RESTORES)
    steps = {"F": [FORWARD], "*": [SWALLOW] * 6}
    assert unit.piece.plan == [step for letter in plan for step in steps[letter]]


def test_a_named_statement_that_resets_is_known_in_its_own_unit_and_later(session: Session):
    unit = one(session, parse("s", "reset all") + bind("s") + execute() + PLAIN + SYNC)
    assert extend(unit, session.journal.base)
    assert codes_of(session, *unit.piece.parts) == b"BE" + RESTORES + b"PBES"
    assert len(unit.piece.plan or ()) == 3 + 6 + 3

    unit = one(session, bind("s") + execute() + PLAIN + SYNC)
    assert extend(unit, session.journal.base)
    assert codes_of(session, *unit.piece.parts) == b"BE" + RESTORES + b"PBES"

    one(session, parse("", "reset all") + SYNC)
    unit = one(session, bind() + execute() + PLAIN + SYNC)
    assert extend(unit, session.journal.base)
    assert codes_of(session, *unit.piece.parts) == b"BE" + RESTORES + b"PBES"


def test_discard_all_is_followed_by_a_transaction_of_its_own(session: Session):
    unit = one(session, parse("", "discard all") + bind() + execute() + SYNC)
    assert extend(unit, session.journal.base)
    data = b"".join(part for part in unit.piece.parts if isinstance(part, bytes))
    assert data.index(b"BEGIN") < data.index(RESTORED) < data.index(b"COMMIT")


def test_what_was_not_asked_for_at_startup_is_left_alone(session: Session):
    unit = one(session, query("reset work_mem"))

    assert extend(unit, session.journal.base)
    assert extend(unit, NONE)
    assert unit.kind is Kind.SIMPLE
    assert unit.piece.plan is None


def test_a_statement_that_is_only_parsed_resets_nothing(session: Session):
    assert restored_names(one(session, parse("", "reset all") + SYNC)) == set()


def test_a_reset_among_other_statements_cannot_be_followed_at_once(session: Session):
    assert not extend(one(session, query("reset timezone; select 1")), session.journal.base)

    unit = one(session, RESET + SYNC)
    unit.piece.plan = None
    assert not extend(unit, session.journal.base)


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


def test_what_is_set_after_a_reset_in_the_same_pipeline_is_set_after_it(session: Session):
    unit = one(session, RESET + parse("", "set timezone = 'GMT'") + bind() + execute() + SYNC)

    assert extend(unit, session.journal.base)
    assert codes_of(session, *unit.piece.parts) == b"PBE" + RESTORES + b"PBES"


def test_after_discard_all_nothing_is_left_of_what_was_set_before(session: Session):
    sets = parse("", "set timezone = 'GMT'") + bind() + execute()
    unit = one(session, sets + parse("", "discard all") + bind() + execute() + SYNC)
    assert kept_names(unit) == set()
    assert kept_names(one(session, parse("", "reset all") + SYNC)) == set()
