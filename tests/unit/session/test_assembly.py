"""Messages of the extended protocol become units; names become rwsplit's own."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from rwsplit.errors import ProtocolViolation
from rwsplit.protocol import codes
from rwsplit.protocol.framing import MOST_NAME
from rwsplit.protocol.looks import Overheard
from rwsplit.protocol.responses import FORWARD, SWALLOW
from rwsplit.session.chunk import Chunk, ChunkKind
from rwsplit.session.frames import STREAM_LIMIT
from rwsplit.session.inband_settings import InBandSettings
from rwsplit.session.prepared import PARSED, Prepared
from rwsplit.session.session import Session
from rwsplit.session.stand_ins import NOTHING, OPAQUE, ORPHAN, merge
from rwsplit.session.unit import Unit
from rwsplit.sql.cache import INLINE_LIMIT
from rwsplit.sql.script import Script
from rwsplit.sql.statement import Hints, Statement, Verb
from tests.support.frames import (
    COLUMNS,
    FLUSH,
    SYNC,
    bind,
    close,
    close_portal,
    describe,
    describe_portal,
    execute,
    message,
    parse,
    query,
)
from tests.unit.session.pieces import one, said, spelled

RUN = bind() + execute()
LONG = "select '" + "x" * INLINE_LIMIT + "'"


def known_as(session: Session, name: str) -> Prepared:
    return session.names[name.encode()]


# Named statements...


def test_a_parse_of_a_name_gets_a_name_of_ours_and_is_sent_if_the_server_needs_it(
    session: Session,
):
    unit = one(session, parse("s1", "select 1") + SYNC)

    mine = known_as(session, "s1")
    assert unit.piece.parts == [mine, SYNC]
    assert unit.piece.plan == [PARSED]
    assert list(unit.piece.taught) == [(b"s1", mine)]
    assert not unit.executes
    assert not unit.row_limit
    assert unit.script is mine.script


def test_a_bind_uses_the_statement_under_our_name(session: Session):
    one(session, parse("s1", "select 1") + SYNC)
    mine = known_as(session, "s1")

    unit = one(session, describe_portal() + bind("s1", portal="p") + execute("p") + SYNC)

    ours = mine.name.decode()
    assert spelled(unit) == describe_portal() + bind(ours, portal="p") + execute("p") + SYNC
    assert list(unit.piece.needs) == [mine]
    assert unit.piece.plan is None
    assert unit.executes
    assert unit.script is mine.script


def test_a_statement_parsed_and_used_in_one_unit_needs_nothing_from_before(session: Session):
    unit = one(session, parse("s1", "select 1") + bind("s1") + execute() + SYNC)

    assert list(unit.piece.needs) == []
    assert unit.piece.plan == [PARSED, FORWARD, FORWARD]


def test_equal_texts_of_two_sessions_are_one_statement(session: Session):
    other = Session(
        session.knowledge, user="app", database="shop", parameters=session.parameters
    )

    one(session, parse("mine", "select 1") + SYNC)
    one(other, parse("yours", "select 1") + SYNC)

    assert known_as(session, "mine") is known_as(other, "yours")


def test_a_described_statement_is_named_as_the_server_knows_it(session: Session):
    one(session, parse("s1", "select 1") + SYNC)
    mine = known_as(session, "s1")

    unit = one(session, describe("s1") + SYNC)

    assert spelled(unit) == describe(mine.name.decode()) + SYNC
    assert list(unit.piece.needs) == [mine]


def test_a_name_nobody_made_is_left_for_postgresql_to_miss(session: Session):
    unit = one(session, bind("s1") + describe("s2") + SYNC)

    assert spelled(unit) == bind("s1") + describe("s2") + SYNC
    assert unit.script is ORPHAN


def test_a_name_like_ours_finds_nothing_of_a_stranger(session: Session):
    unit = one(session, bind("rwsplit_1") + describe("rwsplit_1") + SYNC)

    assert spelled(unit) == bind("rwsplit_none") + describe("rwsplit_none") + SYNC


def test_a_name_in_use_is_refused_by_postgresql_and_nothing_stays_behind(session: Session):
    one(session, parse("s1", "select 1") + SYNC)
    mine = known_as(session, "s1")

    unit = one(session, parse("s1", "select 2") + parse("s1", "select 3") + SYNC)

    def refused(text: str) -> bytes:
        return close("s1") + parse("s1", "") + parse("s1", text)

    assert spelled(unit) == refused("select 2") + refused("select 3") + SYNC
    assert unit.piece.plan == [SWALLOW, SWALLOW, FORWARD] * 2
    assert unit.piece.litter == b"s1"
    assert known_as(session, "s1") is mine


def test_a_name_made_by_prepare_is_judged_by_the_sessions_own_server(session: Session):
    session.names.in_sql[b"s1"] = True

    unit = one(session, parse("s1", "select 1") + SYNC)

    assert spelled(unit) == parse("s1", "select 1") + SYNC
    assert b"s1" not in session.names


def test_a_closed_statement_is_forgotten_by_the_session_and_kept_by_the_server(
    session: Session,
):
    one(session, parse("s1", "select 1") + SYNC)

    unit = one(session, close("s1") + SYNC)

    assert spelled(unit) == close("rwsplit_none") + SYNC
    assert b"s1" not in session.names
    assert unit.script is NOTHING


def test_closing_what_nobody_parsed_is_left_to_the_server(session: Session):
    unit = one(session, close("s1") + close_portal("p") + SYNC)

    assert spelled(unit) == close("s1") + close_portal("p") + SYNC


def test_one_statement_used_many_times_is_needed_once(session: Session):
    one(session, parse("s1", "select 1") + SYNC)

    unit = one(session, (bind("s1") + execute()) * 3 + SYNC)

    assert set(unit.piece.needs) == {known_as(session, "s1")}


# The unnamed statement...


def test_the_unnamed_statement_keeps_its_empty_name(session: Session):
    unit = one(session, parse("", "select 1") + describe("") + RUN + SYNC)

    assert unit.piece.parts == [parse("", "select 1") + describe("") + RUN + SYNC]
    assert unit.piece.plan is not None
    assert isinstance(unit.piece.plan[1], Overheard)
    assert unit.piece.unnamed is None
    assert unit.piece.unnamed_parse is known_as(session, "")


def test_an_unnamed_statement_that_was_described_is_the_sessions_alone(session: Session):
    shared = session.scope.prepared.get(b"select 1\0\0\0", session.scope.place)
    one(session, parse("", "select 1") + SYNC)
    assert known_as(session, "") is shared

    unit = one(session, describe("") + SYNC)
    own = known_as(session, "")
    assert own is not shared
    assert unit.piece.unnamed is own

    session.scope.prepared.renew()
    assert one(session, RUN + SYNC).piece.unnamed is own
    assert own.version is session.scope.prepared.version
    one(session, parse("", "select 1") + SYNC)
    assert known_as(session, "") is not own


def test_an_unnamed_statement_that_its_own_unit_describes_is_the_sessions_alone(
    session: Session,
):
    unit = one(session, parse("", "select 1") + describe("") + SYNC)

    own = known_as(session, "")
    assert unit.piece.unnamed_parse is own
    assert own is not session.scope.prepared.get(b"select 1\0\0\0", session.scope.place)


@pytest.mark.parametrize("before", [b"", parse("a", "select 2")])
def test_what_its_client_is_told_of_an_unnamed_statement_is_known_of_that_one_only(
    session: Session, before: bytes
):
    shared = session.scope.prepared.get(b"select 1\0\0\0", session.scope.place)
    unit = one(session, before + parse("", "select 1") + describe("") + SYNC)
    [heard] = [step for step in unit.piece.plan or () if isinstance(step, Overheard)]

    heard.take(codes.ROW_DESCRIPTION, COLUMNS)

    own = known_as(session, "")
    assert own.told == heard.shape is not None
    assert shared.told is None
    assert one(session, RUN + SYNC).piece.unnamed is own


@pytest.mark.parametrize("text", ["show rwsplit.consistency", "execute p"])
def test_of_an_unnamed_statement_that_stands_for_another_nothing_is_overheard(
    session: Session, text: str
):
    one(session, parse("p", "select 1") + SYNC)
    unit = one(session, parse("", text) + describe("") + SYNC)

    assert not any(isinstance(step, Overheard) for step in unit.piece.plan or ())


def test_the_unnamed_statement_lives_across_syncs(session: Session):
    one(session, parse("", "select 1") + SYNC)

    unit = one(session, RUN + SYNC)

    assert spelled(unit) == RUN + SYNC
    assert unit.piece.unnamed is known_as(session, "")
    assert unit.piece.unnamed_parse is None
    assert list(unit.piece.needs) == []


def test_the_old_unnamed_statement_is_used_before_the_new_one_is_parsed(session: Session):
    one(session, parse("", "select 1") + SYNC)
    old = known_as(session, "")

    unit = one(session, RUN + parse("", "select 2") + RUN + SYNC)

    assert unit.piece.unnamed is old
    assert unit.piece.unnamed_parse is known_as(session, "")


@pytest.mark.parametrize("use", [bind(), describe("")])
def test_an_unnamed_statement_the_session_does_not_have_is_missed_by_postgresql(
    session: Session, use: bytes
):
    unit = one(session, use + SYNC)

    assert spelled(unit) == close("") + use + SYNC
    assert unit.piece.plan == [SWALLOW, FORWARD]


def test_a_query_or_a_close_ends_the_unnamed_statement_of_the_session(session: Session):
    said(session, parse("", "select 1") + SYNC, query("select 2"))
    assert b"" not in session.names

    said(session, parse("", "select 1") + SYNC)
    unit = one(session, close("") + SYNC)
    assert b"" not in session.names
    assert spelled(unit) == close("rwsplit_none") + SYNC


# Units as a whole...


def test_a_sync_alone_is_a_unit_that_any_server_answers(session: Session):
    unit = one(session, SYNC)

    assert spelled(unit) == SYNC
    assert unit.script is NOTHING
    assert not unit.executes


def test_an_execute_with_a_row_limit_is_noted(session: Session):
    one(session, parse("s1", "select 1") + SYNC)

    assert one(session, bind("s1") + execute(rows=5) + SYNC).row_limit


@pytest.mark.parametrize(
    ("portals", "expected"), [((), False), (("p",), False), (("q",), False), (("p", "q"), True)]
)
def test_a_unit_describes_what_it_runs_if_it_describes_all_of_its_portals(
    session: Session, portals: tuple[str, ...], expected: bool
):
    one(session, parse("a", "select 1") + parse("b", "select 2") + SYNC)
    described = b"".join(map(describe_portal, portals))

    unit = one(session, bind("a", portal="p") + bind("b", portal="q") + described + SYNC)

    assert unit.describes is expected


def test_facts_of_a_unit_are_those_of_all_its_statements(session: Session):
    unit = one(
        session,
        parse("a", "/* rwsplit: replica */ select 1") + parse("b", "delete from t") + SYNC,
    )

    assert unit.script is not None
    assert unit.script.may_write
    assert unit.script.hints == Hints(route="replica")
    assert len(unit.script.statements) == 2


def test_scripts_that_a_replica_refused_stay_refused_together():
    refused = Script((Statement(Verb.QUERY),))
    refused.cost.writes = True

    assert merge([Script(()), refused]).cost.writes


def test_a_long_text_is_waited_for(session: Session):
    unit = one(session, parse("s1", LONG) + parse("s2", "select 1") + bind("s1") + SYNC)

    assert unit.script is None
    assert list(unit.waiting_for) == [LONG.encode()] * 2


# In-band settings and SQL-level names...


def test_an_in_band_setting_takes_effect_and_its_answer_is_postgresqls(session: Session):
    unit = one(session, parse("", "SET rwsplit.route = 'primary'") + RUN + SYNC)

    assert session.in_band.route == "primary"
    assert spelled(unit) == parse("", "SET rwsplit.route TO DEFAULT") + RUN + SYNC


def test_an_in_band_setting_that_was_prepared_takes_effect_each_time(session: Session):
    one(session, parse("s", "SET rwsplit.route = 'primary'") + bind("s") + execute() + SYNC)
    session.in_band = InBandSettings(route="auto")

    unit = one(session, bind("s") + execute() + SYNC)

    assert session.in_band.route == "primary"
    assert list(unit.piece.needs) == [known_as(session, "s")]


@pytest.mark.parametrize("name", ["", "s"])
def test_what_was_prepared_to_show_a_setting_shows_what_it_is_now(session: Session, name: str):
    one(session, parse(name, "SHOW rwsplit.route") + bind(name) + execute() + SYNC)
    before = known_as(session, name)
    session.in_band = InBandSettings(route="replica")

    unit = one(session, bind(name) + execute() + SYNC)

    shown = known_as(session, name)
    assert shown is not before
    assert b"E'replica'" in shown.query
    assert shown in (unit.piece.unnamed, *unit.piece.needs)
    assert one(session, bind(name) + execute() + SYNC)
    assert known_as(session, name) is shown


def test_a_text_shown_in_the_unit_that_parses_it_is_as_it_was_parsed(session: Session):
    one(
        session,
        parse("s", "SHOW rwsplit.route")
        + parse("", "SET rwsplit.route = 'replica'")
        + bind("s")
        + SYNC,
    )

    assert b"E'auto'" in known_as(session, "s").query


def test_in_a_failed_transaction_postgresql_answers_for_itself(session: Session):
    session.tx = codes.FAILED

    unit = one(session, parse("s", "SET rwsplit.route = 'primary'") + bind("s") + SYNC)

    assert session.in_band.route == "auto"
    assert b"SET rwsplit.route = 'primary'" in spelled(unit)


def test_execute_of_a_statement_prepared_through_the_protocol_finds_it(session: Session):
    one(session, parse("s1", "select $1") + SYNC)
    mine = known_as(session, "s1")

    unit = one(session, parse("", "EXECUTE s1(5)") + RUN + SYNC)

    assert spelled(unit) == parse("", f"EXECUTE {mine.name.decode()}(5)") + RUN + SYNC
    assert list(unit.piece.needs) == [mine]
    assert unit.script is mine.script


def test_deallocate_through_the_protocol_drops_the_name(session: Session):
    one(session, parse("s1", "select 1") + SYNC)
    mine = known_as(session, "s1")

    unit = one(session, parse("", "DEALLOCATE s1") + RUN + SYNC)

    assert b"s1" not in session.names
    [dropped] = unit.piece.drops
    assert dropped.query == b"/*%s*/" % mine.name
    assert b'DEALLOCATE "%s"' % dropped.name in spelled(unit)


def test_execute_of_a_name_the_protocol_did_not_make_is_left_to_the_server(session: Session):
    unit = one(session, parse("", "EXECUTE s1(5)") + RUN + SYNC)

    assert spelled(unit) == parse("", "EXECUTE s1(5)") + RUN + SYNC


def test_deallocate_all_through_the_protocol_forgets_every_name(session: Session):
    one(session, parse("s1", "select 1") + SYNC)

    one(session, parse("", "DEALLOCATE ALL") + RUN + SYNC)

    assert session.names.keys() == {b""}


@pytest.mark.parametrize("text", ["DEALLOCATE ALL", "DISCARD ALL"])
def test_a_statement_that_is_only_parsed_has_no_effect_yet(session: Session, text: str):
    one(session, parse("s1", "select 1") + parse("all", text) + SYNC)

    parsed = one(session, parse("", text) + SYNC)
    described = one(session, bind("all") + SYNC)

    assert parsed.piece.effects is None
    assert described.piece.effects is None
    assert session.names.keys() == {b"", b"s1", b"all"}

    executed = one(session, bind("all") + execute() + SYNC)

    assert executed.piece.effects is not None
    assert executed.piece.effects.discards == (text == "DISCARD ALL")
    assert session.names.keys() == {b""}


def test_texts_that_cannot_be_lexed_may_do_anything(session: Session):
    session.opaque = True

    unit = one(session, parse("s1", "select 1") + bind("s1") + execute() + SYNC)

    assert unit.script is OPAQUE
    assert known_as(session, "s1").script is OPAQUE


# Messages too long to be held...


def begun(frame: bytes) -> tuple[bytes, bytes]:
    """Cut a long *frame* where it has to be passed on."""
    return frame[:STREAM_LIMIT], frame[STREAM_LIMIT:]


def test_a_long_bind_is_passed_on_under_our_name_as_it_comes(session: Session):
    one(session, parse("s1", "select $1") + SYNC)
    ours = known_as(session, "s1").name.decode()
    value = b"x" * (2 * STREAM_LIMIT)
    head, tail = begun(bind("s1", value=value))

    unit, rest, end = said(session, head, tail + execute() + SYNC)

    assert isinstance(unit, Unit)
    assert unit.is_open
    assert list(unit.piece.needs) == [known_as(session, "s1")]
    assert isinstance(rest, Chunk)
    assert rest.kind is ChunkKind.REST
    assert isinstance(end, Chunk)
    assert end.kind is ChunkKind.SYNC
    everything = spelled(unit) + spelled(rest) + spelled(end)
    assert everything == bind(ours, value=value) + execute() + SYNC


def test_a_long_bind_of_the_unnamed_statement_is_passed_on_as_it_is(session: Session):
    said(session, parse("", "select $1") + SYNC)
    head, tail = begun(bind("", value=b"x" * STREAM_LIMIT))

    unit, rest, _ = said(session, describe_portal() + head, tail + SYNC)

    assert spelled(unit) + spelled(rest) == describe_portal() + head + tail
    assert isinstance(unit, Unit)
    assert unit.piece.unnamed is known_as(session, "")


def test_a_long_bind_of_an_unnamed_statement_nobody_made_is_missed(session: Session):
    head, tail = begun(bind("", value=b"x" * STREAM_LIMIT))

    unit, rest, _ = said(session, head, tail + SYNC)

    assert spelled(unit) + spelled(rest) == close("") + head + tail
    assert isinstance(unit, Unit)
    assert unit.piece.plan == [SWALLOW, FORWARD]


@pytest.mark.parametrize("name", ["", "s1"])
def test_a_parse_too_long_to_be_understood_may_do_anything(session: Session, name: str):
    said(session, parse("s1", "select 1") + SYNC)
    frame = parse(name, "select '" + "x" * 2_000_000 + "'")
    head, tail = begun(frame)

    unit, rest, end = said(session, head, tail + bind(name) + SYNC)

    assert isinstance(unit, Unit)
    assert unit.script is OPAQUE
    assert spelled(unit) + spelled(rest) + spelled(end) == frame + bind(name) + SYNC
    assert isinstance(end, Chunk)
    assert end.unnamed is None


def test_the_unnamed_statement_too_long_to_be_understood_is_still_there_afterwards(
    session: Session,
):
    head, tail = begun(parse("", "select '" + "x" * 2_000_000 + "'"))
    unit, _, _ = said(session, head, tail + SYNC)

    again = one(session, RUN + SYNC)

    assert isinstance(unit, Unit)
    assert unit.piece.unnamed_parse is again.piece.unnamed is not None
    assert again.script is OPAQUE


def test_a_long_message_of_another_kind_may_do_anything(session: Session):
    frame = message("E", b"\0" + bytes(2 * STREAM_LIMIT))
    head, tail = begun(frame)

    unit, rest, end = said(session, head, tail + FLUSH)

    assert isinstance(unit, Unit)
    assert unit.script is OPAQUE
    assert spelled(unit) + spelled(rest) == frame
    assert isinstance(end, Chunk)
    described = message("D", b"S" + bytes(2 * STREAM_LIMIT))
    head, tail = begun(described)
    unit, rest, _ = said(session, SYNC + head, tail + SYNC)[1:]
    assert spelled(unit) + spelled(rest) == described


# What no PostgreSQL client sends...


@pytest.mark.parametrize(
    "frame",
    [
        message("P"),
        message("P", b"s1"),
        message("P", b"s1\0select 1"),
        message("B", b"p"),
        message("B", b"p\0s1"),
        message("D", b"Ss1"),
        message("C", b"Ss1"),
        message("D") + SYNC,
        b"B" + struct.pack("!I", 4),
    ],
)
def test_a_name_or_text_without_its_zero_byte_is_a_violation(session: Session, frame: bytes):
    with pytest.raises(ProtocolViolation):
        session.receive(frame)


def test_a_name_like_ours_given_twice_never_meets_somebody_elses_statement(session: Session):
    one(session, parse("rwsplit_3", "select 1") + SYNC)

    sent = spelled(one(session, parse("rwsplit_3", "select 2") + SYNC))

    assert b"rwsplit_3\0" not in sent
    assert b"rwsplit_none\0" in sent


def test_an_execute_behind_a_comment_says_the_servers_name(session: Session):
    one(session, parse("s1", "select 1") + SYNC)

    unit = one(session, query("/* so */ execute s1"))

    assert b"/* so */ execute rwsplit_" in spelled(unit)


def test_an_execute_behind_a_comment_in_a_comment_is_left_to_the_server(session: Session):
    one(session, parse("s1", "select 1") + SYNC)

    unit = one(session, query("/* /* so */ */ execute s1"))

    assert b"execute s1" in spelled(unit)


@pytest.mark.parametrize(
    "text",
    [
        "execute rwsplit_999",
        'deallocate "rwsplit_999"',
        "prepare rwsplit_999 as select 1",
        "select 1; execute rwsplit_999",
        "execute /* /* */ */ rwsplit_999",
        "deallocate /*" + "x" * 3000 + "*/ rwsplit_999",
        "explain analyze execute rwsplit_999(2)",
        "create temp table t as execute rwsplit_999",
        "EXPLAIN create table t as execute RWSPLIT_999",
    ],
)
def test_nobody_gets_at_a_statement_by_our_name_for_it(session: Session, text: str):
    assert spelled(one(session, query(text))) == query("EXECUTE rwsplit_none")
    if ";" not in text:  # which PostgreSQL refuses
        parsed = spelled(one(session, parse("", text) + bind() + execute() + SYNC))
        assert parsed.startswith(parse("", "EXECUTE rwsplit_none"))
        assert b"rwsplit_999" not in parsed.lower()


@pytest.mark.parametrize(
    "message",
    [
        lambda name: parse(name, "select 1"),
        bind,
        lambda name: bind("", portal=name),
        describe,
        close,
    ],
)
def test_a_name_has_so_many_bytes(session: Session, message: Callable[[str], bytes]):
    session.receive(message("x" * MOST_NAME) + SYNC)
    with pytest.raises(ProtocolViolation, match="a name of more than 1024 bytes"):
        session.receive(message("x" * (MOST_NAME + 1)) + SYNC)


def test_a_statement_of_which_much_is_known_counts_each_time_it_is_bound(session: Session):
    sets = ", ".join(f"set_config('a.x{number}', '', false)" for number in range(40))
    effort = session.knowledge.effort
    one(session, parse("s", f"select {sets}") + SYNC)
    before = effort.words
    one(session, (bind("s") + execute()) * 20 + SYNC)
    assert effort.words - before >= 20 * 40 // 8


def test_an_open_unit_forgets_what_its_pieces_have_called(session: Session):
    session.receive(parse("s", "select 1") + bind("s") + execute() + FLUSH)
    for _ in range(3):
        session.receive(bind("s") + execute() + FLUSH)
    assert [
        len(item.piece.called if isinstance(item, Unit) else item.called)
        for item in session.pending
    ] == [1, 1, 1, 1]


# The end of a failed transaction...

END = parse("", "rollback") + RUN


def test_what_needs_to_be_taught_is_sent_apart_from_the_end_of_a_failed_transaction(
    session: Session,
):
    """A server in a failed transaction refuses the Parse that would have to come in front."""
    one(session, parse("s1", "select 1") + SYNC)
    mine = known_as(session, "s1")
    session.tx = codes.FAILED

    unit, rest = said(session, END + bind("s1") + execute() + SYNC)

    assert isinstance(unit, Unit)
    assert unit.is_open
    assert spelled(unit) == END
    assert list(unit.piece.needs) == []
    assert isinstance(rest, Chunk)
    assert rest.kind is ChunkKind.SYNC
    assert spelled(rest) == bind(mine.name.decode()) + execute() + SYNC
    assert list(rest.needs) == [mine]


@pytest.mark.parametrize("before", [b"", describe_portal("p")])
def test_it_is_sent_apart_wherever_the_bytes_of_the_client_are_cut(
    session: Session, before: bytes
):
    one(session, parse("s1", "select 1") + SYNC)
    ours = known_as(session, "s1").name.decode()
    session.tx = codes.FAILED

    unit, rest = said(session, END, before + describe("s1"), SYNC)

    assert spelled(unit) == END + before
    assert spelled(rest) == describe(ours) + SYNC


@pytest.mark.parametrize("before", [b"", FLUSH, describe_portal("p")])
def test_it_is_sent_apart_though_it_is_too_long_to_be_held(session: Session, before: bytes):
    one(session, parse("s1", "select $1") + SYNC)
    ours = known_as(session, "s1").name.decode()
    session.tx = codes.FAILED
    value = b"x" * (2 * STREAM_LIMIT)
    long = bind("s1", value=value)

    unit, *chunks = said(session, END + before + long[:-1], long[-1:] + SYNC)

    assert isinstance(unit, Unit)
    assert unit.is_open
    assert spelled(unit) == END + before
    assert b"".join(map(spelled, chunks)) == bind(ours, value=value) + SYNC


@pytest.mark.parametrize("name", ["", "s1"])
def test_what_is_parsed_behind_the_end_of_a_failed_transaction_goes_with_it(
    session: Session, name: str
):
    session.tx = codes.FAILED

    unit = one(session, END + parse(name, "select 1") + bind(name) + execute() + SYNC)

    ours = known_as(session, name).name.decode() if name else ""
    assert not unit.is_open
    assert spelled(unit) == END + parse(ours, "select 1") + bind(ours) + execute() + SYNC
    assert list(unit.piece.needs) == []


def test_in_a_transaction_that_has_not_failed_nothing_is_sent_apart(session: Session):
    one(session, parse("s1", "select 1") + SYNC)
    mine = known_as(session, "s1")
    session.tx = codes.IN_TRANSACTION

    unit = one(session, END + bind("s1") + execute() + SYNC)

    assert spelled(unit) == END + bind(mine.name.decode()) + execute() + SYNC
    assert list(unit.piece.needs) == [mine]
