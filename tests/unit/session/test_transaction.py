"""Transactions that are nowhere or on a replica: what may join them, and rwsplit's own answers."""

from __future__ import annotations

import pytest

from rwsplit.protocol import codes
from rwsplit.protocol.framing import frame
from rwsplit.session.piece import Piece
from rwsplit.session.prologue import MOST_REPEATED
from rwsplit.session.session import Session
from rwsplit.session.stand_ins import NOTHING
from rwsplit.session.transaction import (
    Transaction,
    answer,
    begin_frame,
    ends_first,
    is_late,
    keeps_portal,
    opens_with_reads,
    sets_modes,
)
from rwsplit.session.unit import Kind, Unit
from rwsplit.sql.classify import parse
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.statement import Script
from tests.support.messages import (
    SYNC,
    bind,
    close_statement,
    describe_portal,
    describe_statement,
    execute,
    function_call,
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
        ("begin", True),
        ("BEGIN WORK;", True),
        ("start transaction isolation level read committed, read write", True),
        ("begin isolation level read uncommitted not deferrable", True),
        ("begin read only", True),
        ("begin isolation level repeatable read", False),
        ("begin isolation level repeatable read read only", True),
        ("begin isolation level serializable read only", False),
        ("/* rwsplit: max_lag=1s */ begin read only", True),
        ("/* rwsplit: max_lag=1s */ begin", False),
        ("begin isolation level serializable", False),
        ("begin isolation level", False),
        ("begin read write,", False),
        ("begin nonsense", False),
        ("start", False),
        ("/* rwsplit: primary */ begin", False),
        ("begin; select 1", False),
        ("commit", False),
        ("", False),
    ],
)
def test_which_transactions_may_wait_for_their_first_statement(text: str, expected: bool):
    assert is_late(script(text)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("begin; select 1", True),
        ("begin; select 1; show work_mem; explain select 2", True),
        ("begin; copy (select 1) to stdout", True),
        ("begin read write; select 1", False),
        ("begin; select now()", False),
        ("begin; show transaction_read_only", False),
        ("begin; select 1; commit", False),
        ("begin; delete from t", False),
        ("begin read only; select 1", False),
        ("select 1; begin", False),
        ("/* rwsplit: replica */ begin; select 1", False),
        ("begin", False),
    ],
)
def test_which_begin_and_read_in_one_go(text: str, expected: bool):
    assert opens_with_reads(script(text)) is expected


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
    ("text", "expected"),
    [
        ("commit; update t set a = 1", True),
        ("rollback; begin", True),
        ("commit", False),
        ("select 1; commit", False),
        ("", False),
    ],
)
def test_what_ends_its_transaction_before_it_does_anything_else(text: str, expected: bool):
    assert ends_first(script(text)) is expected


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
    ("text", "expected"),
    [
        ("begin read only", True),
        ("select 1; set transaction read only", True),
        ("set local work_mem = 1", False),
        ("commit", False),
    ],
)
def test_what_sets_modes(text: str, expected: bool):
    assert sets_modes(script(text)) is expected


def test_the_answer_in_the_simple_protocol(session: Session):
    assert answer(unit_of(session, query("begin")), "BEGIN", b"T") == BEGIN_T


def test_the_answer_in_the_extended_protocol_is_one_a_message(session: Session):
    one, two, three, no_data, none = (
        frame(code, payload)
        for code, payload in (
            (codes.PARSE_COMPLETE, b""),
            (codes.BIND_COMPLETE, b""),
            (codes.CLOSE_COMPLETE, b""),
            (codes.NO_DATA, b""),
            (codes.PARAMETER_DESCRIPTION, b"\0\0"),
        )
    )
    run = parse_message("begin") + bind() + describe_portal() + execute() + SYNC
    assert answer(unit_of(session, run), "BEGIN", b"T") == one + two + no_data + BEGIN_T
    run = parse_message("begin", "b") + describe_statement("b") + bind("b") + execute() + SYNC
    assert answer(unit_of(session, run), "BEGIN", b"T") == one + none + no_data + two + BEGIN_T
    run = bind("b", results=[1]) + execute() + close_statement("nobody") + SYNC
    expected = two + BEGIN_T[:-6] + three + BEGIN_T[-6:]
    assert answer(unit_of(session, run), "BEGIN", b"T") == expected


@pytest.mark.parametrize(
    "messages",
    [
        parse_message("begin") + SYNC,
        parse_message("") + bind() + execute() + parse_message("begin") + SYNC,
        parse_message("") + parse_message("begin", "b") + bind() + execute() + SYNC,
        parse_message("begin") + parse_message("", "b") + bind("b") + execute() + SYNC,
        parse_message("", "b") + bind("b") + execute() + parse_message("begin", "c") + SYNC,
        parse_message("begin") + bind(portal="p") + execute("p") + SYNC,
        parse_message("begin") + bind() + frame(codes.CLOSE, b"P\0") + execute() + SYNC,
        parse_message("begin") + bind(values=["1"]) + execute() + SYNC,
        parse_message("begin") + bind(formats=[1]) + execute() + SYNC,
        parse_message("begin") + bind() + execute("p") + SYNC,
        parse_message("begin") + bind() + execute(limit=1) + SYNC,
        parse_message("begin") + bind() + execute() + execute() + SYNC,
        parse_message("begin", "b")
        + parse_message("begin", "b")
        + bind("b")
        + execute()
        + SYNC,
    ],
)
def test_what_is_not_that_simple_is_left_to_postgresql(session: Session, messages: bytes):
    assert answer(unit_of(session, messages), "BEGIN", b"T") is None


def test_an_unknown_message_is_left_to_postgresql(session: Session):
    unit = Unit(session, Kind.EXTENDED, Piece([function_call(1)], NOTHING), 1)
    assert answer(unit, "BEGIN", b"T") is None


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


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (bind() + execute() + SYNC, False),
        (bind() + execute(limit=1) + SYNC, False),
        (bind() + execute(limit=1) + bind() + execute(limit=1) + SYNC, False),
        (bind() + execute(limit=1) + bind() + SYNC, True),
        (bind() + SYNC, True),
        (bind(portal="p") + execute("p", limit=1) + SYNC, True),
        (bind(portal="p") + bind() + execute(limit=1) + SYNC, True),
    ],
)
def test_which_portals_are_kept(session: Session, messages: bytes, expected: bool):
    assert keeps_portal(unit_of(session, parse_message("select 1") + messages)) is expected


def test_a_unit_that_goes_on_may_keep_the_portal_that_its_limit_has_stopped(session: Session):
    unit = unit_of(session, parse_message("select 1") + bind() + execute(limit=1) + SYNC)
    unit.is_open = True  # as if it had been sent on without its Sync
    assert keeps_portal(unit)


def test_what_kept_one_that_wanted_state_does_not_stay_on_a_replica_again(session: Session):
    transaction = Transaction.read_only(unit_of(session, query("begin read only")), RC)
    found = script("select 1")
    assert transaction.stays(found)
    found.cost.precedes_state = True
    assert not transaction.stays(found)
    assert Transaction.may_write(script("begin").statements[0]).stays(found)
