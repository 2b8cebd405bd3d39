"""Conversation: what a client has said that no server has been sent yet, and the transaction it is in.

Units and chunks are pending in the order they were said in; `session` appends them, the relay takes them from there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from rwsplit.protocol import codes
from rwsplit.session.chunk import Chunk
from rwsplit.session.input import Input
from rwsplit.session.knowledge import Knowledge
from rwsplit.session.parameters import ParameterSet
from rwsplit.session.stand_ins import OPAQUE
from rwsplit.session.state import NOTHING_SAID, SessionState
from rwsplit.session.transaction import Transaction
from rwsplit.session.unit import Unit


class Conversation(SessionState):
    """A session and what is pending for it; a part of the record a plain read looks at, see `SessionState`."""

    __slots__ = ("_settled", "input", "pending", "pending_bytes", "spare", "transaction")

    def __init__(
        self,
        knowledge: Knowledge,
        *,
        user: str,
        database: str,
        application_name: str = "",
        parameters: ParameterSet,
        opaque: bool = False,
        started_with: Mapping[str, str] = NOTHING_SAID,
    ) -> None:
        super().__init__(
            knowledge,
            user=user,
            database=database,
            application_name=application_name,
            parameters=parameters,
            opaque=opaque,
            started_with=started_with,
        )
        self.pending: deque[Unit | Chunk] = deque()
        self.pending_bytes = 0
        self.spare: Unit | None = None
        """The unit of an answered plain read, to be used again: most of a session's life is that."""
        self.transaction: Transaction | None = None
        """The transaction it has on a replica, or nowhere yet."""
        self.input = Input()
        self._settled = 0
        """Units in flight whose names are settled all the same, while what was held is looked at."""

    @property
    def has_failed(self) -> bool:
        """Its transaction, which is on the primary, has failed."""
        return self.tx == codes.FAILED and self.transaction is None

    def is_unsettled(self, name: bytes) -> bool:
        """Return whether it is not known yet what a unit that begins now would mean by *name*."""
        if name:
            return name in self.names.unsettled
        return not self.input.is_open and (self.in_flight > self._settled or bool(self.pending))

    def adopt_parameters(self, parameters: ParameterSet) -> None:
        """Have *parameters* from now on, also for what is pending."""
        was_opaque = self.opaque
        super().adopt_parameters(parameters)
        if self.opaque and not was_opaque:
            for item in self.pending:  # it was lexed as if nothing had changed
                if item.script is not None:
                    item.script = OPAQUE

    def _append(self, item: Unit | Chunk, size: int) -> None:
        self.pending.append(item)
        self.pending_bytes += size
