"""When a session may end with its replica, as the tests under fire judge it."""

from __future__ import annotations

import pytest

from rwsplit.protocol.responses import HOLD_LIMIT
from tests.support.ends import End, Why
from tests.support.raw_client import Frame
from tests.support.scripts import SYNC, Line, Script, Step, bind, execute, parse, query
from tests.support.twin import Answer

LOST = (
    Frame(b"E", b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0"),
    Frame(b"!", b"EOFError"),
)
#: What is answered behind each step.
MARKED = (Frame(b"Z", b"I"), *[Frame(b"3", b"")] * 5, Frame(b"Z", b"I"))


def done(tag: str, status: str) -> tuple[Frame, Frame]:
    return Frame(b"C", tag.encode() + b"\0"), Frame(b"Z", status.encode())


def answer(*frames: Frame) -> Answer:
    return Answer(frames, ())


def ended(
    lines: tuple[Line, ...], answered: tuple[Frame, ...], *, said: tuple[Frame, ...] = ()
) -> End:
    """Return the end of a session that has got *answered* to *lines*; PostgreSQL says *said* behind that."""
    script = Script((Step(lines),))
    return End(script, [answer(*answered, *said, *MARKED)], [answer(*answered, *LOST)])


@pytest.mark.parametrize(
    ("begin", "read", "why"),
    [
        ("begin", "select 1", None),
        ("begin read only", "select count(*) from kept", None),
        ("begin", "show work_mem", None),
        ("begin", "select currval('kept_seq')", Why.BOUND),  # nothing is demanded
        ("begin isolation level repeatable read read only", "select 1", Why.BOUND),
        ("begin", "select now() = transaction_timestamp()", Why.BOUND),
        ("begin", "declare c cursor for select generate_series(1, 4)", Why.BOUND),
    ],
)
def test_a_transaction_need_not_end_if_it_has_only_read(begin: str, read: str, why: Why | None):
    lines = (query(begin), query(read), query("select 1"))
    end = ended(lines, (*done("BEGIN", "T"), *done("SELECT 1", "T")))
    assert end.why is why
    assert (end.complaint is None) is (why is not None)


@pytest.mark.parametrize(
    ("portal", "limit", "why"), [("", 0, None), ("p", 0, Why.BOUND), ("", 1, Why.BOUND)]
)
def test_a_portal_that_may_be_executed_further_binds(portal: str, limit: int, why: Why | None):
    said = (parse("select 1", "a"), bind("a", (), portal=portal), execute(portal, limit=limit))
    lines = (query("begin"), *said, SYNC, query("select 1"))
    assert ended(lines, (*done("BEGIN", "T"), *done("SELECT 1", "T"))).why is why


def test_outside_a_transaction_none_need_end_whatever_was_said_before():
    before = done("BEGIN", "T") + done("SELECT 1", "T") + done("COMMIT", "I")
    bound = "begin isolation level repeatable read read only"
    lines = (query(bound), query("select 1"), query("commit"), query("select 1"))
    assert ended(lines, before).why is None


@pytest.mark.parametrize(("size", "why"), [(HOLD_LIMIT, Why.BEGUN), (HOLD_LIMIT // 2, None)])
def test_an_answer_that_has_begun_binds_if_it_was_too_long_to_be_kept_back(
    size: int, why: Why | None
):
    assert ended((query("select 1"),), (Frame(b"D", bytes(size)),)).why is why


def test_what_it_was_told_last_must_be_the_beginning_of_postgresqls_answer():
    rows = Frame(b"D", bytes(HOLD_LIMIT))
    end = ended((query("select 1"),), (rows,))
    assert end.complaint is None
    wrong = End(end.script, end.direct, [answer(rows, rows, *LOST)])
    assert "not the beginning" in (wrong.complaint or "")


@pytest.mark.parametrize(
    "last",
    [
        LOST[1:],
        (Frame(b"E", b"SERROR\0VERROR\0C57P01\0\0"), LOST[1]),
        (Frame(b"E", b"SFATAL\0VFATAL\0CXX000\0\0"), LOST[1]),
        (LOST[0], Frame(b"!", b"TimeoutError")),
    ],
    ids=["nothing", "no FATAL", "another state", "no end"],
)
def test_it_must_be_told_why_and_then_be_closed(last: tuple[Frame, ...]):
    end = ended((query("select 1"),), (Frame(b"D", bytes(HOLD_LIMIT)),))
    mute = End(end.script, end.direct, [answer(*end.frames, *last)])
    assert "without a word" in (mute.complaint or "")


def test_what_survives_is_what_was_answered():
    lines = (query("insert"), parse("select 1"), bind(), execute(), SYNC, query("delete"))
    before = Step((query("begin"),))
    script = Script((before, Step(lines), Step((query("commit"),))))
    whole = answer(*done("", "T") * 3, *MARKED)
    for count, survivors in ((0, ()), (1, lines[:1]), (2, lines[:5])):
        ours = [answer(*done("", "T"), *MARKED), answer(*done("", "T") * count, *LOST)]
        steps = End(script, [whole] * 3, ours).survivor.steps
        assert steps == ((before, Step(survivors)) if survivors else (before,))
        assert End(script, [whole] * 3, ours).survivor.leaves


def test_a_sync_that_a_copy_ignores_ends_no_unit():
    copy = (parse("copy kept_ref from stdin"), bind(), execute(), SYNC)
    lines = (*copy, Line("copy_data", (b"1\t5\n",)), Line("COPY_DONE"), SYNC, query("select 1"))
    whole = answer(*done("COPY 1", "I"), *done("SELECT 1", "I"), *MARKED)
    ours = answer(*done("COPY 1", "I"), *LOST)
    [step] = End(Script((Step(lines),)), [whole], [ours]).survivor.steps
    assert step.lines == lines[:-1]
