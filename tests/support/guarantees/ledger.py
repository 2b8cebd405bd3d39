"""The ledger: what PostgreSQL has booked, against what the clients were told.

A trigger books every value that a transaction gives to a register, in that transaction. So an acknowledged write is booked once,
a failed one never, one of unknown outcome at most once; and nothing is booked that nobody wrote.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from tests.support.guarantees.history import Event, Outcome, Write


class Mistake(enum.Enum):
    """What is wrong with an entry."""

    LOST = "an acknowledged write is not there"
    TWICE = "a write was executed more than once"
    FAILED_BUT_THERE = "a write that failed is there"
    NOBODYS = "nobody wrote what is there"


class Misbooking(NamedTuple):
    """An entry that is there too often, or not often enough."""

    mistake: Mistake
    register: int
    value: int
    times: int
    write: Write | None


def misbookings(
    history: Iterable[Event], booked: Mapping[tuple[int, int], int]
) -> list[Misbooking]:
    """Return where *history* and the books differ; *booked*: how often by (register, value)."""
    return list(_misbookings(history, booked))


def _misbookings(
    history: Iterable[Event], booked: Mapping[tuple[int, int], int]
) -> Iterator[Misbooking]:
    known = set()
    for event in history:
        if not isinstance(event, Write):
            continue
        for place in event.entries:
            known.add(place)
            times = booked.get(place, 0)
            mistake = _mistake(event.outcome, times)
            if mistake is not None:
                yield Misbooking(mistake, *place, times, event)
    for place, times in booked.items():
        if place not in known:
            yield Misbooking(Mistake.NOBODYS, *place, times, None)


def _mistake(outcome: Outcome, times: int) -> Mistake | None:
    if times > 1:
        return Mistake.TWICE
    if times and outcome is Outcome.FAILED:
        return Mistake.FAILED_BUT_THERE
    if not times and outcome is Outcome.ACKNOWLEDGED:
        return Mistake.LOST
    return None
