"""A client talks; its session makes units and chunks of it, in order."""

from __future__ import annotations

import struct

import pytest

from rwsplit.config.choices import ConsistencyLevel, PoolMode
from rwsplit.errors import ProtocolViolation
from rwsplit.routing.route import Route, RouteReason, Target
from rwsplit.session.chunk import Chunk, ChunkKind
from rwsplit.session.frames import STREAM_LIMIT, UNIT_LIMIT
from rwsplit.session.journal import SERIALIZABLE
from rwsplit.session.knowledge import Knowledge
from rwsplit.session.session import Session
from rwsplit.session.stand_ins import NOTHING, OPAQUE
from rwsplit.session.unit import Kind, Unit
from rwsplit.sql.cache import INLINE_LIMIT, PARSE_LIMIT
from rwsplit.sql.statement import PrimaryOnly, Verb
from tests.support.frames import (
    COPY_DONE,
    FLUSH,
    SYNC,
    TERMINATE,
    bind,
    call,
    close,
    copy_data,
    describe,
    describe_portal,
    execute,
    message,
    parse,
    query,
)
from tests.unit.session.pieces import one, said, spelled

RUN = bind() + execute()


def long_query(size: int) -> bytes:
    return query("select '" + "x" * size + "'")


def begun(frame: bytes) -> tuple[bytes, bytes]:
    """Cut a long *frame* where it has to be passed on."""
    return frame[:STREAM_LIMIT], frame[STREAM_LIMIT:]


# What all sessions share...


def test_what_was_learned_under_other_rules_is_forgotten(knowledge: Knowledge):
    before = knowledge.statements.lookup(b"select my_report()")
    identity = knowledge.prepared.get(b"select 1\0\0\0")
    assert before.primary_only is PrimaryOnly.UNKNOWN_FUNCTION

    knowledge.reconfigure(["my_*"], [])

    assert knowledge.statements.lookup(b"select my_report()").primary_only is None
    assert identity.version is not knowledge.prepared.version


# A session by itself...


def test_a_new_session_is_idle_and_says_whose_it_is(session: Session):
    assert session.is_idle
    assert session.level is ConsistencyLevel.SESSION
    assert session.last_route() == "none"
    assert not session.is_open
    assert not session.is_mid_frame
    assert repr(session) == "<Session app@shop tx=I in_flight=0>"


def test_a_session_says_where_its_last_statement_went(session: Session):
    session.last = ("pg1", Route(Target.REPLICA, RouteReason.READ))

    assert session.last_route() == "pg1 READ: it only reads"


def test_a_session_is_busy_while_anything_is_unfinished(session: Session):
    session.receive(query("select 1"))
    assert not session.is_idle
    session.pending.clear()
    assert session.is_idle

    session.receive(SYNC[:3])
    assert not session.is_idle
    session.receive(SYNC[3:])
    session.pending.clear()
    assert session.is_idle

    session.receive(parse("", "select 1"))
    assert not session.is_idle


# Simple queries...


def test_a_query_is_a_unit(session: Session):
    text = query("select 1")

    unit = one(session, text)

    assert unit.kind is Kind.SIMPLE
    assert unit.piece.parts == [text]
    assert unit.script is session.knowledge.statements.lookup(b"select 1")
    assert unit.executes
    assert unit.size_in == len(text)


def test_queries_that_come_together_are_units_in_order(session: Session):
    units = said(session, query("select 1") + query("delete from t") + query("select 2"))

    assert [spelled(unit) for unit in units] == [
        query("select 1"),
        query("delete from t"),
        query("select 2"),
    ]


def test_a_query_that_comes_in_pieces_is_one_unit(session: Session):
    text = query("select 1")

    assert said(session, text[:3]) == []
    assert said(session, text[3:9]) == []
    assert spelled(one(session, text[9:])) == text


def test_bytes_waiting_are_counted(session: Session):
    session.receive(query("select 1") + parse("", "select 1") + SYNC)

    assert session.pending_bytes == len(query("select 1") + parse("", "select 1") + SYNC)


@pytest.mark.parametrize("text", ["", ";", "-- nothing"])
def test_an_empty_query_is_sent_like_any_other(session: Session, text: str):
    assert spelled(one(session, query(text))) == query(text)


def test_a_long_query_waits_for_its_facts(session: Session):
    text = long_query(INLINE_LIMIT)

    unit = one(session, text)

    assert unit.script is None
    assert list(unit.waiting_for) == [text[5:-1]]


def test_a_query_too_long_to_be_understood_may_do_anything(session: Session):
    unit = one(session, long_query(PARSE_LIMIT))

    assert unit.script is OPAQUE
    assert not unit.waiting_for


def test_a_query_too_long_to_be_held_is_passed_on_as_it_comes(session: Session):
    text = long_query(PARSE_LIMIT)
    session.receive(parse("", "select 1") + SYNC)
    session.pending.clear()
    head, tail = begun(text)

    unit, rest = said(session, head[:10], head[10:], tail[:100])
    assert isinstance(unit, Unit)
    assert unit.kind is Kind.SIMPLE
    assert unit.script is OPAQUE
    assert unit.row_limit
    assert isinstance(rest, Chunk)
    assert rest.kind is ChunkKind.REST
    assert session.is_mid_frame
    assert b"" not in session.names

    [end, following] = said(session, tail[100:] + query("select 1"))
    assert spelled(unit) + spelled(rest) + spelled(end) == text
    assert not session.is_mid_frame
    assert spelled(following) == query("select 1")


def test_a_query_shorter_than_that_is_awaited_whole(session: Session):
    head, tail = begun(long_query(PARSE_LIMIT - 100))

    assert said(session, head) == []
    assert spelled(one(session, tail)) == head + tail


def test_texts_that_cannot_be_lexed_may_do_anything(session: Session):
    session.opaque = True

    assert one(session, query(r"select 'a\'")).script is OPAQUE
    assert one(session, query("select 'ä'")).script is OPAQUE


def test_a_query_that_means_the_same_in_any_encoding_and_string_syntax_is_read(
    session: Session,
):
    session.opaque = True

    script = one(session, query("reset all")).script
    assert script is not None
    assert script.statements[0].verb is Verb.RESET


def test_an_in_band_query_takes_effect_and_its_answer_is_postgresqls(session: Session):
    unit = one(session, query("SET rwsplit.route = 'replica'"))

    assert session.in_band.route == "replica"
    assert spelled(unit) == query("SET rwsplit.route TO DEFAULT")
    assert unit.script is not None
    assert unit.script.primary_only is None


def test_execute_finds_a_statement_of_the_protocol(session: Session):
    one(session, parse("s1", "select $1") + SYNC)
    mine = session.names[b"s1"]

    unit = one(session, query("EXECUTE s1(5)"))

    assert spelled(unit) == query(f"EXECUTE {mine.name.decode()}(5)")
    assert list(unit.piece.needs) == [mine]
    assert not unit.piece.drops


def test_deallocate_drops_a_statement_of_the_protocol(session: Session):
    one(session, parse("s1", "select 1") + SYNC)
    mine = session.names[b"s1"]

    unit = one(session, query("DEALLOCATE s1"))

    [dropped] = unit.piece.drops
    assert dropped.query == b"/*%s*/" % mine.name
    assert b"s1" not in session.names


def test_several_statements_with_a_special_one_are_left_as_they_are(session: Session):
    text = query("select 1; SET rwsplit.route = 'primary'")

    assert spelled(one(session, text)) == text


# Names...


def test_names_made_by_prepare_are_remembered_and_dropped(session: Session):
    said(session, query("PREPARE s1 AS select 1"), query("PREPARE s2 AS select 2"))
    assert session.names.in_sql.keys() == {b"s1", b"s2"}

    said(session, query("DEALLOCATE s1"))
    assert session.names.in_sql.keys() == {b"s2"}

    said(session, parse("mine", "select 1") + SYNC, query("DEALLOCATE ALL"))
    assert session.names.in_sql == {}
    assert session.names == {}


@pytest.mark.parametrize(
    ("text", "fails", "kept"),
    [
        ("DISCARD ALL", False, False),
        ("DISCARD ALL", True, True),
        ("DEALLOCATE ALL", False, False),
        ("DEALLOCATE ALL", True, True),
        ("DEALLOCATE mine", True, True),
        ("RESET ALL", False, True),
    ],
)
def test_names_survive_what_fails(session: Session, text: str, fails: bool, kept: bool):
    said(session, parse("mine", "select 1") + SYNC)

    session.receive(query(text))
    unit = session.pending.popleft()
    assert isinstance(unit, Unit)
    unit.failed = fails
    unit.settle_names()

    assert (b"mine" in session.names) is kept


# FunctionCall...


def test_a_function_call_is_a_unit_that_may_write(session: Session):
    unit = one(session, call(957))

    assert unit.kind is Kind.FUNCTION
    assert spelled(unit) == call(957)
    assert unit.script is not None
    assert unit.script.may_write
    assert unit.script.state is None


@pytest.mark.parametrize("oid", [2078, 2880, 16384])
def test_a_function_that_may_leave_state_behind_is_noted(session: Session, oid: int):
    unit = one(session, call(oid))

    assert unit.script is not None
    assert unit.script.state is not None


def test_a_long_function_call_is_passed_on_as_it_comes(session: Session):
    frame = message("F", struct.pack("!I", 957) + bytes(2 * STREAM_LIMIT))
    head, tail = begun(frame)

    unit, rest = said(session, head, tail)

    assert isinstance(unit, Unit)
    assert unit.kind is Kind.FUNCTION
    assert unit.row_limit
    assert spelled(unit) + spelled(rest) == frame


# Units without an end, yet...


def test_a_flush_opens_the_unit_and_the_sync_completes_it(session: Session):
    unit, more, end = said(
        session, parse("", "select 1") + RUN + FLUSH, RUN + FLUSH, bind() + execute() + SYNC
    )

    assert isinstance(unit, Unit)
    assert unit.is_open
    assert not unit.row_limit
    assert unit.piece.plan is not None
    assert isinstance(more, Chunk)
    assert more.kind is ChunkKind.MORE
    assert isinstance(end, Chunk)
    assert end.kind is ChunkKind.SYNC
    assert spelled(unit) + spelled(more) + spelled(end) == (
        parse("", "select 1") + RUN + FLUSH + RUN + FLUSH + RUN + SYNC
    )
    assert not session.is_open


@pytest.mark.parametrize(
    "asked",
    [
        parse("", "insert into t values ($1)") + describe(""),
        parse("s", "select 1"),
        parse("s", "select 1") + close("s"),
        describe("s"),
    ],
)
def test_a_flush_behind_mere_questions_ends_the_unit_and_its_client_is_not_told(
    session: Session, asked: bytes
):
    unit, alone = said(session, asked + FLUSH, SYNC)

    assert isinstance(unit, Unit)
    assert not (unit.is_open)
    assert not (unit.executes)
    assert not (unit.row_limit)
    assert unit.is_untold
    assert spelled(unit).endswith(SYNC)
    assert not session.is_open
    assert isinstance(alone, Unit)
    assert not alone.is_untold


@pytest.mark.parametrize(
    "more",
    [
        RUN,
        bind(),
        execute("p"),
        describe_portal("p"),
    ],
    ids=["runs", "binds", "executes", "describes a portal"],
)
def test_anything_more_opens_it(session: Session, more: bytes):
    unit, *_ = said(session, parse("", "select 1") + more + FLUSH)

    assert isinstance(unit, Unit)
    assert unit.is_open
    assert not unit.is_untold


def test_a_flush_behind_questions_in_an_open_unit_leaves_it_open(session: Session):
    unit, asked, end = said(
        session, parse("", "select 1") + RUN + FLUSH, parse("s", "select 2") + FLUSH, SYNC
    )

    assert isinstance(unit, Unit)
    assert isinstance(asked, Chunk)
    assert isinstance(end, Chunk)
    assert end.kind is ChunkKind.SYNC


@pytest.mark.parametrize(
    ("frames", "keeps"),
    [
        ((RUN + FLUSH, SYNC), False),
        ((parse("", "select 1") + bind() + FLUSH, execute() + SYNC), False),
        ((parse("", "select 1") + bind() + FLUSH, SYNC), True),
        ((parse("", "select 1") + bind() + FLUSH, execute(rows=1) + FLUSH, SYNC), True),
        ((RUN + FLUSH, bind(portal="p") + execute("p") + SYNC), True),
    ],
)
def test_an_open_unit_keeps_a_portal_that_may_be_executed_later(
    session: Session, frames: tuple[bytes, ...], *, keeps: bool
):
    unit, *_ = said(session, *frames)

    assert isinstance(unit, Unit)
    assert unit.row_limit is keeps


def test_an_open_unit_may_be_completed_by_a_sync_alone(session: Session):
    _, end = said(session, parse("", "select 1") + RUN + FLUSH, SYNC)

    assert isinstance(end, Chunk)
    assert end.kind is ChunkKind.SYNC
    assert spelled(end) == SYNC
    assert end.script is NOTHING


def test_messages_keep_their_order_whether_they_are_changed_or_not(session: Session):
    one(session, parse("s1", "select 1") + SYNC)
    ours = session.names[b"s1"].name.decode()

    unit = one(session, execute("p") + bind("s1") + execute() + bind("s1") + SYNC)

    assert spelled(unit) == execute("p") + bind(ours) + execute() + bind(ours) + SYNC


@pytest.mark.parametrize(
    ("before", "passed_on"),
    [
        (b"", b""),
        (bind("s1"), bind("s1")),
        (bind("rwsplit_9"), bind("rwsplit_none")),
    ],
)
def test_a_long_message_opens_the_unit_it_belongs_to(
    session: Session, before: bytes, passed_on: bytes
):
    frame = bind("s2", value=b"x" * (2 * STREAM_LIMIT))
    head, tail = begun(frame)

    unit, rest, end = said(session, before + head, tail + execute() + SYNC)

    assert isinstance(unit, Unit)
    assert unit.is_open
    everything = spelled(unit) + spelled(rest) + spelled(end)
    assert everything == passed_on + frame + execute() + SYNC


def test_a_query_behind_a_changed_message_ends_its_unit(session: Session):
    one(session, parse("s1", "select 1") + SYNC)

    unit, chunk = said(session, bind("s1") + query("select 2"))

    assert isinstance(unit, Unit)
    assert unit.is_open
    assert isinstance(chunk, Chunk)
    assert chunk.kind is ChunkKind.QUERY


def test_a_flush_that_comes_by_itself_follows_what_is_in_flight(session: Session):
    assert said(session, FLUSH) == []

    session.in_flight = 1
    [chunk] = said(session, FLUSH)
    assert isinstance(chunk, Chunk)
    assert spelled(chunk) == FLUSH


def test_a_unit_that_grows_too_large_is_opened(session: Session):
    many = bind("s1", value=b"x" * 1000) * (UNIT_LIMIT // 1000)

    [unit] = said(session, parse("s1", "select $1") + many)

    assert isinstance(unit, Unit)
    assert unit.is_open
    assert session.is_open
    assert said(session, SYNC)[0]


def test_messages_without_a_sync_can_be_sent_on(session: Session):
    assert not said(session, parse("", "select 1") + RUN)
    assert session.input.is_unended

    session.open_up()

    [unit] = session.pending
    assert isinstance(unit, Unit)
    assert unit.is_open
    session.open_up()
    assert len(session.pending) == 1


def test_messages_are_not_sent_on_while_more_is_on_its_way(session: Session):
    assert not said(session, parse("", "select 1") + RUN + SYNC[:3])

    session.open_up()

    assert not session.pending


def test_an_open_unit_may_be_completed_by_a_query(session: Session):
    unit, chunk, end = said(session, parse("", "delete from t") + RUN + query("select 1"), SYNC)

    assert isinstance(unit, Unit)
    assert unit.is_open
    assert isinstance(chunk, Chunk)
    assert chunk.kind is ChunkKind.QUERY
    assert spelled(chunk) == query("select 1")
    assert isinstance(end, Unit)


def test_an_open_unit_may_be_completed_by_a_long_query(session: Session):
    text = long_query(PARSE_LIMIT)
    head, tail = begun(text)

    unit, chunk, rest = said(session, parse("", "select 1") + head, tail)

    assert isinstance(unit, Unit)
    assert isinstance(chunk, Chunk)
    assert chunk.kind is ChunkKind.QUERY
    assert spelled(chunk) + spelled(rest) == text
    assert not session.is_open


def test_an_open_unit_may_be_completed_by_a_query_whose_facts_are_not_known(session: Session):
    _, chunk = said(session, parse("", "values (1)") + long_query(INLINE_LIMIT))

    assert isinstance(chunk, Chunk)
    assert chunk.script is OPAQUE


def test_an_open_unit_may_be_completed_by_a_function_call(session: Session):
    unit, chunk = said(session, parse("", "select 1") + call(957))

    assert isinstance(unit, Unit)
    assert isinstance(chunk, Chunk)
    assert chunk.kind is ChunkKind.QUERY
    assert chunk.script is not None
    assert chunk.script.may_write


# COPY...


def test_data_of_a_copy_follows_wherever_its_copy_is(session: Session):
    chunks = said(session, copy_data(b"1\n") + copy_data(b"2\n") + COPY_DONE)

    assert [spelled(chunk) for chunk in chunks] == [
        copy_data(b"1\n"),
        copy_data(b"2\n"),
        COPY_DONE,
    ]
    assert [isinstance(chunk, Chunk) and chunk.kind for chunk in chunks] == [
        ChunkKind.COPY_DATA,
        ChunkKind.COPY_DATA,
        ChunkKind.COPY_END,
    ]


def test_the_rest_of_long_copy_data_follows_its_beginning(session: Session):
    frame = copy_data(bytes(3 * STREAM_LIMIT))
    head, tail = begun(frame)

    first, second, third, done = said(session, head, tail[:10], tail[10:] + COPY_DONE)

    assert isinstance(first, Chunk)
    assert first.kind is ChunkKind.COPY_DATA
    for chunk in (second, third):
        assert isinstance(chunk, Chunk)
        assert chunk.kind is ChunkKind.REST
    assert spelled(first) + spelled(second) + spelled(third) == frame
    assert isinstance(done, Chunk)
    assert done.kind is ChunkKind.COPY_END


def test_copy_data_interrupts_a_unit_that_its_sync_ends_later(session: Session):
    unit, data, end = said(session, bind("s") + execute() + copy_data(b"1\n") + SYNC)

    assert isinstance(unit, Unit)
    assert unit.is_open
    assert isinstance(data, Chunk)
    assert data.kind is ChunkKind.COPY_DATA
    assert isinstance(end, Chunk)
    assert end.kind is ChunkKind.SYNC


def test_long_copy_data_interrupts_a_unit_too(session: Session):
    head, tail = begun(copy_data(bytes(2 * STREAM_LIMIT)))

    unit, data, _, end = said(session, parse("", "copy t from stdin") + RUN + head, tail + SYNC)

    assert isinstance(unit, Unit)
    assert unit.is_open
    assert isinstance(data, Chunk)
    assert data.kind is ChunkKind.COPY_DATA
    assert isinstance(end, Chunk)
    assert end.kind is ChunkKind.SYNC


# Goodbye...


def test_a_goodbye_comes_behind_everything_else(session: Session):
    unit, goodbye = said(session, query("select 1") + TERMINATE)

    assert isinstance(unit, Unit)
    assert isinstance(goodbye, Chunk)
    assert goodbye.kind is ChunkKind.TERMINATE
    assert spelled(goodbye) == b""


# What no PostgreSQL client sends...


@pytest.mark.parametrize("code", ["p", "R", "Z", "\0", "\x7f"])
def test_a_message_an_established_client_may_not_send_is_a_violation(
    session: Session, code: str
):
    with pytest.raises(ProtocolViolation, match="invalid frontend message type"):
        session.receive(message(code))


@pytest.mark.parametrize("length", [0, 3, 0x40000000, 0xFFFFFFFF])
def test_an_impossible_length_is_a_violation(session: Session, length: int):
    with pytest.raises(ProtocolViolation, match="invalid message length"):
        session.receive(b"Q" + struct.pack("!I", length))


@pytest.mark.parametrize(
    "frame", [message("Q"), message("Q", b"select 1"), message("Q", b"a\0b\0")]
)
def test_a_query_that_does_not_end_with_its_only_zero_byte_is_a_violation(
    session: Session, frame: bytes
):
    with pytest.raises(ProtocolViolation, match="invalid message format"):
        session.receive(frame)
    with pytest.raises(ProtocolViolation, match="invalid message format"):
        session.receive(SYNC + frame)


# Parameters...


def test_what_is_waiting_is_not_trusted_any_more_once_texts_cannot_be_read(session: Session):
    session.receive(query("select 1"))
    session.receive(query("select '" + "x" * 20_000 + "'"))
    first, later = session.pending
    later.script = None

    session.adopt_parameters(
        session.knowledge.parameters.intern({"standard_conforming_strings": "off"})
    )
    assert session.opaque
    assert first.script is OPAQUE
    assert later.script is None

    session.adopt_parameters(session.knowledge.parameters.intern({}))
    assert not session.opaque


def test_a_session_whose_transactions_are_serializable_reads_nowhere_else(session: Session):
    session.adopt_parameters(
        session.knowledge.parameters.intern({"default_transaction_isolation": "serializable"})
    )
    assert session.isolation == SERIALIZABLE
    assert not session.plain


def test_the_name_of_the_application_is_the_one_it_has_set(session: Session):
    session.adopt_parameters(session.knowledge.parameters.intern({"application_name": "job"}))
    assert session.application_name == "job"


def test_the_search_path_is_the_one_it_has_set(session: Session):
    assert session.search_path is None
    session.adopt_parameters(session.knowledge.parameters.intern({"search_path": "a, b"}))
    assert session.search_path == "a, b"


def test_reads_of_a_session_in_session_mode_are_not_plain(session: Session):
    session.mode = PoolMode.STATEMENT
    session.review()
    assert session.plain

    session.mode = PoolMode.SESSION
    session.review()
    assert not session.plain
