"""What a transaction has set for itself, and its savepoints: which of it is said again elsewhere, and how."""

from __future__ import annotations

import pytest

from rwsplit.protocol.framing import split
from rwsplit.session.prologue import Prologue, is_prologue, is_savepoint, said_again
from rwsplit.session.session import Session
from rwsplit.session.unit import Unit
from tests.support.messages import (
    FLUSH,
    SYNC,
    bind,
    close_statement,
    describe_portal,
    describe_statement,
    execute,
    parse,
    query,
)
from tests.unit.session.test_transaction import unit_of

RUN = execute() + SYNC
SET = "select set_config('app.tenant', $1, true)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("set local work_mem = '5MB'", True),
        ("set local search_path to a, b", True),
        ("set transaction read only", True),
        ("set transaction isolation level read committed", True),
        ("set transaction read write", False),
        ("set transaction isolation level repeatable read", False),
        ("set transaction snapshot 'x'", False),
        ("set local transaction_isolation = 'serializable'", False),
        ("set local role admin", False),
        ("set local session_replication_role = replica", False),
        ("set work_mem = '5MB'", False),
        ("select 1", False),
        ("set local a.b = 1; set local a.c = 2", False),
        ("select set_config('app.tenant', 'x', true)", True),
        ("select set_config('search_path', 'a', true), set_config('a.b', '1', true)", True),
        ("select set_config('role', 'x', true)", False),
        ("select set_config('a.b', '1', true), set_config('Role', 'x', true)", False),
        ("select set_config('transaction_read_only', 'on', true)", False),
        ("select set_config('a.b', 'x', false)", False),
    ],
)
def test_what_a_transaction_sets_for_itself(session: Session, text: str, expected: bool):
    unit = unit_of(session, query(text))
    assert unit.script is not None
    assert is_prologue(unit, unit.script) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("savepoint a", True),
        ("release a", True),
        ("rollback to savepoint a", True),
        ("select 1", False),
        ("savepoint a; select 1", False),
        ("rollback to a; select 1", False),
    ],
)
def test_what_is_a_savepoint(session: Session, text: str, expected: bool):
    unit = unit_of(session, query(text))
    assert unit.script is not None
    assert is_savepoint(unit, unit.script) is expected


def test_what_was_open_is_not_said_again(session: Session):
    unit = unit_of(session, parse("savepoint a") + bind() + RUN)
    assert unit.script is not None
    unit.piece.plan = []
    assert is_savepoint(unit, unit.script)
    unit.planned = 3
    assert not is_savepoint(unit, unit.script)


# How it is said again...

MOST = [parse(SET), bind(values=["x"]), execute(), SYNC]


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (b"", parse(SET) + bind(values=["x"]) + RUN),
        (b"", parse(SET) + describe_statement() + bind(values=["x"]) + describe_portal() + RUN),
        (b"", parse(SET, "s") + bind("s", ["x"]) + describe_portal() + RUN),
        (parse(SET, "s") + SYNC, bind("s", ["x"]) + describe_portal() + RUN),
        (parse(SET, "s") + describe_statement("s") + SYNC, bind("s", ["x"]) + RUN),
        (parse(SET, "s") + describe_statement("s") + FLUSH, bind("s", ["x"]) + RUN),
        (parse(SET) + describe_statement() + FLUSH, bind(values=["x"]) + RUN),
        (parse(SET) + SYNC, bind(values=["x"]) + RUN),
    ],
)
def test_what_it_has_by_name_is_parsed_without_one(
    session: Session, before: bytes, said: bytes
):
    if before:
        unit_of(session, before)
    unit = unit_of(session, said)

    assert unit.script is not None
    assert is_prologue(unit, unit.script)
    assert [m for part in said_again(unit.piece) for m in messages(part)] == MOST


def messages(part: bytes) -> list[bytes]:
    return [part[start:end] for _, start, end in split(part)]


def test_what_executes_nothing_may_run_where_the_transaction_is(session: Session):
    for asked in (parse(SET) + describe_statement() + FLUSH, parse(SET, "t") + SYNC):
        unit = unit_of(session, asked)
        assert unit.script is not None
        assert is_prologue(unit, unit.script)
        unit_of(session, close_statement("t") + SYNC)


# What is left of it...


@pytest.mark.parametrize(
    ("texts", "left", "savepoints"),
    [
        ("savepoint a", "savepoint a", True),
        ("savepoint a; release a", "", False),
        ("savepoint a; set local a.b = 1; release a", "set local a.b = 1", False),
        ("savepoint a; set local a.b = 1; rollback to a", "savepoint a", True),
        ("savepoint a; savepoint b; release a", "", False),
        ("savepoint a; savepoint b; release b", "savepoint a", True),
        ("savepoint a; savepoint b; rollback to a", "savepoint a", True),
        ("savepoint a; savepoint a; release a", "savepoint a", True),
        ("savepoint a; savepoint a; release a; release a", "", False),
        (
            "set local a.b = 1; savepoint a; set local a.b = 2; savepoint b; set local a.c = 3; release b",
            "set local a.b = 1; savepoint a; set local a.b = 2; set local a.c = 3",
            True,
        ),
        ("savepoint a; savepoint b; set local a.b = 1; rollback to b; release a", "", False),
        ("savepoint a; rollback to a; rollback to a; release a", "", False),
    ],
)
def test_what_a_savepoint_leaves_to_be_said_again(
    session: Session, texts: str, left: str, savepoints: bool
):
    prologue = Prologue()
    for text in texts.split("; "):
        add(session, prologue, text)

    assert [b"".join(frames) for frames in prologue] == [
        query(text) for text in left.split("; ") if text
    ]
    assert prologue.has_savepoints is savepoints
    assert len(prologue) == len([*prologue])


def test_savepoints_that_are_no_entries_are_known_all_the_same(session: Session):
    prologue = Prologue()
    note(session, prologue, "savepoint a; savepoint b")
    add(session, prologue, "savepoint c")

    add(session, prologue, "release b")
    assert [*prologue] == []
    assert prologue.has_savepoints

    note(session, prologue, "select 1; rollback to a; release a")
    assert not prologue.has_savepoints
    add(session, prologue, "release nobody")
    assert [*prologue] == [[query("release nobody")]]


def add(session: Session, prologue: Prologue, text: str) -> None:
    unit = one(session, text)
    assert unit.script is not None
    assert unit.script.single is not None
    prologue.add(unit, unit.script.single)


def note(session: Session, prologue: Prologue, text: str) -> None:
    unit = one(session, text)
    assert unit.script is not None
    prologue.note(unit.script.statements)


def one(session: Session, text: str) -> Unit:
    return unit_of(session, query(text))
