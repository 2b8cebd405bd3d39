"""What is left of a session's state in its server."""

from __future__ import annotations

import pytest

from rwsplit.session.audit import COLUMNS, left
from rwsplit.session.pinning import SURE, UNSEEN, PinReason


def test_every_reason_is_seen_or_ends_with_the_transaction_or_stays():
    alone = [
        left([b"t" if n == i else b"f" for n in range(len(COLUMNS))])
        for i in range(len(COLUMNS))
    ]
    reasons = {reason for [reason] in alone}
    assert left([b"t"] * len(COLUMNS)) == [reason for [reason] in alone]
    with_transaction = {PinReason.SNAPSHOT, PinReason.LARGE_OBJECT}

    assert reasons | UNSEEN | with_transaction == set(PinReason)
    assert not reasons & (UNSEEN | with_transaction)
    assert reasons > SURE


def test_nothing_left_is_no_reason():
    assert left([b"f"] * len(COLUMNS)) == []


@pytest.mark.parametrize("column", COLUMNS)
def test_no_name_is_looked_up_by_the_sessions_search_path(column: str):
    for word in column.replace("(", " ").split():
        assert not word.startswith("pg_") or word.startswith("pg_catalog."), word
    assert " = " not in column
