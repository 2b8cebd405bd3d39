"""DialBudget: how many login inquiries - connections opened for a login, beside the pools - a node has at once.

Such a connection is opened with a client's own startup parameters, asked (`app.welcome`), and closed. A login must not wait
for other clients' statements, so these connections do not count towards `pool.size`, and where `max_db_connections` or
`max_user_connections` is used up, one more is allowed. Otherwise they count towards both as servers do.

Users take turns, so a user with a thousand different logins keeps the logins of others waiting only briefly.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final

import attrs
import trio

from rwsplit.server.quota import Quota
from rwsplit.server.server import Server

#: Connections of one user to one node, `pool.size` if that is less; of all users to one node.
OF_A_USER: Final = 4
OF_ALL: Final = 16


@attrs.define(eq=False)
class _Ticket:
    """The permission for one connection, or the wait for it."""

    most: int
    """How many tickets its user may hold at once."""
    quotas: Sequence[Quota[Server]]
    granted: trio.Event = attrs.field(factory=trio.Event)
    is_abandoned: bool = False
    within: list[Quota[Server]] = attrs.field(factory=list)
    beyond: list[Quota[Server]] = attrs.field(factory=list)


@attrs.define
class _User:
    """The tickets of one user on one node."""

    held: int = 0
    waiting: deque[_Ticket] = attrs.field(factory=deque)


@attrs.define
class _Node:
    """The tickets of one node."""

    held: int = 0
    users: OrderedDict[str, _User] = attrs.field(factory=OrderedDict)
    """Users who hold a ticket or wait for one, in the order of their turns."""


class DialBudget:
    """Gives out tickets for connections beside the pools. Use it from the trio thread only."""

    def __init__(
        self,
        size: Callable[[str, str], int],
        quotas: Callable[[str, str, str], Sequence[Quota[Server]]],
    ) -> None:
        """*size* returns `pool.size` of a database and a user, *quotas* the quotas of a node, a database and a user."""
        self._size = size
        self._quotas = quotas
        self._nodes: dict[str, _Node] = {}

    def __len__(self) -> int:
        return sum(node.held for node in self._nodes.values())

    @property
    def waiting(self) -> int:
        """How many logins wait for a ticket."""
        return sum(len(u.waiting) for node in self._nodes.values() for u in node.users.values())

    @contextlib.asynccontextmanager
    async def ticket(self, node: str, database: str, user: str) -> AsyncGenerator[None]:
        """Hold a ticket for a connection to *node*; blocks until there is one."""
        most = min(OF_A_USER, self._size(database, user))
        ticket = _Ticket(most, self._quotas(node, database, user))
        line = self._nodes.setdefault(node, _Node())
        line.users.setdefault(user, _User()).waiting.append(ticket)
        self._grant(line)
        try:
            await ticket.granted.wait()
            yield
        finally:
            if ticket.granted.is_set():
                self._give_back(line, user, ticket)
            else:
                ticket.is_abandoned = True
            self._grant(line)
            if not line.users:
                self._nodes.pop(node, None)

    def _grant(self, line: _Node) -> None:
        """Grant what tickets may be granted now, to each user in turn."""
        if line.held >= OF_ALL:
            return
        for name in list(line.users):
            if line.held >= OF_ALL:
                return
            user = line.users[name]
            while user.waiting and user.waiting[0].is_abandoned:
                user.waiting.popleft()
            if not user.waiting:
                if not user.held:
                    del line.users[name]
            elif _may_have(user, user.waiting[0]):
                self._take(line, user, user.waiting.popleft())
                line.users.move_to_end(name)

    def _take(self, line: _Node, user: _User, ticket: _Ticket) -> None:
        line.held += 1
        user.held += 1
        for quota in ticket.quotas:
            if quota.is_full:
                quota.beyond += 1
                ticket.beyond.append(quota)
            else:
                quota.asking += 1
                ticket.within.append(quota)
        ticket.granted.set()

    def _give_back(self, line: _Node, name: str, ticket: _Ticket) -> None:
        line.held -= 1
        line.users[name].held -= 1
        for quota in ticket.within:
            quota.asking -= 1
        for quota in ticket.beyond:
            quota.beyond -= 1


def _may_have(user: _User, ticket: _Ticket) -> bool:
    """Return whether the limits leave *user* a ticket."""
    if user.held >= ticket.most:
        return False
    return not any(quota.is_full and quota.beyond for quota in ticket.quotas)
