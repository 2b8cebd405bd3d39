"""Faults: what becomes of sessions and servers when rwsplit itself fails in the midst of their business.

Nobody knows then how far it has come: bytes may have been queued whose answers are not in the books, answers may have been taken
off the books and not be told. So all whose business it was are told so and end, at once, and no other session gets
the server. When the turn is over all that is not as it must be (`invariants`) is ended as well. No node is to blame.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import structlog

from rwsplit.errors import ProtocolViolation
from rwsplit.exchange.chores import Chore
from rwsplit.exchange.lease import CLOSED, Fate
from rwsplit.protocol.backend import error_response
from rwsplit.protocol.responses import Owed
from rwsplit.relay import invariants
from rwsplit.relay.client import Client
from rwsplit.server.server import Server
from rwsplit.session.unit import Unit

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

#: Rounds of upkeep in a row that may fail before rwsplit ends: it would do nothing any more about who waits.
MOST_ROUNDS: Final = 20

_log = structlog.get_logger("rwsplit.relay")


class Faults:
    """Ends what cannot go on."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.are_new = False
        """Whether there was one since `clear_up`."""
        self._rounds = 0

    def in_session(
        self, client: Client, failure: Exception, given: Server | None = None
    ) -> None:
        """End the session of *client*: *failure* came while its input was worked off, or sent to the server just *given* to it."""
        relay = self._relay
        if isinstance(failure, ProtocolViolation):
            relay.fail_client(client, error_response("FATAL", failure.sqlstate, str(failure)))
        elif isinstance(failure, OSError):
            relay.loss.client_gone(client)
        else:
            _log.error("client_failed", client=repr(client), exc_info=failure)
            self.are_new = True
            self._end(client, given)

    def in_answers(self, server: Server, owed: Owed | None, failure: Exception) -> None:
        """End the sessions *server* works for: *failure* came while its answers were worked off, the one to *owed* just then."""
        _log.error("server_failed", server=repr(server), exc_info=failure)
        self.are_new = True
        server.expire(Fate.FAULT)
        for party in {server.holder, *map(_client_of, (owed, *server.responses.owed))}:
            if isinstance(party, Client):
                self._end(party)
        if server.lease != CLOSED:
            self._relay.lose_server(server, None)

    @contextmanager
    def of_session(self, client: Client) -> Iterator[None]:
        """End the session of *client* if what is done about it within fails."""
        try:
            yield
        except Exception as failure:  # noqa: BLE001 - one session's failure must not end the others
            self.in_session(client, failure)

    @contextmanager
    def of_upkeep(self) -> Iterator[None]:
        """Go on although what is done within, for nobody in particular, fails; `clear_up` finds whom it concerns."""
        try:
            yield
        except Exception as failure:  # noqa: BLE001 - as above
            self.in_upkeep(failure)
        else:
            self._rounds = 0

    def in_upkeep(self, failure: Exception) -> None:
        """Take note of *failure*; raise it if upkeep has not succeeded for long."""
        _log.error("upkeep_failed", exc_info=failure)
        self.are_new = True
        self._rounds += 1
        if self._rounds > MOST_ROUNDS:
            raise failure

    def clear_up(self) -> None:
        """End what the faults since the last turn have left in a state in which it could only wait for ever."""
        self.are_new = False
        relay = self._relay
        for client, reason in invariants.broken_sessions(relay):
            _log.error("session_broken", client=repr(client), reason=reason)
            self._end(client)
        for server, reason in invariants.broken_servers(relay):
            _log.error("server_broken", server=repr(server), reason=reason)
            server.expire(Fate.FAULT)
            relay.close_server(server)
        relay.counters.load[:-1] = invariants.load(relay)
        for client in list(relay.clients.values()):
            if client.pending and client.wait is None and not client.closed:
                relay.dispatcher.pump(client)
        relay.outboxes.flush()

    def _end(self, client: Client, given: Server | None = None) -> None:
        relay = self._relay
        server = client.server or given
        if server is not None:
            server.expire(Fate.FAULT)
        message = error_response("FATAL", "XX000", "rwsplit failed; its log says how")
        relay.fail_client(client, message)
        if server is not None and server.lease != CLOSED:
            relay.lose_server(server, None)  # the next one would be given what nobody knows of


def _client_of(owed: Owed | None) -> object:
    if isinstance(owed, Unit):
        return owed.session
    return owed.client if isinstance(owed, Chore) else None
