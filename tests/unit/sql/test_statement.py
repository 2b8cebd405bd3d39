"""What the statements of a text amount to together."""

from __future__ import annotations

import pytest

from rwsplit.sql.statement import (
    Cost,
    PrimaryOnly,
    Script,
    SessionState,
    Statement,
    Verb,
    strictest,
)


def test_the_strictest_reason_is_the_first_of_the_list():
    assert (
        strictest([PrimaryOnly.NEEDS_PRIMARY, None, PrimaryOnly.MAY_WRITE])
        is PrimaryOnly.MAY_WRITE
    )
    assert strictest([None]) is None


def test_a_script_sums_up():
    read = Statement(Verb.QUERY)
    last = Statement(Verb.DISCARD, state=SessionState.LISTEN, discards=True, needs_session=True)
    cost = Cost()
    both = Script((read, last), cost=cost)

    assert both.discards
    assert both.needs_session
    assert both.state is SessionState.LISTEN
    assert both.single is None
    assert both.cost is cost
    assert not both.controls_transaction
    assert Script((read,)).single is read


@pytest.mark.parametrize(
    ("statement", "special"),
    [
        (Statement(Verb.QUERY), False),
        (Statement(Verb.SET, setting="work_mem"), False),
        (Statement(Verb.SHOW, setting="rwsplit.last_route"), True),
        (Statement(Verb.EXECUTE, name="p"), True),
        (Statement(Verb.DEALLOCATE), True),
    ],
)
def test_a_script_knows_whether_it_names_something_of_rwsplits(statement, special):
    assert Script((statement,)).special is special


@pytest.mark.parametrize(
    "verb", [Verb.BEGIN, Verb.RELEASE, Verb.ROLLBACK_TO, Verb.PREPARE_TRANSACTION]
)
def test_transaction_control_is_recognised(verb):
    assert Script((Statement(verb),)).controls_transaction
