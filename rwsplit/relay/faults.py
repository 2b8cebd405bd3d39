"""Faults: what becomes of sessions and servers when rwsplit itself fails in the midst of their business.

Nobody knows then how far it has come: bytes may have been queued whose answers are not in the books, answers may have been taken
off the books and not be told. So all whose business it was are told so and end, at once, and no other session gets
the server. No node is to blame.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import structlog

from rwsplit.errors import ProtocolViolation
from rwsplit.exchange.chores import Chore
from rwsplit.exchange.lease import CLOSED, Fate
from rwsplit.protocol.backend import error_response
from rwsplit.protocol.responses import Event, Owed, What
from rwsplit.relay.client import Client
from rwsplit.server.server import Server
from rwsplit.session.unit import Unit

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

_log = structlog.get_logger("rwsplit.relay")


class Faults:
    """Ends what cannot go on."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

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
            self._end(client, given)

    def in_answers(
        self, server: Server, owed: Owed | None, rest: Iterable[Event], failure: Exception
    ) -> None:
        """End the sessions *server* works for: *failure* came while an event about *owed* was worked off; *rest* follow."""
        _log.error("server_failed", server=repr(server), exc_info=failure)
        relay = self._relay
        parties = {_client_of(owed), server.holder, *map(_client_of, server.responses.owed)}
        for what, later, _ in rest:
            parties.add(_client_of(later))
            if what is What.DONE and isinstance(later, Unit):
                relay.counters.load[later.node] -= 1
                relay.moments.lost(server, later)
        server.expire(Fate.FAULT)
        for party in parties:
            if isinstance(party, Client):
                self._end(party)
        relay.lose_server(server, None)

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
