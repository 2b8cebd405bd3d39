"""Standing: what a server, or the session that holds it, is doing, and the timers that end that.

A standing is not stored: it is derived from the answers owed and from the holder of the server, so it cannot be out of date.
`TIMERS` has the timers of each standing and of each way in which a session waits without a server (`Waiting`).
docs/operations.md has the same table for operators, with what the client and the node get.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Final

from rwsplit.exchange.chores import Chore, Purpose
from rwsplit.exchange.lease import IDLE
from rwsplit.exchange.waits import Waiting
from rwsplit.protocol import codes
from rwsplit.relay.client import Client
from rwsplit.relay.trials import Trial
from rwsplit.server.server import Server
from rwsplit.session.unit import Unit

if TYPE_CHECKING:
    from rwsplit.protocol.responses import Owed


class Standing(Enum):
    """What a server, or the session that holds it, is doing."""

    POOLED = "the server waits in its pool for a session"
    IDLE = "the session idles outside a transaction, with a server or without one"
    IN_TRANSACTION = "the session idles in a transaction, on a server or before it has one"
    UNFINISHED = (
        "the server has answered everything, and the client has not sent the rest of its unit"
    )
    RUNNING = "the server runs a statement, or takes part in a COPY"
    PREPARING = "the server runs a query of rwsplit's own for its session"
    CLEANING = "the server runs a query of rwsplit's own, for no session"
    ABANDONED = "the server runs a statement of a client that is gone"
    CANCELLING = "the server is kept until a cancel request has been delivered"


class Timer(Enum):
    """What ends a standing: a setting, or a constant."""

    QUERY = "pool.query_timeout"
    TRANSACTION = "pool.transaction_timeout"
    IDLE_TRANSACTION = "pool.idle_transaction_timeout"
    CLIENT_IDLE = "pool.client_idle_timeout"
    PIN_IDLE = "pool.pin_idle_timeout"
    WAIT = "pool.query_wait_timeout"
    FRESHNESS = "consistency.wait"
    SILENCE = "pool.server_silence_timeout"
    SERVER_IDLE = "pool.server_idle_timeout"
    SERVER_AGE = "pool.server_lifetime"
    CANCEL = "rwsplit.app.opener.CANCEL_TIMEOUT"
    PARSING = "rwsplit.parser.parser.STATEMENT_PATIENCE"


#: The timers of each standing, in the order in which they are checked. In every standing a server may fall silent and a
#: client may stop reading: `silence` and `unread` check that.
TIMERS: Final[Mapping[Standing | Waiting, tuple[Timer, ...]]] = {
    Standing.POOLED: (Timer.SERVER_IDLE, Timer.SERVER_AGE),
    Standing.IDLE: (Timer.CLIENT_IDLE, Timer.PIN_IDLE),
    Standing.IN_TRANSACTION: (Timer.IDLE_TRANSACTION, Timer.TRANSACTION),
    Standing.UNFINISHED: (
        Timer.IDLE_TRANSACTION,
        Timer.CLIENT_IDLE,
        Timer.QUERY,  # in half a message
        Timer.TRANSACTION,
    ),
    Standing.RUNNING: (Timer.QUERY, Timer.TRANSACTION, Timer.SILENCE),
    Standing.PREPARING: (Timer.WAIT, Timer.TRANSACTION, Timer.SILENCE),
    Standing.CLEANING: (Timer.WAIT, Timer.SILENCE),
    Standing.ABANDONED: (Timer.QUERY, Timer.TRANSACTION, Timer.WAIT, Timer.SILENCE),
    Standing.CANCELLING: (Timer.CANCEL,),
    Waiting.SERVER: (Timer.WAIT,),
    Waiting.NODE: (Timer.WAIT, Timer.FRESHNESS),
    Waiting.FRESHNESS: (Timer.FRESHNESS,),
    Waiting.PARSING: (Timer.PARSING,),
}


def standing(server: Server) -> Standing:
    """Return the standing of *server*."""
    owed = server.responses.owed
    if owed:
        return _of_owed(server, owed[0])
    client: Client | None = server.holder  # type: ignore[assignment]  # the relay's are all Clients
    if client is not None:
        return Standing.IN_TRANSACTION if client.tx != codes.IDLE else Standing.IDLE
    return Standing.POOLED if server.lease == IDLE else Standing.CANCELLING


def _of_owed(server: Server, head: Owed) -> Standing:
    """Return the standing of *server*, whose first owed answer is *head*."""
    unit = unit_of(server)
    if unit is None:
        return Standing.PREPARING if server.holder is not None else Standing.CLEANING
    client = client_of(server)
    if client is None:
        return Standing.ABANDONED
    if head is unit and _is_unfinished(server, client, unit):
        return Standing.UNFINISHED
    return Standing.RUNNING


def unit_of(server: Server) -> Unit | None:
    """Return the unit *server* runs, or parses (which may wait for locks); None if it runs a query of rwsplit's own."""
    for owed in server.responses.owed:
        if isinstance(owed, Unit):
            return owed
        if isinstance(owed, Trial):
            return owed.unit
        if not (isinstance(owed, Chore) and owed.purpose is Purpose.TEACH):
            break  # it prepares the statement that EXECUTE names in the unit behind
    return None


def client_of(server: Server) -> Client | None:
    """Return the client *server* works for, None if no client waits for it."""
    owed = server.responses.owed
    head = owed[0] if owed else None
    if isinstance(head, Trial):
        client = head.client
        return client if client is not None and client.settling is head else None
    unit = unit_of(server)
    return server.holder if unit is None else unit.session  # type: ignore[return-value]  # all are Clients


def _is_unfinished(server: Server, client: Client, unit: Unit) -> bool:
    """Return whether *server* has nothing to do for *unit* until *client* says more.

    In a COPY that is unknown: a trigger may be slow, or the client.
    """
    if (
        server.copying > 0
        or server.armed
        or client.paused
        or client.pending
        or len(server.responses.owed) > 1
    ):
        return False
    if client.is_mid_frame:  # everything in front of it must be answered
        return len(unit.steps or ()) <= 1
    return unit.is_open and not unit.steps
