"""A console client is a client like any other: others have their turn between two of its commands, and between a hundred rows."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence

import pytest
import trio

from rwsplit.admin import console
from rwsplit.admin.console import (
    MAX_COMMANDS,
    MAX_MESSAGE,
    MAX_SESSIONS,
    MAX_TEXT,
    MOST_KEPT,
    serve_console,
)
from rwsplit.admin.operator import ClientStatus
from rwsplit.admin.tokens import MOST_TOKENS, tokenize
from rwsplit.admin.views import PORTION
from rwsplit.errors import ClientError
from rwsplit.protocol import frontend
from rwsplit.protocol.fields import parse_error_fields
from rwsplit.server.stream import WireStream
from rwsplit.server.wire import PlainWire
from tests.support.console_peer import Peer
from tests.support.operator import FakeLogin, FakeOperator
from tests.support.passes import Passes

CROWD = 5000


class Crowded(FakeOperator):
    """An operator of a rwsplit with many clients."""

    def clients(self) -> Sequence[ClientStatus]:
        [one] = super().clients()
        return [one] * CROWD


@pytest.fixture
async def peer(nursery: trio.Nursery) -> AsyncIterator[Peer]:
    ours, theirs = socket.socketpair()
    stream = WireStream(PlainWire(theirs))

    async def serve() -> None:
        try:
            await serve_console(stream, FakeLogin(), Crowded())
        finally:
            stream.close()

    nursery.start_soon(serve)
    peer = Peer(ours)
    await peer.hear()
    yield peer
    peer.stream.close()


async def test_rows_are_made_and_sent_in_portions(peer: Peer):
    with Passes() as passes:
        heard = await peer.ask(frontend.query("SHOW CLIENTS"))
    assert [code for code, _ in heard].count("D") == CROWD
    assert passes.number >= 2 * CROWD // PORTION


async def test_between_two_commands_others_have_their_turn(peer: Peer):
    with Passes() as passes:
        heard = await peer.ask(frontend.query("SHOW CONFIG;" * MAX_COMMANDS))
    assert [code for code, _ in heard].count("C") == MAX_COMMANDS
    assert passes.number >= MAX_COMMANDS
    heard = await peer.ask(frontend.query("SHOW VERSION;" * (MAX_COMMANDS + 1)))
    assert [code for code, _ in heard] == ["E", "Z"]


async def test_answers_are_not_kept_until_a_sync_that_never_comes(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
):
    kept = []
    relieve = console.Conversation._relieve

    async def watch(self: console.Conversation) -> None:
        kept.append(len(self._out))
        await relieve(self)

    monkeypatch.setattr(console.Conversation, "_relieve", watch)
    run = frontend.bind("", "") + frontend.execute()
    count = 500
    frames = [frontend.parse("", "SHOW CONFIG"), run * count, frontend.sync()]
    with Passes() as passes:
        heard = await peer.ask(*frames)
    assert [code for code, _ in heard].count("C") == count
    assert max(kept) < 2 * MOST_KEPT
    assert passes.number >= 2 * count


async def test_statements_have_a_limit_together(peer: Peer):
    text = f"EXPLAIN ROUTE select '{'x' * (MAX_MESSAGE // 2)}'"
    frames = [frontend.parse(f"s{n}", text) for n in range(2 * MAX_TEXT // len(text))]
    heard = await peer.ask(*frames, frontend.sync())
    error = next(payload for code, payload in heard if code == "E")
    assert "characters of statements" in parse_error_fields(error)["M"]


async def test_a_long_message_ends_the_session(peer: Peer):
    heard = await peer.ask(frontend.query("x" * MAX_MESSAGE))
    assert [code for code, _ in heard] == ["E"]


@pytest.mark.parametrize("piece", [";", "select 1;", "'$a' ", "a ", "1+", '"a" ', "$1,"])
def test_a_text_of_many_words_is_refused_before_they_are_looked_at(piece: str):
    with pytest.raises(ClientError, match=f"{MOST_TOKENS} words"):
        tokenize(piece * (MOST_TOKENS + 1))
    assert tokenize(piece * (MOST_TOKENS // 10))


async def test_the_console_has_so_many_sessions(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(console._SESSIONS, "count", MAX_SESSIONS)
    ours, theirs = socket.socketpair()
    stream = WireStream(PlainWire(theirs))
    await serve_console(stream, FakeLogin(), FakeOperator())
    stream.close()
    peer = Peer(ours)
    [(code, payload)] = await peer.hear()
    peer.stream.close()
    fields = parse_error_fields(payload)
    assert (code, fields["S"], fields["C"]) == ("E", "FATAL", "53300")
    assert console._SESSIONS.count == MAX_SESSIONS
