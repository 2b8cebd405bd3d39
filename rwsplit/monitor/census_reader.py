"""CensusReader: reads from one database what a catalog is composed from, by psycopg in a worker thread.

The system catalogs are visible to every role, so the monitor's needs nothing but the right to connect. A look takes a
connection of its own and ends it: one kept for each database would stand in the way of DROP DATABASE. It is a
few scans of pg_proc, pg_class and their like, without the rows PostgreSQL brings along
(oid < 16384), and of ordinary tables only those that are called like something else. What is costly, the texts of
functions and views, is read and cut into tokens again only where their row has another `xmin`.

Views are deparsed under a search path of pg_catalog alone, so every name of the user's own in them has its schema. What sessions
start with has to be asked before that path is set, so here it is no startup parameter, as it is elsewhere (`precautions`);
no query depends on it. A text does not
change its row when what it mentions is renamed; so if anything has another name than before, all are read again.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.types.string import StrDumper

from rwsplit.errors import NodeError
from rwsplit.monitor.bodies import Bodies, ReadBodies
from rwsplit.monitor.system_catalogs import (
    BUILTINS,
    CAST_TYPES,
    CHECK_TEXTS,
    CHECKED_TYPES,
    CLUSTER_PATH,
    DEFAULT_PATHS,
    FUNCTION_TEXTS,
    FUNCTIONS,
    MOST_ROWS,
    NAMESAKES,
    OPERATORS,
    OUR_PATH,
    OURS_FROM,
    PARTS_OF_TYPES,
    POLICIES,
    POLICY_TEXTS,
    RELATIONS,
    SETTINGS,
    SQL_BODIES_SINCE,
    STUCK,
    UNCONVERTED,
    VIEW_TEXTS,
)
from rwsplit.server.files import Purpose, is_short
from rwsplit.sql.body import UNREADABLE, Body
from rwsplit.sql.catalog import Name
from rwsplit.sql.census import (
    Builtin,
    Census,
    FunctionRow,
    OperatorRow,
    RelationRow,
    TypeRow,
)
from rwsplit.sql.search_path import DEFAULT, DefaultPaths

#: Seconds a look may take.
TIMEOUT: Final = 60.0
#: Rows fetched before other threads get the interpreter lock.
PORTION: Final = 200
_FROM_ELSEWHERE: Final = frozenset({"database", "user", "database user"})
"""Sources of a parameter's value that say nothing about other roles."""

Parameters = Mapping[str, str | int]
Connection = psycopg.Connection[tuple[Any, ...]]


class CensusFailed(NodeError):
    """A database could not be read; *refused* says that no connection came about."""

    def __init__(self, reason: str, *, refused: bool) -> None:
        super().__init__(reason)
        self.refused = refused


class CensusReader:
    """Reads one database again and again, one look at a time; remembers the texts it has read.

    *read_bodies* returns what texts may do, None for a text that cannot be parsed now. No look is begun while one is under way
    there that has taken more than *timeout* seconds.
    """

    def __init__(
        self, read_bodies: ReadBodies | None = None, *, timeout: float = TIMEOUT
    ) -> None:
        self._timeout = timeout
        self.bodies = Bodies(read_bodies)
        self._names: dict[int, Name] = {}
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        """The one of the look under way."""
        self._is_abandoned = False

    def abandon(self) -> None:
        """End the look another thread is at, by its connection: what is deparsed there may not heed a timeout, and a thread must not wait for it."""
        with self._lock:
            self._is_abandoned = True
            if self._connection is None:
                return
            # It may be lost by itself at this very moment.
            with (
                contextlib.suppress(OSError, psycopg.Error),
                socket.socket(fileno=os.dup(self._connection.fileno())) as its_socket,
            ):
                its_socket.shutdown(socket.SHUT_RDWR)

    def inherit(self, other: CensusReader) -> None:
        """Know what *other*, which was abandoned, has read, and under which names."""
        self.bodies.inherit(other.bodies)
        self._names = other._names

    def read(self, parameters: Parameters, password: str | Path | None) -> Census:
        """Read the database libpq's *parameters* lead to.

        Raises:
            CensusFailed: it could not be read, or the look was abandoned.
        """
        connection = connect(parameters, password)
        try:
            take_bytes_as_they_are(connection)
            with self._lock:
                if self._is_abandoned:
                    raise CensusFailed("abandoned", refused=False)
                self._connection = connection
            if connection.execute(STUCK, (self._timeout,)).fetchone():
                raise CensusFailed("an earlier look has not ended there", refused=False)
            return self._read(connection)
        except psycopg.Error as error:
            raise CensusFailed(sentence(error), refused=False) from error
        finally:
            with self._lock:
                self._connection = None
            connection.close()

    def _read(self, connection: Connection) -> Census:
        paths = _default_paths(connection)
        connection.execute(OUR_PATH)
        bodies = self.bodies
        bodies.begin()
        functions = list(_rows(connection, FUNCTIONS))
        relations = list(_rows(connection, RELATIONS))
        if max(len(functions), len(relations)) >= MOST_ROWS:
            raise CensusFailed(
                f"it has more than {MOST_ROWS} functions or views", refused=False
            )
        function_rows = [_function(*row[:-1]) for row in functions]
        relation_rows = [_relation(*row) for row in relations]
        self._forget_if_renamed(function_rows, relation_rows)
        sql_bodies = connection.info.server_version >= SQL_BODIES_SINCE
        texts = {row[0]: row[1] for row in functions if row[11]}
        views = {-row[0]: row[1] for row in relations if row[4] == "v"}
        bodies.update(connection, FUNCTION_TEXTS[sql_bodies], texts)
        bodies.update(connection, VIEW_TEXTS, views)
        bodies.keep((*texts, *views))
        tables, checked = (
            dict(_rows(connection, POLICIES)),
            dict(_rows(connection, CHECKED_TYPES)),
        )
        policy_texts = bodies.texts(connection, POLICY_TEXTS, tables)
        check_texts = bodies.texts(connection, CHECK_TEXTS, checked)
        said = (*policy_texts.values(), *check_texts.values())
        clauses = bodies.clauses(set(filter(None, said)))
        policies: dict[int, list[Body]] = {}
        for policy, table in tables.items():
            text = policy_texts.get(policy) or ""
            policies.setdefault(table, []).append(clauses.get(text, UNREADABLE))
        operators = [OperatorRow(*row) for row in connection.execute(OPERATORS)]
        casts = [TypeRow(*row) for row in connection.execute(CAST_TYPES)]
        used = {operator.function for operator in operators} | {cast.function for cast in casts}
        return Census(
            functions=function_rows,
            relations=relation_rows,
            namesakes=_namesakes(connection, relation_rows),
            operators=operators,
            builtins=_builtins(connection, used.union(*(row.uses for row in function_rows))),
            types=[
                *casts,
                *(TypeRow(name, part=part) for name, part in _rows(connection, PARTS_OF_TYPES)),
                *(
                    TypeRow(name, check=clauses.get(check_texts.get(oid) or "", UNREADABLE))
                    for oid, name in checked.items()
                ),
            ],
            bodies=bodies.known(),
            policies=policies,
            paths=paths,
            settings=connection.execute(SETTINGS).fetchall()[0][0],
        )

    def _forget_if_renamed(
        self, functions: Sequence[FunctionRow], relations: Sequence[RelationRow]
    ) -> None:
        names = {row.oid: (row.schema, row.name) for row in functions}
        names |= {-row.oid: (row.schema, row.name) for row in relations}
        if any(names.get(key, name) != name for key, name in self._names.items()):
            self.bodies.forget()
        self._names = names


def _rows(connection: Connection, query: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of *query* in portions: fetching all at once would hold the interpreter lock throughout."""
    cursor = connection.execute(query.encode())
    while rows := cursor.fetchmany(PORTION):
        yield from rows


def _function(oid: int, _version: str, *columns: Any) -> FunctionRow:
    *first, uses, is_field, has_cursor, settings = columns
    return FunctionRow._make((oid, *first, tuple(uses), is_field, has_cursor, tuple(settings)))


def _relation(oid: int, _version: str, *columns: Any) -> RelationRow:
    schema, name, kind, persistence, parents = columns
    return RelationRow(oid, schema, name, kind, persistence, tuple(parents))


def _builtins(connection: Connection, used: Iterable[int]) -> dict[int, Builtin]:
    """Return those of *used*, OIDs of functions, that are PostgreSQL's own."""
    oids = [oid for oid in used if 0 < oid < OURS_FROM]
    return {oid: Builtin(*row) for oid, *row in connection.execute(BUILTINS, (oids,))}


def _namesakes(connection: Connection, relations: Iterable[RelationRow]) -> list[Name]:
    names = list({row.name for row in relations})
    return [(row[0], row[1]) for row in connection.execute(NAMESAKES, (names,))]


def connect(parameters: Parameters, password: str | Path | None) -> Connection:
    """Return a connection to where libpq's *parameters* lead. Raises CensusFailed: there is none."""
    try:
        if isinstance(password, Path):
            password = password.read_text(encoding="utf-8").rstrip("\r\n")
        return psycopg.connect(
            **parameters,  # type: ignore[arg-type]  # libpq's parameters are open-ended
            password=password,
            autocommit=True,
        )
    except (psycopg.Error, OSError) as error:
        # A lack of descriptors is not a refusal by the node.
        refused = not is_short(Purpose.OURS)
        raise CensusFailed(sentence(error), refused=refused) from error


def take_bytes_as_they_are(connection: Connection) -> None:
    """Let nothing that is not of its encoding be the end of a look through *connection*.

    In a database of SQL_ASCII any byte may stand in any text, and settings of roles are shared by databases of all encodings. What is
    not of the encoding is read as `sql.tokens.scan` does: each byte is a character.
    """
    codec = _codec(connection.info.parameter_status("server_encoding") or "")

    class AnyText(Loader):
        def load(self, data: Buffer) -> str:
            data = bytes(data)
            try:
                return data.decode(codec)
            except UnicodeDecodeError:
                return data.decode("latin-1")

    class OwnText(StrDumper):
        def dump(self, obj: str) -> bytes:
            return obj.encode(codec, "replace")

    connection.execute(UNCONVERTED)
    connection.adapters.register_dumper(str, OwnText)
    for kind in ("text", "name", "varchar"):
        connection.adapters.register_loader(kind, AnyText)


def _codec(encoding: str) -> str:
    """Return what Python calls PostgreSQL's *encoding*; of SQL_ASCII, and what Python has not, UTF-8 is tried."""
    name = _WINDOWS.sub("cp", encoding.replace("KOI8", "koi8_"))
    try:
        return codecs.lookup(name).name if encoding != "SQL_ASCII" else "utf-8"
    except LookupError:
        return "utf-8"


def _default_paths(connection: Connection) -> DefaultPaths:
    """Return the search paths sessions start with.

    What holds for all roles everywhere is hidden if the monitor's own role or this database has another one: for
    the database that does not matter, for the role it is a guess.
    """
    row = connection.execute(CLUSTER_PATH).fetchone()
    value, source = row or (DEFAULT, "default")
    anywhere = DEFAULT if source in _FROM_ELSEWHERE else value
    roles: dict[str, str] = {}
    for role, setting in connection.execute(DEFAULT_PATHS):  # the more special ones later
        if role is None:
            anywhere = setting
        else:
            roles[role] = setting
    return DefaultPaths(anywhere, roles)


def sentence(error: Exception) -> str:
    """Return the first line of what went wrong, without libpq's preamble."""
    lines = str(error).strip().splitlines()
    return _PREAMBLE.sub("", lines[0]) if lines else type(error).__name__


_WINDOWS: Final = re.compile("^WIN(?=[0-9])")
_PREAMBLE: Final = re.compile(
    r"^(connection failed: )?(connection to server .* failed: )?(FATAL:  )?"
)
