"""Host: the loop of a process that serves: the relay's turns first, trio as its guest.

With few clients there is nothing to batch, every turn is a wake-up, and a pass of trio's scheduler per wake-up is
most of what a statement costs. So here the loop waits in the relay's epoll set itself, and trio runs in *guest
mode* (trio manual, "Using guest mode to run Trio on top of other event loops"): its own waiting happens in a thread,
which rings a bell - an eventfd in the set - when a task can go on. Everything still runs in this one thread;
between two of trio's ticks the relay may wake tasks and start them as from a task.
"""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn, TypeVar

import outcome
import trio

from rwsplit.relay.alarms import UNSET
from rwsplit.relay.driving import BATCH, Driver, Events

_Argument = TypeVar("_Argument")


class Host(Driver):
    """Runs one trio program and drives the relay in it."""

    def __init__(self) -> None:
        super().__init__()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # Edge-triggered: each ring is one event, and nobody has to read it away.
        self.epoll.register(self._bell, select.EPOLLIN | select.EPOLLET)
        self._calls: deque[Callable[[], object]] = deque()
        self._result: outcome.Outcome[Any] | None = None
        self._turn: Callable[[Events], None] = _nothing
        self._clock: Callable[[], float] = lambda: (
            0.0
        )  # alarms wait until there is a relay to tell
        self._failed = trio.Event()
        self._failure: BaseException | None = None

    def run(self, main: Callable[..., Awaitable[Any]], *args: object) -> Any:
        """Run the async function *main* to its end; return what it returns, raise what it raises."""
        trio.lowlevel.start_guest_run(
            main,
            *args,
            run_sync_soon_threadsafe=self._ring,
            run_sync_soon_not_threadsafe=self._calls.append,
            done_callback=self._done,
            restrict_keyboard_interrupt_to_checkpoints=True,
            strict_exception_groups=True,
        )
        calls, poll, alarms = self._calls, self.epoll.poll, self.alarms
        try:
            while self._result is None:
                for _ in range(len(calls)):
                    calls.popleft()()
                patience = _FOREVER
                if calls or self.pressed or self._result:
                    patience = 0
                elif alarms.next < UNSET:
                    patience = max(0.0, alarms.next - self._clock())
                events = poll(patience, BATCH)
                if events or self.pressed:
                    self._guard(self._turn, events)
                if alarms.next <= self._clock():
                    self._guard(alarms.ring, self._clock())
        finally:
            self.epoll.close()
            os.close(self._bell)
        return self._result.unwrap()

    # Driver...

    async def drive(self, turn: Callable[[Events], None]) -> NoReturn:
        """Have *turn* called whenever sockets are ready, until cancelled; what it raises is raised here."""
        self._turn = turn
        self._clock = trio.lowlevel.current_clock().current_time
        try:
            await self._failed.wait()
        finally:
            self._turn = _nothing
            self.pressed = False
        assert self._failure is not None
        raise self._failure

    def close(self) -> None:
        """Leave the set open: the host waits in it to the end."""

    # The loop's parts...

    def _guard(self, part: Callable[[_Argument], None], argument: _Argument) -> None:
        try:
            part(argument)
        except BaseException as failure:  # noqa: BLE001 - it belongs to the task that asked for the turns
            self._failure = failure
            self._turn = _nothing
            self.pressed = False
            self._failed.set()

    def _ring(self, call: Callable[[], object]) -> None:
        """Have *call* made by the loop; from any thread."""
        self._calls.append(call)
        os.eventfd_write(self._bell, 1)

    def _done(self, result: outcome.Outcome[Any]) -> None:
        self._result = result


def _nothing(events: Events) -> None:
    """Nobody to take turns yet, or any more."""


_FOREVER: Final = -1.0
