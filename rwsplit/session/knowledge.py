"""Knowledge: what all sessions of a process share.

The catalog of a database arrives when the monitor has read it (`publish`); until then, and for databases it cannot
read, the *common* vocabulary holds, which knows PostgreSQL's own names only. Vocabularies and scopes live as long as
a session has them.

DDL on its way through rwsplit makes what is known of the names in it **doubtful**: they are unknown from the moment it is
sent until a catalog arrives that was read after its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Final
from weakref import WeakValueDictionary

from rwsplit.cluster.node import NEVER
from rwsplit.session.parameters import ParameterStore
from rwsplit.session.prepared import PreparedRegistry
from rwsplit.session.vocabulary import Scope, Vocabulary
from rwsplit.sql.cache import StatementCache
from rwsplit.sql.catalog import Catalog
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.search_path import Path
from rwsplit.sql.statement import Redefined, unite

#: Statements a vocabulary may remember however many there are.
LEAST_SIZE: Final = 100
#: Doubts about a database that are kept apart; more of those that are over become one, and so do more of one session.
MOST_DOUBTS: Final = 100


class Doubt:
    """Names that DDL under way may give another meaning."""

    __slots__ = ("is_over", "redefined")

    def __init__(self, redefined: Redefined) -> None:
        self.redefined = redefined
        self.is_over = False

    def about(self, catalog: Catalog) -> frozenset[str]:
        """Return the names doubted of those *catalog* knows, and of all views, as a new one would look harmless.

        What it may reveal is not among them: that is the same for all doubts (`Catalog.hidden`).
        """
        return self.redefined.views | (self.redefined.functions & catalog.names)


class Knowledge:
    """Facts of statements, identities of prepared ones, sets of parameters."""

    def __init__(self, statements: StatementCache, functions: FunctionBook) -> None:
        self.parameters = ParameterStore()
        self.effort = statements.effort
        """The work done for sessions."""
        self.on_ddl: Callable[[str], None] = lambda _database: None
        """Called with the name of a database when DDL has ended there."""
        self.last_definition = NEVER
        """The moment of the last DDL that is over, of whatever database."""
        self.on_defaults: Callable[[], None] = lambda: None
        """Called when what sessions begin with may have changed."""
        self._ages: dict[str, int] = {}
        self._defined: dict[str, float] = {}
        self._size = statements.size
        self._numbers = count(1)
        self._common = Vocabulary(functions, statements, numbers=self._numbers)
        self._catalogs: dict[str, Catalog] = {}
        self._doubts: dict[str, list[Doubt]] = {}
        self._doubtful: dict[str, tuple[frozenset[str], bool]] = {}
        """The names in a database that its doubts are about, and whether what is hidden is among them, once that has been asked."""
        self._scopes: WeakValueDictionary[tuple[str, str, str | None], Scope]
        self._scopes = WeakValueDictionary()
        self._vocabularies: WeakValueDictionary[tuple[str, Path], Vocabulary]
        self._vocabularies = WeakValueDictionary()

    @property
    def statements(self) -> StatementCache:
        """Return the facts of statements where no catalog is known."""
        return self._common.statements

    @property
    def functions(self) -> FunctionBook:
        """Return the facts of functions where no catalog is known."""
        return self._common.functions

    @property
    def prepared(self) -> PreparedRegistry:
        """Return the identities of prepared statements where no catalog is known."""
        return self._common.prepared

    def scope(self, database: str, user: str, search_path: str | None = None) -> Scope:
        """Return the scope of a session in *database* whose names *search_path* resolves.

        *search_path*: the value as PostgreSQL has it; None for the one *user*, whom `$user` means, starts with.
        """
        key = (database, user, search_path)
        found = self._scopes.get(key)
        if found is None:
            found = self._scopes[key] = Scope(*key, self._common)
            self._turn(found)
        return found

    def typical_scope(self) -> Scope:
        """Return the scope to explain statements in of which only the text is known.

        If there is one catalog, it is the one its sessions start with; else nothing is known of names.
        """
        if len(self._catalogs) == 1:
            return self.scope(next(iter(self._catalogs)), "")
        return Scope("", "", None, self._common)

    def databases(self) -> set[str]:
        """Return the databases that sessions are connected to."""
        return {scope.database for scope in self._scopes.values()}

    def catalog(self, database: str) -> Catalog | None:
        """Return the catalog of *database* if it is known."""
        return self._catalogs.get(database)

    def age(self, database: str) -> int:
        """Return a number that grows with the DDL on its way to *database*."""
        return self._ages.get(database, 0)

    def grow_older(self, database: str) -> None:
        """Take note of DDL on its way to *database*: what was taught before it may mean something else."""
        self._ages[database] = self._ages.get(database, 0) + 1

    def defined(self, database: str) -> float:
        """Return the moment by which the last DDL in *database* that is known of was over; NEVER if there is none."""
        return self._defined.get(database, NEVER)

    # Catalogs...

    def settled(self, database: str) -> Sequence[Doubt]:
        """Return the doubts about *database* that a catalog read from now on dispels."""
        return [doubt for doubt in self._doubts.get(database, ()) if doubt.is_over]

    def publish(
        self,
        database: str,
        catalog: Catalog | None,
        dispelled: Sequence[Doubt] = (),
        at: float = NEVER,
    ) -> None:
        """Let names in *database* mean what *catalog* says (None: nothing is known any more), which was read *at* a moment."""
        before = self._catalogs.get(database), self._doubted(database)
        gone = {*dispelled}
        left = [doubt for doubt in self._doubts.get(database, ()) if doubt not in gone]
        self._doubts[database] = left
        if not left:
            del self._doubts[database]
        self._doubtful.pop(database, None)
        if catalog is None:
            self._catalogs.pop(database, None)
        else:
            self._catalogs[database] = catalog
        if before[0] is not None and catalog != before[0]:
            self._defined[database] = max(at, self.defined(database))
        if before[0] and catalog and catalog.settings != before[0].settings:
            self.on_defaults()
        if (catalog, self._doubted(database)) != before:
            self._teach(database)

    def doubt(self, database: str, redefined: Redefined) -> Doubt:
        """Forget what names mean in *database*: DDL that defines them anew is being sent there."""
        self.grow_older(database)
        doubt = Doubt(redefined)
        before, catalog = self._doubted(database), self._catalogs.get(database)
        _, reveals = self._doubtful.get(database, (before, False))
        self._doubts.setdefault(database, []).append(doubt)
        about = frozenset() if catalog is None else doubt.about(catalog)
        if catalog is not None and redefined.reveals and not reveals:
            about |= catalog.hidden
            reveals = True
        if (
            not about <= before
        ):  # a transaction may define thousands of things: each is looked at once
            self._doubtful[database] = before | about, reveals
            self._teach(database)
        return doubt

    def merge(self, database: str, doubts: list[Doubt]) -> None:
        """Make one of *doubts*, a session's: what is known of them is gone through now and then."""
        together = Doubt(unite(doubt.redefined for doubt in doubts))
        gone = {*doubts}
        left = [doubt for doubt in self._doubts[database] if doubt not in gone]
        self._doubts[database] = [*left, together]
        doubts[:] = [together]

    def settle(self, database: str, doubts: list[Doubt], at: float = NEVER) -> None:
        """Take note that the DDL that gave rise to *doubts*, a session's, is over *at* a moment; empty that list."""
        if doubts:  # committed or not: what is said from now on has another meaning
            self.grow_older(database)
            self._defined[database] = max(at, self.defined(database))
            self.last_definition = max(at, self.last_definition)
        for doubt in doubts:
            doubt.is_over = True
        if any(doubt.redefined.defaults for doubt in doubts):
            self.on_defaults()
        doubts.clear()
        over = self.settled(database)
        if len(over) > MOST_DOUBTS:
            together = Doubt(unite(doubt.redefined for doubt in over))
            together.is_over = True
            open_ = [doubt for doubt in self._doubts[database] if not doubt.is_over]
            self._doubts[database] = [*open_, together]
        self.on_ddl(database)

    # Changes of the configuration...

    def reconfigure(self, reads: Sequence[str], writes: Sequence[str]) -> None:
        """Use other patterns for functions; what was classified under the old ones is forgotten."""
        self._common.learn(FunctionBook(reads, writes))
        for database in list(self._catalogs):
            self._teach(database)

    def resize(self, size: int) -> None:
        """Remember at most *size* statements, however many vocabularies there are."""
        self._size = size
        self._share_out()

    def _teach(self, database: str) -> None:
        """Bring everything that depends on the catalog of *database* up to date."""
        for (place, path), vocabulary in list(self._vocabularies.items()):
            if place == database:
                vocabulary.learn(self._book(database, path))
        for scope in [each for each in self._scopes.values() if each.database == database]:
            self._turn(scope)

    def _turn(self, scope: Scope) -> None:
        """Let *scope* have the vocabulary it amounts to."""
        database = scope.database
        catalog = self._catalogs.get(database)
        if catalog is None or (catalog.is_empty and not self._doubted(database)):
            scope.enter(self._common, is_taught=False)
            return
        path = catalog.path(scope.search_path, scope.user)
        vocabulary = self._vocabularies.get((database, path))
        if vocabulary is None:
            book = self._book(database, path)
            vocabulary = Vocabulary(
                book,
                StatementCache(book, size=self._size, effort=self.effort),
                numbers=self._numbers,
            )
            self._vocabularies[database, path] = vocabulary
            self._share_out()
        scope.enter(vocabulary, is_taught=True)

    def _book(self, database: str, path: Path) -> FunctionBook:
        catalog = self._catalogs.get(database, _EMPTY)
        return self._common.functions.within(catalog, path, self._doubted(database))

    def _doubted(self, database: str) -> frozenset[str]:
        """Return the names that mean something now and perhaps something else soon."""
        if database not in self._doubtful:
            catalog, doubts = self._catalogs.get(database), self._doubts.get(database)
            if catalog is None or not doubts:
                return frozenset()
            reveals = any(doubt.redefined.reveals for doubt in doubts)
            hidden = catalog.hidden if reveals else frozenset()
            found = hidden.union(*(doubt.about(catalog) for doubt in doubts))
            self._doubtful[database] = found, reveals
        return self._doubtful[database][0]

    def _share_out(self) -> None:
        """Give every vocabulary its share of what may be remembered."""
        everybody = [self._common, *self._vocabularies.values()]
        for vocabulary in everybody:
            share = max(LEAST_SIZE, self._size // len(everybody))
            vocabulary.statements.resize(min(self._size, share))


_EMPTY: Final = Catalog()
