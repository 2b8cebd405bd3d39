"""Knowledge: what all sessions of a process share."""

from __future__ import annotations

from collections.abc import Sequence

from rwsplit.session.parameters import ParameterStore
from rwsplit.session.prepared import PreparedRegistry
from rwsplit.sql.cache import StatementCache
from rwsplit.sql.functions import FunctionBook


class Knowledge:
    """Facts of statements, identities of prepared ones, sets of parameters."""

    def __init__(self, statements: StatementCache, functions: FunctionBook) -> None:
        self.statements = statements
        self.functions = functions
        self.prepared = PreparedRegistry(statements)
        self.parameters = ParameterStore()

    def reconfigure(self, reads: Sequence[str], writes: Sequence[str]) -> None:
        """Use other patterns for functions; what was classified under the old ones is forgotten."""
        self.functions = FunctionBook(reads, writes)
        self.statements.clear(self.functions)
        self.prepared.clear()
