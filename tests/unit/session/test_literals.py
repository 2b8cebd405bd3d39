"""String constants that mean the same whatever a session's parameters are."""

from __future__ import annotations

import pytest

from rwsplit.session.literals import literal


@pytest.mark.parametrize(
    ("text", "constant"),
    [
        ("", "E''"),
        ("it's", "E'it''s'"),
        ("a\\b", r"E'a\\b'"),
        ("tab\there", r"E'tab\u0009here'"),
        ("zażółć", r"E'za\u017c\u00f3\u0142\u0107'"),
        ("\N{GRINNING FACE}", r"E'\U0001f600'"),
        (b"\x83\\".decode("utf-8", "surrogateescape"), r"E'\x83\\'"),
    ],
)
def test_a_constant_is_ascii_and_cannot_be_left(text: str, constant: str):
    assert literal(text) == constant
    assert constant.isascii()


def test_each_character_is_plain_ascii_or_escaped():
    for point in range(0x110000):
        char = chr(point)
        inside = literal(f"a{char}b")[3:-2]
        if char.isascii() and char.isprintable() and char not in "'\\":
            assert inside == char
        elif char in "'\\":
            assert inside == 2 * char
        else:
            assert inside in {
                f"\\u{point:04x}",
                f"\\U{point:08x}",
                f"\\x{point - 0xDC00:02x}",
            }
