"""Vocabulary: facts of statements where their names mean the same; scope: which vocabulary a session has.

What `f()` means depends on the database and on the search path, so texts classified under one must not be
looked up under another. A **vocabulary** belongs to one database and one effective search path - only the schemas in which its
catalog has anything count, so most sessions share one - and has everything that follows from names: the book of
functions, the cache of statements, the identities of prepared ones. When the catalog changes it *learns*: its cache is
cleared, in place.

A **scope** is what a session asked for: database, user, search path. It has the parts of the vocabulary this amounts to
as attributes of its own, so that the hot path takes no detour; a new catalog may turn it to another vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator

from rwsplit.session.prepared import PreparedRegistry
from rwsplit.sql.cache import StatementCache
from rwsplit.sql.functions import FunctionBook


class Vocabulary:
    """What is known of statements whose names mean the same."""

    __slots__ = ("__weakref__", "functions", "prepared", "statements")

    def __init__(
        self, functions: FunctionBook, statements: StatementCache, *, numbers: Iterator[int]
    ) -> None:
        self.functions = functions
        self.statements = statements
        self.prepared = PreparedRegistry(statements, numbers=numbers)

    def learn(self, functions: FunctionBook) -> None:
        """Go by *functions* from now on; what was classified before is forgotten."""
        self.functions = functions
        self.statements.clear(functions)
        self.prepared.renew()


class Scope:
    """What names mean to the sessions of one database, user and search path."""

    __slots__ = (
        "__weakref__",
        "database",
        "is_taught",
        "place",
        "prepared",
        "search_path",
        "statements",
        "user",
        "vocabulary",
    )

    def __init__(
        self, database: str, user: str, search_path: str | None, common: Vocabulary
    ) -> None:
        self.database = database
        self.user = user
        self.search_path = search_path
        """As the session has set it; None: the one its database and role have."""
        self.place = (user, search_path)
        """Sessions in the same place mean the same tables, and may share what they prepare."""
        self.enter(common, is_taught=False)

    def __repr__(self) -> str:
        return f"<Scope {self.user}@{self.database} search_path={self.search_path!r}>"

    def enter(self, vocabulary: Vocabulary, *, is_taught: bool) -> None:
        """Use *vocabulary* from now on; *is_taught*: it knows names that the search path may resolve otherwise."""
        self.vocabulary = vocabulary
        self.is_taught = is_taught
        self.statements = vocabulary.statements
        self.prepared = vocabulary.prepared
