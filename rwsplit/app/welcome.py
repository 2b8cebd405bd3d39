"""Welcome: what PostgreSQL tells a client at startup, found out once per kind of client.

ParameterStatus must be what PostgreSQL would report, and a wrong database, role or parameter must be
PostgreSQL's own error. So the first client of a (database, user, parameters) is logged in to a node for
real, with its own startup parameters, and the node's answers are remembered for the others. Equal logins share one such
connection (`single_flight`), and their number is limited (`server.dial_budget`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from math import inf
from typing import Final, Protocol

import attrs
import trio

from rwsplit.app.inquiry import ask_defaults
from rwsplit.app.opener import Opener
from rwsplit.app.single_flight import Flight, SingleFlight
from rwsplit.client.lobby import Login
from rwsplit.cluster.node import AdminState, NodeView, Refusal, Suspect, Up
from rwsplit.cluster.view import ClusterView
from rwsplit.errors import (
    FeatureNotSupported,
    LoginUnfinished,
    NodeUnreachable,
    NoEligibleNode,
    ServerRefused,
)
from rwsplit.monitor.board import Board
from rwsplit.server.dial_budget import DialBudget
from rwsplit.server.refused import FULL
from rwsplit.session.defaults import Defaults
from rwsplit.session.inband import PREFIX
from rwsplit.session.startup_options import START_ONLY, parse_options

#: Parameters a session may ask for when it begins: each RESET ALL and DISCARD ALL of it brings them back.
MOST_ASKED: Final = 100

#: Seconds a welcome is remembered: ALTER ROLE ... SET shows in new sessions after that.
LIFETIME: Final = 60.0
#: Welcomes remembered.
SIZE: Final = 1000
#: Seconds a login waits for the first node to be up.
FIRST_NODE: Final = 10.0
#: Seconds after a change of defaults in which nothing is remembered: a node may still be reading its configuration.
SETTLING: Final = 1.0
#: The isolation level of transactions where neither configuration, role nor database sets another.
READ_COMMITTED: Final = "read committed"
#: The startup parameter that says which kind of node is to answer.
ROUTE: Final = f"{PREFIX}route"
#: identifiers are cut off there (NAMEDATALEN - 1).
NAME_SIZE: Final = 63

_Key = tuple[str, str, tuple[tuple[str, str], ...]]


@attrs.frozen
class Welcome:
    """What one kind of client is told, and what its servers must be told."""

    reported: Mapping[str, str]
    """ParameterStatus by name."""
    overrides: Mapping[str, str]
    """Its startup parameters that differ from what the database and role define."""
    in_band: Mapping[str, str]
    """Startup parameters that are rwsplit's own (`rwsplit.route`)."""
    isolation: str
    """default_transaction_isolation, wherever that comes from."""
    defaults: Defaults | None
    """What its parameters have before anybody sets them; None: the node would not say."""
    until: float


class Book(Protocol):
    """What the welcomes need of `relay.rebasing.Rebasing`."""

    def learn(self, database: str, user: str, found: Defaults) -> None:
        """Take note of the defaults with which *user* is welcomed in *database*."""


class Welcomes:
    """Finds out welcomes and remembers them for a while."""

    def __init__(self, board: Board, opener: Opener, book: Book, budget: DialBudget) -> None:
        self.budget = budget
        """Limits the connections opened for logins."""
        self.under_way: SingleFlight[_Key, Welcome] = SingleFlight()
        self._board = board
        self._opener = opener
        self._book = book
        self._distrusted = -inf
        self._forgotten = 0
        """How often remembered answers were dropped; an answer asked for before the last time is not remembered."""
        self._known: dict[_Key, Welcome] = {}

    def forget(self, database: str | None = None, user: str | None = None) -> None:
        """Find everything, or what concerns *user* in *database*, out again (the configuration or the primary changed)."""
        self._forgotten += 1
        for key in [k for k in self._known if database is None or k[:2] == (database, user)]:
            del self._known[key]

    def distrust(self) -> None:
        """Find everything out again, and again a moment later: a session has just changed defaults."""
        self.forget()
        self._distrusted = trio.current_time()

    async def get(self, login: Login) -> Welcome:
        """Return the welcome of a client.

        Raises:
            ServerRefused: PostgreSQL refuses the login; the client may be shown its words.
            FeatureNotSupported: it asks for what a server that is there cannot be brought to.
            NoEligibleNode, NodeUnreachable: no node could be asked.
        """
        parameters = dict(login.parameters)
        name = parameters.get("application_name", "")
        plain = len(name) <= NAME_SIZE and name.isascii() and name.isprintable()
        if plain:
            parameters.pop("application_name", None)
        found = await self._find(login.database, login.user, parameters)
        if not plain or not name:
            return found
        return attrs.evolve(
            found,
            reported={**found.reported, "application_name": name},
            overrides={**found.overrides, "application_name": name},
        )

    async def _find(self, database: str, user: str, parameters: dict[str, str]) -> Welcome:
        key = (database, user, tuple(sorted(parameters.items())))

        def known() -> Welcome | None:
            found = self._known.get(key)
            return found if found is not None and found.until > trio.current_time() else None

        async def renew(flight: Flight[Welcome]) -> Welcome:
            before = self._known.get(key)
            found = await self._renew(before, database, user, parameters, flight)
            if len(self._known) >= SIZE:
                del self._known[next(iter(self._known))]
            self._known[key] = found
            return found

        return await self.under_way.find(key, known, renew)

    async def _renew(
        self,
        known: Welcome | None,
        database: str,
        user: str,
        parameters: dict[str, str],
        flight: Flight[Welcome],
    ) -> Welcome:
        """Find out a welcome; what was *known* does for longer where only a connection to ask is not to be had."""
        try:
            return await self._ask(database, user, parameters, flight)
        except ServerRefused as error:
            if known is None or error.server_sqlstate != FULL:
                raise
            return known

    async def _ask(
        self, database: str, user: str, parameters: dict[str, str], flight: Flight[Welcome]
    ) -> Welcome:
        forgotten = self._forgotten
        wanted = _wanted(parameters)
        reported, found = await self._report(database, user, parameters, flight)
        now = trio.current_time()
        is_lasting = now - self._distrusted >= SETTLING and forgotten == self._forgotten
        until = now + LIFETIME if is_lasting else now
        isolation = (found and found.get("default_transaction_isolation")) or READ_COMMITTED
        if not parameters:
            if found is not None:
                self._book.learn(database, user, found)
            return Welcome(reported, {}, {}, isolation, found, until)
        base = await self._find(database, user, {})
        if found and base.defaults and not found.agree(base.defaults, but=wanted):
            self.forget(database, user)  # they have changed since
            base = await self._find(database, user, {})
        before = {name.lower(): value for name, value in base.reported.items()}
        after = {name.lower(): value for name, value in reported.items()}
        overrides = {
            # Of several words for it the last may say half of it only: the node says what they come to.
            name: after.get(name, value) if name == "datestyle" else value
            for name, value in wanted.items()
            if not name.startswith(PREFIX)
            and (name not in after or after[name] != before.get(name))
        }
        in_band = {name: value for name, value in wanted.items() if name.startswith(PREFIX)}
        if in_band.get(ROUTE, "").lower() == "replica":
            # As pg_is_in_recovery() says there: drivers that look for a standby ask either.
            reported = {**reported, "in_hot_standby": "on"}
        return Welcome(reported, overrides, in_band, isolation, base.defaults, until)

    async def _report(
        self, database: str, user: str, parameters: dict[str, str], flight: Flight[Welcome]
    ) -> tuple[Mapping[str, str], Defaults | None]:
        """Log in to a node, the primary if there is one; return what it reported, and its defaults.

        What a replica refuses the next node may allow; of a primary only that it is full is not its last word.
        """
        unreachable: NodeUnreachable | None = None
        refused: ServerRefused | None = None
        while candidates := await self._candidates():
            for node in candidates:
                try:
                    async with self.budget.ticket(node.name, database, user):
                        if not self._is_usable(node):
                            continue  # the node has gone while this login waited
                        flight.begin()
                        return await self._log_in(node, database, user, parameters)
                except LoginUnfinished as error:
                    unreachable = error
                except NodeUnreachable as error:
                    self._board.report_failure(node.name, str(error), trio.current_time())
                    unreachable = error
                except ServerRefused as error:
                    if self._is_primary(node) and error.server_sqlstate != FULL:
                        raise
                    refused = refused or error
            failure = refused or unreachable
            if failure is not None:
                raise failure
        raise NoEligibleNode("no node is up, so no client can log in now")

    async def _log_in(
        self, node: NodeView, database: str, user: str, parameters: dict[str, str]
    ) -> tuple[Mapping[str, str], Defaults | None]:
        """Log in to *node*, ask, and disconnect; return the reported parameters and the session's defaults."""
        dialed = await self._opener.dial(node.name, database, user, parameters)
        found, _ = await ask_defaults(dialed)
        with contextlib.suppress(OSError):
            dialed.wire.send(_TERMINATE)
        dialed.wire.close()
        reported = dict(dialed.parameters)
        # Always as on a primary: to a client, rwsplit is a server that takes writes.
        reported["in_hot_standby"] = "off"
        if not self._is_primary(node):
            reported["default_transaction_read_only"] = "off"
        return reported, found

    def _is_usable(self, node: NodeView) -> bool:
        return any(known.name == node.name for known in _usable(self._board.view))

    def _is_primary(self, node: NodeView) -> bool:
        primary = self._board.view.primary  # a view is replaced by the next one
        return primary is not None and primary.name == node.name

    async def _candidates(self) -> list[NodeView]:
        with trio.move_on_after(FIRST_NODE):
            await self._board.wait_for(lambda view: bool(_usable(view)))
        return _usable(self._board.view)


def _wanted(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return what the startup *parameters* set, by name in lower case. Raises FeatureNotSupported: that cannot be had."""
    wanted = {k.lower(): v for k, v in parameters.items() if k != "options"}
    wanted |= parse_options(parameters.get("options", ""))
    if len(wanted) > MOST_ASKED:
        raise FeatureNotSupported(
            f"a session may ask for {MOST_ASKED} parameters when it begins, not {len(wanted)}"
        )
    if unchangeable := sorted(START_ONLY.intersection(wanted)):
        raise FeatureNotSupported(
            f'parameter "{unchangeable[0]}" cannot be set at startup through rwsplit: PostgreSQL '
            "takes it only when a connection is opened, and rwsplit's are there already"
        )
    return wanted


def _usable(view: ClusterView) -> list[NodeView]:
    up = [
        node
        for node in view.nodes
        if isinstance(node.health, Up | Suspect)
        and node.admin is AdminState.ATTACHED
        and node.refusal is not Refusal.OTHER_CLUSTER
    ]
    return sorted(up, key=lambda n: (isinstance(n.health, Suspect), n is not view.primary))


_TERMINATE: Final = b"X\0\0\0\4"
