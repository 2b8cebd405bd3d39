"""Draft: a unit of the extended protocol while its messages arrive.

`assembly` reads the messages and fills it; `take` makes a piece of it that can be sent.
"""

from __future__ import annotations

from typing import Final

from rwsplit.protocol.responses import UNTOLD, Step
from rwsplit.session.conversation import Conversation
from rwsplit.session.piece import Piece
from rwsplit.session.prepared import Part, Prepared
from rwsplit.session.renaming import Renaming
from rwsplit.session.stand_ins import merge, merged
from rwsplit.sql.statement import Script

NO_PORTALS: Final[dict[bytes, Prepared | None]] = {}
NOTHING_PARSED: Final[set[Prepared]] = set()
NOTHING_SAID: Final[set[Prepared | None]] = set()


class Draft:
    """The part of a unit that has arrived."""

    __slots__ = (
        "_bound",
        "_called",
        "_described",
        "_drops",
        "_effects",
        "_ends_failed",
        "_litter",
        "_needs",
        "_parsed",
        "_parts",
        "_plan",
        "_planned",
        "_portals",
        "_scripts",
        "_session",
        "_shift",
        "_taught",
        "_unexecuted",
        "_unnamed",
        "_unnamed_parse",
        "_used",
        "executes",
        "follows",
        "renaming",
        "row_limit",
        "said",
        "size",
        "waiting_for",
    )

    def __init__(self, session: Conversation) -> None:
        self._session = session
        self.renaming: Renaming | None = None
        """What it does to names; None while that is nothing."""
        self.said = 0
        """How many messages of the unit have come so far."""
        self._described: set[Prepared | None] = NOTHING_SAID
        self.follows = False
        """It uses a portal that an earlier unit has made."""
        self.executes = False
        self.row_limit = False
        self.size = 0
        self._unnamed_parse: Prepared | None = None
        self._bound: Prepared | None = None
        """What its unnamed portal runs."""
        self._portals: dict[bytes, Prepared | None] = NO_PORTALS
        """What its named portals run."""
        self._unexecuted = False
        """Its unnamed portal has not been executed yet."""
        self._ends_failed = False
        """Whether it ends a failed transaction, or rolls back to a savepoint in it: the server refuses any other Parse."""
        self._called: list[tuple[bytes, Prepared]] = []
        self._used: Prepared | None = None
        """The statement of its last Bind or Describe."""
        self._begin()

    def _begin(self) -> None:
        self._parts: list[Part] = []
        self._plan: list[Step] = []
        self._planned = False
        self._drops: list[Prepared] = []
        self._shift = (0, 0)
        self._effects: list[Script] = []
        self._litter: bytes | None = None
        self._needs: dict[Prepared, None] = {}
        self._taught: list[tuple[bytes, Prepared]] = []
        self._parsed: set[Prepared] = NOTHING_PARSED
        """The statements that the client's own Parse messages prepare on the server."""
        self._unnamed: Prepared | None = None
        self._scripts: list[Script | None] = []
        self.waiting_for: list[bytes] = []

    def __bool__(self) -> bool:
        return bool(self._parts)

    @property
    def steps(self) -> int:
        """How many answers the messages since the last piece will get."""
        return len(self._plan)

    @property
    def describes(self) -> bool:
        """It asks what the portals of all statements it uses return."""
        said, called = self._described, self._called
        if len(called) == 1:
            return called[0][1] in said
        return bool(said) and all(used in said for _, used in called)

    @property
    def keeps_portal(self) -> bool:
        """A portal of it may be executed later in the transaction: by a row limit, or a name, or not at all so far."""
        is_named = not all(map(ends_at_once, self._portals.values()))
        return self.row_limit or self._unexecuted or is_named

    @property
    def only_asks(self) -> bool:
        """It parses, describes and closes statements and does nothing else."""
        binds = self._unexecuted or self._portals is not NO_PORTALS
        return not (binds or self.executes or self.follows)

    def leave_untold(self) -> None:
        """End it by a Sync that the client has not sent, and keep the answer to that from the client."""
        self._plan.append(UNTOLD)
        self._planned = True

    def continues(self, before: Draft) -> None:
        """Continue the open unit whose earlier messages are in *before*."""
        self.renaming, self.said = before.renaming, before.said
        self.row_limit, self._unexecuted = before.row_limit, before._unexecuted
        self._bound, self._portals = before._bound, before._portals

    def add_raw(self, data: bytes) -> None:
        """Append frames that need no change."""
        self._parts.append(data)
        self.size += len(data)

    def take(self, *, keep_plan: bool) -> Piece:
        """Return what has been assembled since the last call as one piece.

        *keep_plan*: the unit is or stays open, so every answer is counted.
        """
        script = merged(self._scripts)
        piece = Piece(self._parts, script)
        if script is not None and script.copies_in:
            self._planned = True  # it may go on behind its Sync (`Dispatcher`)
        if self._planned or keep_plan or self._effects:
            piece.plan = self._plan
        piece.needs = list(self._needs)
        piece.drops = self._drops
        piece.shift = self._shift
        piece.litter = self._litter
        piece.taught = self._taught
        piece.called = self._called
        piece.unnamed = self._unnamed
        piece.unnamed_parse = self._unnamed_parse
        if self._effects:
            piece.effects = merge(self._effects)
        self._begin()
        return piece

    def add_part(self, part: Part) -> None:
        """Append what replaces a message."""
        self._parts.append(part)
        self.size += len(part) if isinstance(part, bytes) else len(part.tail)


def ends_at_once(bound: Prepared | None) -> bool:
    """Return whether a portal of *bound* has nothing more to say once it was executed, whatever the limit."""
    return bound is not None and bound.script is not None and bound.script.controls_transaction
