"""Bringing: have a server take on a session's parameters before the session's unit runs on it.

Nearly always the change goes ahead of the unit in one write: what PostgreSQL took from the session once it takes
again. But a unit must never run as another role, so where the change may fail - a role may have been dropped, or
not be known to a replica yet; a tiny statement_timeout of the server's last session may cut it short - the unit waits for
the answer. So does a unit that cannot run again, unless the pool knows that its servers take the parameters
(`session.acceptance`); a read that ran behind a change that failed after all is thrown away with its server, and runs again.

Refused by a replica a unit runs on the primary; refused there, the refusal is its answer. But a custom parameter that
a loaded library refuses is the session's no more, as when PostgreSQL loads the library: with a WARNING.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rwsplit.exchange.chores import Chore, Purpose
from rwsplit.exchange.healing import NOT_REPLAYED
from rwsplit.exchange.lease import LANE, Fate
from rwsplit.protocol.backend import error_response, notice_response
from rwsplit.protocol.fields import parse_error_fields
from rwsplit.protocol.framing import HEADER_SIZE
from rwsplit.relay import lanes
from rwsplit.relay.client import Client
from rwsplit.server.server import Server
from rwsplit.session.acceptance import culprit, is_custom, may_be_stuck, sets_anew
from rwsplit.session.parameters import IDENTITY, ParameterSet
from rwsplit.session.unit import Unit
from rwsplit.sql.script import Script
from rwsplit.sql.statement import Verb

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay


class Change(Chore[Server, Client]):
    """A change of parameters from *before* that *unit* waits for, at the head of its queue or *moving*."""

    __slots__ = ("before", "bringing", "moving", "refusal", "then", "to", "unit")

    def __init__(
        self,
        bringing: Bringing,
        client: Client,
        before: ParameterSet,
        unit: Unit,
        then: Callable[[], None],
        *,
        moving: bool,
    ) -> None:
        super().__init__(Purpose.PARAMETERS, client)
        self.bringing = bringing
        self.before = before
        self.to = client.parameters
        self.unit = unit
        self.moving = moving
        self.then = then
        self.refusal = b""

    def failed_on(self, server: Server, error: bytes) -> None:  # noqa: ARG002 - see Chore
        """Keep what *server* says, whether it stays or not: it is judged when all is answered."""
        self.refusal = error

    def answered_by(self, server: Server) -> None:
        """Go on with the unit that waits."""
        self.bringing.answered(server, self)


class Ahead(Chore[Server, Client]):
    """A change of parameters right ahead of what must run with them."""

    __slots__ = ("bringing",)

    vital = True

    def __init__(self, bringing: Bringing, client: Client) -> None:
        super().__init__(Purpose.PARAMETERS, client)
        self.bringing = bringing

    def refused_by(self, server: Server, error: bytes) -> None:  # noqa: ARG002 - see Chore
        """Throw away what has run behind it."""
        self.bringing.refused_blindly(server, self)


class Bringing:
    """Brings servers to sessions' parameters where the answer must be awaited."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def starts(self, client: Client, server: Server, unit: Unit) -> bool:
        """Bring *server*, just taken for *unit*, which then waits; False: it need not wait."""
        if not _must_wait(client, server, unit):
            return False
        if server.lease == LANE:
            lanes.close_lane(server)
            server.take(client)
        self._start(client, server, unit, lambda: self._send(client, server))
        return True

    def bring(
        self, client: Client, server: Server, unit: Unit, then: Callable[[], None]
    ) -> None:
        """Call *then*, which sends *unit* to *server*, once nothing can go wrong in front of that any more."""
        if _must_wait(client, server, unit):
            self._start(client, server, unit, then, moving=True)
        else:
            then()

    def _start(
        self,
        client: Client,
        server: Server,
        unit: Unit,
        then: Callable[[], None],
        *,
        moving: bool = False,
    ) -> None:
        assert server.parameters is not None
        change = Change(self, client, server.parameters, unit, then, moving=moving)
        server.out.append(client.parameters.change_from(server.parameters))
        server.parameters = None
        server.unnamed = None
        server.owe(change)
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
        # One Query: refused, it has changed nothing.
        server.parameters = change.before if change.failed else change.to
        if not change.failed:
            server.pool.acceptance.took(change.to)
            if change.to.idle_session:
                server.soil()
        client = change.client
        assert client is not None
        if client.settling is not change:
            return  # the session is gone
        client.settling = None
        unit = change.unit
        if not (change.moving or (client.pending and client.pending[0] is unit)):
            self._relay.replies.release(client, server)  # it was cancelled meanwhile
            self._relay.dispatcher.pump(client)
        elif not change.failed:
            client.server = None  # to be taken by what is sent
            change.then()
        else:
            self._refused(client, server, change)

    def _refused(self, client: Client, server: Server, change: Change) -> None:
        relay, unit, refusal = self._relay, change.unit, change.refusal
        if (
            _culprit(change.to, refusal) is None
            and _culprit(change.before, refusal) is not None
        ):
            self._discard(client, server, change)
            return
        self._note(server, change.to, _culprit(change.to, refusal))
        relay.replies.release(client, server)
        if server.is_replica:
            unit.refused_by |= 1 << server.pool.node_index
            unit.restart()
            unit.route = NOT_REPLAYED
            relay.counters.retries += 1
            relay.dispatcher.pump(client)
            return
        gone = _given_up(client, unit, refusal) & {name for name, _ in client.parameters.values}
        if gone:  # else it would be refused again, for ever
            relay.outboxes.touch_client(client)
            values = {n: v for n, v in client.parameters.values if n not in gone}
            client.adopt_parameters(client.knowledge.parameters.intern(values))
            if change.moving:
                client.pending.appendleft(
                    unit
                )  # it is in its transaction, which is nowhere now
                client.pending_bytes += unit.size_in
            relay.dispatcher.pump(client)
            return
        if not change.moving:
            client.pending.popleft()
            client.pending_bytes = max(0, client.pending_bytes - unit.size_in)
        relay.own_answers.answer(client, unit, refusal, refusal)
        if not client.closed:
            relay.dispatcher.pump(client)

    def _discard(self, client: Client, server: Server, change: Change) -> None:
        """Have the unit look for another server: *server* does not give up what another session has set, since the right to was taken away."""
        server.expire(Fate.STUCK_PARAMETERS)
        self._relay.replies.release(client, server)
        if change.moving:  # it is in its transaction, which is nowhere now
            client.pending.appendleft(change.unit)
            client.pending_bytes += change.unit.size_in
        self._relay.dispatcher.pump(client)

    def _note(self, server: Server, refused: ParameterSet, name: str | None) -> None:
        """Note that *server* has refused *refused*, because of *name*: other nodes may have to, soon."""
        refusing = server.pool
        for pool in self._relay.pools:
            if (pool.database, pool.user) == (refusing.database, refusing.user):
                pool.acceptance.doubt(refused)
        refusing.acceptance.refused(refused, name)

    def may_be_lost(self, client: Client) -> bool:
        """Return whether what *client* waits for can be brought to another server."""
        return isinstance(client.settling, Change) and client.settling.unit is not None

    def lost(self, client: Client, server: Server) -> bool:
        """A server is gone while it was being brought: the unit that waits looks for another, if it can."""
        change = client.settling
        client.settling = None
        if not isinstance(change, Change):
            return False
        if change.moving:
            message = f"server closed the connection unexpectedly ({server.pool.node})"
            self._relay.fail_client(client, error_response("FATAL", "08006", message))
            return True
        change.unit.refused_by |= 1 << server.pool.node_index
        self._relay.dispatcher.pump(client)
        return True

    def refused_blindly(self, server: Server, change: Ahead) -> None:
        """Throw away what has run behind a change that failed: it ran with the parameters of another session."""
        client = change.client
        assert client is not None
        self._note(server, client.parameters, None)
        message = f"rwsplit could not {change.purpose.value} on {server.pool.node}"
        change.error = error_response("FATAL", "08006", message)
        server.expire(Fate.REFUSED_PARAMETERS)
        self._relay.lose_server(server, None)


def _culprit(parameters: ParameterSet, refusal: bytes) -> str | None:
    fields = parse_error_fields(refusal[HEADER_SIZE:])
    return culprit(parameters, fields.get("M", ""))


def _given_up(client: Client, unit: Unit, refusal: bytes) -> set[str]:
    """Return which parameters *client* has no more, now that the primary has refused them with *refusal*."""
    if unit.script is not None and _discards_all(unit.script):
        return {name for name, _ in client.parameters.values}
    if unit.script is not None and _leaves_identity(unit.script):
        # It would not be the session's way out of a role that is gone if it had to take it on first.
        return {*IDENTITY}
    name = _culprit(client.parameters, refusal)
    if name is None:
        return set()
    if unit.script is not None and sets_anew(unit.script, (name,)):
        return {name}
    if not is_custom(name):
        return set()
    fields = parse_error_fields(refusal[HEADER_SIZE:])
    client.sink.append(notice_response("WARNING", fields.get("C", ""), fields.get("M", "")))
    return {name}


def _discards_all(script: Script) -> bool:
    return script.single is not None and script.single.discards


def _leaves_identity(script: Script) -> bool:
    """Return whether *script* does nothing but become oneself again, which cannot fail."""
    statement = script.single
    if statement is None:
        return False
    is_back = statement.verb is Verb.RESET or statement.to_default or statement.value == "none"
    return is_back and not statement.local and statement.setting in IDENTITY


def _must_wait(client: Client, server: Server, unit: Unit) -> bool:
    before, wanted = server.parameters, client.parameters
    if before is wanted or before is None:
        return False
    acceptance = server.pool.acceptance
    if wanted.is_doubtful_from(before) or acceptance.has_refused(wanted):
        return True
    runs_again = unit.guarded and (client.transaction is None or server.is_replica)
    return not runs_again and (may_be_stuck(before, wanted) or not acceptance.is_sure(wanted))
