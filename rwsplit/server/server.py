"""Server: one connection from rwsplit to a node, as the relay sees it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from rwsplit.protocol import codes
from rwsplit.protocol.responses import Owed
from rwsplit.server.wire import Wire
from rwsplit.session.pinning import PinReason
from rwsplit.session.teaching import ServerState

if TYPE_CHECKING:
    from rwsplit.server.pool import Pool
    from rwsplit.session.defaults import Defaults
    from rwsplit.session.session import Session


class Use(Enum):
    """What a server is used for."""

    IDLE = "idle"
    HELD = "active"
    """By one session."""
    LANE = "lane"
    """Shared: units of several sessions are pipelined on it."""
    RESETTING = "resetting"
    """State of a pinned session is being wiped, or a ROLLBACK is under way."""
    CLOSED = "closed"


# To read a member off its Enum costs 0.1 us in CPython 3.11, ten times a global: the relay reads these.
IDLE: Final = Use.IDLE
HELD: Final = Use.HELD
LANE: Final = Use.LANE
RESETTING: Final = Use.RESETTING
CLOSED: Final = Use.CLOSED


#: A pool in session mode counts each of its sessions.
_UNKEPT: Final = frozenset({None, PinReason.SESSION_MODE})


class Server(ServerState):
    """A logged-in connection to a node, member of *pool*."""

    __slots__ = (
        "armed",
        "born",
        "cancel_key",
        "cancels",
        "cancels_again",
        "copying",
        "defaults",
        "dirty",
        "expired",
        "farewell",
        "fd",
        "holder",
        "idle_since",
        "is_replica",
        "last_done",
        "last_writer",
        "litter",
        "mingled",
        "paused",
        "pid",
        "pool",
        "queued",
        "soiled",
        "stray_cancel",
        "tx",
        "unread",
        "use",
        "wire",
    )

    def __init__(  # noqa: PLR0915 - one line an attribute
        self, pool: Pool, wire: Wire, *, pid: int, cancel_key: bytes, now: float
    ) -> None:
        super().__init__()
        self.pool = pool
        self.wire = wire
        self.fd = wire.fileno()
        self.pid = pid
        self.cancel_key = cancel_key
        self.born = now
        self.idle_since = now
        self.use = Use.IDLE
        self.holder: Session | None = None
        self.last_writer: object | None = None
        """The session that wrote here last: its currval and lastval are here."""
        self.mingled = False
        """Others may have drawn from sequences here, too, since those were last discarded."""
        self.is_replica = False
        self.stray_cancel = False
        """A cancel request went to it while it was shared: a stranger may get 57014."""
        self.cancels = 0
        """Cancel requests under way; until they are through the server may not change hands."""
        self.cancels_again = False
        """Whether one more cancel request is to be sent after the one under way."""
        self.copying = 0
        """COPY commands it takes in now; below zero while their end was sent before they had begun."""
        self.litter: list[bytes] = []
        """Frames that close statements, to be sent when no unit is under way."""
        self.expired = False
        """To be closed as soon as nothing is in flight (its node is gone, it is too old)."""
        self.farewell = False
        """The session it works for has been told that it closes the connection."""
        self.soiled = False
        """A session that was pinned may have left state: DISCARD ALL before anyone else comes."""
        self.tx = codes.IDLE
        """Transaction status as of its last ReadyForQuery."""
        self.last_done = now
        self.unread = b""
        """Bytes that the server sent behind its login and that were read with that."""
        self.defaults: Defaults | None = None
        """Those of the primary that its own were made alike to; None: they have not been compared."""
        self.dirty = False
        self.armed = False
        """EPOLLOUT is armed."""
        self.paused = False
        """Not read, because the client does not keep up."""
        self.queued = False
        """Whether bytes it has sent wait to be read."""

    def __repr__(self) -> str:
        return (
            f"<Server {self.pool.node} pid={self.pid} {self.use.value} owed={self.owed_count}>"
        )

    @property
    def owed_count(self) -> int:
        """Units whose ReadyForQuery has not come."""
        return len(self.responses.owed)

    @property
    def is_kept(self) -> bool:
        """A session keeps it for the state it has there, whether it uses it or not."""
        holder = self.holder
        return holder is not None and holder.pin not in _UNKEPT

    def note_writer(self, session: Session) -> None:
        """Note that *session* may draw from sequences here; what others have drawn is still there."""
        if self.last_writer is not session:
            self.mingled = self.mingled or self.last_writer is not None
            self.last_writer = session

    def owe(self, owed: Owed) -> None:
        """Record that the answers for *owed* come behind all others."""
        self.responses.owed.append(owed)
