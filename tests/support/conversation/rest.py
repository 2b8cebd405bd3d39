"""Rest: have everything that has begun come to its end, servers answering what they owe and clients finishing what they say.

Then every client that is still there, and a new one, must be served as if nothing had happened.
"""

from __future__ import annotations

from typing import Final

from tests.support import frames
from tests.support.conversation.stage import NODES, ClientEnd, Stage

#: Rounds of answering, the seconds of one in which nobody has anything to say, and of a tick in it.
ROUNDS: Final = 60
SECONDS: Final = 0.5
TICK: Final = 0.1


async def come_to_rest(stage: Stage) -> None:
    """Go on until nothing is owed to anybody."""
    await _finish(stage)
    await _mend(stage)
    for name, end in stage.ends.items():
        if _is_there(end):
            await _serve(stage, name, end)
    await _serve(stage, "a stranger", stage.add_client("a stranger", {}))


async def _serve(stage: Stage, name: str, end: ClientEnd) -> None:
    """Have a client end its transaction, read and write."""
    for text in ("rollback",) if end.asker.tx != "I" else ():
        await stage.client_says(end, frames.query(text))
        await _finish(stage)
    for text in (f"select 'the end of {name}'", f"insert into ends values ('{name}')"):
        if not _is_there(end):
            return
        states = len(end.asker.states)
        await stage.client_says(end, frames.query(text))
        await _finish(stage)
        if end.asker.states[states:]:
            stage.world.problems.append(f"{name} is not served: {end.asker.states[states:]}")


def _is_there(end: ClientEnd) -> bool:
    return not (end.asker.has_left or end.asker.ending)


async def _finish(stage: Stage) -> None:
    """Have servers and clients say what is due, and time pass, until all is answered."""
    for _ in range(ROUNDS):
        while await _go_on(stage):
            pass
        if not any(_waits(end) for end in stage.ends.values()) and not _has_work(stage):
            return
        await stage.pass_time(SECONDS, TICK)
    for name, end in stage.ends.items():
        if _waits(end):
            stage.world.problems.append(f"{name} is never answered: {end.asker.asked}")


def _has_work(stage: Stage) -> bool:
    return any(server.responses.owed for server in stage.relay.servers.values())


def _waits(end: ClientEnd) -> bool:
    return end.asker.awaits and _is_there(end)


async def _go_on(stage: Stage) -> bool:
    """Have everybody say what is due; return whether there was anything."""
    moved = False
    for server in [*stage.servers.values()]:
        if not server.ended and server.backend.is_going:
            await stage.hang_up(server)
            moved = True
        elif not server.ended and server.backend.requests:
            before = len(server.backend.requests)
            await stage.server_says(server, None)
            moved = moved or len(server.backend.requests) < before
    for client in [*stage.ends.values()]:
        if _waits(client) and (rest := client.asker.rest):
            await stage.client_says(client, rest)
            moved = True
    while stage.struck:
        await stage.strike()
        moved = True
    for dial in [*stage.dials]:
        reachable = stage.conditions[dial.node] in ("up", "detached", "draining", "lagging")
        await stage.open(dial.node, None if reachable else "")
        moved = True
    return moved


async def _mend(stage: Stage) -> None:
    """Have all nodes be up, and as fresh as can be."""
    for node in NODES:
        stage.conditions[node] = "up"
        stage.fresh[node] = stage._clock()
        if node != stage.world.primary:
            stage.demote(node)
    stage.primary = stage.world.primary
    stage.publish()
    await stage.settle()
    await _finish(stage)
