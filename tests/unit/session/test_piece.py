"""Frames that are sent in one go."""

from __future__ import annotations

from rwsplit.protocol import codes
from rwsplit.session.piece import Piece
from rwsplit.session.session import Session

TEXT = b"Q\0\0\0\x05\0"


def test_a_piece_that_needed_nothing_needs_what_is_added_and_no_other_does(session: Session):
    used = session.knowledge.prepared.get(b"select 1\0\0\0")
    piece, more = Piece([TEXT], None), Piece([TEXT], None)
    more.needs, more.taught = (used,), ((b"a", used),)

    piece.add(more)

    assert (piece.needs, piece.taught) == ([used], [(b"a", used)])
    assert not Piece([TEXT], None).needs


def test_a_piece_holds_what_it_takes_over(session: Session):
    used = session.knowledge.prepared.get(b"select 1\0\0\0")
    piece, copy = Piece([TEXT], None), Piece([], None)
    piece.needs, piece.shift = (used,), (1, 2)

    copy.take_over(piece)

    assert [getattr(copy, slot) for slot in Piece.__slots__] == [
        getattr(piece, slot) for slot in Piece.__slots__
    ]


def test_a_piece_spells_its_messages_and_of_a_parse_the_name(session: Session):
    used = session.knowledge.prepared.get(b"select 1\0\0\0")
    piece = Piece([TEXT + TEXT, used], None)
    assert [*piece.messages()] == [(codes.QUERY, b"\0")] * 2 + [
        (codes.PARSE, used.name + b"\0")
    ]
