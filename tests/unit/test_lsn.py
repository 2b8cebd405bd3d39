"""LSNs as text and as numbers, and the page boundary."""

from __future__ import annotations

import pytest

from rwsplit.lsn import LSN, format_lsn, normalise_insert_lsn, parse_lsn

BLOCK = 8192
SEGMENT = 16 * 1024 * 1024


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0/0", 0),
        ("0/16B3748", 0x16B3748),
        ("16/B374D848", 0x16_B374D848),
        ("FFFFFFFF/FFFFFFFF", 2**64 - 1),
    ],
)
def test_text_and_number_are_the_same_position(text: str, number: int):
    assert parse_lsn(text) == number
    assert format_lsn(number) == text


def test_lower_case_is_read():
    assert parse_lsn("a/b") == 0xA_0000000B


@pytest.mark.parametrize(
    "text", ["", "0", "/", "0/", "/0", "0/123456789", "123456789/0", "x/0"]
)
def test_anything_else_is_refused(text: str):
    with pytest.raises(ValueError, match=r"LSN|invalid literal"):
        parse_lsn(text)


@pytest.mark.parametrize(
    ("reported", "meant"),
    [
        (SEGMENT + BLOCK + 24, SEGMENT + BLOCK),
        (SEGMENT + BLOCK + 25, SEGMENT + BLOCK + 25),
        (SEGMENT + BLOCK, SEGMENT + BLOCK),
        (SEGMENT + BLOCK + 40, SEGMENT + BLOCK + 40),
        (SEGMENT + 40, SEGMENT),
        (SEGMENT + 24, SEGMENT + 24),
        (SEGMENT + 5 * BLOCK + 24, SEGMENT + 5 * BLOCK),
        (7 * SEGMENT + 40, 7 * SEGMENT),
    ],
)
def test_a_position_just_behind_a_page_header_is_the_page_boundary(reported: int, meant: int):
    found = normalise_insert_lsn(LSN(reported), block_size=BLOCK, segment_size=SEGMENT)

    assert found == meant
