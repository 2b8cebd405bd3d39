"""Rebasing: sessions keep the defaults of their login, whatever defaults their servers have been opened with.

What the primary's servers begin with is *current* for a database and user. When that changes - seen at a login, or when a
server is opened - all their servers are replaced as they become free, and each session of before is given what it began
with as if it had asked for it at startup (`session.defaults`). Servers of a replica are opened with what they lack of it.

A user may have thousands of sessions, and a change of defaults is one statement of an ordinary user. So sessions become *outdated* at once, and are
brought up to date a few a tick, or when there is something to be done for them: before their input is looked at or one of their units sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog

from rwsplit.exchange.lease import IDLE, Fate
from rwsplit.relay.client import Client
from rwsplit.server.pool import Pool
from rwsplit.server.server import Server
from rwsplit.session.defaults import Defaults, is_of_node, kept, needed

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

#: Words of work in one tick, and for one session without parameters of its own: some 50 us.
TICK_WORDS: Final = 512
WORDS: Final = 4

_log = structlog.get_logger("rwsplit.relay")


class Rebasing:
    """Knows what defaults servers have and sessions began with."""

    def __init__(self, relay: Relay) -> None:
        self.on_change: Callable[[str, str], None] = lambda _database, _user: None
        """Called when the defaults of a user in a database have changed."""
        self._relay = relay
        self._current: dict[tuple[str, str], Defaults] = {}
        self.outdated: dict[Client, None] = {}
        """Sessions whose base is of defaults before the current ones, in order."""
        self._told: dict[str, set[str]] = {}
        """By node, the parameters of which has been said that they differ there."""

    # What servers are to have...

    def learn(self, database: str, user: str, found: Defaults) -> None:
        """Take note that *user* begins with *found* in *database*."""
        before = self._current.get((database, user))
        if found is before:
            return
        self._current[database, user] = found
        if before is None:
            return
        _log.info("defaults_changed", database=database, user=user)
        self.replace(database=database, user=user)
        for client in self._relay.clients.values():
            if client.user == user and client.database == database:
                self.outdated[client] = None
        self.on_change(database, user)

    def learn_from(self, pool: Pool[Server], found: Defaults) -> Defaults | None:
        """Take note that a new server of *pool* has *found*; return what it is to have, None if nobody knows."""
        if self._is_primary(pool):
            self.learn(pool.database, pool.user, found)
        return self._current.get((pool.database, pool.user))

    def startup(self, pool: Pool[Server]) -> dict[str, str]:
        """Return with which startup parameters servers of *pool* are to be opened."""
        return {} if self._is_primary(pool) else pool.startup

    def note_differences(self, pool: Pool[Server], wanted: Defaults, found: Defaults) -> bool:
        """Have further servers of *pool* opened with what *found* lacks of *wanted*; return whether that is anything."""
        lacks = needed(wanted, found)
        if not lacks or self._is_primary(pool):
            return False
        pool.startup = {**pool.startup, **lacks}
        for server in list(pool.servers):
            self._replace(server)
        names = {name for name in lacks if is_of_node(found, wanted, name)}
        told = self._told.setdefault(pool.node, set())
        if not names <= told:
            told |= names
            _log.warning(
                "node_has_other_defaults",
                node=pool.node,
                parameters=sorted(names),
                remedy="sessions are given the primary's",
            )
        return True

    def is_outdated(self, server: Server) -> bool:
        """Return whether the defaults that *server* was opened with have changed meanwhile."""
        pool = server.pool
        current = self._current.get((pool.database, pool.user))
        return server.defaults is not None and server.defaults is not current

    def _is_primary(self, pool: Pool[Server]) -> bool:
        primary = self._relay.view.primary
        return primary is not None and primary.name == pool.node

    def replace(
        self, *, database: str | None = None, user: str | None = None, node: str | None = None
    ) -> None:
        """Close the servers of *database*, *user* and *node* (None: of all) as they become free; open them anew as needed."""
        for pool in self._relay.pools:
            if (
                database in (None, pool.database)
                and user in (None, pool.user)
                and node in (None, pool.node)
            ):
                pool.startup = {}
                for server in list(pool.servers):
                    self._replace(server)

    def _replace(self, server: Server) -> None:
        if server.lease == IDLE:
            self._relay.close_server(server)
        else:
            server.expire(Fate.OTHER_DEFAULTS)

    # What sessions have...

    def begin(self, client: Client) -> None:
        """Let *client*, which has just logged in, have what it begins with."""
        self.rebase(client)
        self._relay.deadlines.heed(client)

    def catch_up(self, client: Client) -> None:
        """Bring *client* up to date if it is outdated."""
        if client in self.outdated:
            del self.outdated[client]
            self.rebase(client)

    def work_off(self) -> None:
        """Bring some of the outdated sessions up to date."""
        words = 0
        while self.outdated and words < TICK_WORDS:
            client = next(iter(self.outdated))
            words += WORDS + (len(client.parameters.values) >> 1)
            self.catch_up(client)

    def rebase(self, client: Client) -> None:
        """Have *client* given what it began with, where servers have something else now."""
        current = self._current.get((client.database, client.user))
        if client.defaults is None or current is None:
            return
        client.adopt_default_path(current.search_path)
        intern = client.knowledge.parameters.intern
        base = intern({**kept(client.defaults, current), **dict(client.asked.values)})
        before = client.journal.base
        if base is before:
            return
        own = {name: v for name, v in client.parameters.values if before.get(name) != v}
        client.journal.base = base
        client.adopt_parameters(intern({**dict(base.values), **own}))
