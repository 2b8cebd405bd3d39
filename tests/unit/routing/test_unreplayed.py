"""Whether an error of a replica may come of what it has not replayed."""

from __future__ import annotations

from rwsplit.cluster.node import NEVER
from rwsplit.routing.unreplayed import BURST, RATE, Allowance, may_be_unreplayed


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
