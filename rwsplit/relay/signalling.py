"""Signalling: `pg_terminate_backend` and `pg_cancel_backend` of the process id that rwsplit told a client.

rwsplit does itself to that session what PostgreSQL would do to a backend, wherever it works or waits, and
the call is answered true (`session.backend_calls`). A session may do so to those of its own user, unless it acts as another
role; to rwsplit nobody is a superuser. Any other number goes to the node as it is, which warns and answers false if it knows no such backend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rwsplit.exchange.lease import CLOSED, LANE
from rwsplit.protocol import codes
from rwsplit.protocol.backend import error_response
from rwsplit.relay.client import Client
from rwsplit.session.backend_calls import read_call, replace_call
from rwsplit.session.piece import Piece
from rwsplit.session.unit import Unit

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

_TERMINATED: Final = error_response(
    "FATAL", "57P01", "terminating connection due to administrator command"
)


class Signaller:
    """Carries out calls about sessions."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def carry_out(self, client: Client, unit: Unit) -> Piece:
        """Do what *unit* of *client* asks for, if it is about a session; return what is to be sent for it."""
        if client.opaque or client.tx == codes.FAILED or client.in_flight:
            return unit.piece  # it may come to nothing
        if client.parameters.has_identity or client.is_unsure:
            return unit.piece  # the role it acts as may not do so, as far as we know
        call = read_call(unit)
        target = None if call is None else self._relay.by_pid.get(call.pid)
        if call is None or target is None or target.user != client.user:
            return unit.piece
        on_itself = target is client
        if on_itself:
            pass  # its server does it
        elif call.terminates:
            self._terminate(target)
        else:
            self._relay.canceller.cancel_client(target)
        return replace_call(unit.piece, call, client.scope.prepared.get, on_itself=on_itself)

    def _terminate(self, target: Client) -> None:
        relay = self._relay
        server = target.server if target.in_flight else None
        relay.fail_client(target, _TERMINATED)
        # What it was running ends, too, also if it could be left to itself.
        if (
            server is not None
            and server.lease not in (LANE, CLOSED)
            and server.responses.owed
            and isinstance(server.responses.owed[0], Unit)
            and not server.cancels
        ):
            relay.canceller.cancel_server(server)
