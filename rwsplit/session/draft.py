"""Draft: a unit of the extended protocol while its messages arrive.

`assembly` reads the messages and fills it; `take` and `finish` make pieces of it that can be sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rwsplit.protocol.responses import UNTOLD, Step
from rwsplit.session.conversation import Conversation
from rwsplit.session.piece import Piece, extended
from rwsplit.session.prepared import Part, Prepared
from rwsplit.session.renaming import Renaming
from rwsplit.session.stand_ins import merge, merged
from rwsplit.sql.script import Script

NO_PORTALS: Final[dict[bytes, Prepared | None]] = {}
NOTHING_PARSED: Final[set[Prepared]] = set()
NOTHING_SAID: Final[set[Prepared | None]] = set()


class Draft:
    """The part of a unit that has arrived.

    One is made for every unit of the extended protocol. So what each message asks for or adds to is an attribute here, and no object of
    its own.
    """

    __slots__ = (
        "_bound",
        "_called",
        "_described",
        "_effects",
        "_ends_failed",
        "_needs",
        "_parsed",
        "_piece",
        "_plan",
        "_planned",
        "_portals",
        "_scripts",
        "_session",
        "_unexecuted",
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
        self._unnamed_parse: Prepared | None = None
        self._bound: Prepared | None = None
        """What its unnamed portal runs."""
        self._portals: dict[bytes, Prepared | None] = NO_PORTALS
        """What its named portals run."""
        self._unexecuted = False
        """Its unnamed portal has not been executed yet."""
        self._ends_failed = False
        """Whether it ends a failed transaction, or rolls back to a savepoint in it: the server refuses any other Parse."""
        self._used: Prepared | None = None
        """The statement of its last Bind or Describe."""
        self._begin()

    def _begin(self) -> None:
        """Begin a piece."""
        self._piece = Piece([], None)
        self.size = 0
        """Bytes of the piece."""
        self._plan: list[Step] = []
        self._planned = False
        self._effects: Sequence[Script] = ()
        self._needs: dict[Prepared, None] = {}
        self._parsed: set[Prepared] = NOTHING_PARSED
        """The statements that the client's own Parse messages prepare on the server."""
        self._scripts: list[Script | None] = []
        self._called: list[tuple[bytes, Prepared]] = []
        self.waiting_for: Sequence[bytes] = ()

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

    def _note_script(self, prepared: Prepared) -> None:
        """Take note that the unit parses, describes or binds *prepared*."""
        script = prepared.script
        if script is None:
            self.waiting_for = extended(self.waiting_for, (prepared.query,))
        elif script.weight:
            self._session.knowledge.effort.words += script.weight
        self._scripts.append(script)

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
        self._piece.parts.append(data)
        self.size += len(data)

    def add_part(self, part: Part) -> None:
        """Append what replaces a message."""
        self._piece.parts.append(part)
        self.size += len(part) if isinstance(part, bytes) else len(part.tail)

    def take(self) -> Piece:
        """Return what has come of the unit, which is or stays open, since the last call; more may follow."""
        piece = self.finish(is_open=True)
        self._begin()
        return piece

    def finish(self, *, is_open: bool) -> Piece:
        """Return what has come since the last `take`; nothing follows. *is_open*: every answer is counted."""
        piece = self._piece
        piece.script = script = merged(self._scripts)
        if script is not None and script.copies_in:
            self._planned = True  # it may go on behind its Sync (`Dispatcher`)
        effects = self._effects
        if self._planned or is_open or effects:
            piece.plan = self._plan
        if self._needs:
            piece.needs = list(self._needs)
        piece.called = self._called
        piece.unnamed_parse = self._unnamed_parse
        if effects:
            piece.effects = merge(effects)
        return piece


def ends_at_once(bound: Prepared | None) -> bool:
    """Return whether a portal of *bound* has nothing more to say once it was executed, whatever the limit."""
    return bound is not None and bound.script is not None and bound.script.controls_transaction
