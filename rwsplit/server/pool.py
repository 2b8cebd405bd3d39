"""Pool: the servers of one (node, database, user), and the sessions that wait for one.

`acquire` is synchronous: it hands out an idle server, or none - then the caller may share a lane or wait.
Opening servers is asked of a task (`dial`), never done here. Invariant: `len(servers) + starting <= size`, but
for the reserve, which is opened for sessions that have waited long and closed when nobody waits any more, and but for
servers that pinned sessions keep: up to *size* of them do not count, or idle sessions could keep everybody from
writing. So there are never more than twice *size* and the reserve.

A node may refuse a server (`Refused`). The pool then asks again later and later, one server at a time, and is
*closed* while it has none to give: readers go elsewhere, and a server opened on trial opens it again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import attrs

from rwsplit.config.model import PoolConfig
from rwsplit.errors import ServerRefused
from rwsplit.exchange.lease import (
    COOLING,
    HELD,
    IDLE,
    LANE,
    RESETTING,
    ROLLING_BACK,
    UNCLAIMED,
    Leased,
)
from rwsplit.exchange.waits import Waiter
from rwsplit.server.quota import Quota
from rwsplit.server.refused import Refused
from rwsplit.session.acceptance import Acceptance
from rwsplit.session.prepared import Prepared
from rwsplit.session.session import Session

AnyServer = TypeVar("AnyServer", bound=Leased)

#: Seconds between attempts to open a server after a failure: doubled each time, from ... to ...
BACK_OFF: Final = (0.1, 5.0)


@attrs.frozen
class PoolStatistics:
    """Counts of one pool at one moment."""

    node: str
    database: str
    user: str
    active: int
    idle: int
    lanes: int
    resetting: int
    cancelled: int
    """Kept until a cancel request is through."""
    starting: int
    waiting: int
    oldest_wait: float
    """Moment the longest waiting session began to wait, infinity if none waits."""
    refused: Refused | None = None
    retry_at: float = 0.0
    """While it is refused: when it asks again, at the earliest."""


class Pool(Generic[AnyServer]):
    """Servers of one node, database and user."""

    def __init__(
        self,
        node: str,
        node_index: int,
        database: str,
        user: str,
        config: PoolConfig,
        dial: Callable[[Pool[AnyServer]], None],
    ) -> None:
        self.node = node
        self.node_index = node_index
        self.database = database
        self.user = user
        self.config = config
        """What holds for its database and user."""
        self.quotas: tuple[Quota[AnyServer], ...] = ()
        """What its database and its user may have altogether, where there is such a limit."""
        self.servers: set[AnyServer] = set()
        self.idle: deque[AnyServer] = deque()
        """The one used last is at the right end and is taken first, so that spare ones age."""
        self.lanes: list[AnyServer] = []
        self.starting = 0
        self.waiters: deque[Waiter] = deque()
        self.answered = 0
        """Statements its servers have answered."""
        self.is_discarded = False
        """It is not among the pools any more; who kept it asks for another."""
        self.exclusive = 0
        """Waiters that cannot share a server; while there are any, nobody joins a lane."""
        self.acceptance = Acceptance()
        """Which parameters its servers are sure to take."""
        self.startup: dict[str, str] = {}
        """Startup parameters that give its servers the defaults of the primary's."""
        self.failures = 0
        self.retry_at = 0.0
        self.last_error: Exception | None = None
        self.refused: Refused | None = None
        """What the node said when it last refused a server; None once it has let one in."""
        self.is_wanted = False
        """A reader passed it by, closed as it is, since it last asked."""
        self._dial = dial

    def __repr__(self) -> str:
        return (
            f"<Pool {self.node}/{self.database}/{self.user} [{len(self.servers)} servers, "
            f"{len(self.idle)} idle, {self.starting} starting, {len(self.waiters)} waiting]>"
        )

    @property
    def is_full(self) -> bool:
        """No further server may be opened, but for the reserve."""
        return self.is_at_size or self.is_held_back

    @property
    def is_at_size(self) -> bool:
        """It has as many servers as *size* allows."""
        return self._beyond_size(len(self.servers) + self.starting) >= 0

    @property
    def surplus(self) -> int:
        """Servers there are beyond *size*; zero or less: none."""
        extra = len(self.servers) - self.config.size
        return self._beyond_size(len(self.servers)) if extra > 0 else extra

    def _beyond_size(self, there: int) -> int:
        """Return by how much *there*, a number of servers, exceeds *size*, without those that sessions keep."""
        size = self.config.size
        if there < size:
            return there - size
        return there - size - min(size, sum(server.is_kept for server in self.servers))

    @property
    def is_held_back(self) -> bool:
        """Its database or its user has all the servers it may have."""
        return bool(self.quotas) and any(quota.is_full for quota in self.quotas)

    @property
    def has_too_many(self) -> bool:
        """A server that becomes free is to be closed, not kept."""
        extra = self.surplus
        if extra > 0 and (not self.waiters or extra > self.config.reserve_size):
            return True
        return bool(self.quotas) and any(quota.used > quota.limit for quota in self.quotas)

    @property
    def is_closed(self) -> bool:
        """Its node refuses servers, and it has none to give."""
        return self.refused is not None and not self.idle

    @property
    def has_room(self) -> bool:
        """Who comes now gets a server, or has one opened."""
        return bool(self.idle) or not (self.failures or self.is_full)

    @property
    def limit(self) -> str:
        """What makes sessions wait, in words."""
        if self.refused is not None:
            return f"the node refuses another one: {self.refused}"
        full = next((quota for quota in self.quotas if quota.is_full), None)
        if full is not None:
            return f"{full.setting} is {full.limit}"
        if self.is_full:
            return f"pool.size is {self.config.size}"
        return str(self.last_error or "one is being opened")

    def acquire(self, session: Session) -> AnyServer | None:
        """Return an idle server, now held by *session*, or None."""
        if not self.idle:
            return None
        server = self.idle.pop()
        server.take(session)
        return server

    def acquire_alike(self, session: Session) -> AnyServer | None:
        """Return an idle server that has the parameters of *session* already, else any, now held by it; or None."""
        for server in reversed(self.idle):
            if server.parameters is session.parameters:
                self.acquire_this(server, session)
                return server
        return self.acquire(session)

    def acquire_that_parsed(self, unnamed: Prepared, session: Session) -> AnyServer | None:
        """Return the idle server that has *unnamed* under the empty name, else as `acquire_alike`."""
        for server in reversed(self.idle):
            if server.unnamed is unnamed and server.parameters is session.parameters:
                self.acquire_this(server, session)
                return server
        return self.acquire_alike(session)

    def acquire_this(self, server: AnyServer, session: Session) -> None:
        """Have *session* hold one certain idle server."""
        self.idle.remove(server)
        server.take(session)

    def release(self, server: AnyServer, now: float) -> None:
        """Take back a clean server."""
        server.shelve()
        server.idle_since = now
        self.idle.append(server)

    def ask(self, now: float) -> None:
        """Have servers opened for the sessions that wait, as far as the limits allow."""
        if now < self.retry_at or (self.failures and self.starting):
            return
        missing = len(self.waiters) - self.starting
        if self.failures:
            missing = min(missing, 1)  # after a failure one attempt at a time
        for _ in range(missing):
            if self.is_full and not self._may_use_reserve(now):
                return
            self.starting += 1
            self._dial(self)

    def _may_use_reserve(self, now: float) -> bool:
        config = self.config
        beyond = self._beyond_size(len(self.servers) + self.starting)
        if beyond >= config.reserve_size or self.is_held_back:
            return False
        since = now - config.reserve_timeout
        late = sum(s.pending[0].arrived <= since for s in self.waiters if s.pending)  # type: ignore[union-attr]
        return config.reserve_timeout > 0 and late > self.starting

    def prewarm(self, now: float) -> None:
        """Have servers opened up to min_size."""
        there = len(self.servers) + self.starting
        if now >= self.retry_at and there < self.config.min_size and not self.is_full:
            self.starting += 1
            self._dial(self)

    def adopt(self, server: AnyServer) -> None:
        """Take in a server that was asked for."""
        self.starting -= 1
        self.failures = 0
        self.last_error = self.refused = None
        self.is_wanted = False
        self.servers.add(server)

    def dial_failed(self, error: Exception, now: float) -> None:
        """Remember that a server could not be opened; the next attempt waits."""
        self.starting -= 1
        self.last_error = error
        self.refused = (
            Refused.by(error, self.refused, now) if isinstance(error, ServerRefused) else None
        )
        if now >= self.retry_at:  # attempts made together fail together: that is one failure
            self.put_off(now)

    def dial_put_off(self, error: Exception, now: float) -> None:
        """Retry shortly: the server could not be opened, and the node is not at fault."""
        self.starting -= 1
        self.last_error = error
        self.retry_at = max(self.retry_at, now + BACK_OFF[0])

    def put_off(self, now: float) -> None:
        """Have the next server asked for later, and later each time."""
        first, most = BACK_OFF
        self.retry_at = now + min(first * 2**self.failures, most)
        self.failures = min(self.failures + 1, 10)

    def try_again(self, now: float) -> None:
        """Have a server opened, if it is time, to see whether the node still refuses; nobody waits for it."""
        if now < self.retry_at or self.starting or self.is_full:
            return
        self.is_wanted = False
        self.starting += 1
        self._dial(self)

    def forgive(self) -> None:
        """Let the next attempt be made at once: what it depends on may have changed."""
        self.retry_at = 0.0
        self.failures = min(self.failures, 1)

    def remove(self, server: AnyServer) -> None:
        """Forget a server that is closed."""
        self.servers.discard(server)
        if server.lease == IDLE and server in self.idle:
            self.idle.remove(server)
        if server in self.lanes:
            self.lanes.remove(server)
        server.close()

    def statistics(self) -> PoolStatistics:
        """Return the counts as of now."""
        leases = [server.lease for server in self.servers]
        waits = [getattr(s.pending[0], "arrived", 0.0) for s in self.waiters if s.pending]
        return PoolStatistics(
            node=self.node,
            database=self.database,
            user=self.user,
            active=leases.count(HELD) + leases.count(UNCLAIMED),
            idle=leases.count(IDLE),
            lanes=leases.count(LANE),
            resetting=leases.count(ROLLING_BACK) + leases.count(RESETTING),
            cancelled=leases.count(COOLING),
            starting=self.starting,
            waiting=len(self.waiters),
            oldest_wait=min(waits, default=float("inf")),
            refused=self.refused,
            retry_at=self.retry_at,
        )
