"""Skipping: a Query behind extended messages that lack their Sync.

After an error PostgreSQL skips everything up to the next Sync, also a Query (manual, "Extended Query"). Whether
a Query ends the messages in front of it, or is skipped with all that follows it, is known only when they have been
answered. So it is held until then, a Flush making sure that the answers come; and if they failed, what
the server would skip is dropped here, up to the Sync, which ends the unit.

So it is with what comes behind a unit that has failed and that rwsplit has ended itself (`responses.UNTOLD`): there, the answer to the
Sync is rwsplit's, too. Nothing is ended by a skipped unit that rwsplit has ended itself, since the client's Sync is still to come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rwsplit.protocol import codes
from rwsplit.protocol.backend import ready_for_query
from rwsplit.protocol.framing import frame
from rwsplit.session.chunk import Chunk, ChunkKind
from rwsplit.session.prepared import SYNC
from rwsplit.session.unit import EXTENDED, Unit

if TYPE_CHECKING:
    from rwsplit.relay.client import Client
    from rwsplit.server.server import Server

FLUSH: Final = frame(codes.FLUSH, b"")


def is_undecided(server: Server, unit: Unit) -> bool:
    """Return whether the messages of the open *unit* still wait for answers; have them sent if so."""
    if not unit.steps or server.copying > 0:
        return False
    if unit.flushed != unit.planned:
        unit.flushed = unit.planned
        server.out.append(FLUSH)
    return True


def fail(client: Client, unit: Unit, error: bytes, status: bytes) -> None:
    """Answer *unit*, which no server has, by *error*; its transaction is in *status* then."""
    client.sink.append(error)
    if unit.is_untold:
        client.skipped = unit
    else:
        client.sink.append(ready_for_query(status))
    unit.failed = True
    unit.settle_names()


def skip(client: Client, item: Unit | Chunk) -> None:
    """Drop *item*, which comes behind an error; if it ends by a Sync of the client's, that ends the failed unit."""
    skipped = client.skipped
    assert skipped is not None
    if isinstance(item, Unit):
        ends = item.kind is EXTENDED and not (item.is_open or item.is_untold)
        item.failed = True
        item.settle_names()
    else:
        ends = item.kind is ChunkKind.SYNC
        if item.unit is not None and item.unit.failed and item.unit.renaming is not None:
            item.unit.renaming.settle(
                0
            )  # what it says may have come after its unit was dropped
    if not ends:
        return
    client.skipped = None
    if skipped.is_untold:
        client.sink.append(ready_for_query(bytes([client.tx])))
    elif client.server is not None:
        skipped.is_open = False
        client.server.out.append(SYNC)
