"""What a statement returns, as far as it counts: names and types of columns, types of parameters."""

from __future__ import annotations

import pytest

from rwsplit.protocol import codes
from rwsplit.protocol.backend import Column, row_description
from rwsplit.protocol.looks import Look, Shape, hash_columns
from tests.support.frames import NO_DATA, message

A = row_description([Column("a", 23), Column("b", 25)])


def test_the_same_columns_are_the_same_wherever_they_come_from():
    other = bytearray(A)
    at = A.index(b"a\0") + 2
    other[at : at + 6] = b"\0\0\x40\0\0\1"  # of a table

    assert hash_columns(bytes(other)) == hash_columns(A)
    assert len(hash_columns(A)) == 16


@pytest.mark.parametrize(
    "columns",
    [
        [Column("a", 23)],
        [Column("a", 23), Column("b", 25), Column("c", 25)],
        [Column("a", 20), Column("b", 25)],
        [Column("a", 23), Column("c", 25)],
        [Column("a", 23), Column("b", 25, type_modifier=7)],
    ],
)
def test_other_columns_are_others(columns: list[Column]):
    assert hash_columns(row_description(columns)) != hash_columns(A)


@pytest.mark.parametrize("payload", [b"", b"\0\1", b"\0\1a", b"\0\1a\0\0\0"])
def test_what_is_no_description_is_equal_to_itself_only(payload: bytes):
    broken = message("T", payload)

    assert hash_columns(broken) == hash_columns(broken)
    assert hash_columns(broken) != hash_columns(A)


def test_a_look_takes_in_parameters_and_columns():
    seen: list[Look] = []
    look = Look(seen.append)

    look.take(codes.PARAMETER_DESCRIPTION, message("t", b"\0\1\0\0\0\x17"))
    assert look.shape is None
    assert not seen
    look.take(codes.ROW_DESCRIPTION, A)

    assert look.shape == Shape(b"\0\1\0\0\0\x17", hash_columns(A))
    assert seen == [look]


def test_what_returns_nothing_has_no_columns():
    look = Look(lambda _: None)

    look.take(codes.NO_DATA, NO_DATA)

    assert look.shape == Shape(b"\0\0", b"")
