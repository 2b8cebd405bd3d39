"""Which units may have committed what their session has written, as far as their texts tell."""

from __future__ import annotations

import pytest

from rwsplit.session.commits import commits, goes_on, has_committed
from rwsplit.session.knowledge import Knowledge
from rwsplit.session.stand_ins import OPAQUE, merge
from rwsplit.sql.script import Script


def facts(knowledge: Knowledge, text: str) -> Script:
    return knowledge.statements.lookup(text.encode())


@pytest.mark.parametrize(
    ("text", "is_commit"),
    [
        ("commit", True),
        ("commit and chain", True),
        ("end; begin", True),
        ("begin; update t set a = 1; commit; begin", True),
        ("commit prepared 'x'", True),
        ("call p()", True),
        ("do $$ begin commit; end $$", True),
        ("begin; update t set a = 1", False),
        ("rollback and chain", False),
        ("select 1; update t set a = 1", False),
        ("", False),
    ],
)
def test_what_may_commit_although_a_transaction_is_open_behind_it(
    knowledge: Knowledge, text: str, is_commit: bool
):
    script = facts(knowledge, text)
    assert commits(script) is is_commit
    assert has_committed(script, is_failed=False, is_over=False, has_more=False) is is_commit
    assert has_committed(script, is_failed=False, is_over=False, has_more=True)


@pytest.mark.parametrize(
    ("text", "is_commit"),
    [
        ("update t set a = 1", True),
        ("commit; select 1", True),
        ("rollback; update t set a = 1", True),
        ("update t set a = 1; rollback", True),  # nobody looks at the order
        ("prepare transaction 'x'", True),
        ("rollback", False),
        ("abort work", False),
        ("select 1; rollback; select 2", False),
    ],
)
def test_what_ends_outside_a_transaction_has_committed_unless_it_only_rolls_back(
    knowledge: Knowledge, text: str, is_commit: bool
):
    script = facts(knowledge, text)
    assert has_committed(script, is_failed=False, is_over=True, has_more=False) is is_commit


def test_a_rollback_with_what_a_replica_took_for_a_write_is_no_mere_rollback(
    knowledge: Knowledge,
):
    script = merge([facts(knowledge, "rollback"), facts(knowledge, "select 1")])
    script.cost.writes = True
    assert has_committed(script, is_failed=False, is_over=True, has_more=False)


@pytest.mark.parametrize(
    ("text", "does"),
    [
        ("rollback; update t set a = 1", True),
        ("commit; insert into t values (1)", True),
        ("rollback to s; commit", True),
        ("select 1; rollback", True),
        ("commit prepared 'x'", True),
        ("rollback", False),
        ("commit", False),
        ("commit and chain", False),
        ("rollback to s", False),
        ("update t set a = 1", False),
        ("select 1; select 2", False),
        ("", False),
    ],
)
def test_what_may_do_something_else_once_it_has_ended_a_transaction_that_failed(
    knowledge: Knowledge, text: str, does: bool
):
    script = facts(knowledge, text)
    assert goes_on(script) is does
    for is_over in (False, True):
        if not does:
            assert not has_committed(script, is_failed=True, is_over=is_over, has_more=False)


def test_a_write_behind_the_rollback_of_a_failed_transaction_is_one(knowledge: Knowledge):
    script = facts(knowledge, "rollback; update t set a = 1")
    assert has_committed(script, is_failed=True, is_over=True, has_more=False)
    assert not has_committed(
        facts(knowledge, "commit"), is_failed=True, is_over=True, has_more=False
    )


def test_what_nobody_can_read_may_have_committed():
    assert goes_on(OPAQUE)
    assert has_committed(OPAQUE, is_failed=True, is_over=False, has_more=False)
