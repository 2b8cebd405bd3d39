"""Sequences: no session is told by currval or lastval what another one has drawn on the same server.

`DISCARD SEQUENCES` ahead of a session's first write on a server that another one wrote on last keeps them apart. It
would make the writes of all dearer for the sake of the few databases in which anybody asks. So it is sent for a while
(`PATIENCE`), and for ever where a session has asked by then. Where none did it is sent only ahead of what asks: that one
time even what the session itself has drawn is gone, and from then on writers are kept apart.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from rwsplit.exchange.chores import DISCARD_SEQUENCES, DISCARD_SEQUENCES_ASIDE, Purpose
from rwsplit.protocol import codes
from rwsplit.relay.client import Client
from rwsplit.relay.needed import Needed
from rwsplit.server.server import Server
from rwsplit.session.unit import Unit
from rwsplit.sql.script import Script

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

#: How often writers are kept apart, in one database, before that ends for want of anybody who asks.
PATIENCE: Final = 10_000


def may_meet(client: Client, server: Server) -> bool:
    """Return whether *client* might be told on *server* what others have drawn, if it draws or asks there now."""
    return server.last_writer is not client or server.mingled


class Sequences:
    """Keeps apart what sessions draw."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._left: dict[str, float] = {}
        """By database: how often writers will still be kept apart unless a session asks; infinity: one has."""

    def asked(self, client: Client) -> None:
        """Note that a session asks in the database of *client*."""
        self._left[client.database] = math.inf

    def part(self, client: Client, server: Server, unit: Unit, script: Script) -> None:
        """Have *server* forget what others have drawn, ahead of *unit* of *client*, if that or a later one may ask."""
        if script.reads_sequences:
            self.asked(client)
        takes_over = server.last_writer is not client
        server.note_writer(client)
        # What an open unit will ask is not known yet, and nothing can be put in front of it later.
        if (
            server.mingled
            and (
                script.may_read_sequences
                or unit.is_open
                or (takes_over and self._is_worth_it(client.database))
            )
            and client.tx != codes.FAILED
            and not server.copying  # it would be taken for data
        ):
            alone = client.tx == codes.IDLE and not client.in_flight
            server.out.append(DISCARD_SEQUENCES if alone else DISCARD_SEQUENCES_ASIDE)
            server.unnamed = None
            server.mingled = False
            server.owe(Needed(self._relay, Purpose.SEQUENCES, client))

    def _is_worth_it(self, database: str) -> bool:
        left = self._left.get(database, PATIENCE)
        self._left[database] = max(0.0, left - 1)
        return left > 0
