"""Which scripts begin transactions, end them or set them up."""

from __future__ import annotations

import pytest

from rwsplit.session.boundaries import (
    ends,
    ends_first,
    ends_one,
    is_late,
    opens_with_reads,
    sets_modes,
    takes_snapshot,
)
from rwsplit.sql.classify import parse
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.script import Script

BOOK = FunctionBook()


def script(text: str) -> Script:
    return parse(text.encode(), BOOK)


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


@pytest.mark.parametrize(
    ("text", "alone", "at_all"),
    [
        ("commit", True, True),
        ("rollback", True, True),
        ("commit and chain", False, True),
        ("select 1", False, False),
    ],
)
def test_what_ends_its_transaction_and_what_begins_another_by_that(
    text: str, alone: bool, at_all: bool
):
    ended = script(text)
    assert ended.single is not None
    assert ends(ended) is alone
    assert ends_one(ended.single) is at_all
    assert not ends(script(f"{text}; select 1"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select 1", True),
        ("show work_mem; select 1", True),
        ("show work_mem", False),
        ("set local work_mem = '6MB'", False),
        ("savepoint a", False),
    ],
)
def test_what_takes_a_snapshot(text: str, expected: bool):
    assert takes_snapshot(script(text)) is expected
