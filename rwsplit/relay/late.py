"""Transactions that are not on the primary: how they begin, where they run, how they leave.

rwsplit answers BEGIN of a READ COMMITTED transaction itself; no server is used until the first statement shows where it belongs. A read binds it to
one replica for as long as that is fresh enough for its next one; whatever is not provably a read *moves* it to the primary, where it begins again with what it has set for
itself and goes on. That is as good as having been there from the start: each statement has a snapshot of its own, what
was read is what a transaction on the primary could have read then, and the primary is at least as new as any replica.

`BEGIN READ ONLY` begins nowhere, too, in whatever isolation level a replica has. It leaves its replica only for what
belongs on the primary all the same (an advisory lock, session state), or for one that is fresh enough; one that has a
snapshot to keep stays, and PostgreSQL judges its statements (docs/decisions/0015).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rwsplit.config.choices import PoolMode, Transactions
from rwsplit.exchange.chores import ROLLBACK, Chore, Purpose, query
from rwsplit.protocol import codes
from rwsplit.protocol.backend import error_response
from rwsplit.protocol.refusals import is_for_recovery_only
from rwsplit.relay import skipping
from rwsplit.relay.client import Client
from rwsplit.relay.needed import Needed
from rwsplit.relay.resetting import Cleaning
from rwsplit.routing import policy
from rwsplit.routing.route import Route, RouteReason, Target
from rwsplit.server.server import Server
from rwsplit.session.answers import answer
from rwsplit.session.boundaries import (
    ends,
    ends_first,
    is_late,
    opens_with_reads,
    sets_modes,
    takes_snapshot,
)
from rwsplit.session.commits import goes_on
from rwsplit.session.journal import SERIALIZABLE
from rwsplit.session.pinning import pin_reason
from rwsplit.session.portals import keeps_portal
from rwsplit.session.prologue import READ_COMMITTED
from rwsplit.session.stand_ins import NOTHING, OPAQUE
from rwsplit.session.transaction import Transaction
from rwsplit.session.unit import FUNCTION, Unit
from rwsplit.sql.script import Script
from rwsplit.sql.statement import Statement, Verb

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay


_SAME_TRANSACTION: Final = Route(Target.SAME, RouteReason.IN_TRANSACTION)
_LEARNED: Final = Route(Target.PRIMARY, RouteReason.LEARNED_STATE)
_WITH_READS: Final = Route(Target.REPLICA, RouteReason.LATE_TRANSACTION)
_SNAPSHOT: Final = query(b"SELECT")
#: Fails the transaction of whoever runs it.
_FAIL: Final = query(b"ROLLBACK TO SAVEPOINT rwsplit_refuses")


class Late:
    """Begins transactions nowhere or on replicas, and moves them to the primary."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    # Beginning...

    def begin(self, client: Client, unit: Unit, script: Script) -> bool:
        """Answer *unit* if it begins a transaction that may wait for its first statement; say whether it did."""
        if (
            not is_late(script)
            or unit.is_open
            or unit.row_limit
            or not unit.executes
            or not self._may(client, script.statements[0])
        ):
            return False
        hinted = None
        if script.hints is not None:
            hinted = self._relay.choice.route(client, unit, script)
            if hinted.target is not Target.REPLICA:
                return False
        statement = script.single
        assert statement is not None
        assert statement.tag is not None
        if not self._answer(client, unit, statement.tag, b"T"):
            return False
        client.tx = codes.IN_TRANSACTION
        client.begun = self._relay.now
        client.transaction = Transaction.nowhere(statement, unit, client.isolation)
        client.transaction.hinted = hinted
        return True

    def route(self, client: Client, unit: Unit, script: Script) -> Route | None:
        """Return the verdict on a unit that begins a transaction and reads at once, None for any other."""
        # A portal that is to be executed later must be where the transaction may write.
        if unit.is_open or unit.row_limit or unit.restarts or not opens_with_reads(script):
            return None
        return _WITH_READS if self._may(client, script.statements[0]) else None

    def _may(self, client: Client, statement: Statement) -> bool:
        """Return whether the transaction that *statement* begins may begin nowhere."""
        if client.opaque or client.pin is not None or client.mode is not PoolMode.TRANSACTION:
            return False
        if statement.read_only:
            return client.isolation != SERIALIZABLE
        return (
            self._relay.config.routing.transactions is Transactions.LATE
            and client.isolation in READ_COMMITTED
        )

    def _answer(self, client: Client, unit: Unit, tag: str, status: bytes) -> bool:
        """Give PostgreSQL's answer to *unit*, if it is known what that is."""
        answered = answer(unit, tag, status)
        if answered is None:
            return False
        unit.settle_names()
        client.sink.append(answered)
        client.statements += 1
        self._relay.outboxes.touch_client(client)
        return True

    # The first statement...

    def first(self, client: Client, unit: Unit, script: Script) -> bool:
        """Send *unit*, the first of a transaction that is nowhere, or end that; return whether it is done."""
        relay = self._relay
        transaction = client.transaction
        assert transaction is not None
        if not (transaction.prologue or transaction.modes) and self._ends(client, unit, script):
            return True
        unit.route = route = self._route(client, unit, script)
        if route.target is Target.REPLICA:
            node = relay.choice.reader(client, unit, route)
            if client.wait is not None:
                return False
        elif route.target is Target.NODE:
            node = relay.choice.named(route)
            if node is None:
                return relay.hinting.await_node(client, unit, route)
        else:
            node = relay.view.primary
        if node is None:
            relay.waits.await_node(client)
            return False
        return relay.dispatcher.to_node(client, unit, node)

    def _ends(self, client: Client, unit: Unit, script: Script) -> bool:
        """End a transaction in which nothing was done, if *unit* says so."""
        statement = script.single
        if (
            statement is None
            or statement.tag is None
            or statement.verb is Verb.BEGIN
            or unit.is_open
            or unit.row_limit
            or not unit.executes
            or not self._answer(client, unit, self._tag_of(client, statement.tag), b"I")
        ):
            return False
        client.tx = codes.IDLE
        client.transaction = None
        return True

    def _tag_of(self, client: Client, tag: str) -> str:
        """Return what a command with *tag* ends the transaction with: COMMIT of a failed one is a ROLLBACK."""
        return "ROLLBACK" if client.tx == codes.FAILED else tag

    def fail(self, client: Client) -> bool:
        """Fail the transaction of *client*, as an error would, if it is nowhere or on a replica; return whether."""
        transaction = client.transaction
        if transaction is None or client.in_flight:
            return False
        if client.server is not None:
            self._fail_on(client.server)
        client.tx = codes.FAILED
        return True

    def _fail_on(self, server: Server) -> None:
        server.out.append(_FAIL)
        server.owe(Chore(Purpose.REFUSE))
        self._relay.outboxes.touch_server(server)

    def _route(self, client: Client, unit: Unit, script: Script) -> Route:
        transaction = client.transaction
        assert transaction is not None
        if (unit.is_open and (script is NOTHING or ends(script))) or (
            transaction.late and (unit.is_open or keeps_portal(unit) or unit.follows)
        ):
            return Route(Target.PRIMARY, RouteReason.OPEN_UNIT)
        if script.hints is not None and self._relay.hinting.is_for_nobody(script.hints):
            return self._relay.choice.route(client, unit, script)  # an error, whatever it does
        if transaction.takes_along(unit, script):
            return policy.READ
        if client.tx == codes.FAILED and not (_prepares(script) or goes_on(script)):
            return policy.READ  # whoever has it refuses the statement
        route = self._verdict(client, unit, script)
        if route.target is Target.PRIMARY or transaction.stays(script):
            return route
        if script.cost.precedes_state and not transaction.late:
            route = _LEARNED
        else:
            route = Route(Target.PRIMARY, RouteReason.TRANSACTION)
        return route

    def _verdict(self, client: Client, unit: Unit, script: Script) -> Route:
        """Return the policy's verdict on a statement in a transaction that is nowhere or on a replica."""
        transaction = client.transaction
        assert transaction is not None
        route = self._relay.choice.route(client, unit, script)
        if route.target is Target.SAME:  # it is run again on the replica, or another
            return policy.READ
        if not transaction.late and not takes_snapshot(script) and transaction.stays(script):
            return policy.READ  # a savepoint, say: a replica has those
        if client.was_refused_state and transaction.snapshot and not transaction.late:
            return _LEARNED
        if route.reason is RouteReason.NODE_ROLE and not transaction.late:
            route = policy.READ  # a client that wants the primary's does not ask READ ONLY
        hinted = transaction.hinted
        if hinted is None or script.hints is not None or route.target is not Target.REPLICA:
            return route
        return route._replace(max_lag=hinted.max_lag, consistency=hinted.consistency)

    def begin_on(self, client: Client, server: Server, unit: Unit) -> None:
        """Begin on *server* the transaction of *client* that is nowhere, ahead of *unit*."""
        transaction = client.transaction
        assert transaction is not None
        server.unnamed = None
        first = transaction.opening(
            on_replica=server.is_replica,
            # It can still be described, unless the unit has a portal of its own.
            portal=unit.follows or unit.is_open or not unit.executes or unit.kind is FUNCTION,
        )
        script = unit.script or OPAQUE
        if transaction.reads and (sets_modes(script) or not takes_snapshot(script)):
            # It has one, so that it is too late for some modes, now or later: PostgreSQL judges.
            first.append([_SNAPSHOT])
        for frames in first:
            server.out.extend(frames)
            server.owe(Needed(self._relay, Purpose.BEGIN, client))
        if client.tx == codes.FAILED:
            self._fail_on(server)
            unit.guarded = False
        if not server.is_replica:
            unit.guarded = False
            client.transaction = None  # it is where it may do everything

    # On a replica...

    def must_leave(  # noqa: PLR0911 - one line a reason
        self, client: Client, unit: Unit, script: Script
    ) -> bool:
        """Return whether the transaction on a replica cannot go on there with *unit*."""
        transaction = client.transaction
        assert transaction is not None
        if client.tx == codes.FAILED:
            return _prepares(script) or _outlives(transaction, unit, script)
        if unit.follows and script.state is None:
            return False  # its portal is there
        if unit.is_open and (script is NOTHING or ends(script)):
            return True  # nobody knows what it will do
        if transaction.late and (unit.is_open or keeps_portal(unit)):
            return True
        if script is NOTHING or transaction.takes_along(unit, script):
            return False
        if not transaction.stays(script):
            return True
        if script.controls_transaction or not transaction.is_free:
            return False
        return self._is_stale(client, unit, script)

    def _is_stale(self, client: Client, unit: Unit, script: Script) -> bool:
        """Return whether the replica *client* has its transaction on may not answer its next statement, a read."""
        server = client.server
        assert isinstance(server, Server)
        route = self._verdict(client, unit, script)
        if route.target is Target.PRIMARY:
            return True
        if not takes_snapshot(script):
            return False
        return not self._relay.choice.may_stay(client, server, script, route)

    def leave(self, client: Client, server: Server, unit: Unit) -> bool:
        """Have the transaction go on elsewhere with *unit*, on the primary mostly; return whether that is sent."""
        transaction = client.transaction
        assert transaction is not None
        relay = self._relay
        script = unit.script or OPAQUE
        if client.tx == codes.FAILED and _prepares(script):
            self._give_up(client, server, unit)
            return True
        if client.tx != codes.FAILED and transaction.is_free and transaction.stays(script):
            # Another replica may answer it: it looks for one as if this were its first statement.
            client.server = None
            self._roll_back(server)
            return self.first(client, unit, script)
        if not _may_go(client, transaction, unit, script):
            if client.tx == codes.IN_TRANSACTION and pin_reason(script) and not _is_ddl(script):
                self._refuse_state(client, server, unit)
                return True
            unit.route = _SAME_TRANSACTION
            relay.sender.send(client, server, unit)
            return True
        return self._to_primary(client, server, unit)

    def _to_primary(self, client: Client, server: Server, unit: Unit) -> bool:
        """Move the transaction to the primary, as soon as there is a server; return whether *unit* is sent."""
        relay = self._relay
        primary = relay.view.primary
        if primary is None:
            relay.waits.await_node(client)
            return False
        pool = relay.pool_of(client, primary)
        target = pool.acquire(client)
        if target is None:
            # It stands in the queue, its replica in hand; see Dispatcher.start.
            relay.waits.queue(client, pool, shares=False)
            pool.ask(relay.now)
            return False
        self.move(client, server, target, unit)
        return True

    def _give_up(self, client: Client, server: Server, unit: Unit) -> None:
        """End a failed transaction with *unit*, a PREPARE TRANSACTION: PostgreSQL takes it for a ROLLBACK.

        A hot standby does not: it refuses it, and the transaction would stay.
        """
        if unit.is_open or unit.row_limit or not self._answer(client, unit, "ROLLBACK", b"I"):
            unit.route = _SAME_TRANSACTION
            self._relay.sender.send(client, server, unit)
            return
        client.tx = codes.IDLE
        client.transaction = None
        client.server = None
        self._roll_back(server)

    def _roll_back(self, server: Server) -> None:
        """End what a session has on *server*, which it leaves."""
        server.leave()
        server.out.append(ROLLBACK)
        server.owe(Cleaning(self._relay))
        server.roll_back()
        self._relay.outboxes.touch_server(server)

    def move(self, client: Client, server: Server, target: Server, unit: Unit) -> None:
        """End the transaction on the replica *server*, begin it on *target* and go on with *unit*."""
        self._roll_back(server)
        client.server = None
        unit.guarded = False
        unit.route = Route(Target.PRIMARY, self._reason(unit.script or OPAQUE))
        relay = self._relay

        def send() -> None:
            relay.sender.send(client, target, unit)

        def try_and_send() -> None:
            if not relay.trials.starts(client, target, unit, send):
                send()

        relay.bringing.bring(client, target, unit, try_and_send)

    def _reason(self, script: Script) -> RouteReason:
        reason = policy.route_facts(script).reason
        return RouteReason.TRANSACTION if reason is RouteReason.READ else reason

    def lost(self, client: Client, units: list[Unit]) -> bool:
        """Return whether the transaction, whose replica is lost, can go on elsewhere with *units*."""
        return self.is_free(client) and all(
            unit.guarded and not unit.forwarded for unit in units
        )

    def is_free(self, client: Client) -> bool:
        """Return whether the transaction of *client* can go on elsewhere, or, if it has failed, be ended there."""
        transaction = client.transaction
        if transaction is None:
            return False
        if client.tx == codes.FAILED:
            return transaction.can_end_elsewhere
        return transaction.is_free and client.tx == codes.IN_TRANSACTION

    def note(self, client: Client, unit: Unit, script: Script, status: int) -> None:
        """Keep the books of the transaction at the end of *unit*."""
        transaction = client.transaction
        if transaction is None:
            return
        if status == codes.IDLE:
            client.transaction = None
            return
        if not unit.failed and script.controls_transaction:
            anew = Transaction.begun_anew(unit, client.isolation)
            if anew is not None:
                client.transaction = anew
                return
        transaction.note_read(unit, script)
        if script.statements and script.statements[-1].chain and not unit.failed:
            if not transaction.aborted or client.isolation in READ_COMMITTED:
                client.transaction = transaction.chained()
            return
        transaction.note_end(unit, script, status)

    def refused(self, client: Client, error: bytes) -> None:
        """Learn from *error*, with which a statement of *client* has failed, if the primary would have allowed that."""
        if client.transaction is not None and is_for_recovery_only(error):
            self._learn(client)

    def _learn(self, client: Client) -> None:
        """Take note that a READ ONLY transaction wanted what its replica, which it cannot leave, does not allow.

        The next one of the session, and the next that begins like it, runs where everything is allowed.
        """
        transaction = client.transaction
        if transaction is None or transaction.late or not transaction.is_kept:
            return
        client.was_refused_state = True
        if transaction.kept_by is not None:
            transaction.kept_by.precedes_state = True

    def _refuse_state(self, client: Client, server: Server, unit: Unit) -> None:
        """Fail a transaction that cannot leave its replica for wanting state on the primary."""
        self._learn(client)
        self._fail_on(server)
        message = (
            "a READ ONLY transaction with a snapshot, savepoint or portal to keep "
            "cannot use or change what belongs to its session"
        )
        hint = "Try again: it will run on the primary. /* rwsplit: primary */ at its BEGIN says so beforehand."
        skipping.fail(client, unit, error_response("ERROR", "0A000", message, hint=hint), b"E")
        client.tx = codes.FAILED
        self._relay.outboxes.touch_client(client)


def _may_go(client: Client, transaction: Transaction, unit: Unit, script: Script) -> bool:
    """Return whether the transaction on a replica can go to the primary with *unit*, which cannot stay."""
    ends_it = ends_first(script) or (unit.is_open and ends(script))
    if client.tx == codes.FAILED or (ends_it and not unit.follows):
        return True  # there is nothing to keep
    return client.tx == codes.IN_TRANSACTION and not transaction.is_kept


def _outlives(transaction: Transaction, unit: Unit, script: Script) -> bool:
    """Return whether *unit*, in a transaction that has failed on a replica, may do what a replica refuses once it has ended that.

    Then it must do so on the primary, where the transaction fails again first. What goes back to a savepoint stays.
    """
    if transaction.rooted and any(s.verb is Verb.ROLLBACK_TO for s in script.statements):
        return False
    return unit.is_open or goes_on(script)


def _is_ddl(script: Script) -> bool:
    """Return whether *script* is DDL alone (CREATE TEMP TABLE), which PostgreSQL refuses in any READ ONLY transaction."""
    return script.single is not None and script.single.verb is Verb.DDL


def _prepares(script: Script) -> bool:
    return script.single is not None and script.single.verb is Verb.PREPARE_TRANSACTION
