"""Player: plays the steps of a conversation on a `Stage`, and checks what each says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import attrs
import structlog
import structlog.testing
import trio
import trio.testing

from rwsplit.config.model import Config
from rwsplit.exchange.lease import STATES
from tests.support.conversation.stage import WHOLE, ClientEnd, End, ServerEnd, Stage
from tests.support.conversation.steps import (
    Act,
    Becomes,
    Cancels,
    Check,
    Conversation,
    Ends,
    Gets,
    Gone,
    Hears,
    Is,
    Leaves,
    Message,
    Opens,
    Passes,
    Refuses,
    Says,
    Sends,
    Strikes,
    Waits,
)
from tests.support.conversation.wording import Like, lines


def play(conversation: Conversation, *, piece: int = WHOLE) -> None:
    """Play *conversation* to its end; what is said comes *piece* bytes at a time.

    Raises: AssertionError that names the step, with what was to come and what came.
    """
    on_stage(conversation, partial(_play_all, piece=piece))


async def _play_all(stage: Stage, conversation: Conversation, *, piece: int) -> None:
    stage.piece = piece
    for number in range(len(conversation.steps)):
        await take(stage, conversation, number)
    _check_all_told(stage)
    struck = [end.name for end, _ in stage.struck]
    assert not struck, f"nobody has told of the cancel requests for {struck}"


def on_stage(
    conversation: Conversation, act: Callable[[Stage, Conversation], Awaitable[None]]
) -> None:
    """Have *act* called with everybody who takes part in *conversation* in their places; nothing of it may go wrong."""
    clock = trio.testing.MockClock()
    with _nothing_logged_that_failed():
        try:
            trio.run(_on_stage, conversation, act, clock, clock=clock)
        except ExceptionGroup as wrong:
            raise _first(wrong) from None


def _first(wrong: Exception) -> Exception:
    """Return what went wrong, without the nurseries it went through."""
    while isinstance(wrong, ExceptionGroup):
        wrong = wrong.exceptions[0]
    return wrong


async def _on_stage(
    conversation: Conversation,
    act: Callable[[Stage, Conversation], Awaitable[None]],
    clock: trio.testing.MockClock,
) -> None:
    pool = {"size": conversation.size, "query_wait_timeout": 5.0}
    config = configured({f"pool.{name}": value for name, value in pool.items()})
    config = configured(conversation.settings, config)
    async with trio.open_nursery() as nursery:
        stage = Stage(config, nursery, clock)
        for node in stage.conditions:
            for _ in range(conversation.size):
                stage.add_server(node)
        for name in conversation.clients:
            stage.add_client(name, dict(conversation.parameters.get(name, {})))
        stage.collect()
        for end in stage.ends.values():
            end.got = b""
        await act(stage, conversation)
        assert not stage.world.problems, "\n".join(stage.world.problems)
        nursery.cancel_scope.cancel()


def configured(settings: Mapping[str, Any], config: Config | None = None) -> Config:
    """Return *config* with *settings*, by path."""
    config = config or Config()
    for path, value in settings.items():
        section, _, name = path.partition(".")
        part = attrs.evolve(getattr(config, section), **{name: value})
        config = attrs.evolve(config, **{section: part})
    return config


@contextmanager
def _nothing_logged_that_failed() -> Iterator[None]:
    with structlog.testing.capture_logs(
        processors=[structlog.processors.format_exc_info]
    ) as logs:
        yield
    bad = [log for log in logs if log["log_level"] in ("error", "critical", "exception")]
    bad += [log for log in logs if log["event"] == "server_violation"]
    assert not bad, "\n".join(f"{log} {log.get('exception', '')}" for log in bad)


async def take(stage: Stage, conversation: Conversation, number: int) -> None:
    """Take step *number* of *conversation*."""
    step = conversation.steps[number]
    try:
        if isinstance(step, Check):
            await _check(stage, step)
        else:
            _check_all_told(stage)
            await _act(stage, step)
    except AssertionError as wrong:
        raise AssertionError(f"step {number + 1}, {step}:\n{wrong}") from wrong


async def _act(stage: Stage, step: Act) -> None:
    match step:
        case Says(client, messages):
            await stage.client_says(_client(stage, client), messages)
        case Sends(server, messages):
            end = _server(stage, server)
            assert messages is not None or end.backend.requests, f"{server} was asked nothing"
            await stage.server_says(end, messages)
        case Ends(server):
            await stage.hang_up(_server(stage, server))
        case Leaves(client):
            await stage.hang_up(_client(stage, client))
        case Cancels(client):
            stage.cancel(_client(stage, client))
            await stage.settle()
        case Becomes(node, condition):
            await stage.become(node, condition)
        case Passes(seconds):
            await stage.pass_time(seconds)
        case Opens(node):
            await stage.open(node)
        case Refuses(node, sqlstate):
            await stage.open(node, sqlstate)


async def _check(stage: Stage, step: Check) -> None:
    match step:
        case Gets(server, messages):
            _told(_server(stage, server), messages, from_client=True)
        case Hears(client, messages):
            _told(_client(stage, client), messages, from_client=False)
        case Gone(client):
            asker = _client(stage, client)
            assert asker.client.closed, f"{client} is still there"
            asker.gone = True
        case Strikes(server):
            assert stage.struck, "no cancel request is on its way"
            end = await stage.strike()
            assert end.name == server, f"it strikes {end.name}"
        case Is(server, state):
            lease = _server(stage, server).server.lease
            assert STATES[lease] == state, f"it is {STATES[lease]}"
        case Waits(client, what):
            awaited = _client(stage, client).client.waits_for
            assert awaited is what, f"it waits {awaited}"


def _told(end: End, expected: Sequence[Message], *, from_client: bool) -> None:
    """Check that *end* has got *expected*, and forget it."""
    got, end.got = lines(end.got, from_client=from_client), b""
    wanted: list[str | Like] = []
    for message in expected:
        wanted += (
            [message] if isinstance(message, Like) else lines(message, from_client=from_client)
        )
    same = len(got) == len(wanted) and all(map(_is_same, wanted, got))
    assert same, "\n".join(
        [
            "was to come:",
            *(f"    {line}" for line in wanted),
            "came:",
            *(f"    {line}" for line in got),
        ]
    )


def _is_same(wanted: str | Like, got: str) -> bool:
    return wanted.matches(got) if isinstance(wanted, Like) else wanted == got


def _check_all_told(stage: Stage) -> None:
    """Check that nobody has got anything that was not told."""
    for name, server in stage.servers.items():
        said = lines(server.got, from_client=True)
        assert not said, f"nobody has told that {name} got {said}"
    for name, client in stage.ends.items():
        heard = lines(client.got, from_client=False)
        assert not heard, f"nobody has told that {name} heard {heard}"
        is_told = client.gone or client.ended or client.asker.has_left
        assert is_told or not client.client.closed, f"nobody has told that {name} is gone"


def _client(stage: Stage, name: str) -> ClientEnd:
    return stage.ends[name]


def _server(stage: Stage, name: str) -> ServerEnd:
    assert name in stage.servers, f"there is no {name}, but {[*stage.servers]}"
    return stage.servers[name]
