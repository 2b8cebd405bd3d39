"""What rwsplit answers itself is what PostgreSQL would say."""

from __future__ import annotations

import pytest

from rwsplit.protocol import codes
from rwsplit.protocol.framing import frame
from rwsplit.session.answers import answer
from rwsplit.session.piece import Piece
from rwsplit.session.session import Session
from rwsplit.session.stand_ins import NOTHING
from rwsplit.session.unit import Kind, Unit
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
from tests.unit.session.pieces import one as unit_of

BEGIN_T = frame(codes.COMMAND_COMPLETE, b"BEGIN\0") + frame(codes.READY, b"T")


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
