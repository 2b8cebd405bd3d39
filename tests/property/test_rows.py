"""A row is read as it was written; and no bytes make reading stumble."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from rwsplit.errors import ProtocolViolation
from rwsplit.protocol import backend
from rwsplit.protocol.framing import HEADER_SIZE
from rwsplit.protocol.rows import parse_row


@given(values=st.lists(st.none() | st.binary(max_size=40), max_size=20))
def test_values_are_read_as_they_were_written(values: list[bytes | None]) -> None:
    assert parse_row(backend.data_row(values)[HEADER_SIZE:]) == values


@given(payload=st.binary(max_size=60))
def test_random_bytes_are_a_row_or_a_violation(payload: bytes) -> None:
    try:
        values = parse_row(payload)
    except ProtocolViolation:
        return
    assert len(payload) == 2 + sum(4 + len(value or b"") for value in values)
