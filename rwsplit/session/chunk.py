"""Chunk: what is pending and is no unit by itself; it goes where its session's server is."""

from __future__ import annotations

from enum import Enum
from typing import Final

from rwsplit.session.piece import Piece
from rwsplit.session.prepared import Part
from rwsplit.session.unit import Unit
from rwsplit.sql.script import Script


class ChunkKind(Enum):
    """What a chunk is."""

    MORE = "messages of an open unit, which goes on"
    SYNC = "messages of an open unit, and the Sync that ends it"
    QUERY = "a Query or FunctionCall that ends an open unit; it is skipped if that has failed by then"
    COPY_DATA = "CopyData; dropped where no COPY goes on"
    COPY_END = "CopyDone or CopyFail; dropped as well"
    REST = "more of a frame too long to be held; it goes where the beginning went"
    TERMINATE = "no frame for a server: the client says goodbye"
    HELD = "no frame: it stands for input that is held until names are settled"
    HELD_LAST = "the same, behind which the client has closed its end of the connection"


#: Those that end the unit they continue.
ENDS: Final = (ChunkKind.SYNC, ChunkKind.QUERY)
#: Those that a server gets as they are, without a look at them.
AS_IT_IS: Final = (ChunkKind.COPY_DATA, ChunkKind.COPY_END, ChunkKind.REST)
#: Those that stand for input that was not looked at.
HOLDS: Final = (ChunkKind.HELD, ChunkKind.HELD_LAST)
#: Those that no server gets.
NOT_SENT: Final = (ChunkKind.TERMINATE, *HOLDS)


class Chunk(Piece):
    """A piece that continues an open unit or a COPY, or what stands among the pending for something else."""

    __slots__ = ("kind", "unit")

    def __init__(
        self,
        kind: ChunkKind,
        parts: list[Part],
        script: Script | None = None,
        unit: Unit | None = None,
    ) -> None:
        super().__init__(parts, script)
        self.kind = kind
        self.unit = unit
        """The open unit it continues, None if it is not known to."""

    @classmethod
    def of(cls, kind: ChunkKind, piece: Piece, unit: Unit | None = None) -> Chunk:
        """Return one of *kind* that holds what *piece* holds and continues *unit*, if that is known."""
        made = cls(kind, piece.parts, piece.script, unit)
        made.take_over(piece)
        return made

    def end_input(self) -> bool:
        """Take note that the client has closed its end of the connection behind this; return whether it is still looked at then."""
        if self.kind is ChunkKind.HELD:
            self.kind = ChunkKind.HELD_LAST
        return self.kind in NOT_SENT
