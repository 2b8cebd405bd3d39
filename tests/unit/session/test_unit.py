"""A unit on its way: as new, in its client's words, and once more."""

from __future__ import annotations

import time

from rwsplit.protocol.looks import Look, Shape
from rwsplit.protocol.refusals import BARE_MARK, STALE_PLAN
from rwsplit.protocol.responses import Owed
from rwsplit.session.chunk import Chunk
from rwsplit.session.piece import Piece
from rwsplit.session.pinning import reset_parameters, set_after_reset
from rwsplit.session.session import Session
from rwsplit.session.stand_ins import merge
from rwsplit.session.teaching import Lesson
from rwsplit.session.unit import MOST_REWORDED, CancelReason, Kind, Unit
from rwsplit.sql.script import Script
from tests.support.frames import (
    BIND_COMPLETE,
    FLUSH,
    SYNC,
    bind,
    error,
    execute,
    message,
    parse,
    query,
)
from tests.unit.session.pieces import one, said

TEXT = query("select 1")


def a_unit(session: Session) -> Unit:
    return Unit(session, Kind.SIMPLE, Piece([TEXT], Script(())), len(TEXT))


def test_a_new_unit_owes_its_answer_to_its_session(session: Session):
    unit = a_unit(session)

    assert unit.sink is session.sink
    assert unit.script is unit.piece.script
    assert unit.size_in == len(TEXT)
    assert unit.session is session
    assert not unit.is_open
    assert not unit.guarded


def test_every_attribute_of_what_is_owed_is_set_although_it_is_written_out(session: Session):
    unit, owed = a_unit(session), Owed(session.sink)

    for slot in Owed.__slots__:
        assert getattr(unit, slot) == getattr(owed, slot), slot


def test_what_an_open_unit_teaches_is_found_by_the_statement(session: Session):
    unit = a_unit(session)
    registry = session.knowledge.prepared
    one, other = registry.get(b"select 1\0\0\0"), registry.get(b"select 2\0\0\0")
    assert unit.lesson_about(one) is None
    unit.lessons = [Lesson(0, one, known=True)]  # it was sent whole, and goes on all the same

    unit.learn([Lesson(1, other, known=True), Lesson(2, one, known=True)])
    unit.learn([Lesson(3, one, known=False)])

    assert [lesson.step for lesson in unit.lessons] == [0, 1, 2, 3]
    found = unit.lesson_about(one)
    assert found is not None
    assert found.step == 2


def test_an_open_unit_uses_and_parses_what_all_its_pieces_do(session: Session):
    said(session, parse("a", "select 1") + parse("b", "select 2") + SYNC)
    unit, *chunks = said(
        session,
        bind("a") + execute() + FLUSH,
        bind("b") + execute() + FLUSH,
        parse("c", "select 3") + bind("c") + SYNC,
    )
    assert isinstance(unit, Unit)
    needs = unit.piece.needs

    for chunk in chunks:
        assert isinstance(chunk, Chunk)
        unit.piece.add(chunk)

    a, b, c = (session.names[name] for name in (b"a", b"b", b"c"))
    assert unit.piece.needs == [a, b]
    assert unit.piece.needs is needs  # not copied for each of a thousand pieces
    assert unit.piece.taught == [(b"c", c)]
    assert [[*chunk.needs] for chunk in chunks if isinstance(chunk, Chunk)] == [[b], []]


def test_what_an_open_unit_does_is_put_together_as_it_comes(session: Session):
    unit = a_unit(session)
    scripts = [
        one_script(session, text) for text in (b"set a.b = 1", b"reset a.b", b"discard all")
    ]
    for script in scripts:
        unit.add_effects(script)

    effects = unit.piece.effects
    assert effects is not None
    assert list(effects.statements) == [s for script in scripts for s in script.statements]
    assert effects.discards
    assert reset_parameters(effects) == reset_parameters(merge(scripts))
    assert set_after_reset(effects) == set_after_reset(merge(scripts))


def one_script(session: Session, text: bytes) -> Script:
    return session.knowledge.statements.lookup(text)


def test_a_unit_that_runs_again_is_as_it_was_before_it_was_sent(session: Session):
    unit, new = a_unit(session), a_unit(session)
    prepared = session.knowledge.prepared.get(b"select 1\0\0\0")
    unit.guarded = new.guarded = True
    unit.forwarded = unit.failed = True
    unit.error = error()
    unit.kept = [BIND_COMPLETE]
    unit.size = unit.done = 5
    unit.lessons = [Lesson(0, prepared, known=True)]

    unit.restart()

    assert unit.restarts == 1
    for slot in {*Owed.__slots__, "lessons"} - {"failed_at"}:
        assert getattr(unit, slot) == getattr(new, slot), slot


# Errors in the client's words...


def test_an_error_names_a_statement_as_the_client_does(session: Session):
    session.receive(parse("mine", "select 1") + parse("", "select 2"))
    unit = a_unit(session)

    told = unit.reword(error("26000", 'prepared statement "rwsplit_1" does not exist'))

    assert told == error("26000", 'prepared statement "mine" does not exist')


def test_an_error_names_those_statements_and_not_others_of_its_client(session: Session):
    texts = [("other", "select 0"), ("", "select 2"), ("one", "select 1"), ("two", "select 2")]
    session.receive(b"".join(parse(*each) for each in [*texts, ("again", "select 1")]))
    one, two = (session.names[name].name.decode() for name in (b"one", b"two"))

    told = a_unit(session).reword(error("42601", f'"{two}" or "{one}", not "rwsplit_77"'))

    assert told == error("42601", '"two" or "one", not "rwsplit_77"')


def test_of_two_names_of_a_statement_an_error_says_the_one_the_unit_has_used(session: Session):
    said(session, parse("one", "select 1") + parse("two", "select 1") + SYNC)
    ours = session.names[b"two"].name.decode()
    unit = one(session, bind("two") + execute() + SYNC)

    assert unit.reword(error("42601", f'no "{ours}"')) == error("42601", 'no "two"')


def test_a_unit_whose_transaction_had_failed_before_it_was_sent_hears_why(session: Session):
    session.receive(parse("mine", "select 1"))
    ours = session.names[b"mine"].name.decode()
    unit = a_unit(session)
    unit.refusal = error("42P01", f'"{ours}": relation "t" does not exist')

    aborted = error("25P02", "current transaction is aborted")
    assert unit.reword(aborted) == error("42P01", '"mine": relation "t" does not exist')
    other = error("42601", "syntax error")
    assert unit.reword(other) == other
    assert a_unit(session).reword(aborted) == aborted


def test_what_an_open_unit_leaves_on_its_server_is_its_own(session: Session):
    unit, other = a_unit(session), a_unit(session)

    unit.leave_litter(b"a")
    unit.leave_litter(b"b")

    assert unit.litter == [b"a", b"b"]
    assert other.litter == a_unit(session).litter == []


def test_an_error_about_something_else_stays_as_it_is(session: Session):
    session.receive(parse("mine", "select 1"))
    unit = a_unit(session)
    said = error("42P01", 'relation "nowhere" does not exist')

    assert unit.reword(said) is said


def test_an_error_raised_in_the_clients_name_is_told_without_its_context(session: Session):
    unit = a_unit(session)
    said = b"SERROR\0VERROR\0C22023\0Mno\0"
    told = b"Wof ours\0s%s\0" % BARE_MARK.encode()

    assert unit.reword(message("E", said + told + b"\0")) == message("E", said + b"\0")


def test_a_very_long_error_stays_as_it_is(session: Session):
    session.receive(parse("mine", "select 1"))
    ours = session.names[b"mine"].name.decode()
    fits = f'"{ours}"' * 1000
    assert a_unit(session).reword(error("P0001", fits)) == error("P0001", '"mine"' * 1000)
    said = error("P0001", f'"{ours}"' + "x" * MOST_REWORDED)
    assert a_unit(session).reword(said) is said


def test_each_name_of_a_session_is_looked_at_once_for_an_error(session: Session):
    names = [f"n{number}" for number in range(2000)]
    session.receive(b"".join(parse(name, f"select {name}") for name in names))
    ours = "".join(f'"{session.names[name.encode()].name.decode()}"' for name in names)
    unit, before = a_unit(session), time.thread_time()
    assert unit.reword(error("P0001", ours)) == error("P0001", "".join(f'"{n}"' for n in names))
    assert time.thread_time() - before < 0.05  # it took 0.25 when all were looked at for each


def test_an_error_for_nobody_stays_as_it_is(session: Session):
    unit = a_unit(session)
    unit.session = None
    said = error("26000", 'prepared statement "rwsplit_1" does not exist')

    assert unit.reword(said) is said


def test_a_statement_cancelled_for_its_time_is_told_so(session: Session):
    unit = a_unit(session)
    said = error("57014", "canceling statement due to user request")
    other = error("22012", "division by zero")

    unit.cancelled = CancelReason.REQUEST
    assert unit.reword(said) is said

    unit.cancelled = CancelReason.QUERY_TIMEOUT
    assert b"due to query_timeout\0" in unit.reword(said)
    assert unit.reword(other) is other


def test_a_unit_may_run_more_than_its_text_says(session: Session):
    assert not a_unit(session).has_more
    for attribute in ("follows", "continued"):
        unit = a_unit(session)
        setattr(unit, attribute, True)
        assert unit.has_more


def test_one_that_is_used_again_is_relied_on_again(session: Session):
    unit = a_unit(session)
    unit.relied_on = False
    unit.renew(TEXT, Script(()))
    assert unit.relied_on


def test_who_binds_what_has_changed_hears_it_in_postgresqls_words(session: Session):
    unit = a_unit(session)

    missing = error("26000", 'prepared statement "rwsplit_changed" does not exist')
    assert unit.reword(missing) == STALE_PLAN
    other = error("42601", 'syntax error at or near "rwsplit_changed"')
    assert unit.reword(other) == other


def test_who_asks_for_columns_that_are_not_there_any_more_hears_the_same(session: Session):
    unit = a_unit(session)
    prepared = session.knowledge.prepared.get(b"select 1\0\0\0")
    prepared.told = Shape(bytes(2), b"int")
    look = Look(lambda _: None)
    look.shape = Shape(bytes(2), b"text")
    refused = error("08P01", "bind message has 2 result formats but query has 1 columns")
    assert unit.reword(refused) == refused

    unit.lessons = [Lesson(0, prepared, known=True, look=look)]

    assert unit.reword(refused) == STALE_PLAN
    assert unit.reword(error("22012")) == error("22012")
