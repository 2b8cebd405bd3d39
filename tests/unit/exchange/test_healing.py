"""Which errors heal, where, and when."""

from __future__ import annotations

import pytest

from rwsplit.exchange.healing import (
    LOST,
    MOST_RESTARTS,
    NOT_REPLAYED,
    TABLE,
    Ailment,
    Condition,
    ailment_of,
    may_run_again,
)
from rwsplit.protocol.backend import error_response
from rwsplit.protocol.refusals import STALE_PLAN
from rwsplit.routing.route import RouteReason, Target


@pytest.mark.parametrize(
    ("states", "ailment"),
    [
        ("25006", Ailment.READ_ONLY),
        ("0A000", Ailment.UNSUPPORTED),
        ("55000", Ailment.PREREQUISITE),
        ("XX000", Ailment.INTERNAL),
        ("40001 40P01", Ailment.CONFLICT),
        ("42P01 42703 42883 3F000 42704", Ailment.UNDEFINED),
        ("57P01 57P02 57P03", Ailment.LEAVING),
        ("26000", Ailment.UNKNOWN_STATEMENT),
        ("57014", Ailment.CANCELLED),
        ("22P02 42501 23505", Ailment.OTHER),
    ],
)
def test_an_ailment_goes_by_the_sqlstate(states: str, ailment: Ailment):
    for state in states.split():
        assert ailment_of(error_response("ERROR", state, "message")) is ailment
        assert state in ailment.value or ailment is Ailment.OTHER


def test_a_stale_plan_has_the_state_of_what_is_not_supported():
    assert ailment_of(STALE_PLAN) is Ailment.STALE_PLAN


@pytest.mark.parametrize("ailment", Ailment)
def test_a_replica_has_the_last_word_on_nothing(ailment: Ailment):
    assert ailment in TABLE[True]


def test_the_primary_has_the_last_word_on_all_but_what_comes_of_sharing_servers():
    assert {*TABLE[False]} == {
        Ailment.LEAVING,
        Ailment.UNKNOWN_STATEMENT,
        Ailment.CANCELLED,
        Ailment.STALE_PLAN,
    }
    for ailment, cure in TABLE[False].items():
        assert TABLE[True][ailment] == cure


def test_what_a_replica_lacks_the_primary_may_have():
    undefined, other = TABLE[True][Ailment.UNDEFINED], TABLE[True][Ailment.OTHER]
    assert undefined.route is other.route is NOT_REPLAYED
    assert undefined.condition is Condition.PRIMARY_IS_THERE
    assert other.condition is Condition.MAY_BE_LATE


def test_only_what_writes_by_its_nature_is_remembered():
    remembered = {ailment for ailment, cure in TABLE[True].items() if cure.remembers}
    assert remembered == {Ailment.READ_ONLY, Ailment.UNSUPPORTED}
    for ailment in remembered:
        route = TABLE[True][ailment].route
        assert route is not None
        assert route.target is Target.PRIMARY
        assert route.reason is RouteReason.RETRIED_READ_ONLY


def test_a_node_is_blamed_for_what_runs_elsewhere():
    for cures in TABLE.values():
        for cure in cures.values():
            assert cure.blames == (cure.route is not None)
    assert TABLE[False][Ailment.LEAVING].route is LOST
    assert not TABLE[True][Ailment.CANCELLED].blames


def test_a_unit_runs_again_only_so_often():
    assert may_run_again(MOST_RESTARTS - 1)
    assert not may_run_again(MOST_RESTARTS)
