"""A node that clients can log in to, and a cluster of such nodes, on whatever they run.

Processes of this machine (`node.py`, `cluster.py`) and the tests' containers share it.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, LiteralString, TypeVar
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql

from rwsplit.embedded.postgres import EmbeddedError
from rwsplit.embedded.processes import wait_until

PRIMARY: Final = "primary"
# They run as a superuser: names and operators are qualified.
_STREAMS: Final = """
select 1 from pg_catalog.pg_stat_replication
 where application_name operator(pg_catalog.=) %s and state operator(pg_catalog.=) 'streaming'
"""
_HAS_REPLAYED: Final = (
    "select pg_catalog.pg_last_wal_replay_lsn() operator(pg_catalog.>=) %s::pg_catalog.pg_lsn"
)
_VERIFIERS: Final = "select rolname, rolpassword from pg_catalog.pg_authid where rolcanlogin"
_LSN: Final = "select pg_catalog.pg_current_wal_lsn()::pg_catalog.text"
"""The name of the node that starts as the primary."""


class ReachableNode(abc.ABC):
    """One PostgreSQL instance; *passwords* (user -> password) is shared by the cluster's nodes."""

    def __init__(self, name: str, host: str, port: int, passwords: dict[str, str]) -> None:
        self.name = name
        self.host = host
        self.port = port
        self.passwords = passwords

    @property
    @abc.abstractmethod
    def is_running(self) -> bool:
        """Whether it has been started and has not ended."""

    @property
    @abc.abstractmethod
    def is_replica(self) -> bool:
        """Whether it follows a primary."""

    def dsn(self, database: str = "postgres", user: str = "postgres", **parameters: str) -> str:
        """Return a connection URL, with the password of *user* where it is known."""
        password = self.passwords.get(user)
        credentials = f"{user}:{quote(password, safe='')}" if password else user
        options = "?" + urlencode(parameters, quote_via=quote) if parameters else ""
        return f"postgresql://{credentials}@{self.host}:{self.port}/{quote(database)}{options}"

    def connect(
        self, database: str = "postgres", user: str = "postgres", **options: Any
    ) -> psycopg.Connection[tuple[Any, ...]]:
        """Connect with psycopg, in autocommit mode."""
        options = {"autocommit": True, "connect_timeout": 5, **options}
        return psycopg.connect(self.dsn(database, user), **options)

    def query(
        self, statement: LiteralString, *arguments: object, database: str = "postgres"
    ) -> list[tuple[Any, ...]]:
        """Run *statement* (with %s for *arguments*) as the superuser and return its rows."""
        with self.connect(database) as connection:
            cursor = connection.execute(statement, arguments or None)
            return cursor.fetchall() if cursor.description else []

    def streams_from(self, primary: ReachableNode) -> bool:
        """Return whether *primary* counts it among its streaming replicas."""
        return bool(primary.query(_STREAMS, self.name))

    def has_replayed(self, lsn: str) -> bool:
        """Return whether a replica has replayed everything up to *lsn*."""
        return self.query(_HAS_REPLAYED, lsn) == [(True,)]


AnyNode = TypeVar("AnyNode", bound=ReachableNode)


class ReachableCluster(Generic[AnyNode]):
    """A primary and its replicas by name: `primary`, `replica1`..."""

    def __init__(self, passwords: dict[str, str]) -> None:
        self.nodes: dict[str, AnyNode] = {}
        self.passwords = passwords

    @property
    def primary(self) -> AnyNode:
        """The node that started as the primary."""
        return self.nodes[PRIMARY]

    @property
    def replicas(self) -> list[AnyNode]:
        """The nodes that started as replicas."""
        return [node for name, node in self.nodes.items() if name != PRIMARY]

    def add_user(self, name: str, password: str, *, encryption: str = "scram-sha-256") -> None:
        """Make a role that may log in, its password stored as *encryption* (or as `md5`)."""
        with self.primary.connect() as connection:
            connection.execute(
                sql.SQL("set password_encryption = {}").format(sql.Literal(encryption))
            )
            connection.execute(
                sql.SQL("create role {} login password {}").format(
                    sql.Identifier(name), sql.Literal(password)
                )
            )
        self.passwords[name] = password

    def write_userlist(self, path: Path, *, verifiers: bool = False) -> None:
        """Write the users as rwsplit's userlist; with *verifiers* what PostgreSQL stores of them."""
        entries = dict(self.passwords)
        if verifiers:
            stored = self.primary.query(_VERIFIERS)
            entries.update({name: verifier for name, verifier in stored if verifier})
        path.touch(mode=0o600)
        path.write_text("".join(f'"{name}" "{secret}"\n' for name, secret in entries.items()))

    def wait_until_replayed(
        self,
        *,
        primary: AnyNode | None = None,
        only: Sequence[AnyNode] | None = None,
        timeout: float = 30.0,
    ) -> None:
        """Block until every running replica (or *only* these) has replayed what was written by now.

        Raises: EmbeddedError when one has not within *timeout* seconds.
        """
        primary = primary or self.primary
        [(lsn,)] = primary.query(_LSN)
        for node in only or self._followers(primary):
            if not wait_until(partial(node.has_replayed, lsn), timeout=timeout):
                raise EmbeddedError(f"{node.name} has not replayed {lsn} within {timeout:g} s")

    def wait_until_streaming(
        self, *, primary: AnyNode | None = None, timeout: float = 30.0
    ) -> None:
        """Block until every running replica streams from *primary* (default: the first one).

        Raises: EmbeddedError when one does not within *timeout* seconds.
        """
        primary = primary or self.primary
        for node in self._followers(primary):
            if not wait_until(partial(node.streams_from, primary), timeout=timeout):
                raise EmbeddedError(f"{node.name} does not stream within {timeout:g} s")

    def _followers(self, primary: AnyNode) -> list[AnyNode]:
        """The running nodes that are to follow *primary*."""
        return [
            node
            for node in self.nodes.values()
            if node is not primary and node.is_running and node.is_replica
        ]
