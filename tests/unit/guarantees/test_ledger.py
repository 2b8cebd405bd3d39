"""The ledger finds writes that are lost, doubled, there against what was said, or nobody's."""

from __future__ import annotations

import pytest

from tests.support.guarantees.history import Event, Outcome, Read, Write
from tests.support.guarantees.ledger import Misbooking, Mistake, misbookings


def wrote(outcome: Outcome, *entries: tuple[int, int]) -> Write:
    return Write(1, entries, 0.0, 1.0, outcome)


@pytest.mark.parametrize(
    ("outcome", "times", "mistake"),
    [
        (Outcome.ACKNOWLEDGED, 0, Mistake.LOST),
        (Outcome.ACKNOWLEDGED, 1, None),
        (Outcome.ACKNOWLEDGED, 2, Mistake.TWICE),
        (Outcome.FAILED, 0, None),
        (Outcome.FAILED, 1, Mistake.FAILED_BUT_THERE),
        (Outcome.FAILED, 2, Mistake.TWICE),
        (Outcome.UNKNOWN, 0, None),
        (Outcome.UNKNOWN, 1, None),
        (Outcome.UNKNOWN, 2, Mistake.TWICE),
    ],
)
def test_a_write_is_booked_as_often_as_its_writer_was_told(
    outcome: Outcome, times: int, mistake: Mistake | None
):
    write = wrote(outcome, (3, 7))

    expected = [] if mistake is None else [Misbooking(mistake, 3, 7, times, write)]
    assert misbookings([write], {(3, 7): times} if times else {}) == expected


def test_what_nobody_wrote_is_not_booked():
    history: list[Event] = [Read(1, {3: 7}, 0.0, 1.0)]

    assert misbookings(history, {(3, 7): 1}) == [Misbooking(Mistake.NOBODYS, 3, 7, 1, None)]


def test_every_value_of_a_transaction_is_booked_the_overwritten_ones_too():
    write = wrote(Outcome.ACKNOWLEDGED, (0, 1), (0, 2), (1, 1))

    assert misbookings([write], {(0, 1): 1, (0, 2): 1, (1, 1): 1}) == []
    [missing] = misbookings([write], {(0, 2): 1, (1, 1): 1})
    assert (missing.register, missing.value) == (0, 1)
