"""Bringing: have a server take on a session's parameters before the session's unit runs on it.

Nearly always the change goes ahead of the unit in one write: what PostgreSQL took from the session once it takes
again. But a unit must never run as somebody else, so where the change may fail - a role may have been dropped, or
not be known to a replica yet; a tiny statement_timeout of the server's last session may cut it short - the unit waits for
the answer. Refused by a replica it runs on the primary; refused there, the refusal is its answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from rwsplit.protocol.backend import error_response
from rwsplit.relay import lanes
from rwsplit.relay.client import Client
from rwsplit.relay.injected import Injected, Purpose
from rwsplit.routing.route import Route, RouteReason, Target
from rwsplit.server.server import LANE, Server
from rwsplit.session.parameters import IDENTITY, ParameterSet
from rwsplit.session.unit import Unit
from rwsplit.sql.statement import Script, Verb

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

_NOT_REPLAYED: Final = Route(Target.PRIMARY, RouteReason.RETRIED_NOT_REPLAYED)


class Change(Injected):
    """A change of parameters something waits for: *unit*, or what *then* does."""

    __slots__ = ("refusal", "then", "to", "unit")

    def __init__(
        self, client: Client, to: ParameterSet, unit: Unit | None, then: Callable[[], None]
    ) -> None:
        super().__init__(Purpose.PARAMETERS, client)
        self.to = to
        self.unit = unit
        self.then = then
        self.refusal = b""


class Bringing:
    """Brings servers to sessions' parameters where the answer must be awaited."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def starts(self, client: Client, server: Server, unit: Unit) -> bool:
        """Bring *server*, just taken for *unit*, which then waits; False: it need not wait."""
        if not _must_wait(client, server):
            return False
        if server.use is LANE:
            lanes.close_lane(server)
        self._start(client, server, unit, lambda: self._send(client, server))
        return True

    def bring(self, client: Client, server: Server, then: Callable[[], None]) -> None:
        """Call *then*, which sends something to *server*, once nothing can go wrong in front of that any more."""
        if _must_wait(client, server):
            self._start(client, server, None, then)
        else:
            then()

    def _start(
        self, client: Client, server: Server, unit: Unit | None, then: Callable[[], None]
    ) -> None:
        assert server.parameters is not None
        change = Change(client, client.parameters, unit, then)
        server.out.append(client.parameters.change_from(server.parameters))
        server.parameters = None
        server.unnamed = None
        server.owe(change)
        server.holder = client
        client.server = server
        client.settling = change
        self._relay.outboxes.touch_server(server)

    def _send(self, client: Client, server: Server) -> None:
        """Send the unit that has waited; what follows it goes its way."""
        unit = client.pending[0]
        assert isinstance(unit, Unit)
        if self._relay.trials.starts(client, server, unit):
            return
        client.pending.popleft()
        client.pending_bytes = max(0, client.pending_bytes - unit.size_in)
        self._relay.sender.send(client, server, unit)
        if client.pending or client.paused:
            self._relay.dispatcher.pump(client)

    def answered(self, server: Server, change: Change) -> None:
        """Go on now that *server* has taken on the parameters, or not."""
        if not change.failed:
            server.parameters = change.to
        client = change.client
        assert client is not None
        if client.settling is not change:
            return  # the session is gone
        client.settling = None
        unit = change.unit
        if unit is not None and not (client.pending and client.pending[0] is unit):
            self._relay.replies.release(client, server)  # it was cancelled meanwhile
            self._relay.dispatcher.pump(client)
        elif not change.failed:
            client.server = None  # to be taken by what is sent
            change.then()
        elif unit is None:
            self._relay.fail_client(client, change.refusal)
        else:
            self._refused(client, server, unit, change.refusal)

    def _refused(self, client: Client, server: Server, unit: Unit, refusal: bytes) -> None:
        relay = self._relay
        relay.replies.release(client, server)
        if server.is_replica:
            unit.refused_by |= 1 << server.pool.node_index
            unit.restart()
            unit.route = _NOT_REPLAYED
            relay.counters.retries += 1
            relay.dispatcher.pump(client)
            return
        if unit.script is not None and _leaves_identity(unit.script):
            # It would not be the session's way out of a role that is gone if it had to take it on first.
            values = dict(pair for pair in client.parameters.values if pair[0] not in IDENTITY)
            client.adopt_parameters(client.knowledge.parameters.intern(values))
            relay.dispatcher.pump(client)
            return
        client.pending.popleft()
        client.pending_bytes = max(0, client.pending_bytes - unit.size_in)
        relay.loss.answer(client, unit, refusal, refusal)
        if not client.closed:
            relay.dispatcher.pump(client)

    def lost(self, client: Client, server: Server) -> bool:
        """A server is gone while it was being brought: the unit that waits looks for another, if it can."""
        change = client.settling
        client.settling = None
        if not isinstance(change, Change):
            return False
        if change.unit is None:
            message = f"server closed the connection unexpectedly ({server.pool.node})"
            self._relay.fail_client(client, error_response("FATAL", "08006", message))
            return True
        change.unit.refused_by |= 1 << server.pool.node_index
        self._relay.dispatcher.pump(client)
        return True


def _leaves_identity(script: Script) -> bool:
    """Return whether *script* does nothing but become oneself again, which cannot fail."""
    statement = script.single
    if statement is None or statement.discards:
        return statement is not None
    is_back = statement.verb is Verb.RESET or statement.to_default or statement.value == "none"
    return is_back and not statement.local and statement.setting in IDENTITY


def _must_wait(client: Client, server: Server) -> bool:
    parameters = server.parameters
    return (
        parameters is not client.parameters
        and parameters is not None
        and client.parameters.is_doubtful_from(parameters)
    )
