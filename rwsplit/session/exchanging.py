"""Exchanging: have the messages of a unit name another statement on servers than they were assembled with."""

from __future__ import annotations

from rwsplit.protocol import codes
from rwsplit.protocol.framing import HEADER, HEADER_SIZE, frame
from rwsplit.session.piece import Piece
from rwsplit.session.prepared import CHANGED, Part, Prepared


def refuse(piece: Piece, prepared: Prepared) -> None:
    """Have *piece* fail where it uses *prepared*, as PostgreSQL does when that returns something else than it did.

    So it does where it binds an EXECUTE of *prepared*.
    """
    for each in (*piece.needs, *piece.parts):
        if isinstance(each, Prepared) and _executes(each, prepared):
            refuse(piece, each)
    parsed = piece.unnamed_parse
    if parsed is not None and _executes(parsed, prepared):
        changed = b"\0" + parsed.tail.replace(prepared.name, CHANGED, 1)
        sent = parsed.parse(b"")
        piece.parts = [
            frame(codes.PARSE, changed) if part == sent else part for part in piece.parts
        ]
    old = b"" if piece.unnamed is prepared else prepared.name
    piece.parts = [_renamed(part, old, CHANGED) for part in piece.parts]
    piece.needs = [each for each in piece.needs if each is not prepared]
    if piece.unnamed is prepared:
        piece.unnamed = None


def _executes(statement: Prepared, prepared: Prepared) -> bool:
    return statement.meaning is not None and statement.meaning.used is prepared


def _renamed(part: Part, old: bytes, new: bytes) -> Part:
    if isinstance(part, Prepared) or old not in part:
        return part
    if part[0] == codes.QUERY:
        return _framed(part[0], len(part) - 1, part[HEADER_SIZE:], old, new)
    frames = []
    at = 0
    while at < len(part):
        code, length = HEADER.unpack_from(part, at)
        payload = part[
            at + HEADER_SIZE : at + 1 + length
        ]  # of a long Bind only the beginning is here
        names_it = (code == codes.BIND and _bound(payload) == old) or (
            code == codes.DESCRIBE and payload == b"S" + old + b"\0"
        )
        if names_it:
            frames.append(_framed(code, length, payload, old, new))
        else:
            frames.append(part[at : at + 1 + length])
        at += 1 + length
    return b"".join(frames)


def _bound(payload: bytes) -> bytes:
    """Return the name of the statement that a Bind with *payload* is for."""
    return payload.split(b"\0", 2)[1]


def _framed(code: int, length: int, payload: bytes, old: bytes, new: bytes) -> bytes:
    """Return a frame with *new* in place of *old*, which is what follows the portal's name, if there is one."""
    head, tail = b"", payload
    if code == codes.DESCRIBE:
        head, tail = payload[:1], payload[1:]
    if code == codes.BIND:
        portal, tail = payload.split(b"\0", 1)
        head = portal + b"\0"
    return HEADER.pack(code, length + len(new) - len(old)) + head + tail.replace(old, new, 1)
