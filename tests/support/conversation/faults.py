"""Faults: what may go wrong at a step of a conversation, found by looking at who takes part just then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import attrs

from rwsplit.exchange.lease import COOLING, HELD, LANE
from tests.support import frames
from tests.support.conversation.stage import ServerEnd, Stage

#: SQLSTATEs a server answers with instead: a statement's own error, a conflict with recovery.
ERRORS: Final = ("22012", "40001")
SHUTDOWN: Final = frames.error("57P01", "terminating connection", severity="FATAL")


@attrs.frozen
class Fault:
    """Something goes wrong with *who*: a client, a server or a node."""

    kind: str
    who: str

    def __str__(self) -> str:
        return f"{self.who}: {self.kind}"


async def inject(stage: Stage, fault: Fault) -> None:
    """Have *fault* happen."""
    await _INJECT[fault.kind](stage, fault.who)


def possible(stage: Stage) -> Iterator[Fault]:
    """Yield what may go wrong now."""
    nodes: dict[str, None] = {}
    for name, end in stage.servers.items():
        if not _is_used(end):
            continue
        nodes[end.server.pool.node] = None
        if end.backend.is_asked:
            yield from (Fault(f"fails with {state}", name) for state in ERRORS)
            yield Fault("is cancelled and answers the rest", name)
        yield Fault("its connection ends", name)
        if not end.backend.is_going:
            yield Fault("shuts down", name)
    for name, client in stage.ends.items():
        if not (client.client.closed or client.ended):
            yield Fault("leaves", name)
            yield Fault("cancels", name)
    for node in nodes:
        for condition in ("down", "detached", "frozen"):
            yield Fault(f"is {condition}", node)
    if stage.primary is not None:
        yield Fault("is promoted", "n1" if stage.primary != "n1" else "n2")


def _is_used(end: ServerEnd) -> bool:
    return not end.ended and (
        bool(end.backend.requests) or end.server.lease in (HELD, LANE, COOLING)
    )


async def _fails(stage: Stage, who: str, state: str) -> None:
    end = stage.servers[who]
    said = end.backend.fail(frames.error(state, "injected"))
    stage.say(end, said)
    await stage.settle()


async def _is_cancelled(stage: Stage, who: str) -> None:
    """Have what *who* runs fail by a cancel request out of nowhere, all other answers coming in the same write."""
    end = stage.servers[who]
    said = end.backend.fail(frames.error("57014", "injected"))
    stage.say(end, said + end.backend.answer())
    await stage.settle()


async def _ends(stage: Stage, who: str) -> None:
    await stage.hang_up(stage.servers[who])


async def _shuts_down(stage: Stage, who: str) -> None:
    end = stage.servers[who]
    stage.say(end, SHUTDOWN)
    await stage.settle()
    await stage.hang_up(end)


async def _leaves(stage: Stage, who: str) -> None:
    await stage.hang_up(stage.ends[who])


async def _cancels(stage: Stage, who: str) -> None:
    stage.cancel(stage.ends[who])
    await stage.settle()


async def _is_promoted(stage: Stage, who: str) -> None:
    await stage.become(who, "the primary")


def _failing(state: str) -> Callable[[Stage, str], Awaitable[None]]:
    return lambda stage, who: _fails(stage, who, state)


def _becoming(condition: str) -> Callable[[Stage, str], Awaitable[None]]:
    return lambda stage, who: stage.become(who, condition)


_INJECT: Final[dict[str, Callable[[Stage, str], Awaitable[None]]]] = {
    **{f"fails with {state}": _failing(state) for state in ERRORS},
    **{f"is {condition}": _becoming(condition) for condition in ("down", "detached", "frozen")},
    "is cancelled and answers the rest": _is_cancelled,
    "its connection ends": _ends,
    "shuts down": _shuts_down,
    "leaves": _leaves,
    "cancels": _cancels,
    "is promoted": _is_promoted,
}
