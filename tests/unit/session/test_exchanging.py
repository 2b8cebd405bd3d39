"""A unit that uses a statement whose result has changed fails where it would bind it."""

from __future__ import annotations

from rwsplit.protocol.framing import HEADER
from rwsplit.session.exchanging import refuse
from rwsplit.session.knowledge import Knowledge
from rwsplit.session.piece import Piece
from rwsplit.session.prepared import CHANGED
from rwsplit.session.session import Session
from rwsplit.session.teaching import ServerState, compose
from tests.support.frames import bind, describe, describe_portal, execute, parse, query
from tests.unit.session.pieces import one

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


# What executes it, or is the unnamed statement...


def gets(piece: Piece) -> bytes:
    """Return what a server gets that knows no statements."""
    server = ServerState()
    compose(server, piece.parts, piece.needs, piece.plan, [], unnamed=piece.unnamed, limit=9)
    return b"".join(server.out)


def test_a_prepared_execute_of_it_is_what_no_server_has_either(session: Session):
    one(session, parse("p", "select 1") + parse("ex", "EXECUTE p") + SYNC)
    unit = one(session, bind("ex") + describe_portal() + execute() + SYNC)
    used, _ = unit.piece.needs

    refuse(unit.piece, used)

    assert gets(unit.piece) == bind(NAME) + describe_portal() + execute() + SYNC


def test_so_is_one_that_the_same_messages_parse(session: Session):
    one(session, parse("p", "select 1") + parse("q", "select 2") + SYNC)
    unit = one(
        session,
        parse("ex", "EXECUTE p") + bind("ex") + execute() + bind("q") + execute() + SYNC,
    )
    used, other = session.names[b"p"], session.names[b"q"].name.decode()
    [(_, meant)] = unit.piece.taught

    refuse(unit.piece, used)

    known = parse(other, "select 2") + describe(other)
    ours = meant.name.decode()
    parsed = parse(ours, f"EXECUTE {used.name.decode()}") + describe(ours)
    run = bind(NAME) + execute() + bind(other) + execute()
    assert gets(unit.piece) == known + parsed + run + SYNC


def test_an_unnamed_execute_of_it_executes_what_no_server_has(session: Session):
    one(session, parse("p", "select $1") + SYNC)
    mine = session.names[b"p"].name.decode()
    run = bind() + execute() + SYNC
    unit = one(session, parse("", f"EXECUTE p('{mine}')") + run)
    [used] = unit.piece.needs

    refuse(unit.piece, used)

    assert gets(unit.piece) == parse("", f"EXECUTE {NAME}('{mine}')") + run


def test_an_execute_of_another_statement_stays_what_it_is(session: Session):
    one(session, parse("p", "select $1") + parse("q", "select 2") + SYNC)
    used, other = session.names[b"q"], session.names[b"p"].name.decode()
    text = f"EXECUTE {{}}('{used.name.decode()}')"
    unit = one(session, bind("q") + parse("", text.format("p")) + bind() + execute() + SYNC)

    refuse(unit.piece, used)

    taught = parse(other, "select $1") + describe(other)
    run = parse("", text.format(other)) + bind() + execute() + SYNC
    assert gets(unit.piece) == taught + bind(NAME) + run


def test_an_unnamed_statement_of_before_is_not_parsed_to_be_bound(session: Session):
    one(session, parse("", "select 1") + SYNC)
    unit = one(session, bind() + describe("") + execute() + SYNC)
    used = unit.piece.unnamed
    assert used is not None

    refuse(unit.piece, used)

    assert gets(unit.piece) == bind(NAME) + describe(NAME) + execute() + SYNC
