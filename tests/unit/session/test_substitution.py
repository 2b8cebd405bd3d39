"""Statements that name others: what they mean is known when they are bound, and done when they are executed."""

from __future__ import annotations

import pytest

from rwsplit.config.choices import ConsistencyLevel
from rwsplit.protocol import codes
from rwsplit.session.session import Session
from rwsplit.session.stand_ins import NAMING
from rwsplit.session.substitution import MOST_AHEAD
from rwsplit.sql.statement import PrimaryOnly
from tests.support.frames import SYNC, bind, close, describe, error, execute, parse, query
from tests.unit.session.pieces import one, spelled


def run(name: str = "") -> bytes:
    return bind(name) + execute()


def name_of(session: Session, name: str) -> str:
    return session.names[name.encode()].name.decode()


def prepared(session: Session, *texts: tuple[str, str]) -> None:
    for name, text in texts:
        one(session, parse(name, text) + SYNC)


def test_execute_is_parsed_as_it_is_and_bound_as_what_it_means(session: Session):
    parsed = one(session, parse("ex", "EXECUTE p") + SYNC)
    assert spelled(parsed) == parse(name_of(session, "ex"), "EXECUTE p") + SYNC
    assert parsed.script is NAMING

    prepared(session, ("p", "select 1"))
    first = session.names[b"p"]
    unit = one(session, run("ex") + SYNC)

    used, meant = unit.piece.needs
    assert used is first
    assert meant.query == b"EXECUTE " + first.name
    assert spelled(unit) == run(meant.name.decode()) + SYNC
    assert unit.script is first.script
    assert one(session, describe("ex") + SYNC).piece.needs == [first, meant]


def test_a_name_is_not_looked_for_behind_very_much_white_space(session: Session):
    prepared(session, ("p", "select 1"))
    for ahead, found in ((MOST_AHEAD - 9, True), (MOST_AHEAD - 8, False), (MOST_AHEAD, False)):
        text = f"EXECUTE{' ' * ahead}p"
        meant = one(session, query(text))
        assert (spelled(meant) != query(text)) is found


def test_an_execute_does_what_its_arguments_do_as_well(session: Session):
    prepared(session, ("p", "select $1"))
    for arguments, reason in (
        ("(1, 'x')", None),
        ("(f(2))", PrimaryOnly.UNKNOWN_FUNCTION),
        ("(nextval('s'))", PrimaryOnly.VOLATILE_FUNCTION),
    ):
        script = one(session, query(f"EXECUTE p{arguments}")).script
        assert script is not None
        assert script.primary_only is reason


def test_execute_means_another_statement_when_its_name_does(session: Session):
    prepared(session, ("p", "select 1"), ("ex", "EXECUTE p"))
    before = one(session, run("ex") + SYNC)
    one(session, close("p") + SYNC)
    prepared(session, ("p", "select 2"))

    after = one(session, run("ex") + SYNC)

    assert after.piece.needs[0] is session.names[b"p"]
    assert after.piece.needs[1] is not before.piece.needs[1]
    one(session, close("p") + SYNC)
    gone = one(session, run("ex") + SYNC)
    assert spelled(gone) == run(name_of(session, "ex")) + SYNC


def test_the_unnamed_execute_of_an_earlier_unit_is_bound_by_a_name(session: Session):
    prepared(session, ("p", "select 1"), ("", "EXECUTE p"))

    unit = one(session, run() + SYNC)

    used, meant = unit.piece.needs
    assert used is session.names[b"p"]
    assert spelled(unit) == run(meant.name.decode()) + SYNC
    assert unit.piece.unnamed is None


def test_an_unnamed_execute_that_fails_leaves_no_unnamed_statement(session: Session):
    prepared(session, ("p", "select 1"))
    session.receive(parse("", "EXECUTE p") + SYNC)
    unit = session.pending.popleft()
    unit.failed = True  # type: ignore[union-attr]

    unit.settle_names()  # type: ignore[union-attr]

    assert b"" not in session.names


def test_what_is_parsed_in_the_same_unit_need_not_be_taught(session: Session):
    unit = one(session, parse("p", "select 1") + parse("ex", "EXECUTE p") + run("ex") + SYNC)

    assert list(unit.piece.needs) == []
    assert [name for name, _ in unit.piece.taught] == [b"p", b"ex"]


def test_a_deallocate_takes_its_statement_when_it_is_executed(session: Session):
    prepared(session, ("x", "select 1"), ("d", "DEALLOCATE x"))
    mine = session.names[b"x"]

    assert not one(session, bind("d") + SYNC).piece.drops
    assert b"x" in session.names
    unit = one(session, run("d") + SYNC)

    [dropped] = unit.piece.drops
    assert dropped.query == b"/*%s*/" % mine.name
    assert b"x" not in session.names
    again = one(session, run("d") + SYNC)
    assert spelled(again) == run(name_of(session, "d")) + SYNC


def test_what_was_bound_for_names_that_are_gone_is_forgotten(session: Session):
    prepared(session, ("p", "select 1"))
    for number in range(20):
        prepared(session, (f"e{number}", "EXECUTE p"))
        one(session, run(f"e{number}") + close(f"e{number}") + SYNC)

    assert len(session.names.meant) < 5


def test_in_a_failed_transaction_a_text_means_what_it_says(session: Session):
    prepared(session, ("p", "select 1"), ("ex", "EXECUTE p"))
    session.tx = codes.FAILED

    unit = one(session, run("ex") + SYNC)

    assert spelled(unit) == run(name_of(session, "ex")) + SYNC
    setting = one(session, parse("", "SET rwsplit.route = primary") + run() + SYNC)
    assert parse("", "SET rwsplit.route = primary") in spelled(setting)


def test_an_execute_of_what_may_write_may_write(session: Session):
    prepared(session, ("w", "insert into t values (1)"), ("ex", "EXECUTE w"))

    unit = one(session, run("ex") + SYNC)

    assert unit.script is not None
    assert unit.script.primary_only is PrimaryOnly.MAY_WRITE


def test_errors_say_the_clients_name_and_place(session: Session):
    prepared(session, ("p", "select 1"))
    unit = one(session, query("EXECUTE p(nosuch)"))
    [used] = unit.piece.needs
    longer = len(used.name) - 1
    refused = error("42703")[:-1] + b"P%d\0\0" % (11 + longer)
    frame = refused[:1] + (len(refused) - 1).to_bytes(4, "big") + refused[5:]

    assert b"\0P11\0" in unit.reword(frame)
    said = error("42601", f'wrong number of parameters for "{used.name.decode()}"')
    assert b'for "p"' in unit.reword(said)


@pytest.mark.parametrize("what", ["SET rwsplit.route = primary", "SET rwsplit.max_lag = '1s'"])
def test_a_setting_of_rwsplits_is_applied_when_it_is_executed(session: Session, what: str):
    prepared(session, ("s", what))
    one(session, bind("s") + SYNC)
    assert (session.in_band.route, session.in_band.max_lag) == ("auto", None)

    one(session, run("s") + SYNC)

    assert (session.in_band.route, session.in_band.max_lag) != ("auto", None)
    one(session, parse("", "SET rwsplit.consistency = eventual") + run() + SYNC)
    assert session.in_band.consistency is ConsistencyLevel.EVENTUAL


@pytest.mark.parametrize("text", ["DEALLOCATE ALL", "PREPARE q AS SELECT 1", "EXECUTE q"])
@pytest.mark.parametrize("name", ["", "s"])
def test_what_names_nothing_of_the_protocol_is_judged_where_it_is_bound(
    session: Session, text: str, name: str
):
    unit = one(session, parse(name, text) + run(name) + SYNC)

    assert unit.script is session.scope.statements.lookup(text.encode())


def test_an_unnamed_statement_that_is_described_again_is_still_the_one_it_was(session: Session):
    one(session, parse("", "select 1") + describe("") + SYNC)
    own = session.names[b""]

    for _ in range(2):
        unit = one(session, describe("") + run() + SYNC)
        assert unit.piece.unnamed is own  # so the server that has it need not be taught it
    assert session.names[b""] is own
