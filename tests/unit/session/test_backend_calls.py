"""Calls of pg_terminate_backend and pg_cancel_backend: which are understood, and what is sent instead."""

from __future__ import annotations

import struct
from time import process_time

import pytest

from rwsplit.session.backend_calls import BackendCall, read_call, replace_call
from rwsplit.session.prepared import Prepared
from rwsplit.session.session import Session
from rwsplit.session.unit import Unit
from tests.support.frames import bind, describe, execute, message, parse, query, text
from tests.unit.session.pieces import one, spelled

SYNC = message("S")
TERMINATE = "select pg_terminate_backend($1)"


def bound(
    value: bytes | None, *, binary: bool | None = None, name: str = "", count: int = 1
) -> bytes:
    """Return a Bind of *count* times *value*; *binary* None: without any format."""
    formats = struct.pack("!h", 0) if binary is None else struct.pack("!hh", 1, binary)
    one = struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    values = struct.pack("!h", count) + one * count
    return message("B", text("", name) + formats + values + struct.pack("!h", 0))


def replaced(session: Session, unit: Unit, *, on_itself: bool = False) -> bytes:
    """Return what is sent instead of *unit*, as a server gets it that knows nothing."""
    call = read_call(unit)
    assert call is not None
    before = spelled(unit)
    identify = session.scope.prepared.get
    piece = replace_call(unit.piece, call, identify, on_itself=on_itself)
    assert spelled(unit) == before, "the unit stays what it is"
    again = Unit(session, unit.kind, piece, 0)
    return spelled(again)


@pytest.mark.parametrize(
    ("sql", "terminates"),
    [
        ("select pg_terminate_backend(42)", True),
        ("SELECT pg_catalog.PG_Terminate_Backend ( 42 ) ;", True),
        ("select pg_cancel_backend(42::int) as done", False),
        ("/* rwsplit: primary */ -- so\n select pg_cancel_backend(42)", False),
        ("-- so\r select pg_cancel_backend(42)", False),
    ],
)
def test_a_query_that_is_nothing_but_the_call_is_understood(
    session: Session, sql: str, terminates: bool
):
    unit = one(session, query(sql))
    assert unit.script is not None
    assert unit.script.signals
    assert read_call(unit) == BackendCall(terminates, 42, sql.encode(), None)


@pytest.mark.parametrize(
    "sql",
    [
        TERMINATE,
        "select pg_terminate_backend(42), 1",
        "select pg_terminate_backend(42) where false",
        "select pg_terminate_backend(42, 5)",
        "select pg_terminate_backend(-42)",
        "select 'pg_terminate_backend(42)'",
        "select pg_terminate_backend(42); select 1",
        "-- a comment ends here too\rinsert into t values (1);\nselect pg_terminate_backend(42)",
        "select pg_terminate_backend(42)" + " " * 1024,
    ],
)
def test_any_other_query_is_not(session: Session, sql: str):
    assert read_call(one(session, query(sql))) is None


@pytest.mark.parametrize(
    ("sql", "sent"),
    [
        ("select pg_terminate_backend(42)", "SELECT true AS pg_terminate_backend"),
        ("select pg_cancel_backend(42) as done", "SELECT true as done"),
    ],
)
def test_a_query_is_answered_true_by_the_column_s_name(session: Session, sql: str, sent: str):
    assert replaced(session, one(session, query(sql))) == query(sent)


def test_a_query_on_its_own_session_is_done_by_its_backend(session: Session):
    unit = one(session, query("select pg_cancel_backend(42)"))
    sent = (
        "SELECT pg_catalog.pg_cancel_backend(pg_catalog.pg_backend_pid()) AS pg_cancel_backend"
    )
    assert replaced(session, unit, on_itself=True) == query(sent)


@pytest.mark.parametrize(
    ("oids", "value", "binary"),
    [
        ((), b"42", None),
        ((), b"42", False),
        ((0,), b"\0\0\0\x2a", True),
        ((23,), b"\0\0\0\x2a", True),
        ((21,), b"\0\x2a", True),
    ],
)
def test_the_parameter_is_read_in_every_format(
    session: Session, oids: tuple[int, ...], value: bytes, binary: bool | None
):
    messages = parse("", TERMINATE, *oids) + bound(value, binary=binary) + execute() + SYNC
    call = read_call(one(session, messages))
    assert call is not None
    assert call.pid == 42


def test_a_wide_parameter_must_be_cast(session: Session):
    wide = struct.pack("!q", 42)
    ends = bound(wide, binary=True) + execute() + SYNC
    cast = "select pg_terminate_backend($1::int4)"
    call = read_call(one(session, parse("", cast, 20) + ends))
    assert call is not None
    assert call.pid == 42
    assert read_call(one(session, parse("", TERMINATE, 20) + ends)) is None


@pytest.mark.parametrize(
    "messages",
    [
        bound(None) + execute(),
        bound(b"x") + execute(),
        bound(b"4" * 5000) + execute(),
        message("B", b"\0\0\0") + execute(),
        message("B", b"\0\0\0\0\0\1\0\0\0\x09" + b"42") + execute(),
        bound(b"\0\x2a", binary=True) + execute(),
        bound(b"42", count=2) + execute(),
        bound(b"42") + bound(b"42") + execute(),
        bound(b"42") + execute() + execute(),
        bound(b"42"),
        bound(b"42") + execute(rows=1),
        bound(b"42", name="unknown") + execute(),
    ],
)
def test_what_else_is_bound_is_left_alone(session: Session, messages: bytes):
    assert read_call(one(session, parse("", TERMINATE) + messages + SYNC)) is None


def test_another_statement_is_left_alone(session: Session):
    messages = parse("", "select $1::int") + bound(b"42") + execute() + SYNC
    assert read_call(one(session, messages)) is None


def test_a_bind_without_a_statement_is_left_alone(session: Session):
    assert read_call(one(session, bound(b"42") + execute() + SYNC)) is None


def test_a_literal_that_is_parsed_is_understood(session: Session):
    unit = one(
        session, parse("", "select pg_terminate_backend(42)") + bind() + execute() + SYNC
    )
    assert replaced(session, unit) == (
        parse("", "SELECT true AS pg_terminate_backend") + bind() + execute() + SYNC
    )


def test_a_parse_without_a_name_takes_the_same_parameter(session: Session):
    ends = bound(b"42") + message("D", b"P\0") + execute() + SYNC
    unit = one(session, parse("", TERMINATE, 21) + ends)
    sent = "SELECT ($1)::pg_catalog.int4 IS NOT NULL AS pg_terminate_backend"
    assert replaced(session, unit) == parse("", sent, 21) + ends
    call = read_call(unit)
    assert call is not None
    piece = replace_call(unit.piece, call, session.scope.prepared.get, on_itself=False)
    assert piece.unnamed_parse is not None
    assert piece.unnamed_parse.query == sent.encode()
    assert session.names[b""].query == TERMINATE.encode()


def test_on_itself_the_parameter_is_taken_and_does_not_count(session: Session):
    ends = bound(b"42") + execute() + SYNC
    unit = one(session, parse("", "select pg_cancel_backend($1::int)") + ends)
    sent = (
        "SELECT pg_catalog.pg_cancel_backend(pg_catalog.pg_backend_pid() "
        "OPERATOR(pg_catalog.+) (0 OPERATOR(pg_catalog.*) ($1::int)))"
        " AS pg_cancel_backend"
    )
    assert replaced(session, unit, on_itself=True) == parse("", sent) + ends


def test_an_unnamed_statement_of_an_earlier_unit_is_replaced_for_this_one(session: Session):
    one(session, parse("", TERMINATE) + SYNC)
    unit = one(session, bound(b"42") + execute() + SYNC)
    call = read_call(unit)
    assert call is not None
    piece = replace_call(unit.piece, call, session.scope.prepared.get, on_itself=False)
    assert piece.unnamed is not None
    assert piece.unnamed.query.startswith(b"SELECT ($1)")
    assert piece.parts == unit.piece.parts


@pytest.mark.parametrize("apart", [False, True])
def test_a_named_statement_stays_and_another_is_bound(session: Session, apart: bool):
    parsed = parse("s", TERMINATE) + describe("s")
    if apart:
        one(session, parsed + SYNC)
        parsed = b""
    unit = one(session, parsed + bound(b"42", name="s") + execute() + SYNC)
    call = read_call(unit)
    assert call is not None
    assert call.prepared is session.names[b"s"]
    piece = replace_call(unit.piece, call, session.scope.prepared.get, on_itself=False)
    other = piece.needs[-1]
    assert other.query.startswith(b"SELECT ($1)")
    assert [part for part in piece.parts if isinstance(part, Prepared)] == (
        [] if apart else [call.prepared]
    )
    sent = b"".join(part for part in piece.parts if isinstance(part, bytes))
    assert bound(b"42", name=other.name.decode()) in sent
    assert piece.unnamed is None


def test_a_unit_that_is_open_is_left_alone(session: Session):
    unit = one(session, parse("", TERMINATE) + bound(b"42") + execute() + message("H"))
    assert unit.is_open
    assert read_call(unit) is None


def test_blanks_take_no_time(session: Session):
    blanks = " " * 900
    for sql in (
        f"{blanks}selec",
        f"select pg_terminate_backend(42{blanks}",
        f"{blanks};{blanks}",
    ):
        started = process_time()
        assert read_call(one(session, query(sql))) is None
        assert process_time() - started < 0.1
