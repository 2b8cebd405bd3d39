"""Answers: what PostgreSQL says to a unit that runs one command, where rwsplit has to say it itself.

CommandComplete and ReadyForQuery, and in the extended protocol one answer a message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rwsplit.protocol import codes
from rwsplit.protocol.framing import frame
from rwsplit.protocol.responses import FORWARD
from rwsplit.session.prepared import CLOSE_COMPLETE, PARSE_COMPLETE, PARSED
from rwsplit.session.unit import SIMPLE, Unit

_BIND_COMPLETE: Final = frame(codes.BIND_COMPLETE, b"")
_NO_DATA: Final = frame(codes.NO_DATA, b"")
_NO_PARAMETERS: Final = frame(codes.PARAMETER_DESCRIPTION, b"\0\0")


def answer(unit: Unit, tag: str, status: bytes) -> bytes | None:
    """Return what PostgreSQL answers to *unit*, which runs one command with *tag* and nothing else.

    *status* is the transaction's afterwards. None if it would answer otherwise: an error, a portal that stays.
    """
    done = frame(codes.COMMAND_COMPLETE, tag.encode() + b"\0")
    ready = frame(codes.READY, status)
    if unit.kind is SIMPLE:
        return done + ready
    piece = unit.piece
    if piece.plan is not None and any(step not in (FORWARD, PARSED) for step in piece.plan):
        return None
    messages = list(piece.messages())
    answers = [_answer_to(code, payload, done) for code, payload in messages]
    if not _runs_what_it_names(messages) or answers.count(done) != 1:
        return None
    return None if None in answers else b"".join(filter(None, answers)) + ready


def _runs_what_it_names(messages: Sequence[tuple[int, bytes]]) -> bool:
    """Return whether there is one Bind, of the statement parsed before it if any is parsed, and its portal used behind."""
    order: list[int] = []
    parsed: list[bytes] = []
    bound: list[bytes] = []
    for code, payload in messages:
        if code == codes.PARSE:
            order.append(0)
            parsed.append(payload[: payload.find(b"\0")])
        elif code == codes.BIND:
            order.append(1)
            bound.append(payload[1 : payload.find(b"\0", 1)])
        elif _uses_portal(code, payload):
            order.append(2)
        elif code == codes.CLOSE and payload.startswith(b"P") and bound:
            order.append(3)  # nothing can use it behind this
    return order == sorted(order) and len(bound) == 1 and parsed in ([], bound)


def _answer_to(code: int, payload: bytes, done: bytes) -> bytes | None:
    """Return the answer to one message, nothing for the Sync, None if it is not that simple."""
    if code == codes.BIND:
        return _BIND_COMPLETE if _binds_nothing(payload) else None
    if code == codes.EXECUTE:
        return done if payload == _UNNAMED_WHOLE else None
    if code == codes.DESCRIBE:
        return _NO_PARAMETERS + _NO_DATA if payload.startswith(b"S") else _NO_DATA
    return _ANSWERS.get(code)


def _uses_portal(code: int, payload: bytes) -> bool:
    return code == codes.EXECUTE or (code == codes.DESCRIBE and payload.startswith(b"P"))


def _binds_nothing(payload: bytes) -> bool:
    """Return whether a Bind makes the unnamed portal of a statement without parameters."""
    if not payload.startswith(b"\0"):
        return False
    at = payload.find(b"\0", 1) + 1
    formats = int.from_bytes(payload[at : at + 2], "big")
    at += 2 + 2 * formats
    return formats == 0 and payload[at : at + 2] == b"\0\0"


_ANSWERS: Final = {codes.PARSE: PARSE_COMPLETE, codes.CLOSE: CLOSE_COMPLETE, codes.SYNC: b""}
_UNNAMED_WHOLE: Final = b"\0\0\0\0\0"
