"""Backend calls: `SELECT pg_terminate_backend(n)` and `pg_cancel_backend(n)` about a session of rwsplit's.

The process id a client is told at login is its session's, and no node knows it. So rwsplit does to the session what is
asked for, and the server is sent a statement in the call's place that is answered as PostgreSQL answers the
call, by the name of the column, and takes the same parameter. Only what is queued is another: the unit, and what the
session has prepared, stay what they are.

Only a statement that is nothing but the call, of a number or of `$1`, is understood: of any other it is not known
whether the call is made. To put in the PID of the backend the session uses now was rejected: by the time the node
comes to it, that backend may work for another session.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from struct import Struct, error
from typing import Final, NamedTuple

from rwsplit.protocol import codes
from rwsplit.protocol.framing import HEADER, HEADER_SIZE, frame
from rwsplit.session.piece import Piece
from rwsplit.session.prepared import Part, Prepared
from rwsplit.session.unit import SIMPLE, Unit

_CALL: Final = re.compile(
    rb"""
    (?: \s | --[^\n\r]*+[\n\r] | /\*(?:(?!/\*|\*/).)*+\*/ )*+
    select \s++ (?:pg_catalog\s*+\.\s*+)? (?P<function>pg_(?:terminate|cancel)_backend)
    \s*+ \( \s*+ (?P<argument>\d{1,10}|\$1) (?P<cast>\s*+::\s*+(?:int4?|integer))? \s*+ \)
    (?P<alias>\s++as\s++[a-z_][a-z_0-9]*+)? \s*+ (?: ; \s*+ )?
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
#: Bytes of a statement beyond which it is more than the call.
_LIMIT: Final = 1024
#: Digits of a PID at most.
_DIGITS: Final = 10
_INT2: Final = 21
_INT4: Final = 23
_INT8: Final = 20
#: Types of `$1` with which the function is found; to another it must be cast.
_WIDTHS: Final = {0: 4, _INT4: 4, _INT2: 2}
_WIDTHS_CAST: Final = {**_WIDTHS, _INT8: 8}
_uint16 = Struct("!H").unpack_from
_int32 = Struct("!i").unpack_from
_uint32 = Struct("!I").unpack_from


class BackendCall(NamedTuple):
    """What a unit asks for."""

    terminates: bool
    """pg_terminate_backend; else pg_cancel_backend."""
    pid: int
    query: bytes
    """The statement that asks for it."""
    prepared: Prepared | None
    """What is bound; None for a Query."""


def read_call(unit: Unit) -> BackendCall | None:
    """Return the one call that *unit* is for, None if it is anything else."""
    piece = unit.piece
    if unit.is_open or unit.row_limit or not unit.executes:
        return None
    if unit.kind is SIMPLE:
        [query] = piece.parts
        assert isinstance(query, bytes)
        text = query[HEADER_SIZE:-1]
        matched = _match(text)
        if matched is None or matched["argument"] == b"$1":
            return None
        return _call(matched, int(matched["argument"]), text, None)
    return _read_bound(piece)


def _read_bound(piece: Piece) -> BackendCall | None:
    frames = [each for part in piece.parts if isinstance(part, bytes) for each in _frames(part)]
    binds = [each for each in frames if each[0] == codes.BIND]
    if len(binds) != 1 or sum(each[0] == codes.EXECUTE for each in frames) != 1:
        return None
    [bind] = binds
    start = bind.index(0, HEADER_SIZE) + 1
    end = bind.index(0, start)
    prepared = _bound(piece, bind[start:end])
    matched = None if prepared is None else _match(prepared.query)
    if prepared is None or matched is None:
        return None
    if matched["argument"] != b"$1":
        return _call(matched, int(matched["argument"]), prepared.query, prepared)
    widths = _WIDTHS_CAST if matched["cast"] else _WIDTHS
    pid = _only_value(bind, end + 1, widths.get(_type_of_first(prepared)))
    return None if pid is None else _call(matched, pid, prepared.query, prepared)


def _match(query: bytes) -> re.Match[bytes] | None:
    return _CALL.fullmatch(query) if len(query) <= _LIMIT else None


def _call(
    matched: re.Match[bytes], pid: int, query: bytes, prepared: Prepared | None
) -> BackendCall:
    return BackendCall(b"terminate" in matched["function"].lower(), pid, query, prepared)


def _bound(piece: Piece, name: bytes) -> Prepared | None:
    """Return the statement that servers call *name*."""
    if not name:
        return piece.unnamed_parse or piece.unnamed
    candidates = [*piece.needs, *(part for part in piece.parts if isinstance(part, Prepared))]
    return next((each for each in candidates if each.name == name), None)


def _type_of_first(prepared: Prepared) -> int:
    """Return the OID of the type declared for `$1`, 0 if none is."""
    at = len(prepared.query) + 1
    oids = prepared.tail[at + 2 : at + 6]
    oid: int = _uint32(oids)[0] if oids else 0
    return oid


def _only_value(bind: bytes, at: int, width: int | None) -> int | None:
    """Return the integer that *bind* gives as its only value; its formats are at *at*."""
    try:
        formats = _uint16(bind, at)[0]
        is_binary = formats > 0 and _uint16(bind, at + 2)[0] == 1
        at += 2 + 2 * formats
        count = _uint16(bind, at)[0]
        size = _int32(bind, at + 2)[0]
    except error:
        return None  # what is wrong with it is for PostgreSQL to say
    value = bind[at + 6 : at + 6 + max(size, 0)]
    if width is None or count != 1 or len(value) != size:
        return None
    if is_binary:
        return int.from_bytes(value, "big", signed=True) if size == width else None
    return int(value) if size <= _DIGITS and value.isdigit() else None


def _frames(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        _, length = HEADER.unpack_from(data, at)
        yield data[at : at + 1 + length]
        at += 1 + length


def replace_call(
    piece: Piece, call: BackendCall, identify: Callable[[bytes], Prepared], *, on_itself: bool
) -> Piece:
    """Return what is sent instead of *piece*: a statement that is answered true.

    *on_itself*: it is to be done to the backend that executes it. *identify* returns the identity of a Parse.
    """
    query = _substitute(call.query, on_itself=on_itself)
    new = Piece(piece.parts, piece.script)
    new.take_over(piece)
    old = call.prepared
    if old is None:
        new.parts = [frame(codes.QUERY, query + b"\0")]
        return new
    other = identify(query + old.tail[len(old.query) :])
    new.parts = [_renamed(part, old, other) for part in piece.parts]
    if piece.unnamed_parse is old:
        new.unnamed_parse = other
    elif piece.unnamed is old:
        new.unnamed = other
    else:
        new.needs = [*piece.needs, other]
    return new


#: Multiplies the value by zero. Operators are qualified, since the session's search path may have others.
_NOTHING_OF: Final = b" OPERATOR(pg_catalog.+) (0 OPERATOR(pg_catalog.*) %s)"


def _substitute(query: bytes, *, on_itself: bool) -> bytes:
    matched = _match(query)
    assert matched is not None
    function = matched["function"].lower()
    takes = matched["argument"] == b"$1"
    value = b"(%s%s)" % (b"$1", matched["cast"] or b"") if takes else b""
    if on_itself:
        pid = b"pg_catalog.pg_backend_pid()" + (_NOTHING_OF % value if takes else b"")
        answer = b"pg_catalog.%s(%s)" % (function, pid)
    else:
        answer = value + b"::pg_catalog.int4 IS NOT NULL" if takes else b"true"
    return b"SELECT " + answer + (matched["alias"] or b" AS " + function)


def _renamed(part: Part, old: Prepared, other: Prepared) -> Part:
    """Return *part* with *other* in place of *old* where it is bound, or parsed without a name."""
    if isinstance(part, Prepared):
        return part  # the client's own name for it goes on meaning it
    return b"".join(_renamed_frame(each, old, other) for each in _frames(part))


def _renamed_frame(each: bytes, old: Prepared, other: Prepared) -> bytes:
    if each[0] == codes.PARSE and each[HEADER_SIZE:] == b"\0" + old.tail:
        return other.parse(b"")
    if each[0] == codes.BIND:
        start = each.index(0, HEADER_SIZE) + 1
        end = each.index(0, start)
        if each[start:end]:
            return frame(codes.BIND, each[HEADER_SIZE:start] + other.name + each[end:])
    return each
