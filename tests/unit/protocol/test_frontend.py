"""Messages of a client, byte by byte as the manual lays them out."""

from __future__ import annotations

from rwsplit.protocol import frontend


def test_a_query_is_its_text():
    assert frontend.query("select 1") == frontend.query(b"select 1") == b"Q\0\0\0\x0dselect 1\0"


def test_parse_names_the_statement_and_the_types_of_its_parameters():
    assert frontend.parse("s", "x", [23]) == b"P\0\0\0\x0es\0x\0\0\x01\0\0\0\x17"
    assert frontend.parse(b"", b"x") == b"P\0\0\0\x09\0x\0\0\0"


def test_bind_gives_values_and_formats():
    frame = frontend.bind("p", "s", [b"1", None], formats=[0, 1], result_formats=[1])

    assert frame == (
        b"B\0\0\0\x1d"
        + b"p\0s\0"
        + b"\0\x02\0\0\0\x01"
        + b"\0\x02\0\0\0\x011\xff\xff\xff\xff"
        + b"\0\x01\0\x01"
    )
    assert frontend.bind("", "") == b"B\0\0\0\x0c\0\0\0\0\0\0\0\0"


def test_statements_and_portals_are_described_and_closed_by_kind():
    assert frontend.describe(b"S", "a") == b"D\0\0\0\x07Sa\0"
    assert frontend.close(b"P", b"a") == b"C\0\0\0\x07Pa\0"


def test_execute_has_a_row_limit():
    assert frontend.execute() == b"E\0\0\0\x09\0\0\0\0\0"
    assert frontend.execute("p", 5) == b"E\0\0\0\x0ap\0\0\0\0\x05"


def test_messages_without_content_are_bare_headers():
    assert frontend.sync() == b"S\0\0\0\x04"
    assert frontend.flush() == b"H\0\0\0\x04"
    assert frontend.terminate() == b"X\0\0\0\x04"


def test_a_copy_fails_with_a_reason():
    assert frontend.copy_fail("no") == b"f\0\0\0\x07no\0"


def test_passwords_and_sasl_share_a_type():
    assert frontend.password_message("pw") == b"p\0\0\0\x07pw\0"
    assert frontend.sasl_initial_response("M", b"n,,") == b"p\0\0\0\x0dM\0\0\0\0\x03n,,"
    assert frontend.sasl_response(b"c=") == b"p\0\0\0\x06c="


def test_a_startup_message_lists_parameters():
    assert frontend.startup_message({"user": "u"}) == b"\0\0\0\x10\0\x03\0\0user\0u\0\0"


def test_the_requests_before_startup_have_numbers_for_versions():
    assert frontend.ssl_request() == b"\0\0\0\x08\x04\xd2\x16\x2f"
    assert frontend.gssenc_request() == b"\0\0\0\x08\x04\xd2\x16\x30"
    assert frontend.cancel_request(1, b"abcd") == b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01abcd"
