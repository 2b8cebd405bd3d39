"""How many of a crowd go on in one pass of the scheduler."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest
import trio

from rwsplit.server.pace import Pace
from tests.support.passes import Passes


@pytest.fixture
async def passes() -> AsyncIterator[Passes]:
    with Passes() as counted:
        yield counted


async def test_who_comes_alone_does_not_wait(passes):
    pace = Pace(4)
    before = passes.number
    await pace.step()
    assert passes.number == before


async def test_a_thousand_at_once_take_many_passes(passes):
    pace = Pace(4)
    went: Counter[int] = Counter()

    async def go() -> None:
        await pace.step()
        went[passes.number] += 1

    async with trio.open_nursery() as nursery:
        for _ in range(1000):
            nursery.start_soon(go)

    assert went.total() == 1000
    # A new allowance may begin in the middle of a pass.
    assert max(went.values()) <= 8
    assert pace.waiting == 0


async def test_who_is_cancelled_while_waiting_takes_nobodys_place():
    pace = Pace(1)
    went: list[int] = []

    async def go(number: int) -> None:
        await pace.step()
        went.append(number)

    await pace.step()
    with trio.CancelScope() as scope:
        scope.cancel()
        await pace.step()
    assert scope.cancelled_caught
    assert pace.waiting == 0
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(go, number)
    assert sorted(went) == [0, 1, 2, 3, 4]


def test_one_pace_serves_several_runs_of_trio():
    pace = Pace(2)

    async def crowd() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(pace.step)

    async def interrupted() -> None:
        # The run ends before its next pass begins.
        await pace.step()
        await pace.step()

    trio.run(crowd)
    trio.run(interrupted)
    trio.run(crowd)
    assert pace.waiting == 0
