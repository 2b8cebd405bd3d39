"""A unit that uses a statement whose result has changed fails where it would bind it."""

from __future__ import annotations

from rwsplit.protocol.framing import HEADER
from rwsplit.session.exchanging import refuse
from rwsplit.session.knowledge import Knowledge
from rwsplit.session.prepared import CHANGED
from rwsplit.session.unit import Piece
from tests.support.frames import bind, describe, describe_portal, execute, parse, query

SYNC = b"S\0\0\0\4"
NO_TYPES = b"\0\0\0"
NAME = CHANGED.decode()


def test_what_binds_or_describes_it_names_what_no_server_has(knowledge: Knowledge):
    registry = knowledge.prepared
    used, other = (registry.get(b"select %d" % n + NO_TYPES) for n in (1, 2))
    mine, theirs = used.name.decode(), other.name.decode()
    before = bind(theirs, portal="p") + execute("p")
    piece = Piece(
        [
            before + describe(mine) + bind(mine, portal="q", value=b"7"),
            other,
            bind(mine) + describe_portal() + execute() + describe(theirs) + SYNC,
            SYNC,
        ],
        None,
    )
    piece.needs = [used, other]

    refuse(piece, used)

    assert piece.parts == [
        before + describe(NAME) + bind(NAME, portal="q", value=b"7"),
        other,
        bind(NAME) + describe_portal() + execute() + describe(theirs) + SYNC,
        SYNC,
    ]
    assert piece.needs == [other]


def test_a_value_that_looks_like_the_name_stays_what_it_is(knowledge: Knowledge):
    used = knowledge.prepared.get(b"select 1" + NO_TYPES)
    mine = used.name.decode()
    piece = Piece(
        [
            bind(mine, value=used.name)
            + parse("x", f"select '{mine}'")
            + bind("", value=used.name)
        ],
        None,
    )

    refuse(piece, used)

    assert piece.parts == [
        bind(NAME, value=used.name) + parse("x", f"select '{mine}'") + bind("", value=used.name)
    ]


def test_of_a_bind_that_has_not_arrived_whole_the_length_is_what_it_will_be(
    knowledge: Knowledge,
):
    used = knowledge.prepared.get(b"select 1" + NO_TYPES)
    whole = bind(used.name.decode(), value=b"x" * 100)
    piece = Piece([whole[:40]], None)

    refuse(piece, used)

    [part] = piece.parts
    assert isinstance(part, bytes)
    assert part == bind(NAME, value=b"x" * 100)[: len(part)]
    assert HEADER.unpack_from(part)[1] == len(whole) - 1 + len(NAME) - len(used.name)


def test_an_execute_by_query_names_it_too(knowledge: Knowledge):
    used = knowledge.prepared.get(b"select 1" + NO_TYPES)
    piece = Piece([query(f"execute {used.name.decode()}(1)")], None)
    piece.needs = (used,)

    refuse(piece, used)

    assert piece.parts == [query(f"execute {NAME}(1)")]
