"""Messages of a server, byte by byte as the manual lays them out."""

from __future__ import annotations

from rwsplit.protocol import backend
from rwsplit.protocol.backend import Column
from rwsplit.protocol.fields import parse_error_fields


def test_an_error_carries_only_the_fields_it_has():
    frame = backend.error_response("ERROR", "42601", "what?")

    assert frame == b"E\0\0\0\x21SERROR\0VERROR\0C42601\0Mwhat?\0\0"
    assert parse_error_fields(frame[5:]) == {
        "S": "ERROR",
        "V": "ERROR",
        "C": "42601",
        "M": "what?",
    }


def test_a_notice_differs_from_an_error_in_its_type():
    frame = backend.notice_response("WARNING", "01000", "mind", detail="the", hint="gap")

    assert frame[:1] == b"N"
    assert parse_error_fields(frame[5:]) == {
        "S": "WARNING",
        "V": "WARNING",
        "C": "01000",
        "M": "mind",
        "D": "the",
        "H": "gap",
    }


def test_ready_for_query_says_the_transaction_status():
    assert backend.ready_for_query(b"T") == b"Z\0\0\0\x05T"


def test_a_command_completes_with_its_tag():
    assert backend.command_complete("SELECT 1") == b"C\0\0\0\x0dSELECT 1\0"


def test_completions_without_content_are_bare_headers():
    assert backend.empty_query_response() == b"I\0\0\0\x04"
    assert backend.parse_complete() == b"1\0\0\0\x04"
    assert backend.bind_complete() == b"2\0\0\0\x04"
    assert backend.close_complete() == b"3\0\0\0\x04"
    assert backend.no_data() == b"n\0\0\0\x04"
    assert backend.portal_suspended() == b"s\0\0\0\x04"


def test_parameters_are_described_by_their_types():
    assert backend.parameter_description([23, 25]) == b"t\0\0\0\x0e\0\x02\0\0\0\x17\0\0\0\x19"


def test_a_parameter_status_is_a_name_and_a_value():
    assert backend.parameter_status("a", "b") == b"S\0\0\0\x08a\0b\0"


def test_a_cancel_key_may_be_of_any_length():
    assert backend.backend_key_data(7, b"abcd") == b"K\0\0\0\x0c\0\0\0\x07abcd"
    assert backend.backend_key_data(-1, b"k" * 32) == b"K\0\0\0\x28\xff\xff\xff\xff" + b"k" * 32


def test_columns_are_text_of_no_table_unless_said_otherwise():
    frame = backend.row_description([Column("a"), Column("n", 20, 8, 3)])

    assert frame == (
        b"T\0\0\0\x2e\0\x02"
        b"a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
        b"n\0\0\0\0\0\0\0\0\0\0\x14\0\x08\0\0\0\x03\0\0"
    )


def test_null_is_a_length_of_minus_one():
    assert backend.data_row([b"x", None, b""]) == (
        b"D\0\0\0\x13\0\x03\0\0\0\x01x\xff\xff\xff\xff\0\0\0\0"
    )


def test_every_authentication_request_has_its_code():
    assert backend.authentication_ok() == b"R\0\0\0\x08\0\0\0\0"
    assert backend.authentication_cleartext_password() == b"R\0\0\0\x08\0\0\0\x03"
    assert backend.authentication_md5_password(b"salt") == b"R\0\0\0\x0c\0\0\0\x05salt"
    assert backend.authentication_sasl(["A", "B"]) == b"R\0\0\0\x0d\0\0\0\x0aA\0B\0\0"
    assert backend.authentication_sasl_continue(b"r=x") == b"R\0\0\0\x0b\0\0\0\x0br=x"
    assert backend.authentication_sasl_final(b"v=x") == b"R\0\0\0\x0b\0\0\0\x0cv=x"


def test_the_negotiated_version_is_whole_as_postgresql_sends_it():
    frame = backend.negotiate_protocol_version(2, ["_pq_.a"])

    assert frame == b"v\0\0\0\x13\0\x03\0\x02\0\0\0\x01_pq_.a\0"
