"""Transactions that are nowhere or on a replica: what may join them, and rwsplit's own answers."""

from __future__ import annotations

import pytest

from rwsplit.protocol import codes
from rwsplit.protocol.framing import frame
from rwsplit.session.prologue import MOST_REPEATED
from rwsplit.session.session import Session
from rwsplit.session.transaction import (
    Transaction,
    begin_frame,
)
from rwsplit.session.unit import Unit
from rwsplit.sql.classify import parse
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.script import Script
from tests.support.messages import (
    SYNC,
    bind,
    execute,
    parse as parse_message,
    query,
)

BOOK = FunctionBook()
BEGIN_T = frame(codes.COMMAND_COMPLETE, b"BEGIN\0") + frame(codes.READY, b"T")

RC = "read committed"


def script(text: str) -> Script:
    return parse(text.encode(), BOOK)


def unit_of(session: Session, data: bytes) -> Unit:
    session.receive(data)
    unit = session.pending.popleft()
    assert isinstance(unit, Unit)
    unit.settle_names()
    return unit


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select 1", True),
        ("commit", True),
        ("rollback", True),
        ("commit and chain", True),
        ("show work_mem", True),
        ("select pg_is_in_recovery()", True),  # if the policy does not say otherwise
        ("savepoint a", False),
        ("select now()", False),
        ("select current_date", False),
        ("select age(x) from t", False),
        ("insert into t values (1)", False),
        ("select f()", False),
        ("select * from t for share", False),
        ("declare c cursor for select 1", False),
        ("prepare transaction 'x'", False),
        ("select currval('s')", False),
    ],
)
def test_what_may_run_where_it_has_read_so_far(text: str, expected: bool):
    transaction = Transaction.may_write(script("begin").statements[0])
    assert transaction.stays(script(text)) is expected


def test_a_shape_a_replica_has_refused_may_not():
    transaction = Transaction.may_write(script("begin").statements[0])
    learned = script("select 1")
    learned.cost.writes = True
    assert not transaction.stays(learned)


@pytest.mark.parametrize(
    ("text", "on_primary", "on_replica"),
    [
        ("start transaction", b"BEGIN", b"BEGIN"),
        ("begin read write", b"BEGIN READ WRITE", b"BEGIN"),
        (
            "begin isolation level read committed deferrable",
            b"BEGIN ISOLATION LEVEL READ COMMITTED DEFERRABLE",
            b"BEGIN ISOLATION LEVEL READ COMMITTED DEFERRABLE",
        ),
        ("begin not deferrable", b"BEGIN NOT DEFERRABLE", b"BEGIN NOT DEFERRABLE"),
    ],
)
def test_how_it_begins(text: str, on_primary: bytes, on_replica: bytes):
    transaction = Transaction.may_write(script(text).statements[0])
    assert transaction.begin == [query(on_primary)]
    assert transaction.begin_on_replica == [query(on_replica)]
    assert (transaction.late, transaction.is_movable, transaction.snapshot) == (
        True,
        True,
        False,
    )


def test_a_read_only_one_begins_without_what_the_client_has_prepared_for_it(session: Session):
    data = query("begin isolation level repeatable read read only")
    transaction = Transaction.read_only(unit_of(session, data), RC)
    begin = [query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")]
    assert (transaction.begin, transaction.begin_on_replica) == (begin, begin)
    assert (transaction.late, transaction.is_movable, transaction.snapshot) == (
        False,
        True,
        True,
    )
    transaction = Transaction.read_only(
        unit_of(session, query("begin read only; select 1")), RC
    )
    assert (transaction.is_movable, transaction.snapshot) == (True, False)
    transaction = Transaction.read_only(
        unit_of(session, query("begin read only; savepoint a; select 1")), RC
    )
    assert not transaction.is_movable
    words = script("begin read only").statements[0]
    assert begin_frame(words, read_only=True) == query("BEGIN READ ONLY")


def nowhere(session: Session, text: str, isolation: str = RC) -> Transaction:
    unit = unit_of(session, query(text))
    assert unit.script is not None
    return Transaction.nowhere(unit.script.statements[0], unit, isolation)


@pytest.mark.parametrize(
    ("text", "default", "late", "snapshot"),
    [
        ("begin", RC, True, False),
        ("begin read only", RC, False, False),
        ("begin read only", "repeatable read", False, True),
        ("begin isolation level read committed read only", "repeatable read", False, False),
        ("begin isolation level repeatable read read only", RC, False, True),
    ],
)
def test_one_that_begins_nowhere_keeps_a_snapshot_if_its_isolation_says_so(
    session: Session, text: str, default: str, late: bool, snapshot: bool
):
    transaction = nowhere(session, text, default)
    assert (transaction.late, transaction.snapshot) == (late, snapshot)
    assert transaction.is_free
    transaction.reads = 1
    assert transaction.is_free is not snapshot


def test_one_that_has_a_savepoint_or_has_told_when_it_began_is_not_free(session: Session):
    for attribute in ("rooted", "tells_time"):
        transaction = nowhere(session, "begin read only")
        setattr(transaction, attribute, True)
        assert not transaction.is_free
    assert not Transaction.read_only(
        unit_of(session, query("begin read only; savepoint a")), RC
    ).is_free


def test_it_takes_along_what_it_has_set_and_its_savepoints_as_long_as_they_are_not_too_many(
    session: Session,
):
    transaction = nowhere(session, "begin read only")
    for text in ("savepoint a", "set local work_mem = 1", "select 1"):
        unit = unit_of(session, query(text))
        assert unit.script is not None
        assert transaction.takes_along(unit, unit.script) is (text != "select 1")
        assert not transaction.is_rooted_by(unit, unit.script)
    set_up(session, transaction, *(f"savepoint a{n}" for n in range(MOST_REPEATED)))
    for text, roots in (("savepoint a", True), ("set local work_mem = 1", False)):
        unit = unit_of(session, query(text))
        assert unit.script is not None
        assert not transaction.takes_along(unit, unit.script)
        assert transaction.is_rooted_by(unit, unit.script) is roots


def test_a_select_that_sets_is_not_taken_along_where_it_takes_the_snapshot(session: Session):
    unit = unit_of(session, query("select set_config('a.b', 'x', true)"))
    assert unit.script is not None
    for begin, expected in (
        ("begin", True),
        ("begin read only", True),
        ("begin isolation level repeatable read read only", False),
    ):
        assert nowhere(session, begin).takes_along(unit, unit.script) is expected


def test_modes_behind_a_savepoint_are_not_taken_along_by_one_that_may_write(session: Session):
    unit = unit_of(session, query("set transaction read only"))
    assert unit.script is not None
    for begin in ("begin", "begin read only"):
        transaction = nowhere(session, begin)
        assert transaction.takes_along(unit, unit.script)
        set_up(session, transaction, "savepoint a")
        assert transaction.takes_along(unit, unit.script) is (begin != "begin")
        set_up(session, transaction, "release a")
        assert transaction.takes_along(unit, unit.script)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select now()", True),
        ("savepoint a", True),
        ("commit and chain", True),
        ("commit; select 1", True),
        ("commit; begin read only", False),
        ("commit; begin", False),
        ("insert into t values (1)", False),
        ("listen a", False),
        ("select pg_is_in_recovery()", True),
        ("show in_hot_standby", True),
        ("commit; select pg_is_in_recovery()", False),
    ],
)
def test_what_a_read_only_one_may_run_where_it_is(session: Session, text: str, expected: bool):
    assert nowhere(session, "begin read only").stays(script(text)) is expected


def test_the_portal_of_a_read_only_begin_can_be_described(session: Session):
    unit = unit_of(session, parse_message("begin read only") + bind() + execute() + SYNC)
    assert unit.script is not None
    transaction = Transaction.nowhere(unit.script.statements[0], unit, RC)
    assert transaction.has_portal
    assert not nowhere(session, "begin read only").has_portal


@pytest.mark.parametrize(
    ("text", "late", "kept"),
    [
        ("select 1; commit; begin; select 2", True, False),
        ("rollback; begin; commit; begin", True, False),
        ("select 1; rollback; begin; select 2; begin", True, True),
        ("select 1; commit; begin read only; show work_mem", False, False),
        ("commit; begin isolation level repeatable read", True, False),
        ("commit; begin isolation level repeatable read read only; select 1", False, True),
        ("select 1; commit; begin; savepoint s", True, True),
    ],
)
def test_what_a_unit_begins_behind_the_end_of_another_transaction(
    session: Session, text: str, late: bool, kept: bool
):
    begun = Transaction.begun_anew(unit_of(session, query(text)), RC)
    assert begun is not None
    assert (begun.late, begun.is_kept) == (late, kept)
    assert opened(begun)[0].startswith(b"BEGIN")


@pytest.mark.parametrize("portal", ["", "p"])
def test_what_a_unit_begins_is_kept_by_a_portal_it_leaves(session: Session, portal: str):
    said = b"".join(parse_message(text) + bind() + execute() for text in ("commit", "begin"))
    said += parse_message("select 1") + bind(portal=portal) + execute(portal, limit=1) + SYNC
    begun = Transaction.begun_anew(unit_of(session, said), RC)
    assert begun is not None
    assert begun.is_kept is bool(portal)


@pytest.mark.parametrize(
    "text",
    [
        "select 1; begin",
        "begin; select 1; commit",
        "commit; select 1",
        "select 1; commit and chain",
        "commit and chain; begin",
    ],
)
def test_what_begins_no_other_transaction(session: Session, text: str):
    assert Transaction.begun_anew(unit_of(session, query(text)), RC) is None


def test_a_failed_one_can_be_ended_elsewhere_unless_a_savepoint_could_bring_its_snapshot_back(
    session: Session,
):
    said = unit_of(session, query("begin isolation level repeatable read read only"))
    made = Transaction.read_only(said, RC)
    made.reads = 1
    assert (made.is_free, made.can_end_elsewhere) == (False, True)
    set_up(session, made, "savepoint a")
    assert not made.can_end_elsewhere
    made.reads = 0
    assert made.can_end_elsewhere
    made.rooted = True
    assert not made.can_end_elsewhere


def opened(transaction: Transaction) -> list[bytes]:
    """Return the texts that begin *transaction* on the primary."""
    frames = transaction.opening(on_replica=False)
    return [text[5:-1] for frames_of_one in frames for text in frames_of_one]


def set_up(session: Session, transaction: Transaction, *texts: str) -> None:
    """Let *transaction* run *texts*, which it takes along."""
    for text in texts:
        unit = unit_of(session, query(text))
        assert unit.script is not None
        assert transaction.takes_along(unit, unit.script)
        transaction.note_end(unit, unit.script, codes.IN_TRANSACTION)


def test_what_it_has_set_comes_behind_its_begin(session: Session):
    transaction = Transaction.may_write(script("begin read write").statements[0])
    set_up(session, transaction, "set local work_mem = 1")
    transaction.modes = [[query("set transaction read only")]]
    assert opened(transaction) == [
        b"BEGIN READ WRITE",
        b"set transaction read only",
        b"set local work_mem = 1",
    ]
    assert transaction.opening(on_replica=True)[0] == [query("BEGIN")]


def test_the_modes_it_has_set_come_behind_its_begin_and_are_those_of_the_next_one(
    session: Session,
):
    transaction = nowhere(session, "begin")
    set_up(session, transaction, "set local work_mem = 1", "set transaction read only")
    modes = [b"BEGIN", b"set transaction read only"]
    assert opened(transaction) == [*modes, b"set local work_mem = 1"]

    assert opened(transaction.chained()) == [*modes, b"COMMIT AND CHAIN"]


@pytest.mark.parametrize("text", ["savepoint a", "set transaction read only"])
def test_what_is_only_parsed_is_not_said_again(session: Session, text: str):
    transaction = nowhere(session, "begin")
    for then, said_again in ((b"", []), (bind() + execute(), [text.encode()])):
        unit = unit_of(session, parse_message(text) + then + SYNC)
        assert unit.script is not None
        assert transaction.takes_along(unit, unit.script)

        transaction.note_end(unit, unit.script, codes.IN_TRANSACTION)

        again = transaction.opening(on_replica=False)[1:]
        assert [b"".join(frames) for frames in again] == [
            parse_message(each) + bind() + execute() + SYNC for each in said_again
        ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("declare c cursor for select 1; select 1/0", True),
        ("savepoint a; select 1/0", True),
        ("select 1; declare c cursor for nonsense", False),
        ("select 1; release nosuch", False),
        ("release a; select 1/0", False),
        ("select 1; select 1/0", False),
    ],
)
def test_what_a_unit_has_made_before_it_failed_ends_with_its_server(
    session: Session, text: str, expected: bool
):
    transaction = nowhere(session, "begin")
    unit = unit_of(session, query(text))
    assert unit.script is not None
    unit.failed = True

    assert transaction.is_rooted_by(unit, unit.script) is expected


def test_a_chained_one_has_the_modes_even_if_it_fails(session: Session):
    transaction = Transaction.may_write(script("begin").statements[0])
    set_up(session, transaction, "set local work_mem = 1")
    transaction.modes = [[query("set transaction read only")]]
    transaction = transaction.chained()
    inherited = [b"BEGIN", b"set transaction read only", b"COMMIT AND CHAIN"]
    assert opened(transaction) == inherited

    transaction.modes = [*transaction.modes, [query("set transaction read write")]]
    assert opened(transaction) == [*inherited, b"set transaction read write"]
    transaction.aborted = True
    assert opened(transaction.chained()) == inherited


def test_a_failed_one_is_chained_without_the_modes_it_has_set_itself(session: Session):
    transaction = Transaction.read_only(unit_of(session, query("begin read only")), RC)
    transaction.aborted = True
    transaction = transaction.chained()
    assert transaction.late
    assert opened(transaction) == [b"BEGIN"]
    transaction.aborted = True
    assert opened(transaction.chained()) == [b"BEGIN"]


def test_a_chained_read_only_one_stays_read_only_on_the_primary(session: Session):
    transaction = Transaction.read_only(
        unit_of(session, query("begin read only")), RC
    ).chained()
    assert not transaction.late
    assert opened(transaction) == [b"BEGIN READ ONLY", b"COMMIT AND CHAIN"]


@pytest.mark.parametrize("name", ["", "b"])
def test_its_portal_is_made_anew_where_nobody_knows_what_the_client_calls_it(
    session: Session, name: str
):
    unit = unit_of(session, parse_message("begin", name) + bind(name) + execute() + SYNC)
    transaction = Transaction.may_write(script("begin").statements[0], unit)
    [frames] = transaction.opening(on_replica=False, portal=True)
    assert b"".join(frames) == parse_message("BEGIN") + bind() + execute() + SYNC
    assert transaction.opening(on_replica=False) == [[query("BEGIN")]]
    simple = unit_of(session, query("begin"))
    transaction = Transaction.may_write(script("begin").statements[0], simple)
    assert transaction.opening(on_replica=False, portal=True) == [[query("BEGIN")]]


@pytest.mark.parametrize(
    ("begin", "text", "kept"),
    [
        ("begin isolation level repeatable read read only", "select 1", True),
        ("begin isolation level repeatable read read only", "show work_mem", False),
        ("begin read only", "select 1", False),
        ("begin read only", "declare c cursor for select 1", True),
        ("begin read only", "savepoint s", False),
        ("begin read only; savepoint s", "select 1", False),
    ],
)
def test_what_keeps_a_read_only_transaction_where_it_is_is_remembered(
    session: Session, begin: str, text: str, kept: bool
):
    transaction = Transaction.read_only(unit_of(session, query(begin)), RC)
    unit = unit_of(session, query(text))
    assert unit.script is not None

    transaction.note_read(unit, unit.script)
    transaction.note_read(unit_of(session, query("select 2, 3")), script("select 2, 3"))

    assert (transaction.kept_by is unit.script.cost) is kept


def test_a_portal_to_be_executed_further_keeps_it_too(session: Session):
    transaction = Transaction.read_only(unit_of(session, query("begin read only")), RC)
    for portal in ("", "p"):
        said = parse_message("select 1") + bind(portal=portal) + execute(portal, limit=1) + SYNC
        unit = unit_of(session, said)
        assert unit.script is not None
        transaction.note_read(unit, unit.script)
        assert transaction.rooted is bool(portal)
    assert transaction.kept_by is unit.script.cost


def test_what_kept_one_that_wanted_state_does_not_stay_on_a_replica_again(session: Session):
    transaction = Transaction.read_only(unit_of(session, query("begin read only")), RC)
    found = script("select 1")
    assert transaction.stays(found)
    found.cost.precedes_state = True
    assert not transaction.stays(found)
    assert Transaction.may_write(script("begin").statements[0]).stays(found)
