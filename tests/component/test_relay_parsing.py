"""Sessions wait for what is read elsewhere, nobody else does, and what is not read goes to the primary."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import pytest
import trio
import trio.testing

from rwsplit.exchange.waits import Waiting
from rwsplit.parser.inline import Inline
from rwsplit.parser.reader import Reader, Reading
from rwsplit.relay import parsing
from rwsplit.relay.client import Client
from rwsplit.relay.faults import Faults
from rwsplit.relay.parsing import Parsing
from rwsplit.server.server import Server
from rwsplit.session.pinning import PinReason
from rwsplit.sql.body import Body
from rwsplit.sql.cache import INLINE_LIMIT
from rwsplit.sql.classify import parse
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.parse_budget import PATIENT_BUDGET, ParseBudget
from rwsplit.sql.statement import PrimaryOnly
from tests.support.frames import SYNC, bind, describe, execute, parse as parse_message
from tests.support.memory_relay import ANSWER, MemoryRelay

LONG: Final = (
    b"select a from t where b in (" + b", ".join(b"c%d" % n for n in range(900)) + b")"
)
DEAR: Final = b"select " + b"int(" * 11 + b"1" + b")" * 11


class Asked:
    """A text that is to be read."""

    def __init__(
        self, text: bytes, book: Callable[[], FunctionBook], is_wanted: Callable[[], bool]
    ) -> None:
        self.text = text
        self.book = book
        self.is_wanted = is_wanted
        self.asker: Hashable = None
        self._reading: Reading | None = None
        self._done = trio.Event()

    def answer(self, reading: Reading | None = None) -> None:
        """Have it read; by default as it is."""
        book = self.book()
        self._reading = reading or Reading(
            parse(self.text, book, ParseBudget(PATIENT_BUDGET)), book
        )
        self._done.set()

    async def outcome(self) -> Reading:
        await self._done.wait()
        assert self._reading is not None
        return self._reading


class FakeReader(Reader):
    """Reads when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    async def classify(
        self,
        text: bytes,
        book: Callable[[], FunctionBook],
        *,
        asker: Hashable,
        is_wanted: Callable[[], bool],
    ) -> Reading:
        asked = Asked(text, book, is_wanted)
        asked.asker = asker
        self.asked.append(asked)
        return await asked.outcome()

    async def read_bodies(self, texts: Sequence[str], *, asker: Hashable) -> list[Body | None]:
        raise NotImplementedError


class Stage(MemoryRelay):
    """A relay whose texts are read by *reader*."""

    def __init__(self, clients: int, reader: Reader | None) -> None:
        super().__init__(clients)
        self.reader = reader
        self.relay.parsing = Parsing(self.relay, reader)

    @property
    def asked(self) -> list[Asked]:
        assert isinstance(self.reader, FakeReader)
        return self.reader.asked

    async def hear(self, client: Client, text: bytes) -> None:
        """Have *client* say *text* and everything happen that then can."""
        self.ask(client, text)
        self.turn_clients([client])
        await trio.testing.wait_all_tasks_blocked()

    async def answer_last(self, reading: Reading | None = None) -> None:
        self.asked[-1].answer(reading)
        await trio.testing.wait_all_tasks_blocked()

    def only_busy(self) -> Server:
        [server] = self.busy()
        return server

    @property
    def primary(self) -> str:
        return self.relay.view.nodes[0].name


@asynccontextmanager
async def staging(clients: int = 2, *, inline: bool = False) -> AsyncIterator[Stage]:
    stage = Stage(clients, None if inline else FakeReader())
    async with trio.open_nursery() as nursery:
        stage.relay._nursery = nursery
        yield stage
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("text", [LONG, DEAR], ids=["long", "dear"])
async def test_its_session_waits_and_others_do_not(text: bytes):
    async with staging() as stage:
        one, other = stage.clients
        await stage.hear(one, text)
        assert one.waits_for is Waiting.PARSING
        assert not stage.busy()
        await stage.hear(other, b"select 1")
        stage.answer([stage.only_busy()], ANSWER)

        await stage.answer_last()
        assert one.wait is None
        assert stage.only_busy().pool.node != stage.primary
        assert stage.asked[0].asker == one.pid
        stage.answer([stage.only_busy()], ANSWER)
        await stage.hear(one, text)
        assert len(stage.asked) == 1  # it is known
        assert stage.only_busy().pool.node != stage.primary


async def test_what_was_not_read_goes_to_the_primary_and_is_tried_again():
    async with staging() as stage:
        for client in stage.clients:
            await stage.hear(client, LONG)
            await stage.answer_last(Reading(None))
            server = stage.only_busy()
            assert server.pool.node == stage.primary
            stage.answer([server], ANSWER)
        assert len(stage.asked) == 2


@pytest.mark.parametrize("protocol", ["simple", "extended"])
async def test_what_was_not_read_need_not_pin_its_session_for_good(protocol: str):
    async with staging() as stage:
        client = stage.clients[0]
        if protocol == "simple":
            await stage.hear(client, LONG)
        else:
            stage.say(client, parse_message("", LONG.decode()) + bind("") + execute() + SYNC)
            stage.turn_clients([client])
            await trio.testing.wait_all_tasks_blocked()
        await stage.answer_last(Reading(None))
        server = stage.only_busy()
        if protocol == "simple":
            stage.answer([server], ANSWER)
        else:
            stage.reply([server])
        assert client.pin is PinReason.UNRECOGNISED
        assert client.settling is None

        for _ in range(2):  # not even then could it be read
            stage.relay.pins.look(stage.now + len(stage.asked))
            await trio.testing.wait_all_tasks_blocked()
            assert client.settling is None
            await stage.answer_last(Reading(None))
        stage.relay.pins.look(stage.now + 10.0)
        await trio.testing.wait_all_tasks_blocked()
        await stage.answer_last()
        stage.relay.pins.look(stage.now + 11.0)
        assert client.settling is not None  # its server is asked what is left there


async def test_what_must_not_be_tried_again_pins_its_session():
    async with staging() as stage:
        client = stage.clients[0]
        await stage.hear(client, LONG)
        await stage.answer_last(Reading(None, is_final=True))
        stage.answer([stage.only_busy()], ANSWER)
        stage.relay.pins.look(stage.now + 10.0)
        await trio.testing.wait_all_tasks_blocked()
        assert client.pin is PinReason.UNRECOGNISED
        assert client.settling is None
        assert len(stage.asked) == 1


async def test_what_was_not_read_may_have_defined_names():
    databases: list[str] = []
    async with staging() as stage:
        stage.knowledge.on_ddl = databases.append
        await stage.hear(stage.clients[0], LONG)
        await stage.answer_last(Reading(None))
        stage.answer([stage.only_busy()], ANSWER)
    assert databases[:1] == ["app"]  # its catalog is to be read again


async def test_what_must_not_be_tried_again_is_not():
    async with staging() as stage:
        one, other = stage.clients
        await stage.hear(one, LONG)
        await stage.answer_last(Reading(None, is_final=True))
        stage.answer([stage.only_busy()], ANSWER)
        await stage.hear(other, LONG)
        assert stage.only_busy().pool.node == stage.primary
        assert len(stage.asked) == 1


async def test_what_two_sessions_wait_for_need_not_be_read_twice():
    async with staging() as stage:
        for client in stage.clients:
            await stage.hear(client, LONG)
        first, second = stage.asked
        assert second.is_wanted()
        first.answer()
        await trio.testing.wait_all_tasks_blocked()
        assert not second.is_wanted()
        second.answer(Reading(None))
        await trio.testing.wait_all_tasks_blocked()
        assert {server.pool.node for server in stage.busy()}.isdisjoint({stage.primary})
        assert len(stage.busy()) == 2


async def test_what_names_mean_may_change_while_it_is_read():
    async with staging() as stage:
        [client, _] = stage.clients
        await stage.hear(client, LONG)
        old = stage.asked[0].book()
        stage.knowledge.reconfigure(["f"], [])
        await stage.answer_last(Reading(parse(LONG, old), old))
        assert client.waits_for is Waiting.PARSING
        assert len(stage.asked) == 2
        assert stage.asked[1].book() is client.scope.vocabulary.functions
        await stage.answer_last()
        assert stage.only_busy().pool.node != stage.primary


async def test_a_session_that_is_cancelled_waits_no_more_and_may_ask_again():
    other = LONG + b" or d"
    async with staging() as stage:
        client = stage.clients[0]
        await stage.hear(client, LONG)
        stage.relay.canceller.cancel_client(client)
        assert client.wait is None
        await stage.hear(client, other)
        assert [asked.text for asked in stage.asked] == [LONG, other]
        stage.asked[0].answer()
        await trio.testing.wait_all_tasks_blocked()
        assert client.waits_for is Waiting.PARSING
        assert not stage.busy()
        await stage.answer_last()
        assert stage.only_busy().pool.node != stage.primary


async def test_a_session_that_is_cancelled_does_not_go_on_when_its_text_is_read():
    async with staging() as stage:
        client = stage.clients[0]
        await stage.hear(client, LONG)
        stage.relay.canceller.cancel_client(client)
        await stage.answer_last()
        assert client.wait is None
        assert not stage.busy()


async def test_a_session_that_is_gone_wants_nothing():
    async with staging() as stage:
        client = stage.clients[0]
        await stage.hear(client, LONG)
        stage.relay.loss.client_gone(client)
        assert not stage.asked[0].is_wanted()
        await stage.answer_last(Reading(None))
        assert not stage.busy()
        assert len(stage.asked) == 1


async def test_a_prepared_statement_that_was_not_read_is_tried_again_when_it_is_used():
    message = parse_message("p", LONG.decode()) + describe("p") + SYNC
    async with staging() as stage:
        client = stage.clients[0]
        stage.say(client, message)
        stage.turn_clients([client])
        await trio.testing.wait_all_tasks_blocked()
        prepared = client.names[b"p"]
        assert prepared.script is None
        await stage.answer_last(Reading(None))
        assert prepared.script is None
        server = stage.only_busy()
        assert server.pool.node == stage.primary
        stage.reply([server])

        stage.say(client, bind("p") + execute() + SYNC)
        stage.turn_clients([client])
        await trio.testing.wait_all_tasks_blocked()
        assert client.waits_for is Waiting.PARSING
        await stage.answer_last()
        assert prepared.script is not None
        assert prepared.script.primary_only is None


async def test_a_prepared_statement_that_must_not_be_tried_again_keeps_that():
    async with staging() as stage:
        client = stage.clients[0]
        stage.say(client, parse_message("p", DEAR.decode()) + SYNC)
        stage.turn_clients([client])
        await trio.testing.wait_all_tasks_blocked()
        await stage.answer_last(Reading(None, is_final=True))
        script = client.names[b"p"].script
        assert script is not None
        assert script.primary_only is PrimaryOnly.UNPARSED


async def test_an_error_of_ours_ends_one_session_and_no_other(monkeypatch: pytest.MonkeyPatch):
    async with staging() as stage:
        stage.relay.faults = Faults(stage.relay)
        one, other = stage.clients
        await stage.hear(one, LONG)

        def fails(*_: object) -> None:
            raise RuntimeError

        with monkeypatch.context() as patch:
            patch.setattr(parsing, "tell", fails)
            await stage.answer_last()
        assert one.closed
        await stage.hear(other, b"select 1")
        assert stage.only_busy()


async def test_without_a_parser_process_it_is_read_here():
    async with staging(inline=True) as stage:
        client = stage.clients[0]
        await stage.hear(client, LONG)
        assert stage.only_busy().pool.node != stage.primary


async def test_inline_reads_bodies_too():
    assert await Inline().read_bodies(["select 1"], asker=1) != [None]


async def test_what_is_only_to_be_explained_is_read_like_any_other():
    async with staging() as stage:
        scope = stage.clients[0].scope
        assert len(LONG) > INLINE_LIMIT
        found: list[object] = []

        async def explain(text: bytes) -> None:
            found.append((await stage.relay.parsing.explain(scope, text)).primary_only)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(explain, b"select 1")
            nursery.start_soon(explain, LONG)
            await trio.testing.wait_all_tasks_blocked()
            await stage.answer_last()
        assert found == [None, None]
        await explain(b"x" * (2 << 20))
        assert found[2] is PrimaryOnly.UNPARSED


async def test_what_pinned_a_session_is_read_again_elsewhere():
    async with staging() as stage:
        client = stage.clients[0]
        for _ in range(2):  # it is asked for at every look
            stage.relay.parsing.learn(client, client.scope, LONG)
        await trio.testing.wait_all_tasks_blocked()
        assert len(stage.asked) == 1
        await stage.answer_last()
        assert client.scope.statements.peek(LONG) is not None
