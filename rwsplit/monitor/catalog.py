"""Catalogs: keeps what rwsplit knows of the names in each database up to date.

A database is read from the primary when the first client of it logs in, every `monitor.catalog_interval`, and when DDL
has passed through rwsplit. No session ever waits for that: until a catalog is published functions of the user's own
are unknown, which is right and only slow. Refreshes asked for in quick succession are one, and take no more than
a part of the time however much DDL there is. A database that no client uses any more is forgotten.

A database the monitor's role may not connect to has no catalog; that is said once. One that does not exist (any more) is
no reason for a warning: it was dropped, or a client misspelt it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import attrs
import psycopg
import structlog
import trio

from rwsplit.cluster.node import NodeView
from rwsplit.config.choices import SslMode
from rwsplit.config.model import Config
from rwsplit.monitor.board import Board
from rwsplit.monitor.catalog_reader import CatalogReader, read_databases
from rwsplit.monitor.census_reader import TIMEOUT, CensusFailed, Parameters
from rwsplit.monitor.precautions import startup_options
from rwsplit.parser.reader import Reader as TextReader
from rwsplit.server.demands import Demands
from rwsplit.server.endpoint import Endpoint
from rwsplit.session.knowledge import Knowledge
from rwsplit.sql.catalog import Catalog
from rwsplit.sql.census import Listed

#: Seconds between the end of DDL and the look it gives rise to: more DDL is likely to follow.
DEBOUNCE: Final = 0.1
#: A look is followed by a pause so many times as long, even if there is DDL all the time.
PAUSE_FACTOR: Final = 5
#: Seconds after which a look that failed is repeated, unless it was refused.
RETRY: Final = 1.0
#: Looks at once, of all databases.
THREADS: Final = 2
#: Seconds; libpq does not go below, nor above what milliseconds in an int are.
SHORTEST_CONNECT_TIMEOUT: Final = 2
LONGEST_CONNECT_TIMEOUT: Final = 2_000_000
#: Version of libpq that has `require_auth`.
REQUIRE_AUTH_SINCE: Final = 160_000
#: Modes in which a connection is encrypted or not made.
DEMANDING: Final = frozenset({SslMode.REQUIRE, SslMode.VERIFY_CA, SslMode.VERIFY_FULL})
#: Seconds between looks at whether the catalog is still turned off.
TURNED_OFF: Final = 3600.0

_log = structlog.get_logger("rwsplit.monitor")


class Reader(Protocol):
    """What is needed of a `CatalogReader`."""

    waited: float
    """Seconds of the last look spent waiting for the parser process."""

    async def read(
        self, parameters: Parameters, password: str | Path | None, listed: Listed
    ) -> Catalog:
        """Read a database. Raises CensusFailed."""

    async def is_gone(
        self, parameters: Parameters, password: str | Path | None, database: str
    ) -> bool:
        """Tell whether there is no *database* where *parameters* lead."""


@attrs.define
class _Database:
    """One database that is kept up to date."""

    name: str
    reader: Reader
    asked: trio.Event = attrs.field(factory=trio.Event)
    """Set when it is to be read; replaced when that begins."""
    failure: str | None = ""
    """Why the last look failed; empty before the first one."""
    refused: bool = False


class Catalogs:
    """Publishes the catalogs of all databases in use. Use it from the trio thread only."""

    def __init__(
        self,
        board: Board,
        knowledge: Knowledge,
        make_reader: Callable[[], Reader] | None = None,
        *,
        parser: TextReader | None = None,
    ) -> None:
        limiter = trio.CapacityLimiter(THREADS)
        self._board = board
        self._knowledge = knowledge
        self._make_reader = make_reader or (lambda: CatalogReader(limiter, parser))
        self._databases: dict[str, _Database] = {}
        self._news = trio.Event()
        self._new: list[_Database] = []
        knowledge.on_ddl = self.refresh

    def want(self, database: str) -> None:
        """Keep *database*, which a client is about to use, up to date from now on."""
        if database not in self._databases:
            self._databases[database] = wanted = _Database(database, self._make_reader())
            self._new.append(wanted)
            self._news.set()

    def refresh(self, database: str) -> None:
        """Read *database* soon: its names may mean something else. One that refuses is left alone."""
        known = self._databases.get(database)
        if known is not None and not known.refused:
            known.asked.set()

    def refresh_all(self) -> None:
        """Read every database soon: the configuration has changed."""
        for database in self._databases.values():
            database.refused = False
            database.asked.set()

    async def databases(self) -> list[str]:
        """Return the names of the databases there are. Raises CensusFailed: the primary does not say."""
        primary, config = self._board.view.primary, self._board.config
        if primary is None:
            raise CensusFailed("there is no primary", refused=False)
        home = catalog_parameters(primary, config, config.monitor.database)
        monitor = config.monitor
        return await read_databases(home, monitor.password or monitor.password_file)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep every wanted database up to date, for ever."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                self._news = trio.Event()
                for database in self._new:
                    nursery.start_soon(self._keep, database, name=f"catalog {database.name}")
                self._new.clear()
                await self._news.wait()

    async def _keep(self, database: _Database) -> None:
        while True:
            asked = database.asked = trio.Event()
            interval = self._board.config.monitor.catalog_interval
            took = await self._look(database) if interval else self._turn_off(database)
            with trio.move_on_after(self._patience(database, interval)):
                await asked.wait()
                await trio.sleep(max(DEBOUNCE, PAUSE_FACTOR * took))
            if not asked.is_set() and database.name not in self._knowledge.databases():
                break
        del self._databases[database.name]
        self._turn_off(database)

    def _patience(self, database: _Database, interval: float) -> float:
        """Return how long to wait for news before the next look."""
        if not interval:
            return TURNED_OFF
        return min(interval, RETRY) if database.failure and not database.refused else interval

    def _turn_off(self, database: _Database) -> float:
        """Know nothing of *database*."""
        self._knowledge.publish(database.name, None, self._knowledge.settled(database.name))
        return 0.0

    async def _look(self, database: _Database) -> float:
        """Read *database* and publish what it says; return how long it took."""
        view = await self._board.wait_for(lambda view: view.primary is not None)
        started = trio.current_time()
        dispelled = self._knowledge.settled(database.name)
        config = self._board.config
        assert view.primary is not None
        parameters = catalog_parameters(view.primary, config, database.name, search_path=None)
        password = config.monitor.password or config.monitor.password_file
        listed = self._knowledge.functions.listed
        try:
            catalog = await database.reader.read(parameters, password, listed)
        except CensusFailed as failed:
            home = catalog_parameters(view.primary, config, config.monitor.database)
            gone = await database.reader.is_gone(home, password, database.name)
            self._failed(database, str(failed), refused=failed.refused or gone, gone=gone)
        else:
            self._knowledge.publish(database.name, catalog, dispelled, started)
            self._succeeded(database, catalog, trio.current_time() - started)
        return trio.current_time() - started - database.reader.waited

    def _failed(self, database: _Database, reason: str, *, refused: bool, gone: bool) -> None:
        if self._knowledge.catalog(database.name) is None:
            self._turn_off(database)  # nothing known, nothing to doubt
        if database.failure != reason and gone:
            _log.info("database_gone", database=database.name)
        elif database.failure != reason:
            _log.warning("catalog_unavailable", database=database.name, reason=reason)
        database.failure, database.refused = reason, refused

    def _succeeded(self, database: _Database, catalog: Catalog, seconds: float) -> None:
        tell = _log.debug if database.failure is None else _log.info
        tell(
            "catalog_read",
            database=database.name,
            functions=len(catalog.functions),
            relations=len(catalog.relations),
            seconds=round(seconds, 3),
        )
        database.failure, database.refused = None, False


def catalog_parameters(
    primary: NodeView, config: Config, database: str, *, search_path: str | None = "pg_catalog"
) -> Parameters:
    """Return libpq's parameters for reading *database* on *primary*, without the password.

    *search_path* None leaves it to the database: a census asks for it.
    """
    monitor, tls = config.monitor, config.tls
    shortest, longest = SHORTEST_CONNECT_TIMEOUT, LONGEST_CONNECT_TIMEOUT
    patience = min(longest, max(shortest, math.ceil(monitor.timeout)))
    files = {
        "sslrootcert": tls.server_tls_ca_file,
        "sslcert": tls.server_tls_cert_file,
        "sslkey": tls.server_tls_key_file,
    }
    return {
        "host": primary.host,
        "port": primary.port,
        "user": monitor.user,
        "dbname": database,
        "application_name": "rwsplit catalog",
        "client_encoding": "utf8",
        "options": startup_options(statement_timeout=TIMEOUT / 2, search_path=search_path),
        "connect_timeout": patience,
        "tcp_user_timeout": patience * 1000,
        "keepalives_idle": patience,
        "keepalives_interval": patience,
        "keepalives_count": 3,
        "gssencmode": "disable",
        "sslmode": tls.server_tls_sslmode.value,
        **{name: str(path) for name, path in files.items() if path is not None},
        **_demands(primary, config),
    }


def _demands(primary: NodeView, config: Config) -> Parameters:
    """Return libpq's parameters for `auth.server_require_auth`; libpq has `require_auth` since version 16."""
    endpoint = Endpoint(host=primary.host, sslmode=config.tls.server_tls_sslmode)
    required = Demands.from_config(config.auth).for_libpq(
        is_private=endpoint.is_local or endpoint.sslmode in DEMANDING
    )
    knows_it = psycopg.pq.version() >= REQUIRE_AUTH_SINCE
    return {"require_auth": required} if required and knows_it else {}
