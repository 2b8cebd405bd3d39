"""Lease: who has a server. A server changes hands here and nowhere else.

A server is IDLE in its pool, HELD by one session, or a LANE that the reads of several sessions share. When its session is through
or gone it is UNCLAIMED: what it still owes ends, what it was left with is cleaned away (ROLLING_BACK, RESETTING), a cancel
request under way is awaited (COOLING), and then the next session gets it or its pool. `next_after_free` says which comes next.

What is not in TABLE is illegal. States and events are integers, since the relay reads and sets them for every query: to read
a member off its Enum, and to hash one, costs ten times as much.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Final

from rwsplit.protocol import codes
from rwsplit.session.pinning import PinReason
from rwsplit.session.teaching import ServerState

if TYPE_CHECKING:
    from rwsplit.session.session import Session

#: No session has it: it was just opened, or its session has left it; what it owes is nobody's, or a client's that is gone.
UNCLAIMED: Final = 0
#: In its pool, clean, for any session.
IDLE: Final = 1
#: One session has it.
HELD: Final = 2
#: Shared: units of several sessions are pipelined on it.
LANE: Final = 3
#: A transaction that no session owns any more is being ended.
ROLLING_BACK: Final = 4
#: What a session has left is being wiped.
RESETTING: Final = 5
#: Clean, but a cancel request is under way that must not hit the next session.
COOLING: Final = 6
#: Its connection is closed.
CLOSED: Final = 7
STATES: Final = (
    "unclaimed",
    "idle",
    "held",
    "lane",
    "rolling back",
    "resetting",
    "cooling",
    "closed",
)

#: A session takes it.
TAKEN: Final = 0
#: The session that has just taken it for a short read lets others share it.
SHARED: Final = 1
#: A lane owes nothing any more.
LAST_ANSWER: Final = 2
#: Its session leaves it.
LEFT: Final = 3
#: It is put back into its pool.
SHELVED: Final = 4
#: A ROLLBACK is sent to it.
ROLLBACK_SENT: Final = 5
#: The reset query is sent to it.
RESET_SENT: Final = 6
#: That has been answered.
CLEANED: Final = 7
#: Nothing but a cancel request keeps it from the next session.
CANCEL_AWAITED: Final = 8
#: No cancel request is under way any more.
CANCEL_DONE: Final = 9
#: Its connection ends, whoever ends it.
LOST: Final = 10
EVENTS: Final = (
    *(
        "taken",
        "shared",
        "last answer",
        "left",
        "shelved",
        "told to roll back",
        "told to reset",
    ),
    *("cleaned", "cancel awaited", "cancel done", "lost"),
)

#: By state and event, the next state.
TABLE: Final[Mapping[int, Mapping[int, int]]] = {
    UNCLAIMED: {
        TAKEN: HELD,
        SHELVED: IDLE,
        ROLLBACK_SENT: ROLLING_BACK,
        RESET_SENT: RESETTING,
        CANCEL_AWAITED: COOLING,
        LOST: CLOSED,
    },
    IDLE: {TAKEN: HELD, LOST: CLOSED},
    # SHELVED: it owes nothing, has nothing to be cleaned, and nobody waits for it.
    HELD: {SHARED: LANE, LEFT: UNCLAIMED, SHELVED: IDLE, LOST: CLOSED},
    # LEFT: one of those who share it.
    LANE: {LEFT: LANE, LAST_ANSWER: UNCLAIMED, LOST: CLOSED},
    ROLLING_BACK: {CLEANED: UNCLAIMED, LOST: CLOSED},
    RESETTING: {CLEANED: UNCLAIMED, LOST: CLOSED},
    COOLING: {CANCEL_DONE: UNCLAIMED, LOST: CLOSED},
    # LEFT: its session hears of it only now.
    CLOSED: {LEFT: CLOSED},
}

ILLEGAL: Final = -1
_NEXT: Final = tuple(
    tuple(TABLE[state].get(event, ILLEGAL) for event in range(len(EVENTS)))
    for state in range(len(STATES))
)


class IllegalLease(RuntimeError):
    """A server was to change hands in a way that is not in TABLE: an error in rwsplit."""


class Fate(Enum):
    """Why a server is closed as soon as it is free."""

    NODE_LEFT = "its node is not used any more"
    OTHER_DEFAULTS = "it was opened with other defaults than servers have now"
    TOO_OLD = "pool.server_lifetime"
    DATABASE_GOES = "its database is to be dropped or renamed"
    HALF_A_FRAME = "it has received half a frame, and nobody will send the rest"
    STUCK_PARAMETERS = "it keeps what another session has set"
    REFUSED_PARAMETERS = "a statement ran with the parameters of another session"
    NOT_READY = "it lacks what its session's next unit relies on"
    SEEDED = "its random numbers can be foretold by the session that gave it their seed"
    NOT_CLEANED = "what a session has left could not be wiped"
    LOST = "its connection ended"
    FAULT = "rwsplit failed in the midst of its business"


class Next(Enum):
    """What becomes of a server that is nobody's and owes nothing."""

    CLOSE = "close it"
    TIDY = "have it close the statements in its litter"
    ROLL_BACK = "end its transaction"
    RESET = "wipe what its session has left"
    COOL = "wait until no cancel request is under way"
    HAND_ON = "give it to who waits for one, else to its pool"


#: A pool in session mode counts each of its sessions.
_UNKEPT: Final = frozenset({None, PinReason.SESSION_MODE})


class Leased(ServerState):
    """A server as far as it matters who has it."""

    __slots__ = ("cancels", "fate", "holder", "idle_since", "lease", "litter", "soiled", "tx")

    def __init__(self, now: float = 0.0) -> None:
        super().__init__()
        self.lease = UNCLAIMED
        self.idle_since = now
        """Since when it has been IDLE."""
        self.holder: Session | None = None
        """Who has it; of a lane nobody."""
        self.fate: Fate | None = None
        """Why it is to be closed as soon as nothing is in flight; None: it is kept."""
        self.soiled = False
        """A session may have left state: it is wiped before anyone else comes."""
        self.tx = codes.IDLE
        """Transaction status as of its last ReadyForQuery."""
        self.cancels = 0
        """Cancel requests under way; until they are through the server may not change hands."""
        self.litter: list[bytes] = []
        """Frames that close statements, to be sent when no unit is under way."""

    @property
    def is_kept(self) -> bool:
        """A session keeps it for the state it has there, whether it uses it or not."""
        holder = self.holder
        return holder is not None and holder.pin not in _UNKEPT

    # What happens to it: each raises IllegalLease if it cannot...

    def take(self, session: Session) -> None:
        """It is *session*'s from now on."""
        lease = _NEXT[self.lease][TAKEN]
        if lease < 0:
            raise self._illegal(TAKEN)
        self.lease = lease
        self.holder = session

    def share(self) -> None:
        """Its session, which has just taken it, lets others share it."""
        self._move(SHARED)
        self.holder = None

    def end_lane(self) -> None:
        """It was shared, and owes nothing any more."""
        self._move(LAST_ANSWER)

    def leave(self) -> None:
        """Its session leaves it."""
        self._move(LEFT)
        self.holder = None
        self.responses.owner = None

    def shelve(self) -> None:
        """It goes back to its pool, clean."""
        lease = _NEXT[self.lease][SHELVED]
        if lease < 0:
            raise self._illegal(SHELVED)
        self.lease = lease
        self.holder = None
        self.responses.owner = None

    def roll_back(self) -> None:
        """A ROLLBACK is queued on it, of which only `cleaned` tells."""
        self._move(ROLLBACK_SENT)

    def reset(self) -> None:
        """The reset query is queued on it."""
        self._move(RESET_SENT)

    def cleaned(self) -> None:
        """It has answered the ROLLBACK, or the reset query."""
        self._move(CLEANED)

    def cool(self) -> None:
        """A cancel request is under way, and nothing else keeps it."""
        self._move(CANCEL_AWAITED)

    def cooled(self) -> None:
        """That has been delivered."""
        self._move(CANCEL_DONE)

    def close(self) -> None:
        """Its connection is closed."""
        self._move(LOST)
        self.holder = None

    def _move(self, event: int) -> None:
        lease = _NEXT[self.lease][event]
        if lease < 0:
            raise self._illegal(event)
        self.lease = lease

    def _illegal(self, event: int) -> IllegalLease:
        return IllegalLease(f"{self} is {STATES[self.lease]}: {EVENTS[event]}")

    # What is known of it for when it is free...

    def expire(self, fate: Fate) -> None:
        """Have it closed as soon as it is free, because of *fate*; the first reason stays."""
        if self.fate is None:
            self.fate = fate

    def soil(self) -> None:
        """A session may have left state on it."""
        self.soiled = True

    def wiped(self) -> None:
        """There is no state of any session on it."""
        self.soiled = False


def next_after_free(server: Leased, *, has_too_many: bool) -> Next:
    """Return what becomes of *server*, which is nobody's and owes nothing; *has_too_many*: its pool wants it closed."""
    if server.fate is not None or has_too_many:
        return Next.CLOSE
    if server.litter:
        return Next.TIDY
    if server.tx != codes.IDLE:
        return Next.ROLL_BACK
    if server.soiled or server.parameters is None:
        return Next.RESET
    if server.cancels:
        return Next.COOL
    return Next.HAND_ON
