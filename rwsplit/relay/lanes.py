"""Lanes: servers shared by the short reads of many sessions.

A unit may share a server only where any other pooler would have left it waiting: all servers of the pool are
busy and the pool is at its limit. It joins the lane that owes least, and only if what it costs is known to be
little, by the moving averages of its shape. Units that may block or change state never share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rwsplit.protocol import codes
from rwsplit.server.pool import Pool
from rwsplit.server.server import Server
from rwsplit.session.unit import Unit
from rwsplit.sql.script import Cost

if TYPE_CHECKING:
    from rwsplit.relay.client import Client

#: A shape that takes longer than this on average never shares (seconds).
SHORT: Final = 0.005
#: A shape whose answer is larger than this on average never shares (bytes).
SMALL: Final = 16 * 1024
#: Weight of the newest observation in the moving averages.
NEWEST: Final = 0.2


def may_share(unit: Unit, client: Client) -> bool:
    """Return whether *unit*, a read outside a transaction, may be pipelined among strangers' units."""
    script = unit.script
    if script is None or unit.is_open or unit.row_limit or not unit.guarded:
        return False
    cost = script.cost
    if cost.seconds < 0 or cost.seconds > SHORT or cost.size > SMALL:
        return False
    return not (script.needs_session or client.in_flight or client.tx != codes.IDLE)


def join(pool: Pool[Server], client: Client, depth: int) -> Server | None:
    """Return the lane of *pool* that owes least, if one has room and the session's parameters."""
    best: Server | None = None
    least = depth
    for server in pool.lanes:
        owed = len(server.responses.owed)
        if owed < least and server.parameters is client.parameters and server.fate is None:
            best, least = server, owed
    return best


def open_lane(pool: Pool[Server], server: Server) -> None:
    """Let others share *server*, which was just taken for a short read."""
    server.share()
    server.stray_cancels = 0  # whatever was under way has been awaited
    pool.lanes.append(server)


def close_lane(server: Server) -> None:
    """Take *server*, which owes nothing any more, out of the lanes."""
    server.pool.lanes.remove(server)
    server.end_lane()


def observe(cost: Cost, seconds: float, size: int) -> None:
    """Fold one observation into the averages of a shape."""
    if cost.seconds < 0:
        cost.seconds = seconds
        cost.size = float(size)
    else:
        cost.seconds += NEWEST * (seconds - cost.seconds)
        cost.size += NEWEST * (size - cost.size)
