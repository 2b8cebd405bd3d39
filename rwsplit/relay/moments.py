"""Moments: when sessions have last written and read, and where, for what their later reads must see.

A write counts from the moment its client could know of it (`session.commits`). A read counts where its session's level was kept:
one below that, because a hint, a rule or SET rwsplit.consistency asked for it, leaves no trace in what later
reads rely on (docs/decisions/0015).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rwsplit.exchange.healing import NOT_REPLAYED
from rwsplit.protocol import codes
from rwsplit.relay.client import Client
from rwsplit.routing.consistency import PRIMARY_HOME
from rwsplit.routing.route import RouteReason
from rwsplit.server.server import Server
from rwsplit.session.commits import commits, has_committed
from rwsplit.session.unit import Unit

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay


class Moments:
    """Notes writes and reads."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def told(self, client: Client, server: Server, unit: Unit, now: float) -> None:
        """Note what the client may know of *unit* although that goes on: a part of its answer has come."""
        script = unit.script
        if script is None or server.is_replica or not _has_written(client, unit):
            return
        is_failed = client.tx == codes.FAILED
        has_more = unit.is_open or unit.has_more
        if has_committed(script, is_failed=is_failed, is_over=False, has_more=has_more):
            client.last_write = self._relay.last_write = now

    def done(self, client: Client, server: Server, unit: Unit, status: int, now: float) -> None:
        """Note what *unit*, answered whole, has written and read; *status* is the transaction's, the client's the one before."""
        script = unit.script
        assert script is not None
        if _has_written(client, unit):
            is_over = status == codes.IDLE
            client.wrote = not is_over
            if is_over:
                server.note_writer(client)
            is_failed = client.tx == codes.FAILED
            if has_committed(
                script, is_failed=is_failed, is_over=is_over, has_more=unit.has_more
            ):
                client.last_write = self._relay.last_write = now
        client.last_answer = now
        was_in_vain = unit.failed and unit.route is NOT_REPLAYED  # it has read nothing
        if unit.relied_on and not was_in_vain:
            client.last_read = now
            client.home = unit.node if server.is_replica else PRIMARY_HOME

    def lost(self, server: Server, unit: Unit) -> None:
        """Note that *unit* will not be answered: its server, or its client, is gone, and nobody knows what it did."""
        client: Client | None = unit.session  # type: ignore[assignment]  # the relay's are all Clients
        script = unit.script
        if server.is_replica or script is None:
            return
        if script.may_write or (
            commits(script) if client is None else _has_written(client, unit)
        ):
            self._relay.last_write = self._relay.clock()


def _has_written(client: Client, unit: Unit) -> bool:
    """Return whether the session has written in its transaction or may have in *unit*."""
    script, route = unit.script, unit.route
    assert script is not None
    if client.wrote:
        return True
    return unit.executes and (
        script.may_write
        or script.cost.writes
        or (route is not None and route.reason is RouteReason.RETRIED_READ_ONLY)
    )
