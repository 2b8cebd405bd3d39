"""Unknowns: the texts that pinned a session because rwsplit did not know what they run.

A function just created, a database whose catalog was not read yet, a long text that could not be parsed in time: such a
statement may have left any state, so its session keeps its server. When the catalog knows the functions, or the text has been
parsed, the texts are classified again, each by what its names meant where it ran. If none has left state that no query shows,
the pin can end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rwsplit.protocol.framing import HEADER_SIZE
from rwsplit.session.pinning import UNSEEN, PinReason, pin_reason
from rwsplit.session.stand_ins import UNREAD
from rwsplit.session.unit import SIMPLE, Unit
from rwsplit.session.vocabulary import Scope
from rwsplit.sql.cache import INLINE_LIMIT
from rwsplit.sql.script import Script

#: Texts a session has judged again, and bytes of all of them; with more it keeps its pin.
MOST_TEXTS: Final = 8
MOST_BYTES: Final = 64 << 10


_MAY_TURN_OUT: Final = frozenset({PinReason.UNKNOWN_FUNCTION, PinReason.UNRECOGNISED})
"""Reasons of which it may turn out that there is none."""


class Unknowns:
    """What one session has run while its server may hold state that no query shows."""

    __slots__ = ("_is_hopeless", "_texts")

    def __init__(self) -> None:
        self._texts: dict[tuple[Scope, bytes], None] = {}
        self._is_hopeless = False

    def note(self, reason: PinReason, scope: Scope, texts: Sequence[bytes]) -> None:
        """Take note of *texts*, run by names of *scope*, for which *reason*, one of UNSEEN, pins."""
        if reason not in _MAY_TURN_OUT or not texts:
            self._is_hopeless = True
        if self._is_hopeless:
            self._texts.clear()
            return
        self._texts.update(((scope, text), None) for text in texts)
        size = sum(len(text) for _, text in self._texts)
        if len(self._texts) > MOST_TEXTS or size > MOST_BYTES:
            self._is_hopeless = True
            self._texts.clear()

    def are_dispelled(self) -> bool:
        """Return whether all that is noted is known by now, and leaves nothing that no query sees."""
        if self._is_hopeless:
            return False
        return all(
            script is not None and pin_reason(script) not in UNSEEN
            for script in (_find(scope, text) for scope, text in self._texts)
        )

    def unread(self) -> list[tuple[Scope, bytes]]:
        """Return the noted texts that the parser process must parse before they can be classified."""
        return [(scope, text) for scope, text in self._texts if _find(scope, text) is None]


def _find(scope: Scope, text: bytes) -> Script | None:
    statements = scope.statements
    return statements.lookup(text) if len(text) <= INLINE_LIMIT else statements.peek(text)


def texts_of(unit: Unit, script: Script) -> list[bytes]:
    """Return the texts whose facts are *script*, which *unit* runs; none if some cannot be told."""
    piece = unit.piece
    if unit.is_open or unit.planned:
        return []
    if unit.kind is SIMPLE:
        head = piece.parts[0]
        return [head[HEADER_SIZE:-1]] if isinstance(head, bytes) else []
    unnamed = (each for each in (piece.unnamed, piece.unnamed_parse) if each is not None)
    used = [*(prepared for _, prepared in piece.taught), *piece.needs, *unnamed]
    scripts = (prepared.script or UNREAD for prepared in used)
    known = {statement for each in scripts for statement in each.statements}
    if any(statement.state and statement not in known for statement in script.statements):
        return []
    return list(dict.fromkeys(prepared.query for prepared in used))
