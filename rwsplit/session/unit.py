"""Unit: what a client sent up to and including a Query, a Sync or a FunctionCall.

It is the smallest thing that is routed, and the thing answers are owed for (`Owed`). A unit that grows too
large, or that the client wants answered before its Sync (Flush), is *open*: it goes to a server as it is, and
the rest follows as chunks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from itertools import chain
from typing import Final

from rwsplit.protocol.backend import error_response
from rwsplit.protocol.framing import HEADER, HEADER_SIZE
from rwsplit.protocol.refusals import BARE_MARK, STALE_PLAN, bare, move_position, too_many
from rwsplit.protocol.responses import UNTOLD, Owed, sqlstate
from rwsplit.routing.route import Route
from rwsplit.session.piece import Piece
from rwsplit.session.prepared import (
    CHANGED,
    OWN_NAME,
    TOO_MANY,
    TOO_MANY_PORTALS,
    Prepared,
)
from rwsplit.session.renaming import Renaming
from rwsplit.session.stand_ins import Effects
from rwsplit.session.state import SessionState
from rwsplit.session.teaching import Lesson, Lessons
from rwsplit.sql.script import Script

_NOTHING: Final = ()
#: A statement's name on servers, as PostgreSQL quotes it.
_OWN_NAMES: Final = re.compile(rb'"(%s[0-9]+)"' % OWN_NAME)
#: Bytes of the longest error that is reworded.
MOST_REWORDED: Final = 64 << 10
_BARE_MARK: Final = b"\0s%s\0" % BARE_MARK.encode()
#: SQLSTATEs of a cancelled statement: 26000 if the cancel struck the Parse of the statement that EXECUTE names.
_CANCELLED: Final = frozenset({b"57014", b"26000"})
#: Never appended to: a unit that teaches gets a list of its own.
_NO_LESSONS: Final[list[Lesson]] = []
_NO_LITTER: Final[list[bytes]] = []


class Kind(Enum):
    """How a unit ends."""

    SIMPLE = "Query"
    EXTENDED = "Sync"
    FUNCTION = "FunctionCall"


# As constants: see `server.server`.
SIMPLE: Final = Kind.SIMPLE
EXTENDED: Final = Kind.EXTENDED
FUNCTION: Final = Kind.FUNCTION


class CancelReason(Enum):
    """Why a statement is cancelled; the value is what its client is told."""

    REQUEST = "canceling statement due to user request"
    QUERY_TIMEOUT = "canceling statement due to query_timeout"
    TRANSACTION_TIMEOUT = "canceling statement due to transaction_timeout"
    ABANDONED = "canceling statement because its client is gone"


class Unit(Owed):
    """One unit of *session* and everything its way through a server needs.

    It is made for every statement, and on a plain read's way each attribute that is looked at counts: so it is one record, and not
    several that name each other.
    """

    __slots__ = (
        "arrived",
        "cancelled",
        "continued",
        "copy_ended",
        "deadline",
        "describes",
        "executes",
        "flushed",
        "follows",
        "is_open",
        "kind",
        "lessons",
        "litter",
        "node",
        "piece",
        "plain",
        "planned",
        "refusal",
        "refused_by",
        "relied_on",
        "renaming",
        "restarts",
        "route",
        "row_limit",
        "script",
        "sent",
        "session",
        "size_in",
        "waiting_for",
        "was_parked",
        "with_pin",
    )

    def __init__(  # noqa: PLR0915 - one line a slot
        self, session: SessionState, kind: Kind, piece: Piece, size: int
    ) -> None:
        # Owed.__init__ written out: this runs once per statement.
        self.sink = session.sink
        self.steps = None
        self.guarded = False
        self.forwarded = False
        self.failed = False
        self.failed_at = 0
        self.error = None
        self.kept = None
        self.size = 0
        self.done = 0
        self.told = 0
        self.reports = None
        self.session: SessionState | None = session
        """None once the client is gone: the answer is swallowed."""
        self.kind = kind
        self.piece = piece
        self.script: Script | None = piece.script
        self.size_in = size
        """Bytes of its frames."""
        self.executes = True
        """It runs something, rather than only parse, describe, or ask rwsplit itself."""
        self.describes = False
        """It asks what all its portals return, so the client does not go by what it was told before."""
        self.follows = False
        """It uses a portal that an earlier unit has made: it must find it, and fail as PostgreSQL does if it cannot."""
        self.row_limit = False
        self.is_open = False
        """Its end has not been sent yet."""
        self.continued = False
        """It was open, and more came for it than *script* tells of."""
        self.copy_ended = False
        """It was open, and the data of its COPY came before its Sync."""
        self.flushed = 0
        """Steps of an open unit in front of the Flush that asks for their answers."""
        self.planned = 0
        """Steps of an open unit so far."""
        self.lessons: list[Lesson] = _NO_LESSONS
        """What it was to teach its server, to be taken back if it fails."""
        self.litter: list[bytes] = _NO_LITTER
        """Statements an open unit leaves under a client's own names, to be closed when it has ended."""
        self.waiting_for: Sequence[bytes] = _NOTHING
        """Long queries that must be parsed before it can be routed."""
        self.arrived = 0.0
        self.sent = 0.0
        self.deadline = 0.0
        self.route: Route | None = None
        self.node = -1
        """Index of the node it was sent to."""
        self.relied_on = True
        """Where it was sent its session's level was kept: later reads rely on what it has read."""
        self.plain = False
        """It is a read that any server can answer as it is; see `relay.plain`."""
        self.refused_by = 0
        """Bit set of node indexes that failed it; each node is tried at most once."""
        self.restarts = 0
        self.refusal = b""
        """Why its transaction has failed before it was sent."""
        self.cancelled: CancelReason | None = None
        """Why a cancel request for it was sent."""
        self.with_pin = False
        """It is what pinned its session."""
        self.was_parked = False
        """It waited for a replica to be fresh."""
        self.renaming: Renaming | None = None
        """What it does to its session's names, if anything."""

    @property
    def is_untold(self) -> bool:
        """Its Sync is rwsplit's, where the client has said Flush: its own Sync is still to come."""
        plan = self.piece.plan
        return bool(plan) and plan[-1] == UNTOLD  # type: ignore[index]  # mypy does not look into bool()

    @property
    def has_more(self) -> bool:
        """It may run more than *script* tells of: what a portal does that an earlier unit has made, or what came later."""
        return self.follows or self.continued

    def reword(self, frame: bytes) -> bytes:  # noqa: C901, PLR0911 - one line a case
        """Return the ErrorResponse *frame* with the client's names of statements in place of ours, and nothing of our own words.

        A very long one is left as it is: it is not about a statement's name, though it may hold something like one.
        """
        if len(frame) > MOST_REWORDED:
            return frame
        if self.refusal and sqlstate(frame) == b"25P02":
            frame = self.refusal
        if self.cancelled is CancelReason.QUERY_TIMEOUT and sqlstate(frame) in _CANCELLED:
            return error_response("ERROR", "57014", self.cancelled.value)
        if self._is_of_changed_result(frame):
            return STALE_PLAN
        if TOO_MANY in frame and self.session is not None:
            return too_many(self.session.names.most, portals=TOO_MANY_PORTALS in frame)
        if _BARE_MARK in frame:
            return bare(frame)
        if any(self.piece.shift):
            frame = move_position(frame, *self.piece.shift)
        if OWN_NAME not in frame or self.session is None:
            return frame
        named = dict.fromkeys(_OWN_NAMES.findall(frame), b"")
        missing = len(named)
        for name, prepared in chain(self.piece.called, self.session.names.items()):
            if not missing:
                break
            if name and named.get(prepared.name) == b"":
                named[prepared.name] = name
                missing -= 1
        frame = _OWN_NAMES.sub(lambda found: b'"%s"' % (named[found[1]] or found[1]), frame)
        return HEADER.pack(frame[0], len(frame) - 1) + frame[HEADER_SIZE:]

    def _is_of_changed_result(self, frame: bytes) -> bool:
        """Return whether *frame* says in other words that a statement returns something else than the client was told.

        That is what it fails with who binds CHANGED, or says how to return columns that are not there.
        """
        if CHANGED in frame:
            return sqlstate(frame) == b"26000"
        return any(lesson.differs for lesson in self.lessons) and sqlstate(frame) == b"08P01"

    def end_names(self, dropped: bytes | None = None, number: int = 0) -> None:
        """Nothing follows that changes names, at most a Query, message *number*, by which *dropped* means nothing."""
        if dropped is not None and self.session is not None:
            self.renaming = self.renaming or Renaming(self.session.names)
            self.renaming.drop(number, dropped)
        if self.renaming is not None:
            self.renaming.end()

    def settle_names(self) -> None:
        """Take back what it did to its session's names, as far as it did not come to that.

        Answers are counted only where messages could be skipped whose effect matters.
        """
        if not self.failed:
            told = None
        elif self.piece.plan is not None:
            told = self.told
        else:
            told = None if self.failed_at else 0
        if self.renaming is not None:
            self.renaming.settle(told)
        session, parsed = self.session, self.piece.unnamed_parse
        if told != 0 or session is None or parsed is None:
            return
        names = session.names
        if names.unnamed_by is not None:
            return
        if self._parses_unnamed_first and names.get(b"") is parsed.own:
            del names[b""]

    @property
    def _parses_unnamed_first(self) -> bool:
        """Its first message is a Parse of the unnamed statement."""
        first = self.piece.parts[0]
        return isinstance(first, bytes) and first.startswith(b"P") and not first[HEADER_SIZE]

    def renew(self, frame: bytes, script: Script) -> None:
        """Reuse this unit for another Query, *frame*; only for one that a plain read has used up."""
        piece = self.piece
        piece.parts[0] = frame
        piece.script = self.script = script
        self.size_in = len(frame)
        self.size = 0
        self.forwarded = False
        self.relied_on = True
        self.arrived = 0.0

    def learn(self, lessons: list[Lesson]) -> None:
        """Take note that one more piece of it, which is or was open, is to teach its server *lessons*."""
        known = self.lessons
        if not isinstance(known, Lessons):
            self.lessons = known = Lessons(known)
        known.learn(lessons)

    def add_effects(self, effects: Script | Effects) -> None:
        """Take note of the *effects* of what continues it."""
        known = self.piece.effects
        if not isinstance(known, Effects):
            known = self.piece.effects = Effects(known)
        known.add(effects)

    @property
    def discards(self) -> bool:
        """The last notable statement it executes is DISCARD ALL: unless it fails, all parameters are known behind it."""
        effects = self.piece.effects
        return effects is not None and effects.discards

    def leave_litter(self, name: bytes) -> None:
        """Take note that a statement it leaves under the client's own *name* is to be closed when it has ended."""
        if self.litter:
            self.litter.append(name)
        else:
            self.litter = [name]

    def lesson_about(self, prepared: Prepared) -> Lesson | None:
        """Return what has last taught *prepared* to the server of this open unit."""
        lessons = self.lessons
        return lessons.latest.get(prepared) if isinstance(lessons, Lessons) else None

    def restart(self) -> None:
        """Make it as it was before it was sent (nothing of its answer has left)."""
        self.steps = None
        self.forwarded = False
        self.failed = False
        self.error = None
        self.refusal = b""
        self.kept = None
        self.size = 0
        self.done = 0
        self.told = 0
        self.lessons = _NO_LESSONS
        self.restarts += 1
        self.plain = False
