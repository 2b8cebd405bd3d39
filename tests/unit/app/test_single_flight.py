"""Callers that share an attempt."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from rwsplit.app.single_flight import Flight, SingleFlight
from rwsplit.errors import NodeUnreachable


class Question:
    """Something that is found out by attempts, which wait for *answer*."""

    def __init__(self) -> None:
        self.flights: SingleFlight[str, int] = SingleFlight()
        self.attempts = 0
        self.known: int | None = None
        self.may_begin = trio.Event()
        self.may_end = trio.Event()
        self.error: NodeUnreachable | None = None
        self.heard: list[int | str] = []

    async def attempt(self, flight: Flight[int]) -> int:
        self.attempts += 1
        number = self.attempts
        await self.may_begin.wait()
        flight.begin()
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        return number

    async def ask(self) -> None:
        try:
            self.heard.append(await self.flights.find("it", lambda: self.known, self.attempt))
        except NodeUnreachable as error:
            self.heard.append(str(error))


@pytest.fixture
def question() -> Question:
    return Question()


async def several(nursery: trio.Nursery, ask: Callable[[], Awaitable[None]]) -> None:
    for _ in range(100):
        nursery.start_soon(ask)
    await wait_all_tasks_blocked()


async def test_what_is_known_is_not_asked_for(question):
    question.known = 7

    await question.ask()

    assert (question.heard, question.attempts) == ([7], 0)


async def test_those_who_come_before_it_begins_share_an_attempt(question, nursery):
    await several(nursery, question.ask)
    question.may_begin.set()
    question.may_end.set()
    await wait_all_tasks_blocked()

    assert question.heard == [1] * 100
    assert (question.attempts, len(question.flights)) == (1, 0)


async def test_they_share_its_failure_too(question, nursery):
    await several(nursery, question.ask)
    question.error = NodeUnreachable("gone")
    question.may_begin.set()
    question.may_end.set()
    await wait_all_tasks_blocked()

    assert question.heard == ["gone"] * 100
    assert (question.attempts, len(question.flights)) == (1, 0)
    # It was raised a hundred times, and has not grown with each.
    assert len(list(traceback.walk_tb(question.error.__traceback__))) < 10


async def test_those_who_come_later_share_the_next_one(question, nursery):
    """What it finds out may be older than what they know: a role that was made while it asked."""
    question.may_begin.set()
    await several(nursery, question.ask)
    await several(nursery, question.ask)
    question.error = NodeUnreachable("no such role")
    question.may_end.set()
    await wait_all_tasks_blocked()
    assert question.attempts == 2
    assert len(question.heard) == 200


async def test_what_it_finds_out_does_for_later_ones_if_that_is_known_then(question, nursery):
    question.may_begin.set()
    await several(nursery, question.ask)
    question.known = 1
    await several(nursery, question.ask)
    question.may_end.set()
    await wait_all_tasks_blocked()

    assert question.heard == [1] * 200
    assert question.attempts == 1


async def test_an_attempt_whose_caller_is_cancelled_is_made_by_another(question, nursery):
    scope = trio.CancelScope()

    async def leave() -> None:
        with scope:
            await question.ask()

    nursery.start_soon(leave)
    await wait_all_tasks_blocked()
    await several(nursery, question.ask)
    scope.cancel()
    await wait_all_tasks_blocked()
    question.may_begin.set()
    question.may_end.set()
    await wait_all_tasks_blocked()

    assert question.heard == [2] * 100
    assert len(question.flights) == 0
