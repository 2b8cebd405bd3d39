"""What is pending and is no unit: each message that is one, by its kind."""

from __future__ import annotations

import pytest

from rwsplit.session.chunk import Chunk, ChunkKind
from rwsplit.session.frames import STREAM_LIMIT
from rwsplit.session.piece import Piece
from rwsplit.session.session import Session
from rwsplit.session.unit import Unit
from tests.support.frames import (
    COPY_DONE,
    FLUSH,
    SYNC,
    TERMINATE,
    bind,
    close,
    copy_data,
    execute,
    parse,
    query,
)
from tests.support.messages import function_call

OPEN = bind("a") + execute() + FLUSH
LONG = copy_data(bytes(STREAM_LIMIT))

#: By kind: messages of which the last is one such chunk.
SAID = {
    ChunkKind.MORE: [OPEN + close("b") + FLUSH, OPEN + copy_data(b"1") + FLUSH],
    ChunkKind.SYNC: [OPEN + SYNC, OPEN + close("b") + SYNC],
    ChunkKind.QUERY: [OPEN + query("select 1"), OPEN + function_call(1)],
    ChunkKind.COPY_DATA: [copy_data(b"1"), OPEN + copy_data(b"1"), LONG[:-1]],
    ChunkKind.COPY_END: [COPY_DONE, OPEN + COPY_DONE],
    ChunkKind.TERMINATE: [TERMINATE],
    ChunkKind.HELD: [parse("a", "select 1") + SYNC + bind("a") + execute() + SYNC],
}


@pytest.mark.parametrize(
    ("kind", "messages"),
    [
        pytest.param(kind, each, id=f"{kind.name}-{number}")
        for kind, said in SAID.items()
        for number, each in enumerate(said)
    ],
)
def test_what_continues_something_is_of_one_kind(
    session: Session, kind: ChunkKind, messages: bytes
):
    session.receive(messages)
    last = session.pending[-1]
    assert isinstance(last, Chunk)
    assert last.kind is kind


def test_what_follows_the_beginning_of_a_long_frame_is_its_rest(session: Session):
    for data in (LONG[:-2], LONG[-2:-1], LONG[-1:]):
        session.receive(data)
    assert [isinstance(each, Chunk) and each.kind for each in session.pending] == [
        ChunkKind.COPY_DATA,
        ChunkKind.REST,
        ChunkKind.REST,
    ]


@pytest.mark.parametrize("kind", [ChunkKind.MORE, ChunkKind.SYNC, ChunkKind.QUERY])
def test_what_continues_an_open_unit_knows_it(session: Session, kind: ChunkKind):
    session.receive(SAID[kind][0])
    unit, *_, last = session.pending
    assert isinstance(unit, Unit)
    assert isinstance(last, Chunk)
    assert last.unit is unit


@pytest.mark.parametrize("kind", ChunkKind)
def test_the_end_of_the_connection_waits_for_what_was_not_looked_at_and_for_a_goodbye(
    kind: ChunkKind,
):
    chunk = Chunk(kind, [])
    waits = {ChunkKind.HELD, ChunkKind.HELD_LAST, ChunkKind.TERMINATE}
    assert chunk.end_input() is (kind in waits)
    assert chunk.kind is (ChunkKind.HELD_LAST if kind is ChunkKind.HELD else kind)


def test_a_chunk_of_a_piece_holds_what_that_holds(session: Session):
    used = session.knowledge.prepared.get(b"select 1\0\0\0")
    piece = Piece([SYNC], None)
    piece.needs = (used,)
    chunk = Chunk.of(ChunkKind.SYNC, piece)
    assert (chunk.parts, chunk.needs, chunk.unit) == ([SYNC], (used,), None)
