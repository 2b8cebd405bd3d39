"""Restoring: RESET and DISCARD ALL lead back to what a session asked for at startup.

For PostgreSQL that is the session's default; for a pooled server, dialed without any of it, it is a value like
others. So the unit that resets is given a statement more, whose answers are swallowed: directly behind the one that
resets, because what follows in the unit relies on it, and PostgreSQL reports parameters at the unit's end, so that the client
does not see the server's default in between.

A Query that resets becomes extended messages: DISCARD ALL suffers no second statement beside it in a string.
"""

from __future__ import annotations

from typing import Final

from rwsplit.protocol import codes
from rwsplit.protocol.framing import HEADER, HEADER_SIZE, frame
from rwsplit.protocol.responses import FORWARD, SWALLOW, Step
from rwsplit.session.parameters import ParameterSet
from rwsplit.session.pinning import reset_parameters, set_after_reset
from rwsplit.session.prepared import SYNC, Part
from rwsplit.session.unit import Kind, Unit
from rwsplit.sql.script import Script

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


def extend(unit: Unit, base: ParameterSet) -> bool:
    """Have *unit* set what *base* has of what it resets, behind each reset; False if it cannot be done within it."""
    names = restored_names(unit)
    restored = base.restored(names)
    if restored is None:
        return True
    piece = unit.piece
    if unit.kind is Kind.SIMPLE and unit.script is not None and unit.script.single is not None:
        [last] = piece.parts
        assert isinstance(last, bytes)
        piece.parts = [_run(last[HEADER_SIZE:-1]), _run(restored), SYNC]
        piece.plan = [*_FORWARD_IT, *_SWALLOW_IT]
        unit.kind = Kind.EXTENDED
        return True
    if unit.kind is Kind.EXTENDED and piece.plan is not None:
        _Pipeline(unit, piece.plan, base).extend()
        return True
    return False


class _Pipeline:
    """The messages of a unit, each of which has one step, looked through for what resets."""

    def __init__(self, unit: Unit, plan: list[Step], base: ParameterSet) -> None:
        self._unit = unit
        self._base = base
        self._old = iter(plan)
        self._parts: list[Part] = []
        self._plan: list[Step] = []
        piece = unit.piece
        known = (*piece.needs, *(taught[-1] for taught in piece.taught))
        self._scripts = {prepared.name: prepared.script for prepared in known}
        if piece.unnamed is not None:
            self._scripts[b""] = piece.unnamed.script
        self._portals: dict[bytes, Script | None] = {}

    def extend(self) -> None:
        """Put behind each message that resets what sets again what was asked for at startup."""
        piece = self._unit.piece
        for part in piece.parts:
            if isinstance(part, bytes):
                self._frames(part)
            else:
                self._parts.append(part)
                self._plan.append(next(self._old))
        piece.parts = self._parts
        piece.plan = self._plan

    def _frames(self, data: bytes) -> None:
        start = at = 0
        while at < len(data):
            code, length = HEADER.unpack_from(data, at)
            end = at + 1 + length
            if code != codes.SYNC:
                self._plan.append(next(self._old))
            restored = self._message(code, data[at + HEADER_SIZE : end])
            if restored:
                self._parts += (data[start:end], restored)
                start = end
            at = end
        self._parts.append(data[start:])

    def _message(self, code: int, payload: bytes) -> bytes:
        """Take note of a message; return what must follow it."""
        first, _, rest = payload.partition(b"\0")
        if code == codes.PARSE and not first:
            assert self._unit.session is not None
            scope = self._unit.session.scope
            self._scripts[b""] = scope.prepared.get(rest, scope.place).script
        elif code == codes.BIND:
            self._portals[first] = self._scripts.get(rest.partition(b"\0")[0])
        elif code == codes.EXECUTE:
            script = self._portals.get(first)
            return self._behind(script) if script is not None else b""
        return b""

    def _behind(self, script: Script) -> bytes:
        restored = self._base.restored(reset_parameters(script))
        if restored is None:
            return b""
        # DISCARD ALL commits at once. So must this, or a transaction that begins behind it could undo it.
        texts = [b"BEGIN", restored, b"COMMIT"] if script.discards else [restored]
        self._plan += _SWALLOW_IT * len(texts)
        return b"".join(map(_run, texts))


def _run(sql: bytes) -> bytes:
    """Return the messages that run *sql* by itself; each is answered, see _SWALLOW_IT."""
    return _CLOSE + frame(codes.PARSE, _NAME + sql + bytes(3)) + _RUN
