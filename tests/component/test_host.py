"""The host's loop: trio as its guest, a relay's turns in between."""

from __future__ import annotations

import os
import select
import signal
import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from rwsplit.app.host import Host
from rwsplit.relay.driving import Events

PATIENCE = 10.0


def run(main, *args):
    """Run *main* with a deadline under a host of its own."""
    host = Host()

    async def bounded():
        with trio.fail_after(PATIENCE):
            return await main(host, *args)

    return host.run(bounded)


def test_what_the_program_returns_or_raises_comes_out():
    async def returns(_host):
        await trio.lowlevel.checkpoint()
        return 7

    async def fails(_host):
        await trio.lowlevel.checkpoint()
        raise KeyError("x")

    assert run(returns) == 7
    with pytest.raises(KeyError):
        run(fails)


def test_turns_are_taken_while_tasks_wait_and_may_wake_them():
    async def main(host: Host):
        ours, theirs = socket.socketpair()
        heard = trio.Event()
        said: list[bytes] = []

        def turn(events: Events) -> None:
            if any(fd == ours.fileno() for fd, _ in events):
                said.append(ours.recv(10))
                heard.set()

        with ours, theirs:
            async with trio.open_nursery() as nursery:
                host.epoll.register(ours.fileno(), select.EPOLLIN)
                nursery.start_soon(host.drive, turn)
                await wait_all_tasks_blocked()
                theirs.send(b"hello")
                await heard.wait()
                host.epoll.unregister(ours.fileno())
                nursery.cancel_scope.cancel()
        return said

    assert run(main) == [b"hello"]


def test_a_turn_may_start_tasks_and_move_deadlines():
    async def main(host: Host):
        ours, theirs = socket.socketpair()
        started = trio.Event()
        scope = trio.CancelScope()

        async def task() -> None:
            started.set()

        async with trio.open_nursery() as nursery:

            def turn(events: Events) -> None:
                if any(fd == ours.fileno() for fd, _ in events):
                    ours.recv(10)
                    nursery.start_soon(task)
                    scope.deadline = trio.current_time()

            with ours, theirs:
                host.epoll.register(ours.fileno(), select.EPOLLIN)
                nursery.start_soon(host.drive, turn)
                await wait_all_tasks_blocked()
                theirs.send(b"x")
                with scope:
                    await trio.sleep_forever()
                await started.wait()
                host.epoll.unregister(ours.fileno())
                nursery.cancel_scope.cancel()
        return scope.cancelled_caught

    assert run(main)


def test_a_turn_that_fails_fails_the_task_that_asked_for_turns():
    async def main(host: Host):
        ours, theirs = socket.socketpair()

        def turn(events: Events) -> None:
            if any(fd == ours.fileno() for fd, _ in events):
                raise ZeroDivisionError

        with ours, theirs:
            host.epoll.register(ours.fileno(), select.EPOLLIN)
            theirs.send(b"x")
            try:
                with pytest.raises(ZeroDivisionError):
                    await host.drive(turn)
            finally:
                host.epoll.unregister(ours.fileno())
        return "told"

    assert run(main) == "told"


def test_worker_threads_and_timers_get_through():
    async def main(_host: Host):
        began = trio.current_time()
        assert await trio.to_thread.run_sync(lambda: 3) == 3
        await trio.sleep(0.02)
        return trio.current_time() - began

    assert 0.02 <= run(main) < PATIENCE


def test_a_signal_wakes_a_host_with_nothing_to_do():
    async def main(_host: Host):
        with trio.open_signal_receiver(signal.SIGUSR1) as signals:
            os.kill(os.getpid(), signal.SIGUSR1)
            return await anext(aiter(signals))

    assert run(main) == signal.SIGUSR1


def test_ctrl_c_reaches_the_program_at_a_checkpoint():
    async def main(_host: Host):
        os.kill(os.getpid(), signal.SIGINT)
        await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        run(main)
