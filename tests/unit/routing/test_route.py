"""A verdict says where and why."""

from __future__ import annotations

from rwsplit.routing.route import Route, RouteReason, Target
from rwsplit.sql.statement import PrimaryOnly


def test_reasons_are_numbered_for_the_counters():
    assert [reason.number for reason in RouteReason] == list(range(len(RouteReason)))


def test_every_reason_is_a_sentence_of_its_own():
    sentences = [reason.value for reason in RouteReason]

    assert len(set(sentences)) == len(sentences)


def test_every_fact_that_demands_the_primary_is_a_reason():
    assert {fact.name for fact in PrimaryOnly} <= set(RouteReason.__members__)


def test_a_verdict_asks_for_nothing_else_unless_a_hint_does():
    assert Route(Target.REPLICA, RouteReason.READ) == (
        Target.REPLICA,
        RouteReason.READ,
        None,
        None,
        None,
    )
