"""Tidying: have a server drop prepared statements, when it has no unit under way.

What is said for that ends in a Sync. Behind a unit that is still open, takes COPY data in, or of which half a frame has
passed, that Sync would end the unit, or be data of it. So it waits until the server is given its next unit, or goes back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rwsplit.exchange.chores import Chore, Purpose
from rwsplit.exchange.lease import CLOSED
from rwsplit.protocol import codes
from rwsplit.protocol.framing import frame
from rwsplit.server.server import Server
from rwsplit.session.prepared import SYNC
from rwsplit.session.unit import Unit

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay


def forget_missing(relay: Relay, server: Server, unit: Unit, error: bytes) -> None:
    """Take note that *server* has no statement of the name that *error* says, the client's or ours: something out of sight has deallocated it.

    It is closed, in case that it is there: a function can raise such an error, too.
    """
    missing = [
        prepared
        for name, prepared in unit.piece.called
        if b'"%s"' % prepared.name in error or (name and b'"%s"' % name in error)
    ]
    for prepared in missing:
        server.known.pop(prepared, None)
    close(relay, server, [prepared.name for prepared in missing])


def close(relay: Relay, server: Server, names: Iterable[bytes]) -> None:
    """Have *server* close the statements *names*, now or as soon as it may be told."""
    server.litter += [frame(codes.CLOSE, b"S" + name + b"\0") for name in names]
    if not any(isinstance(owed, Unit) for owed in server.responses.owed):
        tell(relay, server)


def tell(relay: Relay, server: Server) -> None:
    """Tell *server*, which has the whole of all its units, what it is to close."""
    if not server.litter or server.copying > 0 or server.lease == CLOSED:
        return
    server.out += [*server.litter, SYNC]
    server.litter = []
    server.owe(Chore(Purpose.TIDY))
    relay.outboxes.touch_server(server)
