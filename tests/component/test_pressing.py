"""A driver takes turns although nothing is ready while something is left over, and tasks and alarms get theirs in between."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from rwsplit.app.host import Host
from rwsplit.relay.driving import Driver, Events, TrioDriver

PATIENCE = 20.0
TURNS = 50


@pytest.fixture(params=["host", "task"])
def drive(request: pytest.FixtureRequest):
    """Run a main function beside a driver, which calls the turn that function returns."""

    def run(main):
        async def bounded(driver: Driver):
            with trio.fail_after(PATIENCE):
                result = await main(driver)
            driver.close()
            return result

        if request.param == "host":
            host = Host()
            return host.run(bounded, host)

        async def with_driver():
            return await bounded(TrioDriver())

        return trio.run(with_driver)

    return run


def test_turns_follow_one_another_until_nothing_is_left_over(drive):
    async def main(driver: Driver) -> tuple[int, int, int]:
        turns = steps = rung = 0
        done = trio.Event()

        def turn(_: Events) -> None:
            nonlocal turns
            turns += 1
            driver.pressed = turns < TURNS
            if not driver.pressed:
                done.set()

        def ring() -> None:
            nonlocal rung
            rung += 1
            alarm.set(trio.current_time())

        async def step() -> None:
            nonlocal steps
            while True:
                await trio.lowlevel.checkpoint()
                steps += 1

        alarm = driver.alarms.add(ring)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.drive, turn)
            await wait_all_tasks_blocked()
            driver.press()
            alarm.set(trio.current_time())
            nursery.start_soon(step)
            await done.wait()
            nursery.cancel_scope.cancel()
        alarm.clear()
        return turns, steps, rung

    turns, steps, rung = drive(main)
    assert turns == TURNS
    assert steps >= TURNS // 4
    assert rung >= TURNS // 4


def test_a_task_that_presses_wakes_the_driver(drive):
    async def main(driver: Driver) -> int:
        turns = 0
        taken = trio.Event()

        def turn(_: Events) -> None:
            nonlocal turns, taken
            turns += 1
            driver.pressed = False
            taken.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.drive, turn)
            for _ in range(3):
                await wait_all_tasks_blocked()
                taken = trio.Event()
                driver.press()
                driver.press()
                await taken.wait()
            nursery.cancel_scope.cancel()
        return turns

    assert drive(main) >= 3


def test_a_turn_that_fails_while_something_is_left_over_ends_the_turns(drive):
    async def main(driver: Driver) -> str:
        def turn(_: Events) -> None:
            driver.pressed = True
            raise ZeroDivisionError

        driver.press()
        with pytest.raises(ZeroDivisionError):
            await driver.drive(turn)
        return "told"

    assert drive(main) == "told"
