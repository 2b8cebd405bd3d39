"""Zero-terminated strings and the fields of errors."""

from __future__ import annotations

import pytest

from rwsplit.errors import ProtocolViolation
from rwsplit.protocol.backend import error_response
from rwsplit.protocol.fields import (
    cstring,
    parse_error_fields,
    printable,
    sqlstate_of,
    text_of,
)


def test_a_string_ends_in_a_zero_byte():
    assert cstring("abc") == cstring(b"abc") == b"abc\0"


def test_a_zero_byte_inside_a_string_ends_it():
    assert cstring("a\0bc") == b"a\0"


def test_bytes_that_are_not_utf8_survive_a_round_trip():
    assert cstring(text_of(b"x\xe9")) == b"x\xe9\0"


def test_what_was_not_utf8_can_be_printed():
    assert printable(text_of(b"x\xe9")) == "x\\udce9"
    assert printable("é") == "é"


def test_an_error_is_read_field_by_field():
    frame = error_response("FATAL", "28P01", "no", detail="d", hint="h")

    assert parse_error_fields(frame[5:]) == {
        "S": "FATAL",
        "V": "FATAL",
        "C": "28P01",
        "M": "no",
        "D": "d",
        "H": "h",
    }


def test_fields_may_end_without_the_closing_zero():
    assert parse_error_fields(b"SERROR\0") == {"S": "ERROR"}
    assert parse_error_fields(b"") == {}


def test_a_field_without_an_end_breaks_the_protocol():
    with pytest.raises(ProtocolViolation, match="terminating zero"):
        parse_error_fields(b"SERROR")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_the_sqlstate_is_found_in_a_whole_frame(kind):
    assert sqlstate_of(kind(error_response("ERROR", "25006", "read only"))) == "25006"


@pytest.mark.parametrize(
    "payload", [b"", b"\0", b"SERROR\0\0", b"SERROR\0Mtext\0", b"SERROR", b"C25006"]
)
def test_an_error_without_a_sqlstate_has_an_empty_one(payload):
    assert sqlstate_of(b"E\0\0\0\0" + payload) == ""
