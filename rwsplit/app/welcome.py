"""Welcome: what PostgreSQL tells a client at startup, found out once per kind of client.

ParameterStatus must be what PostgreSQL would report, and a wrong database, role or parameter must be
PostgreSQL's own error. So the first client of a (database, user, parameters) is logged in to a node for
real, with its own startup parameters, and what came back is remembered for the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs
import trio

from rwsplit.app.opener import Opener
from rwsplit.client.lobby import Login
from rwsplit.cluster.node import AdminState, NodeView, Refusal, Suspect, Up
from rwsplit.cluster.view import ClusterView
from rwsplit.errors import (
    FeatureNotSupported,
    NodeUnreachable,
    NoEligibleNode,
    ProtocolViolation,
    ServerRefused,
)
from rwsplit.monitor.board import Board
from rwsplit.protocol import codes
from rwsplit.protocol.fields import text_of
from rwsplit.protocol.framing import frame
from rwsplit.server.dialer import Dialed
from rwsplit.server.refused import FULL
from rwsplit.server.stream import WireStream
from rwsplit.session.inband import PREFIX
from rwsplit.session.startup_options import START_ONLY, parse_options

#: Seconds a welcome is remembered: ALTER ROLE ... SET shows in new sessions after that.
LIFETIME: Final = 60.0
#: Welcomes remembered.
SIZE: Final = 1000
#: Seconds a login waits for the first node to be up.
FIRST_NODE: Final = 10.0
#: Seconds a node that let somebody in may take to answer one question.
ANSWER_TIMEOUT: Final = 5.0
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
    until: float


class Welcomes:
    """Finds out welcomes and remembers them for a while."""

    def __init__(self, board: Board, opener: Opener) -> None:
        self._board = board
        self._opener = opener
        self._known: dict[_Key, Welcome] = {}
        self._locks: dict[_Key, trio.Lock] = {}

    def forget(self) -> None:
        """Find everything out again (the configuration or the primary changed)."""
        self._known.clear()

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
        found = self._known.get(key)
        if found is not None and found.until > trio.current_time():
            return found
        lock = self._locks.setdefault(key, trio.Lock())
        async with lock:
            found = self._known.get(key)
            if found is None or found.until <= trio.current_time():
                found = await self._renew(found, database, user, parameters)
                if len(self._known) >= SIZE:
                    del self._known[next(iter(self._known))]
                self._known[key] = found
        if not lock.statistics().tasks_waiting:
            self._locks.pop(key, None)
        return found

    async def _renew(
        self, known: Welcome | None, database: str, user: str, parameters: dict[str, str]
    ) -> Welcome:
        """Find out a welcome; what was *known* does for longer where only a connection to ask is not to be had."""
        try:
            return await self._ask(database, user, parameters)
        except ServerRefused as error:
            if known is None or error.server_sqlstate != FULL:
                raise
            return known

    async def _ask(self, database: str, user: str, parameters: dict[str, str]) -> Welcome:
        reported, isolation = await self._report(database, user, parameters)
        until = trio.current_time() + LIFETIME
        if not parameters:
            return Welcome(reported, {}, {}, isolation, until)
        base = await self._find(database, user, {})
        wanted = {k.lower(): v for k, v in parameters.items() if k != "options"}
        wanted |= parse_options(parameters.get("options", ""))
        if unchangeable := sorted(START_ONLY.intersection(wanted)):
            raise FeatureNotSupported(
                f'parameter "{unchangeable[0]}" cannot be set at startup through rwsplit: PostgreSQL '
                "takes it only when a connection is opened, and rwsplit's are there already"
            )
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
        return Welcome(reported, overrides, in_band, isolation, until)

    async def _report(
        self, database: str, user: str, parameters: dict[str, str]
    ) -> tuple[Mapping[str, str], str]:
        """Log in to a node, the primary if there is one; return what it reported, and the isolation level.

        What a replica refuses the next node may allow; of a primary only that it is full is not its last word.
        """
        unreachable: NodeUnreachable | None = None
        refused: ServerRefused | None = None
        for node in await self._candidates():
            try:
                dialed = await self._opener.dial(node.name, database, user, parameters)
                isolation = await _ask_isolation(dialed)
            except NodeUnreachable as error:
                self._board.report_failure(node.name, str(error), trio.current_time())
                unreachable = error
                continue
            except ServerRefused as error:
                if self._is_primary(node) and error.server_sqlstate != FULL:
                    raise
                refused = refused or error
                continue
            reported = dict(dialed.parameters)
            # One stable view: a client of rwsplit talks to something that takes writes.
            reported["in_hot_standby"] = "off"
            if not self._is_primary(node):
                reported["default_transaction_read_only"] = "off"
            return reported, isolation
        raise (
            refused or unreachable or NoEligibleNode("no node is up, so nobody can log in now")
        )

    def _is_primary(self, node: NodeView) -> bool:
        primary = self._board.view.primary  # a view is replaced by the next one
        return primary is not None and primary.name == node.name

    async def _candidates(self) -> list[NodeView]:
        with trio.move_on_after(FIRST_NODE):
            await self._board.wait_for(lambda view: bool(_usable(view)))
        return _usable(self._board.view)


async def _ask_isolation(dialed: Dialed) -> str:
    """Return the isolation level new transactions of *dialed* have, and close it.

    Raises:
        NodeUnreachable: it does not say.
    """
    stream = WireStream(dialed.wire, dialed.unread)
    answer = ""
    try:
        with trio.fail_after(ANSWER_TIMEOUT):
            await stream.send_all(_SHOW_ISOLATION)
            code = 0
            while code != codes.READY:
                code, payload = await stream.read_frame()
                if code == codes.DATA_ROW:
                    answer = text_of(payload[_COLUMN:])
            await stream.send_all(_TERMINATE)
    except (OSError, EOFError, ProtocolViolation, trio.TooSlowError) as error:
        raise NodeUnreachable(f"{dialed.wire.peer}: no answer after login") from error
    finally:
        stream.close()
    return answer


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
_SHOW_ISOLATION: Final = frame(codes.QUERY, b"SHOW default_transaction_isolation\0")
#: Where the text of a DataRow's only column begins: behind the number of columns and its length.
_COLUMN: Final = 6
