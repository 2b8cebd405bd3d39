"""Client: an established client - its session, its socket and what it waits for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rwsplit.config.model import PoolConfig
from rwsplit.exchange.waits import Waiter
from rwsplit.routing.policy import Rules
from rwsplit.server.wire import Wire
from rwsplit.session.defaults import Defaults
from rwsplit.session.input import FRAME_STATES, UNIT_STATES
from rwsplit.session.knowledge import Knowledge
from rwsplit.session.parameters import ParameterSet

if TYPE_CHECKING:
    from rwsplit.exchange.chores import Chore
    from rwsplit.server.pool import Pool
    from rwsplit.server.server import Server
    from rwsplit.session.unit import Unit
    from rwsplit.session.unknowns import Unknowns


class Client(Waiter):
    """One established client. Made before its socket is handed over (see `Relay.adopt`)."""

    __slots__ = (
        "asked",
        "begun",
        "blocked",
        "cancel_key",
        "closed",
        "connected_at",
        "defaults",
        "dirty",
        "fd",
        "host",
        "is_stuffed",
        "lingers",
        "notified",
        "paused",
        "pid",
        "pools",
        "queued",
        "rules",
        "settings",
        "settling",
        "skipped",
        "statements",
        "unknowns",
        "warned",
        "was_refused_state",
        "wire",
    )

    server: Server | None  # type: ignore[mutable-override]  # the relay puts nothing else there

    def __init__(  # noqa: PLR0915 - one line a slot
        self,
        knowledge: Knowledge,
        *,
        user: str,
        database: str,
        application_name: str,
        parameters: ParameterSet,
        rules: Rules,
        settings: PoolConfig,
        pid: int,
        cancel_key: bytes,
        host: str,
        now: float,
        started_with: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            knowledge,
            user=user,
            database=database,
            application_name=application_name,
            parameters=parameters,
            started_with=started_with or {},
        )
        self.asked = parameters
        """What it asked for at startup."""
        self.defaults: Defaults | None = None
        """Those of its login."""
        self.pools: dict[str, Pool[Server]] = {}
        """Its pool on each node, by the node's name."""
        self.rules = rules
        self.has_rules = bool(rules)
        self.settings = settings
        """What holds for the pools of its database and user."""
        self.mode = settings.mode
        self.review()
        self.pid = pid
        """The backend PID it was told; made up by rwsplit."""
        self.cancel_key = cancel_key
        self.host = host
        self.connected_at = now
        self.wire: Wire | None = None
        self.fd = -1
        self.dirty = False
        """It is on the list of those to be flushed at the end of the turn."""
        self.paused = False
        """Not read, because its server or its own queue does not keep up."""
        self.queued = False
        """Whether it waits in `Slices` for its next slice."""
        self.is_stuffed = False
        """Whether it does not read its answers, so that no more of its input is looked at."""
        self.blocked = False
        """EPOLLOUT is armed: it does not take what is sent."""
        self.closed = False
        self.lingers = False
        """It is being told why its session ends."""
        self.begun = 0.0
        """When its transaction began, wherever that is."""
        self.notified = 0.0
        """When the statement arrived whose wait it was told of."""
        self.statements = 0
        self.settling: Chore[Server, Client] | None = None
        """What rwsplit itself has asked its server for it; until that is answered its units wait."""
        self.skipped: Unit | None = None
        """The unit that failed although its Sync has not come: all up to that is skipped."""
        self.was_refused_state = False
        """A READ ONLY transaction of it wanted what its replica does not allow."""
        self.unknowns: Unknowns | None = None
        """What it has run, as far as known, while its server may hold state that no query shows."""
        self.warned: set[str] = set()
        """What it was warned of in its hints."""

    def __repr__(self) -> str:
        """Return who it is and the state of each of its tables, for the log of a fault."""
        taken = self.input
        said = [
            f"{self.user}@{self.database} pid={self.pid} tx={chr(self.tx)}",
            UNIT_STATES[taken.unit_state],
            FRAME_STATES[taken.frame_state],
            f"pin {self.pin_state.value}",
        ]
        if self.waits_for is not None:
            said.append(f"waits {self.waits_for.value}")
        if self.settling is not None:
            said.append(f"asks to {self.settling.purpose.value}")
        if self.skipped is not None:
            said.append("skips to its Sync")
        said.append(
            f"{self.in_flight} in flight, {len(self.pending)} pending, on {self.server}"
        )
        return f"<Client {'; '.join(said)}>"

    @property
    def missing(self) -> int:
        """Bytes still to be received of a frame whose beginning has been passed on."""
        return self.input.missing
