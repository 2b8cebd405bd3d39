"""Frames are found by their headers, and impossible lengths end the connection."""

from __future__ import annotations

import struct

import pytest

from rwsplit.errors import ProtocolViolation
from rwsplit.protocol import codes
from rwsplit.protocol.framing import MAX_LENGTH, check_length, frame, split
from tests.support.frames import SYNC, query, ready


def test_a_frame_is_a_type_byte_a_length_and_the_payload() -> None:
    assert frame(codes.QUERY, b"select 1\0") == query("select 1")
    assert frame(codes.SYNC, b"") == SYNC == b"S\0\0\0\4"


def test_frames_are_found_where_they_begin_and_end() -> None:
    data = query("select 1") + SYNC + ready()

    assert list(split(data)) == [
        (codes.QUERY, 0, 14),
        (codes.SYNC, 14, 19),
        (codes.READY, 19, 25),
    ]


@pytest.mark.parametrize("cut", range(1, 14))
def test_an_incomplete_last_frame_is_not_yielded(cut: int) -> None:
    assert list(split(SYNC + query("select 1")[:cut])) == [(codes.SYNC, 0, 5)]


def test_no_bytes_are_no_frames() -> None:
    assert list(split(b"")) == []


@pytest.mark.parametrize("length", [0, 3, 0x3FFFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_an_impossible_length_is_a_violation(length: int) -> None:
    with pytest.raises(ProtocolViolation, match="invalid message length"):
        list(split(b"Q" + struct.pack("!I", length)))


@pytest.mark.parametrize("length", [4, 5, MAX_LENGTH])
def test_every_length_postgresql_allows_is_allowed(length: int) -> None:
    check_length(codes.QUERY, length)
