"""Read-back: ask a server what a session's statements have made of its parameters and of its state.

After a unit that may have changed parameters (`session.journal`) or ended a pin (`session.audit`), and as soon as its
session is outside a transaction, one query goes to the session's server: in the same write behind the unit where
it is sure to end outside a transaction, else when its ReadyForQuery comes. Until it is answered the session keeps the
server and its next units wait; so none runs by stale knowledge. The client sees nothing of it.

A question may be cut short by a cancel request meant for the unit in front of it, or by the session's own
statement_timeout: then it is asked again.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from rwsplit.exchange.chores import Chore, Purpose, query
from rwsplit.exchange.lease import Fate
from rwsplit.protocol import codes
from rwsplit.protocol.backend import error_response
from rwsplit.protocol.framing import HEADER, HEADER_SIZE
from rwsplit.relay.client import Client
from rwsplit.server.server import Server
from rwsplit.session import audit
from rwsplit.session.journal import MOST_LENGTH
from rwsplit.session.parameters import ParameterSet, selected
from rwsplit.session.pin import PinState
from rwsplit.session.pinning import UNSEEN, PinReason
from rwsplit.session.unit import Unit
from rwsplit.sql.script import Script
from rwsplit.sql.statement import Verb

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

#: Times a question is asked before rwsplit gives up.
ATTEMPTS: Final = 10
#: What ends a session whose parameters are too long to be given to other servers.
TOO_LONG_SET: Final = error_response(
    "FATAL",
    "53400",
    f"the run-time parameters of a session may not be longer than {MOST_LENGTH >> 10} kB together",
    hint="Keep data in tables.",
)

#: Verbs behind which a session that was outside a transaction still is, whatever becomes of them.
_STAYS_OUTSIDE: Final = frozenset(
    {
        *(Verb.SET, Verb.RESET, Verb.SHOW, Verb.QUERY, Verb.DDL, Verb.UNLISTEN, Verb.CLOSE),
        *(Verb.DEALLOCATE, Verb.DISCARD, Verb.CALL, Verb.DO),
    }
)


class Question(Chore[Server, Client]):
    """A query of rwsplit's own whose answer, one row, is read."""

    __slots__ = ("asked", "attempts", "audits", "columns", "parameters", "readback")

    def __init__(
        self,
        readback: ReadBack,
        client: Client,
        columns: int,
        parameters: int,
        *,
        audits: bool,
    ) -> None:
        super().__init__(Purpose.QUESTION, client)
        self.readback = readback
        self.sink = []
        self.asked = client.journal.asked()
        """The parameters it asks for."""
        self.columns = columns
        """Columns it asks for."""
        self.parameters = parameters
        """Those about parameters; those of the audit follow."""
        self.audits = audits
        self.attempts = 1

    def answered_by(self, server: Server) -> None:
        """Draw the conclusions."""
        self.readback.answered(server, self)


class ReadBack:
    """Asks, and draws the conclusions."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def keeps(self, client: Client, server: Server) -> bool:
        """Ask what is in doubt now that the session is idle; return whether it keeps *server*."""
        if client.settling is None and (
            client.journal.touched or client.pin_state is PinState.DOUBTED
        ):
            if client.journal.touched and client.is_mid_frame:
                # Half a frame is on the server already, and nothing can be put behind it.
                server.expire(Fate.HALF_A_FRAME)
                self._give_up(client, server)
                return True
            self.ask(client, server)
        return client.settling is not None or client.pin is not None

    def ask_behind(self, client: Client, server: Server, unit: Unit, script: Script) -> None:
        """Ask in the same write, if *unit*, just queued, is the session's only one and ends outside a transaction."""
        if (
            (client.journal.touched or client.pin_state is PinState.DOUBTED)
            and client.tx == codes.IDLE
            and client.in_flight == 1
            and not (client.pending and client.pending[-1] is not unit)
            and not (unit.is_open or unit.row_limit or client.is_mid_frame or client.is_open)
            and all(s.verb in _STAYS_OUTSIDE for s in script.statements)
            and not unit.discards  # afterwards all is known
        ):
            self.ask(client, server)

    def ask(self, client: Client, server: Server, *, reviews: bool = False) -> None:
        """Ask *server*, which the session holds, for all that is in doubt.

        *reviews*: also what is left that a query can see, although something else pinned it, which is to end.
        """
        parameters = client.journal.columns()
        audits = client.pin is not None and (
            reviews
            or (client.pin_state is PinState.DOUBTED and client.pin not in UNSEEN)
            # When that ends, something else may be left.
            or (bool(parameters) and client.pin is PinReason.PRIVILEGED_PARAMETER)
        )
        client.ask_pin(audits=audits)
        columns = [*parameters, *(audit.COLUMNS if audits else ())]
        if not columns:
            return
        question = Question(self, client, len(columns), len(parameters), audits=audits)
        client.settling = question
        asked = selected(columns, client.journal.fits())
        self._send(server, question, query(f"/* rwsplit */ {asked}".encode()))

    def _send(self, server: Server, question: Question, frame: bytes) -> None:
        server.out.append(frame)
        server.unnamed = None
        server.owe(question)
        self._relay.outboxes.touch_server(server)

    def answered(self, server: Server, question: Question) -> None:
        """Take in the answer to *question*."""
        client = question.client
        assert client is not None
        if client.settling is not question:
            return  # the session is gone; its server is wiped
        client.settling = None
        columns = _row(b"".join(question.sink or ()))
        if question.failed or client.tx != codes.IDLE:
            self._ask_again(client, server, question)
            return
        if len(columns) != question.columns:  # see Journal.fits
            self._relay.fail_client(client, TOO_LONG_SET)
            return
        if question.parameters:
            columns_read = columns[: question.parameters]
            values = client.journal.read(question.asked, columns_read, client.parameters)
            parameters = client.knowledge.parameters.intern(values)
            if parameters.size > MOST_LENGTH:
                self._relay.fail_client(client, TOO_LONG_SET)
                return
            client.adopt_parameters(parameters)
            if client.is_idle:
                client.be_sure()
            server.parameters = self._had(client)
            self._relay.sender.bring_parameters(client, server, tells=True)
        if question.audits:
            self._judge(client, server, audit.left(columns[question.parameters :]))
        if client.journal.borrowed:
            self._keep(client, server)
        if client.parameters.idle_session:
            server.soil()
        self._relay.deadlines.heed(client)
        self._go_on(client, server)

    def _keep(self, client: Client, server: Server) -> None:
        """Have the session stay where it has parameters that no other server takes from it."""
        server.soil()
        if client.pin is None and not server.is_replica:
            client.pin_for(PinReason.PRIVILEGED_PARAMETER)
            server.responses.owner = client.sink

    def _had(self, client: Client) -> ParameterSet:
        """Return the parameters of the server that was asked for those of *client*."""
        parameters, missing = client.parameters, client.journal.missing
        if not missing:
            return parameters
        values = {name: value for name, value in parameters.values if name not in missing}
        return client.knowledge.parameters.intern(values)

    def _judge(self, client: Client, server: Server, left: list[PinReason]) -> None:
        """Go on with the pin that stands for what is *left*."""
        was_unseen = client.pin in UNSEEN
        client.pin_answered(left[0] if left else None)
        if not left:
            if not was_unseen:
                server.wiped()
            server.responses.owner = None
        if PinReason.PREPARED not in left:
            client.names.in_sql.clear()

    def _ask_again(self, client: Client, server: Server, question: Question) -> None:
        if question.attempts < ATTEMPTS:
            if question.audits:
                client.pin_unanswered()
            attempts = question.attempts
            self.ask(client, server, reviews=question.audits)
            assert isinstance(client.settling, Question)
            client.settling.attempts = attempts + 1
            return
        self._give_up(client, server)

    def _give_up(self, client: Client, server: Server) -> None:
        message = f"rwsplit could not {Purpose.QUESTION.value} on {server.pool.node}"
        self._relay.fail_client(client, error_response("FATAL", "08006", message))

    def _go_on(self, client: Client, server: Server) -> None:
        if client.pin is None and not client.in_flight:
            self._relay.replies.release(client, server)
        if client.pending:
            self._relay.dispatcher.pump(client)


def _row(data: bytes) -> list[bytes | None]:
    """Return the values of all DataRows among the frames in *data*."""
    at = 0
    found: list[bytes | None] = []
    while at < len(data):
        code, length = HEADER.unpack_from(data, at)
        if code == codes.DATA_ROW:
            found += row_values(data, at + HEADER_SIZE)
        at += 1 + length
    return found


def row_values(data: bytes, at: int = 0) -> list[bytes | None]:
    """Return the values of the DataRow whose payload begins at *at* in *data*."""
    [count] = _int16(data, at)
    at += 2
    values: list[bytes | None] = []
    for _ in range(count):
        [size] = _int32(data, at)
        at += 4
        values.append(None if size < 0 else data[at : at + size])
        at += max(0, size)
    return values


_int16 = Struct("!h").unpack_from
_int32 = Struct("!i").unpack_from
