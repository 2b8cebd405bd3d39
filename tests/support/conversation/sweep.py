"""Sweep: every fault at every step of a conversation, each in a play of its own that must come to rest.

A case is a conversation, a number of steps that are taken, and a fault that is injected then. `cases` finds all there are; `failure`
says what is wrong in one.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from tests.support.conversation import books
from tests.support.conversation.faults import Fault, inject, possible
from tests.support.conversation.player import on_stage, take
from tests.support.conversation.rest import come_to_rest
from tests.support.conversation.stage import Stage
from tests.support.conversation.steps import Check, Conversation


@attrs.frozen
class Case:
    """After *taken* steps of *conversation* there is *fault*, None: nothing goes wrong."""

    conversation: Conversation
    taken: int
    fault: Fault | None

    def __str__(self) -> str:
        return f"after {self.taken} steps of {self.conversation.title!r}, {self.fault or 'no fault'}"


def cases(conversation: Conversation) -> Sequence[Case]:
    """Return all cases of *conversation*: at its beginning, and behind each step in which something happens."""
    found: list[Case] = []

    async def look(stage: Stage, conversation: Conversation) -> None:
        for taken, step in enumerate(conversation.steps, 1):
            await take(stage, conversation, taken - 1)
            if not isinstance(step, Check):
                found.append(Case(conversation, taken, None))
                found.extend(Case(conversation, taken, fault) for fault in possible(stage))

    on_stage(conversation, look)
    return found


def failure(case: Case) -> str:
    """Return what is wrong after *case*, nothing if all is well."""

    async def act(stage: Stage, conversation: Conversation) -> None:
        for number in range(case.taken):
            await take(stage, conversation, number)
        if case.fault is not None:
            await inject(stage, case.fault)
        await come_to_rest(stage)
        books.check(stage)

    try:
        on_stage(case.conversation, act)
    except Exception as wrong:  # noqa: BLE001 - whatever it is
        return f"{case}: {wrong if isinstance(wrong, AssertionError) else repr(wrong)}"
    return ""
