"""SessionState: what must survive the change of servers.

What it calls its prepared statements, its parameters, what names in its texts mean (the scope), the transaction's status, the
moments of its last write and read, where it reads, what it asked rwsplit for (SET rwsplit.*). The relay reads and writes it. It
knows nothing of units: what is made of the client's bytes is `conversation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from rwsplit.cluster.node import NEVER
from rwsplit.config.choices import ConsistencyLevel, PoolMode
from rwsplit.protocol import codes
from rwsplit.routing.consistency import NO_HOME, NOWHERE
from rwsplit.routing.route import Route, RouteReason
from rwsplit.routing.spill import Spill, describe
from rwsplit.session.inband_settings import DEFAULTS, InBandSettings
from rwsplit.session.journal import SERIALIZABLE, Journal, is_opaque
from rwsplit.session.knowledge import MOST_DOUBTS, Doubt, Knowledge
from rwsplit.session.names import Names
from rwsplit.session.parameters import ParameterSet
from rwsplit.session.pin import Pinned
from rwsplit.session.teaching import ServerState
from rwsplit.sql.catalog import UNKNOWN_PATH
from rwsplit.sql.script import Script

NOTHING_SAID: Final[Mapping[str, str]] = MappingProxyType({})


class SessionState(Pinned):
    """The state of one established client; its bytes are `Session`'s.

    What is not looked at for every statement is a noun of its own (names, in_band, journal, scope); the rest stays here, where a plain read
    finds it at once.
    """

    __slots__ = (
        "application_name",
        "bound_for",
        "database",
        "default_level",
        "doubts",
        "has_rules",
        "home",
        "in_band",
        "in_flight",
        "isolation",
        "journal",
        "knowledge",
        "last",
        "last_answer",
        "last_read",
        "last_write",
        "level",
        "mode",
        "names",
        "opaque",
        "parameters",
        "plain",
        "reads",
        "scope",
        "server",
        "sink",
        "spilled",
        "started_with",
        "sync_lost",
        "terminated",
        "tick",
        "tx",
        "user",
        "wrote",
    )

    def __init__(  # noqa: PLR0915 - one line a slot
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
        super().__init__()
        self.knowledge = knowledge
        self.user = user
        self.database = database
        self.application_name = application_name
        self.parameters = parameters
        """As of the last read-back; interned."""
        self.journal = Journal(parameters, user, started_with.get("server_version", ""))
        self.started_with = started_with
        """Parameters PostgreSQL reported at startup, default_transaction_isolation, and the default search_path if that is known."""
        self.enter_scope()
        self.doubts: list[Doubt] = []
        """About names, because of DDL of its own that is not over."""
        self.opaque = opaque
        """Its texts cannot be lexed as bytes (`journal.is_opaque`): everything may write."""
        self.sink: list[bytes] = []
        """Bytes on their way to the client."""
        self.names = Names()
        """What it calls its prepared statements."""
        self.tx = codes.IDLE
        """Transaction status as of the last ReadyForQuery."""
        self.server: ServerState | None = None
        """Where its units are in flight, or the server it holds."""
        self.in_flight = 0
        self.wrote = False
        """The transaction it is in may have written."""
        self.last_write = NEVER
        self.last_read = NEVER
        """When its last read was answered where its level was kept."""
        self.last_answer = NEVER
        """When its last statement was answered."""
        self.home = NO_HOME
        """Index of the replica its reads go to."""
        self.bound_for = NOWHERE
        """Index of the replica its next read waits for, to make it its home."""
        self.reads = 0
        self.tick = 0
        self.isolation = "read committed"
        """The isolation level of its transactions unless they say otherwise."""
        self.sync_lost = False
        """A COPY swallowed a Sync, so the next one answers for both."""
        self.in_band = DEFAULTS
        """What it has asked of rwsplit."""
        self.default_level: ConsistencyLevel = ConsistencyLevel.SESSION
        self.level = ConsistencyLevel.SESSION
        """The consistency level of its reads."""
        self.mode = PoolMode.TRANSACTION
        """When it gives back its server; as of its login."""
        self.has_rules = False
        """The operator has routing rules for it."""
        self.plain = True
        """Nothing but the facts of a statement decides about its route."""
        self.last: tuple[str, Route] | None = None
        """Node and verdict of the previous statement."""
        self.spilled: Spill | None = None
        """What kept its last read that went to the primary for want of a replica from the replicas."""
        self.terminated = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.user}@{self.database} tx={chr(self.tx)} in_flight={self.in_flight}>"

    def discard_settings(self) -> None:
        """Put what SET rwsplit.* changed back to its default."""
        self.set_in_band(DEFAULTS)

    def set_in_band(self, settings: InBandSettings) -> None:
        """Ask *settings* of rwsplit from now on."""
        self.in_band = settings
        self.review()

    def review(self) -> None:
        """Work out *level* and *plain* after a setting or the operator's rules have changed."""
        self.level = self.in_band.consistency or self.default_level
        self.plain = (
            not self.has_rules
            and self.in_band.route == DEFAULTS.route
            and self.in_band.max_lag is None
            and self.mode is not PoolMode.SESSION
            and self.isolation != SERIALIZABLE
        )

    @property
    def search_path(self) -> str | None:
        """The search path it has set, as PostgreSQL spells it; None if it is the database's or role's own."""
        return self.parameters.get("search_path")

    def adopt_parameters(self, parameters: ParameterSet) -> None:
        """Have *parameters* from now on: what rwsplit itself must know of them may be another than before."""
        self.parameters = parameters
        values = {**self.started_with, **dict(parameters.values)}
        self.opaque = is_opaque(values)
        self.application_name = values.get("application_name", self.application_name)
        self.isolation = values.get("default_transaction_isolation", self.isolation).lower()
        if not self.is_unsure:
            self.enter_scope()
        self.review()

    def enter_scope(self) -> None:
        """Let names mean what *parameters* say: by the search path, and by the role `$user` stands for."""
        own = dict(self.parameters.values)
        user = own.get("role", own.get("session_authorization", self.user))
        path = own.get("search_path", self.started_with.get("search_path"))
        self.scope = self.knowledge.scope(self.database, user, path)

    def adopt_default_path(self, path: str | None) -> None:
        """Have *path* as the search path it does not set itself; None if that is not known."""
        if path is not None and path != self.started_with.get("search_path"):
            self.started_with = {**self.started_with, "search_path": path}
            if not self.is_unsure:
                self.enter_scope()

    def last_route(self) -> str:
        """Return node and reason of the previous statement, as `SHOW rwsplit.last_route` says it."""
        if self.last is None:
            return "none"
        node, route = self.last
        said = route.reason.value
        if route.reason is RouteReason.NO_FRESH_REPLICA and self.spilled is not None:
            said = describe(self.spilled)
        return f"{node} {route.reason.name}: {said}"

    def note_definitions(self, script: Script) -> None:
        """Doubt what *script* defines: what follows is classified before this is sent."""
        redefined, doubts = script.redefines, self.doubts
        if redefined is not None and doubts and doubts[-1].redefined is redefined:
            self.knowledge.grow_older(self.database)  # the same once more
        elif redefined is not None:
            doubts.append(self.knowledge.doubt(self.database, redefined))
            if len(doubts) >= MOST_DOUBTS:
                self.knowledge.merge(self.database, doubts)
        if script.changes_path:
            self.scope = self.knowledge.scope(self.database, self.user, UNKNOWN_PATH)
        self.opaque = self.opaque or script.changes_encoding

    @property
    def is_unsure(self) -> bool:
        """What names mean to it is not known: it has set the search path, and nobody has looked what came of it."""
        return self.scope.search_path is UNKNOWN_PATH

    def be_sure(self) -> None:
        """Let texts mean again what *parameters* say: nothing that could change that is under way."""
        if self.is_unsure:
            self.enter_scope()
        self.opaque = is_opaque({**self.started_with, **dict(self.parameters.values)})
