"""What an error of a replica means for a statement of which nothing has been answered."""

from __future__ import annotations

from rwsplit.cluster.node import NEVER
from rwsplit.routing.healing import (
    BURST,
    CURES,
    NOT_REPLAYED,
    RATE,
    Allowance,
    may_be_unreplayed,
)
from rwsplit.routing.route import RouteReason, Target


def test_errors_with_a_meaning_of_their_own():
    assert CURES[b"25006"].route.reason is RouteReason.RETRIED_READ_ONLY
    assert CURES[b"25006"].remembers
    assert CURES[b"40001"].route.target is Target.REPLICA
    assert CURES[b"42P01"] is NOT_REPLAYED


def test_a_replica_behind_the_last_ddl_may_lack_it_however_often():
    allowance = Allowance()
    for _ in range(10 * BURST):
        assert may_be_unreplayed(
            fresh_until=4.0, sent=3.0, defined=4.0, now=5.0, allowance=allowance
        )


def test_a_replica_known_to_be_as_new_as_the_statement_lacks_nothing():
    assert not may_be_unreplayed(
        fresh_until=4.1, sent=4.0, defined=3.0, now=5.0, allowance=Allowance()
    )


def test_where_no_ddl_is_known_of_only_so_many_errors_are_asked_about_again():
    allowance = Allowance()

    def asked(now: float) -> int:
        tries = (
            may_be_unreplayed(
                fresh_until=NEVER, sent=4.0, defined=NEVER, now=now, allowance=allowance
            )
            for _ in range(2 * BURST)
        )
        return sum(tries)

    assert asked(5.0) == BURST
    assert asked(5.0) == 0
    assert asked(6.0) == RATE
    assert asked(1000.0) == BURST
