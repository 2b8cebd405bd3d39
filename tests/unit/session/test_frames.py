"""A session looks at so much of what it has received; the rest is looked at later, and means the same."""

from __future__ import annotations

import pytest

from rwsplit.session.frames import UNBOUNDED
from rwsplit.session.session import Session
from rwsplit.session.unit import Unit
from rwsplit.sql.cache import PARSE_LIMIT
from tests.support.frames import SYNC, bind, copy_data, execute, parse, query
from tests.unit.session.pieces import said, spelled

MANY = [query(f"select {n} as a{n}") for n in range(100)]


def texts(session: Session) -> list[bytes]:
    """Return the frames of the pending units; they are pending no more."""
    found = []
    while session.pending:
        unit = session.pending.popleft()
        assert isinstance(unit, Unit)
        found.append(spelled(unit))
    return found


def test_an_allowance_ends_between_two_frames(session: Session):
    session.allowance = 50
    session.receive(b"".join(MANY))
    assert session.is_behind
    assert not session.is_idle
    first = texts(session)
    assert 1 <= len(first) < 10  # each is a text to be classified
    assert session.allowance <= 0

    session.allowance = UNBOUNDED
    session.go_on()
    assert not session.is_behind
    assert first + texts(session) == MANY


def test_it_takes_one_frame_at_least(session: Session):
    session.receive(b"".join(MANY[:2]))
    texts(session)
    session.allowance = 0
    session.receive(b"".join(MANY))
    found = texts(session)
    while session.is_behind:
        session.allowance = 0
        session.go_on()
        found += texts(session)
        assert len(found) <= len(MANY)
    assert found == MANY


def test_what_comes_while_it_is_behind_waits_its_turn(session: Session):
    session.allowance = 1
    session.receive(b"".join(MANY[:90]))
    assert session.is_behind
    session.receive(b"".join(MANY[90:]))
    found = texts(session)
    session.allowance = UNBOUNDED
    session.go_on()
    assert found + texts(session) == MANY


def test_a_unit_goes_on_where_its_slice_has_ended(session: Session):
    messages = [parse("", "select 1"), *[bind() + execute()] * 100, SYNC]
    session.allowance = 20
    session.receive(b"".join(messages))
    assert session.is_behind
    assert not session.pending
    assert not session.input.is_unended  # the client is not to blame that there is no Sync yet
    session.allowance = UNBOUNDED
    session.go_on()
    [unit] = session.pending
    assert isinstance(unit, Unit)
    assert not unit.is_open
    assert spelled(unit) == b"".join(messages)


def test_bytes_count_too(session: Session):
    session.allowance = 100
    session.receive(copy_data(b"x" * 10_000) * 20)
    assert session.is_behind
    assert len(session.pending) < 10


def test_a_long_query_that_trickles_in_is_looked_at_once(
    session: Session, monkeypatch: pytest.MonkeyPatch
):
    """It was put together anew with each piece that came."""
    looks, scan = 0, Session._scan

    def counting(self: Session, data: bytes) -> None:
        nonlocal looks
        looks += 1
        scan(self, data)

    monkeypatch.setattr(Session, "_scan", counting)
    text = query("select '" + "x" * (PARSE_LIMIT // 4) + "'")
    pieces = [text[at : at + 100] for at in range(0, len(text), 100)]
    [unit] = said(session, *pieces)
    assert isinstance(unit, Unit)
    assert spelled(unit) == text
    assert looks <= 3
