"""Names of statements: what a unit does to them, and what is taken back when it did not come to that."""

from __future__ import annotations

import pytest

from rwsplit.protocol.looks import Shape
from rwsplit.session import inband
from rwsplit.session.chunk import Chunk, ChunkKind
from rwsplit.session.input import HELD
from rwsplit.session.renaming import MANY_CHANGES
from rwsplit.session.session import Session
from rwsplit.session.unit import Unit
from tests.support.frames import (
    FLUSH,
    SYNC,
    bind,
    close,
    copy_data,
    describe,
    execute,
    parse,
    query,
)
from tests.unit.session.pieces import one


def sent(session: Session, data: bytes) -> Unit:
    """Return the unit *data* amounts to, on its way."""
    session.receive(data)
    unit = session.pending.popleft()
    assert isinstance(unit, Unit)
    session.pending_bytes -= unit.size_in
    session.in_flight += 1
    return unit


def ends(session: Session, unit: Unit, *, told: int | None = None) -> None:
    """Let *unit* be answered: in full, or by an error behind what *told* of its messages did."""
    if told is not None:
        unit.failed = True
        unit.told = told
        unit.failed_at = told
    unit.settle_names()
    session.in_flight -= 1


def meanings(session: Session) -> dict[str, str]:
    return {name.decode(): prepared.query.decode() for name, prepared in session.names.items()}


def test_a_parse_that_failed_or_was_skipped_names_nothing(session: Session):
    unit = sent(session, parse("a", "select 1") + parse("b", "select 2") + SYNC)
    assert meanings(session) == {"a": "select 1", "b": "select 2"}

    ends(session, unit, told=1)

    assert meanings(session) == {"a": "select 1"}
    assert not session.names.unsettled


def test_a_close_that_was_skipped_drops_nothing(session: Session):
    one(session, parse("a", "select 1") + SYNC)
    unit = sent(session, bind("a") + execute() + close("a") + parse("a", "select 2") + SYNC)
    assert meanings(session) == {"a": "select 2"}

    ends(session, unit, told=1)

    assert meanings(session) == {"a": "select 1"}


def test_a_close_that_was_not_skipped_stays_one(session: Session):
    one(session, parse("a", "select 1") + SYNC)
    unit = sent(session, close("a") + bind("nobody") + SYNC)

    ends(session, unit, told=1)

    assert meanings(session) == {}


@pytest.mark.parametrize(
    ("told", "left"),
    [(None, "select 2"), (4, "select 2"), (3, ""), (2, "select 1"), (0, "")],
)
def test_the_unnamed_statement_is_what_the_last_parse_made_it_that_was_not_skipped(
    session: Session, told: int | None, left: str
):
    run = bind() + execute()
    said = parse("", "select 1") + run + parse("", "select 2") + run + SYNC
    unit = sent(session, said)

    ends(session, unit, told=told)

    assert meanings(session) == ({"": left} if left else {})


def test_an_unnamed_parse_that_comes_first_and_fails_leaves_none(session: Session):
    one(session, parse("", "select 1") + SYNC)
    unit = sent(session, parse("", "select 2") + bind() + execute() + SYNC)

    ends(session, unit, told=0)

    assert meanings(session) == {}


@pytest.mark.parametrize("told", [None, 0])
def test_an_unnamed_parse_that_comes_first_leaves_none_if_it_fails_or_is_closed(
    session: Session, told: int | None
):
    unit = sent(session, parse("", "select 2") + close("") + SYNC)

    ends(session, unit, told=told)

    assert meanings(session) == {}


@pytest.mark.parametrize("text", ["DEALLOCATE ALL", "DEALLOCATE a", "DISCARD ALL"])
def test_a_command_that_drops_names_does_not_if_it_was_skipped(session: Session, text: str):
    one(session, parse("a", "select 1") + SYNC)
    said = bind("nobody") + parse("", text) + bind() + execute() + SYNC

    ends(session, sent(session, said), told=0)
    assert meanings(session) == {"a": "select 1"}

    ends(session, sent(session, query(text)), told=0)
    assert meanings(session) == {"a": "select 1"}

    ends(session, sent(session, query(text)))
    assert meanings(session) == {}


def test_a_prepare_that_failed_names_nothing(session: Session):
    ends(session, sent(session, query("PREPARE a AS selec")), told=0)
    assert session.names.in_sql == {}

    ends(session, sent(session, query("PREPARE a AS select 1")))
    assert list(session.names.in_sql) == [b"a"]


def units(session: Session) -> list[Unit]:
    return [item for item in session.pending if isinstance(item, Unit)]


def held(session: Session) -> bool:
    last = session.pending[-1] if session.pending else None
    return isinstance(last, Chunk) and last.kind is ChunkKind.HELD


@pytest.mark.parametrize(
    "uses",
    [
        bind("a") + execute() + SYNC,
        describe("a") + SYNC,
        close("a") + SYNC,
        parse("a", "select 2") + SYNC,
        query("EXECUTE a"),
        query("DEALLOCATE a"),
        query("DISCARD ALL"),
        bind() + execute() + SYNC,
        bind("a", value=b"x" * 100_000) + execute() + SYNC,
        describe("a") + FLUSH,
    ],
    ids=lambda uses: repr(uses[:30]),
)
def test_what_uses_a_name_on_its_way_waits_until_that_is_settled(session: Session, uses: bytes):
    unit = sent(session, parse("a", "select 1") + SYNC)

    session.receive(uses + query("select 3"))

    assert held(session)
    assert len(session.pending) == 1
    ends(session, unit)
    session.pending.clear()
    session.resume()
    assert len(session.pending) == 2
    assert not held(session)
    assert session.pending_bytes == sum(unit.size_in for unit in units(session))


@pytest.mark.parametrize(
    "said",
    [
        parse("b", "select 2") + bind("b") + execute() + SYNC,
        parse("", "select 2") + bind() + execute() + SYNC,
        query("select 2"),
        parse("b", "select 2") + bind("b") + FLUSH + execute() + SYNC,
        parse("", "select 2") + copy_data(b"") + bind() + execute() + SYNC,
    ],
)
def test_what_uses_no_such_name_does_not_wait(session: Session, said: bytes):
    sent(session, parse("a", "select 1") + SYNC)

    session.receive(said)

    assert not held(session)


@pytest.mark.parametrize("name", ["a", ""])
def test_a_long_message_that_comes_in_pieces_waits_too(session: Session, name: str):
    unit = sent(session, parse("a", "select 1") + parse("", "select 2") + SYNC)
    long = bind(name, value=b"x" * 200_000)
    session.receive(describe("b") + long[:100_000])
    assert held(session)

    ends(session, unit)
    session.pending.clear()
    session.resume()
    session.receive(long[100_000:] + execute() + SYNC)

    assert not held(session)
    first = session.pending[0]
    assert isinstance(first, Unit)
    assert first.is_open


def test_what_comes_while_something_is_held_is_held_too(session: Session):
    unit = sent(session, parse("a", "select 1") + SYNC)
    session.receive(bind("a")[:10])
    session.receive(bind("a")[10:] + execute())
    session.receive(SYNC)
    assert held(session)

    ends(session, unit)
    session.pending.clear()
    session.resume()

    [found] = session.pending
    assert isinstance(found, Unit)
    assert found.piece.needs == [session.names[b"a"]]


def test_each_time_more_of_what_is_held_is_taken_so_that_it_comes_to_an_end(session: Session):
    again = bind() + execute() + SYNC + parse("a", "select 1") + SYNC + close("a") + SYNC
    unit = sent(session, parse("a", "select 1") + parse("", "select 2") + SYNC)
    session.receive(again * 20)
    ends(session, unit)

    rounds = 0
    while session.input.frame_state == HELD:
        rounds += 1
        assert rounds <= again.count(b"S\0\0\0\4") * 20
        for unit in units(session):  # what was taken is answered
            unit.settle_names()
        session.names.unsettled.clear()
        session.pending.clear()
        session.resume()

    assert rounds > 1
    assert not session.is_mid_frame


RUN = parse("", "select 1") + bind() + execute() + SYNC
FAILS = bind("none")


@pytest.mark.parametrize(
    ("units", "told", "left"),
    [
        ([FAILS + RUN, RUN], [0, None], "select 1"),
        ([RUN, RUN], [0, None], "select 1"),
        ([FAILS + RUN, RUN, FAILS + RUN], [0, None, 0], "select 1"),
        ([RUN, FAILS + RUN], [None, 0], "select 1"),
        ([RUN, FAILS + RUN], [None, 1], None),
        ([FAILS + RUN, FAILS + RUN], [0, 0], None),
        ([FAILS + RUN, FAILS + RUN], [1, 0], None),
        ([FAILS + RUN, FAILS + RUN], [2, 0], "select 1"),
        ([FAILS + RUN, FAILS + RUN], [0, None], "select 1"),
        ([RUN, query("select 2")], [0, None], None),
        ([FAILS + RUN, query("select 2"), RUN], [0, None, None], "select 1"),
        ([RUN, query("select 2"), FAILS + RUN], [None, None, 0], None),
        ([RUN, RUN], [None, 0], None),
    ],
)
def test_the_unnamed_statement_of_a_pipeline_is_the_last_that_was_parsed(
    session: Session, units: list[bytes], told: list[int | None], left: str | None
):
    for unit, answered in [*zip([sent(session, data) for data in units], told, strict=True)]:
        ends(session, unit, told=answered)

    assert meanings(session) == ({} if left is None else {"": left})
    assert not session.names.unsettled
    assert session.names.unnamed_by is None


def ended_by(session: Session, first: bytes, text: str) -> tuple[Unit, Chunk]:
    """Return the open unit *first* and the Query that ends it."""
    session.receive(first + query(text))
    unit, end = session.pending
    assert isinstance(unit, Unit)
    assert isinstance(end, Chunk)
    session.pending.clear()
    return unit, end


@pytest.mark.parametrize("text", ["execute a", "deallocate a", "prepare a as select 2"])
def test_a_query_that_ends_messages_says_the_servers_name(session: Session, text: str):
    one(session, parse("a", "select 1") + SYNC)
    prepared = session.names[b"a"]
    _, end = ended_by(session, describe("a"), text)

    [used] = end.needs
    assert used.name in b"".join(part for part in end.parts if isinstance(part, bytes))
    assert [*end.drops] == ([used] if text.startswith("deallocate") else [])
    assert (used is prepared) is not text.startswith("deallocate")


def test_a_query_that_ends_messages_and_failed_drops_nothing(session: Session):
    one(session, parse("a", "select 1") + SYNC)
    unit, _ = ended_by(session, describe("a"), "deallocate all")
    assert meanings(session) == {}

    ends(session, unit, told=1)

    assert meanings(session) == {"a": "select 1"}


def test_a_query_that_ends_messages_and_is_not_about_names_is_left_as_it_is(session: Session):
    _, end = ended_by(session, parse("a", "select 1"), "deallocate b")
    assert end.parts == [query("deallocate b")]

    _, end = ended_by(session, parse("b", "select 1"), "listen x")
    assert end.effects is end.script


def test_a_query_that_ends_messages_may_set_what_is_rwsplits_own(session: Session):
    _, end = ended_by(session, parse("a", "select 1"), "set rwsplit.route = 'primary'")

    assert session.in_band.route == "primary"
    assert end.parts == [query("SET rwsplit.route TO DEFAULT")]
    assert end.script is inband.ANSWER
    assert not end.needs


@pytest.mark.parametrize("text", ["deallocate all", "execute a"])
def test_a_query_that_ends_messages_waits_for_the_names_it_is_about(
    session: Session, text: str
):
    session.receive(parse("a", "select 1") + SYNC + describe("nobody") + query(text))

    named, unit, held = session.pending
    assert isinstance(named, Unit)
    assert isinstance(unit, Unit)
    assert unit.is_open
    assert isinstance(held, Chunk)
    assert held.kind is ChunkKind.HELD


def test_what_a_unit_has_parsed_may_turn_out_to_be_something_else(session: Session):
    unit = sent(session, parse("a", "select 1") + parse("b", "select 2") + SYNC)
    other = sent(session, parse("c", "select 1") + SYNC)
    one, two = session.names[b"a"], session.names[b"b"]
    new = session.scope.prepared.fork(one, Shape(bytes(2), b""))
    assert unit.renaming is not None

    unit.renaming.exchange(one, new)
    ends(session, unit)
    ends(session, other)

    assert session.names == {b"a": new, b"b": two, b"c": one}


def test_a_statement_that_no_name_of_the_unit_means_is_not_exchanged(session: Session):
    unit = sent(session, parse("a", "select 1") + SYNC)
    one = session.names[b"a"]
    stranger = session.scope.prepared.get(b"select 2\0\0\0", session.scope.place)
    assert unit.renaming is not None

    unit.renaming.exchange(stranger, session.scope.prepared.fork(one, Shape(bytes(2), b"")))
    ends(session, unit)

    assert session.names == {b"a": one}


def test_a_name_that_has_been_given_away_meanwhile_is_not_exchanged(session: Session):
    unit = sent(session, parse("a", "select 1") + close("a") + parse("a", "select 2") + SYNC)
    two = session.names[b"a"]
    one = session.knowledge.prepared.get(b"select 1\0\0\0", session.scope.place)
    assert unit.renaming is not None

    unit.renaming.exchange(one, session.scope.prepared.fork(one, Shape(bytes(2), b"")))
    ends(session, unit)

    assert session.names[b"a"] is two


def test_what_became_of_the_unnamed_statement_is_not_kept_for_ever(session: Session):
    """A pipeline may have a million statements in front of its Sync."""
    text = parse("", "select 1") + bind() + execute()
    session.receive(text + FLUSH)
    unit = session.pending.popleft()
    assert isinstance(unit, Unit)
    for number in range(3 * MANY_CHANGES):
        session.receive(parse("", f"select {number % 10}") + bind() + execute() + FLUSH)
        session.pending.clear()
        unit.told = 3 * number
    assert unit.renaming is not None
    assert len(unit.renaming._entries) <= MANY_CHANGES + 10

    session.receive(parse("", "select 'last'") + bind() + execute() + SYNC)
    unit.told = 9 * MANY_CHANGES + 3 + 3
    unit.settle_names()
    assert session.names[b""].query == b"select 'last'"


@pytest.mark.parametrize("failed_at", [0, 1])
def test_what_is_left_of_many_changes_is_what_the_last_good_one_made(
    session: Session, failed_at: int
):
    session.receive(parse("", "select 0") + bind() + execute() + FLUSH)
    unit = session.pending.popleft()
    assert isinstance(unit, Unit)
    session.receive(parse("a", "select 0") + FLUSH)
    count = 2 * MANY_CHANGES
    for number in range(count):
        session.receive(parse("", f"select {number}") + FLUSH)
    assert unit.renaming is not None
    unit.told = 4 + count - 3  # the unnamed, its Bind and Execute, "a"; the last but two fails
    unit.renaming._many = 0
    unit.renaming.tidy(unit.told)
    session.receive(SYNC)
    session.pending.clear()
    unit.failed, unit.failed_at = True, failed_at
    unit.piece.plan = unit.piece.plan or []
    unit.settle_names()
    assert b"" not in session.names
    assert session.names[b"a"].query == b"select 0"
    assert not session.names.unsettled


def test_what_a_statement_turns_out_to_be_is_found_among_many_changes(session: Session):
    """Of many changes those of the unnamed statement are dropped, so that the others stand elsewhere."""
    run = bind() + execute()
    session.receive(parse("", "select 0") + run + FLUSH)
    unit = session.pending.popleft()
    assert isinstance(unit, Unit)
    session.receive(parse("", "prepare b as select 2") + run + parse("c", "select 2") + FLUSH)
    session.receive(close("c") + parse("a", "select 1") + parse("d", "select 3") + FLUSH)
    for number in range(MANY_CHANGES):
        session.receive(parse("", f"select {number % 10}") + run + FLUSH)
        unit.told += 3
    assert unit.renaming is not None
    assert len(unit.renaming._entries) < MANY_CHANGES
    old, other = session.names[b"a"], session.names[b"d"]
    new = session.scope.prepared.fork(old, Shape(bytes(2), b""))

    unit.renaming.exchange(old, new)
    session.receive(SYNC)
    session.pending.clear()
    unit.settle_names()

    assert (session.names[b"a"], session.names[b"d"]) == (new, other)
    assert [*session.names.in_sql] == [b"b"]
    assert b"c" not in session.names
