"""What a node said when it let no server in."""

from __future__ import annotations

import attrs

from rwsplit.server.refused import Refused
from tests.support.refusals import refusal


def test_a_refusal_is_what_the_node_said():
    refused = Refused.by(refusal("28000", "no pg_hba.conf entry"), None, 7.0)

    assert (refused.sqlstate, refused.message) == ("28000", "no pg_hba.conf entry")
    assert refused.response == refusal("28000", "no pg_hba.conf entry").response
    assert str(refused) == "no pg_hba.conf entry (28000)"
    assert not refused.is_full
    assert str(attrs.evolve(refused, sqlstate="")) == "no pg_hba.conf entry"


def test_too_many_connections_are_fullness():
    assert Refused.by(refusal("53300", "too many"), None, 7.0).is_full


def test_the_same_reason_goes_on_and_another_begins_anew():
    first = Refused.by(refusal("3D000"), None, 1.0)
    again = Refused.by(refusal("3D000", "still"), first, 2.0)
    other = Refused.by(refusal("53300"), again, 3.0)

    assert (again.since, again.message) == (1.0, "still")
    assert other.since == 3.0


def test_a_node_that_says_nothing_is_quoted_by_what_was_made_of_it():
    error = refusal("3D000")
    error.response = b"E\0\0\0\x05\0"
    assert Refused.by(error, None, 0.0).message == str(error)
