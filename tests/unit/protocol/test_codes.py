"""Codes are the manual's letters, and the sets agree with each other."""

from __future__ import annotations

from rwsplit.protocol import codes


def test_codes_are_the_letters_of_the_manual() -> None:
    assert bytes((codes.QUERY, codes.PARSE, codes.BIND, codes.EXECUTE, codes.SYNC)) == b"QPBES"
    assert bytes((codes.ROW_DESCRIPTION, codes.DATA_ROW, codes.COMMAND_COMPLETE)) == b"TDC"
    assert bytes((codes.READY, codes.ERROR, codes.NOTICE, codes.NOTIFICATION)) == b"ZENA"
    assert bytes((codes.IDLE, codes.IN_TRANSACTION, codes.FAILED)) == b"ITE"


def test_what_completes_a_message_is_passed_on_and_the_end_of_a_unit_is_not() -> None:
    assert codes.COMPLETES <= codes.PASSED_ON
    assert codes.READY not in codes.PASSED_ON
    assert codes.ERROR not in codes.PASSED_ON


def test_an_established_client_may_not_send_passwords() -> None:
    assert codes.PASSWORD not in codes.FRONTEND
    assert codes.QUERY in codes.FRONTEND
