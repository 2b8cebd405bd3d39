"""Resetting: how a server that a pinned session has used is made clean, and what is known of it then.

`pool.server_reset_query` is the operator's. After anything less than DISCARD ALL some of what the session left is
still there, by the operator's wish; what rwsplit knows of the server is kept to what the query did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from rwsplit.exchange.chores import Chore, Purpose, query
from rwsplit.exchange.lease import Fate
from rwsplit.relay.client import Client
from rwsplit.server.server import Server
from rwsplit.session.parameters import NONE
from rwsplit.session.pinning import forgets_prepared, reset_parameters
from rwsplit.sql.classify import parse
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.statement import Verb

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

_log = structlog.get_logger("rwsplit.relay")


class Reset:
    """A query that cleans servers."""

    def __init__(self, sql: str) -> None:
        script = parse(sql.encode(), FunctionBook())
        self.sql = sql
        self.frame = query(sql.encode())
        self._discards = any(
            s.discards or (s.verb is Verb.DISCARD and s.name == "sequences")
            for s in script.statements
        )
        self._forgets = forgets_prepared(script)
        self._restores = reset_parameters(script)

    def for_server(self, server: Server) -> Reset:
        """Return what *server* needs: all must go from one of which nothing is known."""
        known = server.parameters
        return TOTAL if known is None or known.idle_session else self

    def done(self, server: Server) -> None:
        """Note that *server* has been cleaned by this."""
        server.wiped()
        server.mingled = not self._discards and (
            server.mingled or server.last_writer is not None
        )
        server.last_writer = None
        if self._forgets:
            server.forget()
        if "all" in self._restores:
            # RESET ALL does not lead back to oneself: then nothing is known, and all must go.
            acts = server.parameters is not None and server.parameters.has_identity
            server.parameters = None if acts and "role" not in self._restores else NONE

    def failed(self, server: Server) -> None:
        """Note that *server* refused it: it is closed, and its node is not to blame."""
        server.expire(Fate.NOT_CLEANED)
        _log.warning("server_reset_failed", node=server.pool.node, query=self.sql)


TOTAL: Final = Reset("DISCARD ALL")


class Cleaning(Chore[Server, Client]):
    """Makes a server clean that no session holds: ends its transaction, or wipes it by *reset*."""

    __slots__ = ("_relay", "_reset")

    def __init__(self, relay: Relay, reset: Reset | None = None) -> None:
        super().__init__(Purpose.ROLLBACK if reset is None else Purpose.RESET)
        self._relay = relay
        self._reset = reset

    def answered_by(self, server: Server) -> None:
        """Go on with *server*, or close it if it was refused."""
        if self.failed:
            if self._reset is not None:
                self._reset.failed(server)
            self._relay.lose_server(server, None)
            return
        if self._reset is not None:
            self._reset.done(server)
        server.cleaned()
