"""What pinned a session because nobody knew what it runs is judged again when that is known."""

from __future__ import annotations

import pytest

from rwsplit.session.knowledge import Knowledge
from rwsplit.session.pinning import PinReason
from rwsplit.session.session import Session
from rwsplit.session.unit import Unit
from rwsplit.session.unknowns import MOST_BYTES, MOST_TEXTS, Unknowns, texts_of
from rwsplit.sql.catalog import Catalog
from rwsplit.sql.facts import HARMLESS, UNKNOWN, VOLATILE, leaving
from rwsplit.sql.statement import StateKind
from tests.support.frames import SYNC, bind, call, execute, parse, query
from tests.unit.session.pieces import one

HARMLESS_F = Catalog(functions={("public", "f"): VOLATILE, ("public", "g"): HARMLESS})
SEEDING_F = Catalog(functions={("public", "f"): leaving(StateKind.SEED)})
LISTENING_F = Catalog(functions={("public", "f"): leaving(StateKind.LISTEN)})
STILL_UNKNOWN_F = Catalog(functions={("public", "f"): UNKNOWN})


def run(session: Session, *frames: bytes) -> list[bytes]:
    unit = one(session, *frames)
    assert unit.script is not None
    return texts_of(unit, unit.script)


@pytest.mark.parametrize(
    ("catalog", "dispelled"),
    [
        (HARMLESS_F, True),
        (LISTENING_F, True),
        (SEEDING_F, False),
        (STILL_UNKNOWN_F, False),
        (None, False),
    ],
)
def test_a_catalog_dispels_what_was_unknown(
    knowledge: Knowledge, session: Session, catalog: Catalog | None, dispelled: bool
):
    unknowns = Unknowns()
    for text in ("select f()", "do $$begin perform f(); end$$"):
        texts = run(session, query(text))
        assert texts == [text.encode()]
        unknowns.note(PinReason.UNKNOWN_FUNCTION, session.scope, texts)
    assert not unknowns.are_dispelled()

    knowledge.publish(session.database, catalog)

    assert unknowns.are_dispelled() is dispelled


def test_nothing_dispels_what_was_known(knowledge: Knowledge, session: Session):
    unknowns = Unknowns()
    unknowns.note(PinReason.UNKNOWN_FUNCTION, session.scope, run(session, query("select f()")))
    unknowns.note(PinReason.SEED, session.scope, [b"select setseed(1)"])
    unknowns.note(PinReason.UNKNOWN_FUNCTION, session.scope, run(session, query("select f()")))
    knowledge.publish(session.database, HARMLESS_F)
    assert not unknowns.are_dispelled()


@pytest.mark.parametrize(
    "texts",
    [
        [],
        [b"select %d" % number for number in range(MOST_TEXTS + 1)],
        [b"select '%s'" % (b"x" * MOST_BYTES)],
    ],
)
def test_of_too_much_or_nothing_nothing_is_said(session: Session, texts: list[bytes]):
    unknowns = Unknowns()
    unknowns.note(PinReason.UNKNOWN_FUNCTION, session.scope, texts)
    assert not unknowns.are_dispelled()


def test_the_extended_protocol_tells_its_texts(session: Session):
    text = "select f(), $1"
    assert run(session, parse("", text), bind(), execute(), SYNC) == [text.encode()]
    assert run(session, parse("s", text), bind("s"), execute(), SYNC) == [text.encode()]
    assert run(session, bind("s"), execute(), SYNC) == [text.encode()]


def test_what_cannot_be_told_is_not(session: Session):
    both = [parse("", "select f()"), bind(), execute(), parse("", "select g()"), bind()]
    assert run(session, *both, execute(), SYNC) == []
    assert run(session, call(1)) == []


def test_an_open_unit_tells_nothing(session: Session):
    unit: Unit = one(session, query("select f()"))
    unit.is_open = True
    assert unit.script is not None
    assert texts_of(unit, unit.script) == []
