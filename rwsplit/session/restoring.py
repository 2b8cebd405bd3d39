"""Restoring: RESET and DISCARD ALL lead back to what a session asked for at startup.

For PostgreSQL that is the session's default; for a pooled server, dialed without any of it, it is a value like
others. So the unit that resets is given a statement more, whose answers are swallowed: within the unit, because
PostgreSQL reports parameters at its end, and the client must not see the server's default in between.

A Query that resets becomes extended messages: DISCARD ALL suffers no second statement beside it in a string.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from rwsplit.protocol import codes
from rwsplit.protocol.framing import HEADER_SIZE, frame
from rwsplit.protocol.responses import FORWARD, SWALLOW, Step
from rwsplit.session.parameters import ParameterSet
from rwsplit.session.pinning import reset_parameters, set_after_reset
from rwsplit.session.prepared import SYNC
from rwsplit.session.unit import Kind, Unit

_NAME: Final = b"rwsplit_restore\0"
#: By a name, since the unnamed statement and portal are the client's.
_CLOSE: Final = frame(codes.CLOSE, b"S" + _NAME)
_RUN: Final = (
    frame(codes.BIND, _NAME + _NAME + bytes(6))
    + frame(codes.EXECUTE, _NAME + bytes(4))
    + frame(codes.CLOSE, b"P" + _NAME)
    + _CLOSE
)
_FORWARD_IT: Final[list[Step]] = [SWALLOW, SWALLOW, SWALLOW, FORWARD, SWALLOW, SWALLOW]
_SWALLOW_IT: Final[list[Step]] = [SWALLOW] * 6


def restored_names(unit: Unit) -> set[str]:
    """Return the parameters that *unit* puts back to the default; `all` among them for all."""
    return set() if unit.piece.effects is None else reset_parameters(unit.piece.effects)


def kept_names(unit: Unit) -> set[str]:
    """Return the parameters that *unit* sets to something else after it has put them back."""
    return set() if unit.piece.effects is None else set_after_reset(unit.piece.effects)


def extend(unit: Unit, base: ParameterSet, names: Collection[str]) -> bool:
    """Have *unit* set what *base* has of *names* once it has reset it; False if it cannot be done within it."""
    restored = base.restored(names, kept_names(unit))
    if restored is None:
        return True
    piece = unit.piece
    [*parts] = piece.parts
    last = parts.pop()
    if not isinstance(last, bytes):
        return False
    steps: list[Step]
    if unit.kind is Kind.SIMPLE and unit.script is not None and unit.script.single is not None:
        parts.append(_run(last[HEADER_SIZE:-1]))
        steps = _FORWARD_IT
        unit.kind = Kind.EXTENDED
    elif unit.kind is Kind.EXTENDED and piece.plan is not None and last.endswith(SYNC):
        parts.append(last.removesuffix(SYNC))
        steps = piece.plan
    else:
        return False
    piece.parts = [*parts, _run(restored), SYNC]
    piece.plan = [*steps, *_SWALLOW_IT]
    return True


def _run(sql: bytes) -> bytes:
    """Return the messages that run *sql* by itself; each is answered, see _SWALLOW_IT."""
    return _CLOSE + frame(codes.PARSE, _NAME + sql + bytes(3)) + _RUN
