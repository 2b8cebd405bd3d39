"""What statement mode asks of a session."""

from __future__ import annotations

import pytest

from rwsplit.session.autocommit import leaves_open
from rwsplit.session.knowledge import Knowledge


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("select 1", False),
        ("", False),
        ("begin", True),
        ("start transaction read only", True),
        ("begin; insert into t values (1); commit", False),
        ("begin; rollback; begin", True),
        ("begin; commit and chain", True),
        ("begin; prepare transaction 'x'", False),
        ("rollback", False),
        ("begin; savepoint s; rollback to s", True),
    ],
)
def test_a_transaction_that_outlives_its_script_is_seen(
    knowledge: Knowledge, text: str, is_open: bool
):
    assert leaves_open(knowledge.statements.lookup(text.encode())) is is_open
