"""Piece: frames to send in one go, and what a server must know for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from rwsplit.protocol import codes
from rwsplit.protocol.framing import HEADER_SIZE, frame, split
from rwsplit.protocol.responses import Step
from rwsplit.session.prepared import Meaning, Part, Prepared
from rwsplit.session.stand_ins import Effects
from rwsplit.sql.script import Script

#: A named Parse within a unit: the client's name, the identity.
Taught = tuple[bytes, Prepared]

_NOTHING: Final = ()


class Piece:
    """Frames to send in one go and what a server must know for them."""

    __slots__ = (
        "called",
        "drops",
        "effects",
        "litter",
        "needs",
        "parts",
        "plan",
        "script",
        "shift",
        "taught",
        "unnamed",
        "unnamed_parse",
    )

    def __init__(self, parts: list[Part], script: Script | None) -> None:
        self.parts = parts
        """Frames; a `Prepared` stands for a Parse that the server may not need."""
        self.script = script
        """Facts of all its statements together; None while the parser process is parsing one of them."""
        self.plan: list[Step] | None = None
        """Step of each message, None for "forward every answer"."""
        self.needs: Sequence[Prepared] = _NOTHING
        """Statements it uses and does not parse itself."""
        self.unnamed: Prepared | None = None
        """The statement it expects under the empty name without parsing it."""
        self.unnamed_parse: Prepared | None = None
        """The statement it leaves under the empty name."""
        self.taught: Sequence[Taught] = _NOTHING
        self.called: Sequence[Taught] = _NOTHING
        """Names of statements it uses, and what they mean to it."""
        self.effects: Script | Effects | None = None
        """Facts of the notable statements it executes; one that is only parsed has no effect."""
        self.drops: Sequence[Prepared] = _NOTHING
        """The statements that DEALLOCATEs in it take from the server."""
        self.shift = (0, 0)
        """Behind how many characters of the text it runs ours is how much longer than the client's."""
        self.litter: bytes | None = None
        """A statement it leaves under a client's own name, to be closed behind it."""

    def run_instead(self, meaning: Meaning) -> None:
        """Be a Query of what *meaning* says instead of what the client has said."""
        self.parts = [frame(codes.QUERY, meaning.query + b"\0")]
        self.script = self.effects = meaning.facts
        self.shift = meaning.shift
        if meaning.used is not None:
            self.needs = (meaning.used,)
            self.called = ((meaning.name, meaning.used),)
            if meaning.drops:
                self.drops = (meaning.used,)

    def teach(self, name: bytes, prepared: Prepared) -> None:
        """Take note that it parses *prepared*, which the client calls *name*."""
        self.taught = extended(self.taught, ((name, prepared),))

    def drop(self, prepared: Prepared) -> None:
        """Take note that a DEALLOCATE in it takes *prepared* from the server."""
        self.drops = extended(self.drops, (prepared,))

    def add(self, more: Piece) -> None:
        """Take note of what *more*, which continues this one, uses and parses besides."""
        self.needs = extended(self.needs, more.needs)
        self.taught = extended(self.taught, more.taught)

    def messages(self) -> Iterator[tuple[int, bytes]]:
        """Yield the type and the payload of each message; of a Parse that a server may know, no more than the name."""
        for part in self.parts:
            if not isinstance(part, bytes):
                yield codes.PARSE, part.name + b"\0"
                continue
            for code, start, end in split(part):
                yield code, part[start + HEADER_SIZE : end]

    def take_over(self, piece: Piece) -> None:
        """Hold what *piece* holds."""
        for slot in Piece.__slots__:
            setattr(self, slot, getattr(piece, slot))


_Item = TypeVar("_Item")


def extended(found: Sequence[_Item], more: Sequence[_Item]) -> list[_Item]:
    """Return *found* with *more* behind it; where *found* is a list, that one."""
    longer = found if isinstance(found, list) else [*found]
    longer.extend(more)
    return longer
