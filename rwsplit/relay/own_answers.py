"""Own answers: errors by which rwsplit itself answers a unit that no server has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rwsplit.protocol import codes
from rwsplit.protocol.backend import error_response
from rwsplit.relay import skipping
from rwsplit.relay.client import Client
from rwsplit.session.unit import SIMPLE, Unit

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay


class OwnAnswers:
    """Answers units by errors; each method ends the session instead if it cannot go on behind the error."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def fail_unit(
        self, client: Client, code: str, message: str, *, hint: str | None = None
    ) -> None:
        """Answer the unit a session waits with by an error; the session goes on."""
        error = error_response("ERROR", code, message, hint=hint)
        self.fail_with(client, error, error_response("FATAL", code, message, hint=hint))

    def fail_with(self, client: Client, error: bytes, fatal: bytes) -> None:
        """Answer the unit a session waits with by *error*, or end the session by *fatal* if it cannot go on."""
        with self._relay.faults.of_session(client):
            self._relay.waits.end(client)
            unit = client.pending.popleft()
            assert isinstance(unit, Unit)
            client.pending_bytes = max(0, client.pending_bytes - unit.size_in)
            self.answer(client, unit, error, fatal)
        if not client.closed and (client.pending or client.paused):
            self._relay.dispatcher.pump(client)

    def refuse(
        self, client: Client, unit: Unit, code: str, message: str, *, hint: str | None = None
    ) -> None:
        """Answer *unit*, which is not sent to any server, by an error."""
        error = error_response("ERROR", code, message, hint=hint)
        self.answer(client, unit, error, error_response("FATAL", code, message, hint=hint))

    def answer(self, client: Client, unit: Unit, error: bytes, fatal: bytes) -> None:
        """Have *error* be the answer to *unit*, or *fatal* if the session cannot go on behind it."""
        late = client.tx != codes.IDLE and self._relay.late.fail(client)
        lost = client.tx != codes.IDLE and not late
        if unit.is_open or lost or (unit.row_limit and unit.kind is SIMPLE):
            self._relay.fail_client(client, fatal)
            return
        skipping.fail(client, unit, error, b"E" if late else b"I")
        self._relay.outboxes.touch_client(client)
