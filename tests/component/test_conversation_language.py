"""The conversation language itself: a conversation that is not so fails, and what must not happen is noticed."""

from __future__ import annotations

import pytest

from rwsplit.exchange.waits import Waiting
from rwsplit.server.server import Server
from tests.component.conversations.plain_reads import CONVERSATIONS as READS
from tests.support import frames
from tests.support.conversation import books
from tests.support.conversation.asker import Asker
from tests.support.conversation.backend import Backend
from tests.support.conversation.player import on_stage, play
from tests.support.conversation.stage import Stage
from tests.support.conversation.steps import (
    Conversation,
    Step,
    a_query,
    an_error,
    answers,
    gets,
    gone,
    hears,
    is_,
    leaves,
    opens,
    rows,
    says,
    sends,
    strikes,
    waits,
)
from tests.support.conversation.sweep import cases, failure
from tests.support.conversation.wording import lines
from tests.support.conversation.world import World

ASKED = (says("a", frames.query("select 1")), gets("n1", frames.query("select 1")))


@pytest.fixture
def world() -> World:
    return World("n0")


def asker(world: World, name: str = "a") -> Asker:
    world.parameters[name] = {}
    world.bases[name] = {}
    return Asker(world, name)


# What is told must be so...


def test_a_conversation_that_is_so_is_played_to_its_end():
    play(Conversation("it is so", *ASKED, answers("n1"), hears("a", *rows("select 1"))))


@pytest.mark.parametrize(
    ("steps", "says_so"),
    [
        (
            (says("a", frames.query("select 1")), gets("n1", frames.query("select 2"))),
            "was to come",
        ),
        ((says("a", frames.query("select 1")), answers("n1")), "nobody has told that n1 got"),
        ((says("a", frames.query("select 1")),), "nobody has told that n1 got"),
        ((*ASKED, answers("n1")), "nobody has told that a heard"),
        ((*ASKED, answers("n1"), hears("a", an_error("40001"))), "was to come"),
        ((*ASKED, gets("n1", a_query("1"))), "was to come"),
        ((*ASKED, answers("n2")), "n2 was asked nothing"),
        ((*ASKED, sends("n7", frames.ready())), "there is no n7"),
        ((*ASKED, is_("n1", "idle")), "it is held"),
        ((*ASKED, waits("a", Waiting.NODE)), "it waits None"),
        ((*ASKED, gone("a")), "a is still there"),
        ((*ASKED, strikes("n1")), "no cancel request"),
        ((*ASKED, opens("n1")), "rwsplit opens no server of n1"),
        ((*ASKED, leaves("a")), "nobody has told of the cancel requests for ['n1']"),
        ((says("a", b"?\0\0\0\4"), hears("a", an_error("40001"))), "was to come"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_conversation_that_is_not_so_fails(steps: tuple[Step, ...], says_so: str):
    with pytest.raises(AssertionError) as raised:
        play(Conversation("it is not so", *steps))
    assert says_so in str(raised.value)


def test_messages_are_told_in_lines_that_leave_nothing_out():
    said = frames.parse("s", "select $1", 25) + frames.bind("s", value=b"x") + b"Q\0\0"
    assert lines(said, from_client=True) == [
        "Parse 's': 'select $1' types 00000019",
        "Bind '' of 's' with b'\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\x01x\\x00\\x00'",
        "(unfinished) b'Q\\x00\\x00'",
    ]
    heard = frames.error("40001", "no") + frames.row("1") + frames.parameter("a", "b")
    assert lines(heard, from_client=False) == [
        "ErrorResponse ERROR 40001 'no' {'R': 'somewhere'}",
        "DataRow ['1']",
        "ParameterStatus a = 'b'",
    ]


# What must not happen...


@pytest.mark.parametrize(
    ("heard", "problem"),
    [
        (frames.ready(), "an end without an answer"),
        (frames.PARSE_COMPLETE, "what it has not asked for"),
        (2 * b"".join(rows("select 1")), "what it has not asked for"),
        (2 * frames.error(), "an error it has not asked for"),
        (frames.error(severity="FATAL") + frames.ready(), "more behind the end"),
        (b"".join(rows("select 2")), "the answer to something else"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_client_notices_what_is_not_its_answer(world: World, heard: bytes, problem: str):
    client = asker(world)
    asker(world, "b").says(frames.query("select 2"))
    client.says(frames.query("select 1"))
    client.hears(heard)
    assert problem in world.problems[0]


def test_a_write_that_is_sent_twice_is_noticed(world: World):
    asker(world).says(frames.query("insert into t values (1)"))
    for node in ("n0", "n1"):
        assert not world.problems
        Backend(world, node).take(frames.query("insert into t values (1)"))
    assert world.problems


@pytest.mark.parametrize("left", ["begin; select 'a'", "listen a"])
def test_what_runs_among_what_another_has_left_is_noticed(world: World, left: str):
    backend = Backend(world, "n0")
    for name, text in (("a", left), ("b", "select 'b'")):
        asker(world, name).says(frames.query(text))
        backend.take(frames.query(text))
        assert not world.problems
        backend.answer()
    assert world.problems


def test_what_runs_with_anothers_parameters_is_noticed_by_who_is_told_of_it(world: World):
    backend, client = Backend(world, "n0"), asker(world)
    backend.take(frames.query("set work_mem = '1MB'"))
    backend.answer()
    client.says(frames.query("select 1"))
    backend.take(frames.query("select 1"))
    client.hears(backend.answer())
    assert "the answer to something else" in world.problems[0]


def test_the_books_of_a_relay_at_rest_are_looked_through():
    async def act(stage: Stage, _: Conversation) -> None:
        books.check(stage)
        assert not stage.world.problems
        server: Server = stage.servers["n0"].server
        server.soil()
        server.cancels = 1
        stage.relay.counters.load[0] = 1
        client = stage.ends["a"].client
        client.in_flight = 1
        client.server = server
        books.check(stage)
        found, stage.world.problems = stage.world.problems, []
        assert len(found) == 6, found

    on_stage(Conversation("nothing is said", *ASKED), act)


def test_a_case_that_does_not_come_to_rest_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch):
    [case, *_] = cases(READS[0])
    assert not failure(case)
    monkeypatch.setattr(Backend, "answer", lambda _: b"")
    assert "is never answered" in failure(case)
