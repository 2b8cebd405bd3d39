"""Server: one connection from rwsplit to a node, as the relay sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rwsplit.exchange.lease import STATES, Leased
from rwsplit.protocol.responses import Owed
from rwsplit.server.wire import Wire

if TYPE_CHECKING:
    from rwsplit.server.pool import Pool
    from rwsplit.session.defaults import Defaults
    from rwsplit.session.session import Session


class Server(Leased):
    """A logged-in connection to a node, member of *pool*."""

    __slots__ = (
        "armed",
        "born",
        "cancel_key",
        "cancels_again",
        "copying",
        "defaults",
        "dirty",
        "farewell",
        "fd",
        "is_replica",
        "last_done",
        "last_writer",
        "mingled",
        "paused",
        "pid",
        "pool",
        "queued",
        "stray_cancels",
        "unread",
        "wire",
    )

    def __init__(
        self, pool: Pool[Server], wire: Wire, *, pid: int, cancel_key: bytes, now: float
    ) -> None:
        super().__init__(now)
        self.pool = pool
        self.wire = wire
        self.fd = wire.fileno()
        self.pid = pid
        self.cancel_key = cancel_key
        self.born = now
        self.last_writer: object | None = None
        """The session that wrote here last: its currval and lastval are here."""
        self.mingled = False
        """Others may have drawn from sequences here, too, since those were last discarded."""
        self.is_replica = False
        self.stray_cancels = 0
        """Cancel requests that went to it while it was shared, and have not struck: strangers may get 57014."""
        self.cancels_again = False
        """Whether one more cancel request is to be sent after the one under way."""
        self.copying = 0
        """COPY commands it takes in now; below zero while their end was sent before they had begun."""
        self.farewell = False
        """The session it works for has been told that it closes the connection."""
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

    def absorb_stray_cancel(self) -> bool:
        """Take one off the cancel requests that may strike a session they were not meant for; False: there is none."""
        if not self.stray_cancels:
            return False
        self.stray_cancels -= 1
        return True

    def __repr__(self) -> str:
        return f"<Server {self.pool.node} pid={self.pid} {STATES[self.lease]} owed={self.owed_count}>"

    @property
    def owed_count(self) -> int:
        """Units whose ReadyForQuery has not come."""
        return len(self.responses.owed)

    def note_writer(self, session: Session) -> None:
        """Note that *session* may draw from sequences here; what others have drawn is still there."""
        if self.last_writer is not session:
            self.mingled = self.mingled or self.last_writer is not None
            self.last_writer = session

    def owe(self, owed: Owed) -> None:
        """Record that the answers for *owed* come behind all others."""
        self.responses.owed.append(owed)
