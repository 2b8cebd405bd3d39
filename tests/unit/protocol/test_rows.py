"""The values of a row."""

from __future__ import annotations

import pytest

from rwsplit.errors import ProtocolViolation
from rwsplit.protocol.rows import parse_row


def test_values_are_what_is_on_the_wire_and_null_is_none():
    payload = b"\0\x03\0\0\0\x02on\xff\xff\xff\xff\0\0\0\0"

    assert parse_row(payload) == [b"on", None, b""]


def test_a_row_may_have_no_values():
    assert parse_row(b"\0\0") == []


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "ends before its last value"),
        (b"\0\x01", "ends before its last value"),
        (b"\0\x01\0\0\0", "ends before its last value"),
        (b"\0\x01\0\0\0\x02x", "do not add up"),
        (b"\0\x01\0\0\0\x01xy", "do not add up"),
        (b"\0\0x", "do not add up"),
    ],
)
def test_lengths_that_do_not_add_up_are_a_violation(payload, words):
    with pytest.raises(ProtocolViolation, match=words):
        parse_row(payload)
