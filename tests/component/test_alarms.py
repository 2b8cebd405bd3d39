"""Alarms ring when they are due, in whichever way the relay is driven."""

from __future__ import annotations

import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from rwsplit.app.host import Host
from rwsplit.relay.alarms import UNSET, Alarms
from rwsplit.relay.driving import Driver, Events, TrioDriver

PATIENCE = 10.0


def test_an_alarm_rings_once_each_time_it_is_set():
    alarms, rung = Alarms(), []
    one = alarms.add(lambda: rung.append("one"))
    other = alarms.add(lambda: rung.append("other"))
    assert alarms.next == UNSET
    one.set(5.0)
    other.set(3.0)
    assert alarms.next == 3.0

    alarms.ring(2.9)
    assert rung == []
    alarms.ring(3.0)
    assert (rung, alarms.next) == (["other"], 5.0)
    alarms.ring(9.0)
    alarms.ring(10.0)
    assert (rung, alarms.next) == (["other", "one"], UNSET)


def test_an_alarm_that_another_one_puts_off_or_removes_does_not_ring():
    alarms, rung = Alarms(), []
    first = alarms.add(lambda: (second.set(20.0), alarms.remove(third)))  # type: ignore[arg-type,return-value]
    second = alarms.add(lambda: rung.append("second"))
    third = alarms.add(lambda: rung.append("third"))
    for alarm in (first, second, third):
        alarm.set(1.0)
    alarms.ring(1.0)
    assert (rung, alarms.next) == ([], 20.0)
    second.clear()
    assert alarms.next == UNSET


def test_a_change_is_told_once():
    alarms, told = Alarms(), []
    alarms.on_change = lambda: told.append(alarms.next)
    alarm = alarms.add(lambda: None)
    alarm.set(2.0)
    alarm.set(2.0)
    alarms.add(lambda: None).set(7.0)
    assert told == [2.0]


def drive(kind: str, main):
    """Run *main* beside a driver of *kind* that serves its alarms and watched sockets."""

    async def bounded(driver: Driver):
        def turn(events: Events) -> None:
            for fd, _ in events:
                if fd in driver.watched:
                    driver.watched[fd]()

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(driver.drive, turn)
                await wait_all_tasks_blocked()
                result = await main(driver)
                nursery.cancel_scope.cancel()
        driver.close()
        return result

    if kind == "host":
        host = Host()
        return host.run(bounded, host)

    async def with_driver():
        return await bounded(TrioDriver())

    return trio.run(with_driver)


@pytest.fixture(params=["host", "task"])
def driven(request: pytest.FixtureRequest):
    return lambda main: drive(request.param, main)


def test_a_driver_rings_in_time_while_nothing_else_happens(driven):
    async def main(driver: Driver) -> list[float]:
        rung: list[float] = []
        done = trio.Event()

        def ring() -> None:
            rung.append(trio.current_time())
            if len(rung) < 3:
                alarm.set(rung[0] + 0.02 * len(rung))
            else:
                done.set()

        alarm = driver.alarms.add(ring)
        alarm.set(trio.current_time() + 30)
        due = trio.current_time() + 0.02
        alarm.set(due)  # earlier than what the driver waits for by now
        await done.wait()
        driver.alarms.remove(alarm)
        return [at - due for at in rung]

    late = driven(main)
    assert late[0] >= 0
    assert late[1] >= 0.02
    assert late[2] >= 0.04


def test_a_watched_socket_is_served_until_it_is_unwatched(driven):
    async def main(driver: Driver) -> list[bytes]:
        ours, theirs = socket.socketpair()
        heard: list[bytes] = []
        with ours, theirs:
            fd = ours.fileno()
            event = trio.Event()

            def ready() -> None:
                heard.append(ours.recv(10))
                event.set()

            driver.watch(fd, ready)
            theirs.send(b"one")
            await event.wait()
            driver.unwatch(fd)
            driver.unwatch(fd)
            theirs.send(b"two")
            await trio.sleep(0.02)
        return heard

    assert driven(main) == [b"one"]


def test_a_socket_that_was_closed_first_can_be_unwatched(driven):
    async def main(driver: Driver) -> int:
        ours, theirs = socket.socketpair()
        fd = ours.fileno()
        driver.watch(fd, lambda: None)
        ours.close()
        theirs.close()
        driver.unwatch(fd)
        return len(driver.watched)

    assert driven(main) == 0


def test_an_alarm_that_fails_fails_who_drives(driven):
    async def main(driver: Driver) -> None:
        def fail() -> None:
            raise ZeroDivisionError

        driver.alarms.add(fail).set(trio.current_time())
        await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        driven(main)
    assert caught.group_contains(ZeroDivisionError)
