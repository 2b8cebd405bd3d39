"""CatalogReader: reads the catalog of one database in a worker thread, and gives up a look that takes too long."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psycopg
import trio

from rwsplit.monitor.census_reader import (
    TIMEOUT,
    CensusFailed,
    CensusReader,
    Parameters,
    connect,
    sentence,
    take_bytes_as_they_are,
)
from rwsplit.monitor.system_catalogs import DATABASES, HAS_DATABASE
from rwsplit.parser.reader import Reader
from rwsplit.sql.body import Body
from rwsplit.sql.catalog import Catalog
from rwsplit.sql.census import Census, Listed, compose

#: Lists of databases read at once.
_LISTS: Final = trio.CapacityLimiter(2)


class CatalogReader:
    """Reads one database again and again in worker threads of *limiter*; *parser*, if there is one, parses its texts.

    A look takes *timeout* seconds at most.
    """

    def __init__(
        self,
        limiter: trio.CapacityLimiter,
        parser: Reader | None = None,
        *,
        timeout: float = TIMEOUT,
    ) -> None:
        self.timeout = timeout
        self._limiter = limiter
        self.waited = 0.0
        """Seconds of the last look spent waiting for the parser process."""
        self._parser = parser
        self._reader = self._new_reader()
        self._last: tuple[Census, Listed, Catalog] | None = None
        """What was read last, and what followed from it: mostly nothing has changed since."""

    async def read(
        self, parameters: Parameters, password: str | Path | None, listed: Listed
    ) -> Catalog:
        """Return the catalog of the database libpq's *parameters* lead to.

        Raises:
            CensusFailed: it could not be read, or not in time.
        """
        reader, self.waited = self._reader, 0.0

        def look() -> Catalog:
            census, last = reader.read(parameters, password), self._last
            if last is not None and (census, listed) == last[:2]:
                return last[2]
            catalog = compose(census, listed)
            self._last = (census, listed, catalog)
            return catalog

        try:
            with trio.fail_after(self.timeout):
                return await trio.to_thread.run_sync(
                    look, abandon_on_cancel=True, limiter=self._limiter
                )
        except trio.TooSlowError as error:
            # Its thread may be in the midst of it: it ends with its connection. What it has read need not be read again.
            reader.abandon()
            self._reader = self._new_reader()
            self._reader.inherit(reader)
            raise CensusFailed(f"no answer in {self.timeout:g} s", refused=False) from error
        except CensusFailed:
            raise
        except (
            Exception
        ) as error:  # a catalog that surprises us must not be the end of everything
            raise CensusFailed(repr(error), refused=False) from error

    def _new_reader(self) -> CensusReader:
        parser = self._parser
        if parser is None:
            return CensusReader(timeout=self.timeout)

        async def read(texts: Sequence[str]) -> list[Body | None]:
            began = trio.current_time()
            try:
                return await parser.read_bodies(texts, asker=self)
            finally:
                self.waited += trio.current_time() - began

        return CensusReader(
            lambda texts: trio.from_thread.run(read, texts), timeout=self.timeout
        )

    async def is_gone(
        self, parameters: Parameters, password: str | Path | None, database: str
    ) -> bool:
        """Tell whether the node libpq's *parameters* lead to has no *database*; not if that cannot be asked.

        That a connection was refused says so only in words, and these in the server's language.
        """

        def look() -> bool:
            with connect(parameters, password) as connection:
                return connection.execute(HAS_DATABASE, (database,)).fetchone() is None

        try:
            with trio.fail_after(self.timeout):
                return await trio.to_thread.run_sync(
                    look, abandon_on_cancel=True, limiter=self._limiter
                )
        except (trio.TooSlowError, CensusFailed, psycopg.Error):
            return False


async def read_databases(parameters: Parameters, password: str | Path | None) -> list[str]:
    """Return the names of the databases that can be connected to where libpq's *parameters* lead.

    Raises:
        CensusFailed: they could not be asked for, or not in time.
    """

    def look() -> list[str]:
        with connect(parameters, password) as connection:
            take_bytes_as_they_are(connection)
            return [name for (name,) in connection.execute(DATABASES)]

    try:
        with trio.fail_after(TIMEOUT):
            return await trio.to_thread.run_sync(look, abandon_on_cancel=True, limiter=_LISTS)
    except trio.TooSlowError as error:
        raise CensusFailed(f"no answer in {TIMEOUT:g} s", refused=False) from error
    except psycopg.Error as error:
        raise CensusFailed(sentence(error), refused=False) from error
