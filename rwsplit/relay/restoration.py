"""Restoration: what a client asked for at its startup is brought back behind a unit that resets it."""

from __future__ import annotations

from rwsplit.exchange.chores import Chore, Purpose
from rwsplit.relay.client import Client
from rwsplit.server.server import Server
from rwsplit.session.unit import Unit


class Restoration(Chore[Server, Client]):
    """What brings back the session's parameters once *unit*, which resets some, is through."""

    __slots__ = ("query", "unit")

    def __init__(self, client: Client, unit: Unit, query: bytes) -> None:
        super().__init__(Purpose.RESTORE, client)
        self.reports = client.sink
        self.unit = unit
        self.query = query
