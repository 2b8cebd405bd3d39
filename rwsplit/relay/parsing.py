"""Parsing: statements that are too expensive to parse in a turn; only their own sessions wait.

The parser process (`rwsplit.parser`) parses them, one of each session at a time. A statement that cannot be parsed goes to the
primary. If the text itself is the cause, that is remembered; otherwise, as when the process was killed, the text is tried again
the next time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import structlog
import trio

from rwsplit.exchange.waits import Waiting
from rwsplit.parser.inline import Inline
from rwsplit.parser.reader import Reader
from rwsplit.relay.client import Client
from rwsplit.session.stand_ins import UNREAD, merge, of_prepared
from rwsplit.session.unit import SIMPLE, Unit
from rwsplit.session.vocabulary import Scope
from rwsplit.sql.cache import INLINE_LIMIT
from rwsplit.sql.script import Script

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

#: How often a statement is parsed at most if the catalog changes meanwhile.
TRIES: Final = 2

_log = structlog.get_logger("rwsplit.relay")


class Parsing:
    """Sends statements to the parser process while their sessions wait."""

    def __init__(self, relay: Relay, reader: Reader | None = None) -> None:
        self._relay = relay
        self._reader = reader or Inline()
        self._reading: dict[Client, trio.CancelScope] = {}
        """The clients whose statements are being parsed."""
        self._learned: set[tuple[Scope, bytes]] = set()
        """The texts that are being parsed for no waiting session."""

    def begin(self, client: Client, unit: Unit) -> None:
        """Start parsing the statements of *unit*; *client* goes on when that is done."""
        self._relay.waits.await_parser(client)
        former = self._reading.get(client)
        if former is not None:
            former.cancel()  # of a unit that was cancelled
        self._relay.start_task(self._read_all, client, unit)

    def learn(self, client: Client, scope: Scope, query: bytes) -> None:
        """Start parsing *query* of *client* in *scope*, so that its facts are known later."""
        if (scope, query) not in self._learned:
            self._learned.add((scope, query))
            self._relay.start_task(self._learn, client, scope, query)

    async def explain(self, scope: Scope, query: bytes) -> Script:
        """Return the facts of *query* in *scope*, for EXPLAIN of the console: no session waits."""
        known = scope.statements.lookup(query) if len(query) <= INLINE_LIMIT else None
        return known or await self._read(None, scope, query) or UNREAD

    async def _learn(self, client: Client, scope: Scope, query: bytes) -> None:
        try:
            await self._read(client, scope, query)
        finally:
            self._learned.discard((scope, query))

    async def _read_all(self, client: Client, unit: Unit) -> None:
        found: dict[bytes, Script | None] = {}
        with trio.CancelScope() as reading:
            self._reading[client] = reading
            try:
                for query in dict.fromkeys(unit.waiting_for):  # it may mention one often
                    found[query] = await self._read(client, client.scope, query)
            finally:
                if self._reading.get(client) is reading:
                    del self._reading[client]
        if not reading.cancelled_caught and _waits(client, unit):
            self._go_on(client, unit, found)

    def _go_on(self, client: Client, unit: Unit, found: Mapping[bytes, Script | None]) -> None:
        relay = self._relay
        relay.now = relay.clock()
        try:
            tell(unit, found)
            relay.waits.end(client)
            relay.dispatcher.pump(client)
        except Exception as failure:  # noqa: BLE001 - one session's failure must not end the others
            relay.faults.in_session(client, failure)
        relay.outboxes.flush()

    async def _read(self, client: Client | None, scope: Scope, query: bytes) -> Script | None:
        """Return the facts of *query* of *client* in *scope*, None if it could not be parsed."""

        before: object = None
        known: Script | None = None

        def is_wanted() -> bool:
            nonlocal before, known
            if client is not None and client.closed:
                return False
            now = scope.vocabulary.functions, scope.statements, scope.statements.stored
            if now != before:  # for a long text a look-up takes milliseconds
                before, known = now, scope.statements.peek(query)
            return known is None

        for _ in range(TRIES):
            if not is_wanted():
                break
            reading = await self._reader.classify(
                query,
                lambda: scope.vocabulary.functions,
                asker=0 if client is None else client.pid,
                is_wanted=is_wanted,
            )
            if reading.is_final:
                scope.statements.store(query, UNREAD)
                return UNREAD
            if reading.script is None:
                break
            if (
                reading.book is scope.vocabulary.functions
            ):  # the catalog has not changed meanwhile
                scope.statements.store(query, reading.script)
                return reading.script
        return None if is_wanted() else known


def _waits(client: Client, unit: Unit) -> bool:
    is_next = bool(client.pending) and client.pending[0] is unit
    return is_next and client.waits_for is Waiting.PARSING and not client.closed


def tell(unit: Unit, found: Mapping[bytes, Script | None]) -> None:
    """Give *unit* the facts *found* of the statements it waited for."""
    piece = unit.piece
    if unit.kind is SIMPLE:
        piece.script = unit.script = found[unit.waiting_for[0]] or UNREAD
        return
    unnamed = (p for p in (piece.unnamed, piece.unnamed_parse) if p is not None)
    used = [*(prepared for _, prepared in piece.taught), *piece.needs, *unnamed]
    for prepared in used:
        if prepared.script is None:
            prepared.script = of_prepared(found.get(prepared.query))
    piece.script = unit.script = merge([prepared.script or UNREAD for prepared in used])
