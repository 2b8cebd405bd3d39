"""What a client's bytes amount to, read back from a session."""

from __future__ import annotations

from rwsplit.session.chunk import Chunk, ChunkKind
from rwsplit.session.piece import Piece
from rwsplit.session.prepared import Prepared
from rwsplit.session.session import Session
from rwsplit.session.unit import Unit


def said(session: Session, *data: bytes) -> list[Unit | Chunk]:
    """Return what *data*, received one by one, amounts to; nothing stays pending, and nothing fails."""
    for piece in data:
        session.receive(piece)
    found: list[Unit | Chunk] = []
    while session.pending:
        item = session.pending.popleft()
        if isinstance(item, Chunk) and item.kind is ChunkKind.HELD:
            for unit in found:
                if isinstance(unit, Unit):
                    unit.settle_names()
            session.resume()
        else:
            found.append(item)
    for unit in found:
        if isinstance(unit, Unit):
            unit.settle_names()
    return found


def one(session: Session, *data: bytes) -> Unit:
    """Return the one unit that *data* amounts to."""
    [unit] = said(session, *data)
    assert isinstance(unit, Unit)
    return unit


def spelled(item: Unit | Chunk) -> bytes:
    """Return its bytes as a server gets them that knows nothing."""
    piece: Piece = item.piece if isinstance(item, Unit) else item
    return b"".join(
        part.parse(part.name) if isinstance(part, Prepared) else part for part in piece.parts
    )
