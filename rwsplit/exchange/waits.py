"""Waits: why nothing is sent for a session now, and what is undone when that ends.

A session is ready, or it has one `Wait`. To begin one while there is another is illegal; to end one undoes what beginning it has put
into books elsewhere: a place in the queue of a pool, the load of a node, the lists of those who wait for news of the cluster.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import Enum
from typing import Final, Generic, Protocol, TypeVar

from rwsplit.session.knowledge import Knowledge
from rwsplit.session.parameters import ParameterSet
from rwsplit.session.session import Session
from rwsplit.session.state import NOTHING_SAID


class Waiting(Enum):
    """What keeps a session's next unit from being sent."""

    SERVER = "for a server of its pool"
    NODE = "for a node that may answer"
    FRESHNESS = "for a replica to be fresh"
    PARSING = "for its statement to be parsed"


class Cause(Enum):
    """What makes a session wait, or not wait any more."""

    NO_SERVER = "no server is free"
    NO_NODE = "no node may answer"
    NOT_FRESH = "no replica is fresh enough"
    EXPENSIVE = "its statement is expensive to parse"
    ENDED = "ended"


#: By what a session waits for (None: it is ready) and the cause, what it waits for then.
TABLE: Final[Mapping[Waiting | None, Mapping[Cause, Waiting | None]]] = {
    None: {
        Cause.NO_SERVER: Waiting.SERVER,
        Cause.NO_NODE: Waiting.NODE,
        Cause.NOT_FRESH: Waiting.FRESHNESS,
        Cause.EXPENSIVE: Waiting.PARSING,
        Cause.ENDED: None,
    },
    Waiting.SERVER: {Cause.ENDED: None},
    Waiting.NODE: {Cause.ENDED: None},
    Waiting.FRESHNESS: {Cause.ENDED: None},
    Waiting.PARSING: {Cause.ENDED: None},
}


class IllegalWait(RuntimeError):
    """A session was to wait in a way that is not in TABLE: an error in rwsplit."""


class Line(Protocol):
    """The queue in front of a pool's servers."""

    node: str
    node_index: int
    waiters: deque[Waiter]
    exclusive: int


class Wait:
    """What one session waits for; its identity tells it from what the session waits for later."""

    __slots__ = ("line", "shares", "why")

    def __init__(self, why: Waiting, line: Line | None = None, *, shares: bool = False) -> None:
        self.why = why
        self.line = line
        """The queue it stands in, if it waits for a server."""
        self.shares = shares
        """A lane would do."""


class Waiter(Session):
    """A session as far as it matters what it waits for."""

    __slots__ = ("wait",)

    def __init__(
        self,
        knowledge: Knowledge,
        *,
        user: str,
        database: str,
        application_name: str = "",
        parameters: ParameterSet,
        started_with: Mapping[str, str] = NOTHING_SAID,
    ) -> None:
        super().__init__(
            knowledge,
            user=user,
            database=database,
            application_name=application_name,
            parameters=parameters,
            started_with=started_with,
        )
        self.wait: Wait | None = None
        """None: it is ready."""

    @property
    def waits_for(self) -> Waiting | None:
        """What it waits for; None: it is ready."""
        return None if self.wait is None else self.wait.why

    @property
    def line(self) -> Line | None:
        """The queue it stands in, if it waits for a server."""
        return None if self.wait is None else self.wait.line


W = TypeVar("W", bound=Waiter)


class Load(Protocol):
    """Statements in flight or queued, by node index."""

    load: list[int]


class Waits(Generic[W]):
    """Begins and ends the waits of all sessions."""

    def __init__(self, counters: Load) -> None:
        self._counters = counters
        self.homeless: dict[W, None] = {}
        """Sessions that wait for a node, the longest first."""
        self.parked: dict[W, None] = {}
        """Sessions that wait for a replica to be fresh, the longest first."""

    def queue(self, session: W, line: Line, *, shares: bool) -> None:
        """*session* stands in *line* for a server; *shares*: a lane would do."""
        self._begin(session, Cause.NO_SERVER, line, shares=shares)
        line.waiters.append(session)
        line.exclusive += not shares
        self._counters.load[line.node_index] += 1

    def await_node(self, session: W) -> None:
        """*session* waits until a node may answer it."""
        self._begin(session, Cause.NO_NODE)
        self.homeless[session] = None

    def park(self, session: W) -> Wait:
        """*session* waits until a replica is fresh enough for it."""
        wait = self._begin(session, Cause.NOT_FRESH)
        self.parked[session] = None
        return wait

    def await_parser(self, session: W) -> None:
        """*session* waits until its statement is parsed."""
        self._begin(session, Cause.EXPENSIVE)

    def end(self, session: W) -> None:
        """*session*, which need not wait, is ready."""
        wait = session.wait
        if wait is None:
            return
        session.wait = None
        line = wait.line
        if line is not None:
            if line.waiters[0] is session:
                line.waiters.popleft()
            else:
                line.waiters.remove(session)
            line.exclusive -= not wait.shares
            self._counters.load[line.node_index] -= 1
        elif wait.why is Waiting.NODE:
            del self.homeless[session]
        elif wait.why is Waiting.FRESHNESS:
            del self.parked[session]

    def _begin(
        self, session: W, cause: Cause, line: Line | None = None, *, shares: bool = False
    ) -> Wait:
        before = session.waits_for
        why = TABLE[before].get(cause)
        if why is None:
            raise IllegalWait(f"{session!r} waits {before and before.value}: {cause.value}")
        session.wait = wait = Wait(why, line, shares=shares)
        return wait
