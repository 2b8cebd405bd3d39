"""Read-only transactions on replicas, and how they leave.

`BEGIN READ ONLY` binds a session to one replica. A statement that belongs on the primary all the same (an
advisory lock, session state, an unlogged table) moves the transaction there: it has only read, and the primary
is at least as new as any replica. One that has a snapshot to keep cannot be moved; PostgreSQL on the replica
judges its statements, and session state, which could never be used on the primary, is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rwsplit.protocol import codes
from rwsplit.protocol.backend import error_response
from rwsplit.protocol.framing import frame
from rwsplit.relay.client import Client, Waiting
from rwsplit.relay.injected import ROLLBACK, Injected, Purpose, query
from rwsplit.routing import policy
from rwsplit.routing.route import Route, RouteReason, Target
from rwsplit.server.server import Server
from rwsplit.session.assembly import OPAQUE
from rwsplit.session.pinning import pin_reason
from rwsplit.session.unit import Kind, Unit
from rwsplit.sql.statement import Script, Verb

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay


_SAME_TRANSACTION: Final = Route(Target.SAME, RouteReason.IN_TRANSACTION)


class ReadOnly:
    """Moves READ ONLY transactions from a replica to the primary."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def must_leave(self, script: Script) -> bool:
        """Return whether a READ ONLY transaction on a replica meets a statement for the primary."""
        begins = any(statement.verb is Verb.BEGIN for statement in script.statements)
        return begins or script.primary_only is not None or script.state is not None

    def leave_replica(self, client: Client, server: Server, unit: Unit) -> bool:
        """Move a READ ONLY transaction to the primary, where it goes on with *unit*.

        It has only read there, and the primary is at least as new as any replica. A transaction with one
        snapshot for all its statements cannot be moved once it has one: PostgreSQL on the replica judges
        the statement then.
        """
        begin = client.replica_transaction
        assert begin is not None
        assert begin.script is not None
        relay = self._relay
        snapshot = (begin.script.statements[0].isolation or "").lower() == "repeatable read"
        if (
            client.tx != codes.IN_TRANSACTION
            or len(begin.script.statements) > 1
            or (snapshot and client.reads_in_transaction)
            or client.rooted
        ):
            if client.tx == codes.IN_TRANSACTION and pin_reason(unit.script or begin.script):
                self._refuse_state(client, server)
                return True
            unit.route = _SAME_TRANSACTION
            self._relay.sender.send(client, server, unit)
            return True
        primary = relay.view.primary
        if primary is None:
            client.waiting = Waiting.NODE
            relay.homeless[client] = None
            return False
        pool = relay.pool_of(client, primary)
        target = pool.acquire()
        if target is None:
            # It stands in the queue, its replica in hand; see Dispatcher.start.
            client.waiting = Waiting.SERVER
            client.waits_for = pool
            client.shares = False
            pool.exclusive += 1
            pool.waiters.append(client)
            relay.counters.load[pool.node_index] += 1
            pool.ask(relay.now)
            return False
        self.move(client, server, target, unit)
        return True

    def move(self, client: Client, server: Server, target: Server, unit: Unit) -> None:
        """End the transaction on the replica *server*, begin it on *target* and go on with *unit*."""
        relay = self._relay
        begin = client.replica_transaction
        assert begin is not None
        client.replica_transaction = None
        server.out.append(ROLLBACK)
        server.owe(Injected(Purpose.ROLLBACK))
        server.holder = None
        relay.outboxes.touch_server(server)
        client.server = None
        relay.bringing.bring(client, target, lambda: self._arrive(client, target, begin, unit))

    def _arrive(self, client: Client, target: Server, begin: Unit, unit: Unit) -> None:
        """Begin the transaction again on *target*, which has the session's parameters."""
        client.server = None
        target.out.extend(part for part in begin.piece.parts if isinstance(part, bytes))
        if begin.kind is Kind.SIMPLE:
            target.unnamed = None
        target.owe(Injected(Purpose.BEGIN, client))
        unit.route = Route(Target.PRIMARY, policy.route_facts(unit.script or OPAQUE).reason)
        self._relay.sender.send(client, target, unit)

    def _refuse_state(self, client: Client, server: Server) -> None:
        """Fail a transaction whose snapshot is on a replica for wanting state on the primary."""
        server.out.append(query(b"ROLLBACK TO SAVEPOINT rwsplit_refuses"))
        server.owe(Injected(Purpose.REFUSE))
        self._relay.outboxes.touch_server(server)
        message = (
            "a READ ONLY REPEATABLE READ transaction that has read cannot change its session"
        )
        hint = "Begin it with /* rwsplit: primary */, or change the session outside of it."
        client.sink.append(error_response("ERROR", "0A000", message, hint=hint))
        client.sink.append(frame(codes.READY, b"E"))
        client.tx = codes.FAILED
        self._relay.outboxes.touch_client(client)
