"""Statements on pooled servers: what a server is taught, closed, and what is taken back."""

from __future__ import annotations

from itertools import count

import pytest

from rwsplit.protocol.looks import Look, Shape
from rwsplit.protocol.responses import FORWARD, SWALLOW, Owed, Step
from rwsplit.session.knowledge import Knowledge
from rwsplit.session.parameters import NONE
from rwsplit.session.prepared import (
    PARSE_COMPLETE,
    PARSED,
    SHARED_LIMIT,
    SYNC,
    Part,
    Prepared,
    PreparedRegistry,
)
from rwsplit.session.session import Session
from rwsplit.session.teaching import Lesson, ServerState, compose, unlearn
from rwsplit.sql.cache import INLINE_LIMIT
from rwsplit.sql.classify import parse as parse_facts
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.script import Script
from rwsplit.sql.statement import PrimaryOnly
from tests.support.frames import bind, close, describe, execute, parse

NO_TYPES = b"\0\0\0"


def statement(number: int) -> Prepared:
    query = b"select %d" % number
    return Prepared(b"rwsplit_%d" % number, query + NO_TYPES, query, Script(()))


LOOK = -2
"""Stands for the answer to a Describe of rwsplit's own."""
ONE, TWO, THREE = statement(1), statement(2), statement(3)


def parsed(prepared: Prepared, name: str | None = None) -> bytes:
    """Return the Parse that teaches *prepared*, under its own name unless told otherwise."""
    return parse(prepared.name.decode() if name is None else name, prepared.query.decode())


def taught(prepared: Prepared) -> bytes:
    """Return what teaches *prepared*, and asks what it is."""
    return parsed(prepared) + describe(prepared.name.decode())


def closed(prepared: Prepared) -> bytes:
    return close(prepared.name.decode())


class Conversation:
    """One server and the units composed for it."""

    def __init__(self, *known: Prepared, limit: int = 10) -> None:
        self.server = ServerState()
        self.limit = limit
        self.lessons: list[Lesson] = []
        for prepared in known:
            self.sends(needs=[prepared])
        self.lessons.clear()

    def sends(
        self,
        *parts: Part,
        needs: list[Prepared] | None = None,
        steps: list[Step] | None = None,
        unnamed: Prepared | None = None,
        may_omit: bool = True,
        first: int = 0,
        age: int = 0,
        listed: list[Prepared] | None = None,
    ) -> tuple[bytes, list[Step] | None]:
        """Return the bytes the server gets and the steps of its answers."""
        found = compose(
            self.server,
            list(parts),
            needs or [],
            steps,
            self.lessons,
            unnamed=unnamed,
            limit=self.limit,
            may_omit=may_omit,
            first=first,
            age=age,
            listed=listed,
        )
        sent = b"".join(self.server.out)
        self.server.out.clear()
        self.looks = [step for step in found or () if isinstance(step, Look)]
        answers: list[Step] | None = None if found is None else list(found)
        return sent, answers and [LOOK if isinstance(step, Look) else step for step in answers]

    @property
    def known(self) -> list[Prepared]:
        return list(self.server.known)


RUN = bind() + execute() + SYNC

# Identities...


def test_equal_texts_with_equal_types_are_one_statement(knowledge: Knowledge):
    registry = knowledge.prepared

    one = registry.get(b"select $1\0\0\1\0\0\0\x17")

    assert registry.get(b"select $1\0\0\1\0\0\0\x17") is one
    assert registry.get(b"select $1" + NO_TYPES).name != one.name
    assert one.query == b"select $1"
    assert one.script is knowledge.statements.lookup(b"select $1")
    assert repr(one) == "Prepared(b'rwsplit_1', b'select $1')"
    assert one.parse(b"x") == parse("x", "select $1", 23)


def test_the_longest_known_identity_makes_room_and_lives_on_with_its_users(
    knowledge: Knowledge,
):
    registry = PreparedRegistry(knowledge.statements, size=2)
    first = registry.get(b"select 1" + NO_TYPES)
    second = registry.get(b"select 2" + NO_TYPES)
    registry.get(b"select 3" + NO_TYPES)

    assert registry.get(b"select 2" + NO_TYPES) is second
    assert registry.get(b"select 1" + NO_TYPES).name != first.name


def test_a_private_identity_is_shared_with_nobody(knowledge: Knowledge):
    facts = Script(())
    mine = knowledge.prepared.private(b"select 1" + NO_TYPES, facts)

    assert mine.script is facts
    assert knowledge.prepared.get(b"select 1" + NO_TYPES) is not mine
    assert knowledge.prepared.private(b"select 1" + NO_TYPES, facts).name != mine.name


def test_facts_are_found_out_anew_under_the_same_identity(knowledge: Knowledge):
    registry = knowledge.prepared
    one = registry.get(b"select f()" + NO_TYPES)
    before = one.script

    knowledge.reconfigure(["f"], [])

    assert one.script is before
    assert registry.renewed(one) is one
    assert one.script is not None
    assert one.script.primary_only is None
    knowledge.reconfigure([], [])
    assert registry.get(b"select f()" + NO_TYPES) is one
    assert one.script is not None
    assert one.script.primary_only is PrimaryOnly.UNKNOWN_FUNCTION


def test_an_identity_of_another_registry_is_changed_for_one_of_this(knowledge: Knowledge):
    numbers = count(100)
    one, other = (PreparedRegistry(knowledge.statements, numbers=numbers) for _ in range(2))
    stranger = other.get(b"select 1" + NO_TYPES)

    mine = one.renewed(stranger)

    assert one.renewed(mine) is mine
    assert mine is one.get(b"select 1" + NO_TYPES)
    assert mine.name != stranger.name


def test_a_private_identity_stays_what_it_is(knowledge: Knowledge):
    mine = knowledge.prepared.private(b"select 1" + NO_TYPES, Script(()))

    assert knowledge.prepared.renewed(mine) is mine


def test_a_long_text_is_not_parsed_on_the_way_unless_its_facts_are_known(
    knowledge: Knowledge,
):
    long = b"select '" + b"x" * INLINE_LIMIT + b"'"

    assert knowledge.prepared.get(long + NO_TYPES).script is None


def test_a_very_long_text_is_not_remembered(knowledge: Knowledge):
    long = b"select '" + b"x" * SHARED_LIMIT + b"'" + NO_TYPES

    assert knowledge.prepared.get(long) is not knowledge.prepared.get(long)


# What a server is taught...


def test_a_new_server_knows_nothing():
    server = ServerState()

    assert not server.known
    assert server.unnamed is None
    assert server.parameters is NONE


def test_a_unit_that_needs_nothing_is_sent_as_it_is():
    assert Conversation().sends(RUN) == (RUN, None)


def test_what_a_server_lacks_is_parsed_ahead_and_the_answer_swallowed():
    conversation = Conversation()

    assert conversation.sends(RUN, needs=[ONE]) == (taught(ONE) + RUN, [SWALLOW, LOOK])
    assert conversation.sends(RUN, needs=[ONE]) == (RUN, None)


def test_a_parse_the_server_knows_already_is_left_out_and_its_answer_made_up():
    conversation = Conversation(ONE)

    sent = conversation.sends(ONE, RUN, steps=[PARSED, FORWARD, FORWARD])

    assert sent == (RUN, [PARSE_COMPLETE, FORWARD, FORWARD])


def test_a_parse_the_server_does_not_know_is_sent_under_our_name():
    conversation = Conversation()

    sent = conversation.sends(
        close("x"), ONE, RUN, steps=[SWALLOW, PARSED, FORWARD, FORWARD], needs=[TWO]
    )

    assert sent == (
        taught(TWO) + close("x") + taught(ONE) + RUN,
        [SWALLOW, LOOK, SWALLOW, FORWARD, LOOK, FORWARD, FORWARD],
    )
    assert conversation.known == [TWO, ONE]


def test_in_an_open_unit_a_known_statement_is_parsed_again():
    conversation = Conversation(ONE)

    sent = conversation.sends(ONE, steps=[PARSED], may_omit=False)

    assert sent == (closed(ONE) + taught(ONE), [SWALLOW, FORWARD, LOOK])
    assert conversation.known == [ONE]


def test_behind_work_in_flight_nothing_known_is_relied_on_to_be_absent_or_present():
    conversation = Conversation(ONE)
    conversation.server.responses.owed.append(Owed([]))

    assert conversation.sends(ONE, steps=[PARSED]) == (
        closed(ONE) + taught(ONE),
        [SWALLOW, FORWARD, LOOK],
    )
    assert conversation.sends(RUN, needs=[TWO]) == (
        closed(TWO) + taught(TWO) + RUN,
        [SWALLOW, SWALLOW, LOOK],
    )


def test_a_server_that_forgot_may_still_have_what_it_was_taught():
    conversation = Conversation(ONE)

    conversation.server.forget()

    assert conversation.known == []
    assert conversation.sends(RUN, needs=[ONE]) == (
        closed(ONE) + taught(ONE) + RUN,
        [SWALLOW, SWALLOW, LOOK],
    )


# The unnamed statement...


def test_the_unnamed_statement_is_parsed_again_where_another_took_its_place():
    conversation = Conversation()

    assert conversation.sends(RUN, unnamed=ONE) == (parsed(ONE, "") + RUN, [SWALLOW])
    assert conversation.sends(RUN, unnamed=ONE) == (RUN, None)
    assert conversation.sends(RUN, unnamed=TWO) == (parsed(TWO, "") + RUN, [SWALLOW])
    assert conversation.server.unnamed is TWO


# Limits...


def test_over_the_limit_the_statement_used_longest_ago_is_closed():
    conversation = Conversation(ONE, TWO, limit=2)
    conversation.sends(RUN, needs=[ONE])

    assert conversation.sends(RUN, needs=[THREE]) == (
        closed(TWO) + taught(THREE) + RUN,
        [SWALLOW, SWALLOW, LOOK],
    )
    assert conversation.known == [ONE, THREE]


def test_what_a_unit_uses_itself_is_not_closed_for_it_whatever_the_limit():
    conversation = Conversation(ONE, limit=1)

    sent = conversation.sends(TWO, RUN, THREE, RUN, needs=[ONE], steps=[PARSED, PARSED])

    assert sent == (taught(TWO) + RUN + taught(THREE) + RUN, [FORWARD, LOOK, FORWARD, LOOK])
    assert conversation.known == [ONE, TWO, THREE]

    four = statement(4)
    conversation.sends(RUN, needs=[four])
    assert conversation.known == [four]


def test_statements_are_closed_between_a_units_own_messages():
    conversation = Conversation(ONE, limit=1)

    sent = conversation.sends(bind() + execute(), TWO, SYNC, steps=[FORWARD, FORWARD, PARSED])

    assert sent == (
        bind() + execute() + closed(ONE) + taught(TWO) + SYNC,
        [FORWARD, FORWARD, SWALLOW, FORWARD, LOOK],
    )


# Failures...


def test_a_statement_whose_parse_failed_or_was_skipped_is_not_known():
    conversation = Conversation()
    conversation.sends(ONE, TWO, RUN, needs=[THREE], steps=[PARSED, PARSED, FORWARD, FORWARD])

    unlearn(conversation.server, conversation.lessons, done=3)

    assert conversation.known == [THREE, ONE]
    assert not conversation.server.unsure


def test_a_bind_that_fails_takes_nothing_back():
    conversation = Conversation()
    conversation.sends(RUN, needs=[ONE])

    unlearn(conversation.server, conversation.lessons, done=1)

    assert conversation.known == [ONE]


def test_a_close_that_was_skipped_leaves_doubt():
    conversation = Conversation(ONE, limit=1)
    conversation.sends(RUN, TWO, steps=[FORWARD, FORWARD, PARSED])

    unlearn(conversation.server, conversation.lessons, done=0)

    assert conversation.known == []
    assert conversation.server.unsure


def test_what_a_later_unit_taught_again_is_not_taken_back():
    conversation = Conversation()
    conversation.sends(ONE, steps=[PARSED])
    first, conversation.lessons = conversation.lessons, []
    conversation.server.responses.owed.append(Owed([]))
    conversation.sends(ONE, steps=[PARSED])

    unlearn(conversation.server, first, done=0)

    assert conversation.known == [ONE]


def test_steps_of_an_open_unit_count_on():
    conversation = Conversation()
    conversation.sends(ONE, steps=[PARSED], may_omit=False)
    conversation.sends(TWO, steps=[PARSED], may_omit=False, first=1)

    unlearn(conversation.server, conversation.lessons, done=1)

    assert conversation.known == [ONE]


@pytest.mark.parametrize("steps", [[FORWARD, PARSED], [PARSED, FORWARD]])
def test_the_place_of_a_parse_among_the_steps_is_kept(steps: list[Step]):
    parts: list[Part] = [close("x"), ONE] if steps[0] == FORWARD else [ONE, close("x")]

    assert Conversation(ONE).sends(*parts, steps=steps) == (
        close("x"),
        [PARSE_COMPLETE if step == PARSED else FORWARD for step in steps],
    )


def test_a_session_that_asks_for_its_statements_finds_those_and_no_others():
    server = Conversation(ONE, TWO)

    sent, steps = server.sends(RUN, listed=[TWO, THREE])

    assert sent == closed(ONE) + taught(THREE) + RUN
    assert steps == [SWALLOW, SWALLOW, LOOK]
    assert server.known == [TWO, THREE]


def test_a_statement_taught_before_ddl_is_not_what_a_client_parses_after_it():
    server = Conversation(ONE)

    sent, steps = server.sends(ONE, RUN, steps=[PARSED, FORWARD, FORWARD], age=1)
    assert sent == closed(ONE) + taught(ONE) + RUN
    assert steps == [SWALLOW, FORWARD, LOOK, FORWARD, FORWARD]

    sent, steps = server.sends(ONE, RUN, steps=[PARSED, FORWARD, FORWARD], age=1)
    assert sent == RUN
    assert steps == [PARSE_COMPLETE, FORWARD, FORWARD]


# What a statement turns out to be...

INT, TEXT = Shape(bytes(2), b"int"), Shape(bytes(2), b"text")
ONE_INT = Shape(b"\0\1" + (23).to_bytes(4, "big"), b"int")


def look(conversation: Conversation, shape: Shape, at: int = 0) -> None:
    """Answer the Describe number *at* of what was sent last."""
    step = conversation.looks[at]
    step.shape = shape
    step.on_seen(step)


def fresh(query: str = "select 1") -> Prepared:
    text = query.encode()
    return Prepared(b"rwsplit_9", text + NO_TYPES, text, parse_facts(text, FunctionBook()))


def test_what_clients_were_told_is_what_it_turned_out_to_be_first():
    conversation, one = Conversation(), fresh()
    conversation.sends(one, steps=[PARSED])

    assert conversation.server.has(one)
    assert not one.is_relied_on
    look(conversation, INT)

    assert one.told == INT
    assert conversation.server.has(one)
    assert one.is_relied_on
    assert not conversation.lessons[0].differs


def test_what_turns_out_to_be_something_else_is_not_relied_on():
    conversation, one = Conversation(), fresh()
    one.told = INT
    conversation.sends(RUN, needs=[one])

    look(conversation, TEXT)

    assert conversation.known == []
    assert conversation.server.unsure
    assert conversation.lessons[0].differs
    assert one.told == INT


def test_what_is_relied_on_is_there_when_it_has_been_seen():
    conversation, one = Conversation(), fresh()
    one.told = INT
    conversation.sends(RUN, needs=[one])

    assert not conversation.server.has(one)
    look(conversation, INT)
    assert conversation.server.has(one)


@pytest.mark.parametrize("is_replaced", [False, True])
def test_an_unnamed_statement_is_there_when_it_has_been_seen_unless_another_took_its_place(
    is_replaced: bool,
):
    conversation, one = Conversation(), fresh()
    one.told = INT
    conversation.sends(RUN, unnamed=one)
    [asked] = conversation.looks
    if is_replaced:
        conversation.sends(RUN, unnamed=TWO)

    asked.shape = INT
    asked.on_seen(asked)

    assert conversation.server.unnamed is (TWO if is_replaced else one)


def test_what_has_been_taught_once_more_is_not_forgotten_for_the_answer_before():
    conversation, one = Conversation(), fresh()
    one.told = INT
    conversation.sends(RUN, needs=[one])
    before = conversation.looks
    conversation.sends(one, steps=[PARSED], age=1)

    before[0].shape = TEXT
    before[0].on_seen(before[0])

    assert conversation.known == [one]


@pytest.mark.parametrize("query", ["show timezone", "execute p", "fetch c"])
def test_what_a_utility_statement_returns_is_not_fixed(query: str):
    conversation, one = Conversation(), fresh(query)
    one.told = INT
    conversation.sends(RUN, needs=[one])

    look(conversation, TEXT)

    assert conversation.known == [one]
    assert not one.is_relied_on


def test_a_statement_that_returns_nothing_is_not_relied_on():
    one = fresh("delete from t")
    one.told = Shape(bytes(2), b"")

    assert not one.is_relied_on


def test_what_is_unknown_may_be_relied_on():
    one = Prepared(b"rwsplit_9", b"x" + NO_TYPES, b"x", None)
    one.told = INT

    assert one.is_relied_on


def test_what_is_parsed_for_a_client_has_the_types_it_was_told():
    conversation, one = Conversation(), fresh("select $1")
    one.told = ONE_INT

    sent, _ = conversation.sends(RUN, needs=[one])

    assert sent == parse("rwsplit_9", "select $1", 23) + describe("rwsplit_9") + RUN
    sent, _ = conversation.sends(one, RUN, steps=[PARSED, FORWARD, FORWARD], age=1)
    assert sent == closed(one) + taught(one) + RUN


def test_a_parse_that_is_answered_otherwise_is_another_statement(knowledge: Knowledge):
    registry = knowledge.prepared
    one = registry.get(b"select 1" + NO_TYPES, "here")
    one.told = INT

    other = registry.fork(one, TEXT)

    assert other.told == TEXT
    assert other.name != one.name
    assert other.script is one.script
    assert registry.fork(one, TEXT) is other
    assert registry.get(b"select 1" + NO_TYPES, "here") is other
    assert registry.get(b"select 1" + NO_TYPES, "there") is not other


def test_a_private_identity_that_is_answered_otherwise_stays_private(knowledge: Knowledge):
    registry = knowledge.prepared
    mine = registry.private(b"select 1" + NO_TYPES, Script(()))

    other = registry.fork(mine, TEXT)

    assert (other.told, other.version, other.script) == (TEXT, None, mine.script)
    assert registry.get(b"select 1" + NO_TYPES) is not other


def test_an_identity_of_another_registry_is_not_shared_from_here(knowledge: Knowledge):
    stranger = PreparedRegistry(knowledge.statements).get(b"select 1" + NO_TYPES)

    other = knowledge.prepared.fork(stranger, TEXT)

    assert knowledge.prepared.get(b"select 1" + NO_TYPES) is not other


def test_a_retired_identity_is_given_to_nobody_else(knowledge: Knowledge):
    registry = knowledge.prepared
    one = registry.get(b"select 1" + NO_TYPES)

    registry.retire(one)

    other = registry.get(b"select 1" + NO_TYPES)
    assert other is not one
    registry.retire(one)
    registry.retire(registry.private(b"select 1" + NO_TYPES, Script(())))
    assert registry.get(b"select 1" + NO_TYPES) is other


def test_a_session_keeps_what_it_was_told_when_facts_are_found_out_anew(knowledge: Knowledge):
    registry = knowledge.prepared
    one, tail = registry.get(b"select 1" + NO_TYPES), b"select 1" + NO_TYPES
    one.told = INT
    other = registry.fork(one, TEXT)
    registry.renew()

    mine = registry.renewed(one)

    assert mine.told == INT
    assert mine not in (one, other)
    assert mine.version is registry.version
    assert registry.renewed(mine) is mine
    assert registry.get(tail) is other
    registry.retire(other)
    registry.renew()
    assert registry.renewed(mine).told == INT
    assert registry.renewed(mine) is registry.get(tail)
    registry.renew()
    assert registry.renewed(one) is registry.get(tail)


def test_statements_that_are_listed_are_no_more_than_a_server_keeps(session: Session):
    registry = session.knowledge.prepared
    listed = [registry.get(b"select %d\0\0\0" % number) for number in range(20)]
    server = ServerState()
    lessons: list[Lesson] = []
    compose(
        server, [SYNC], (), None, lessons, unnamed=None, limit=5, listed=dict.fromkeys(listed)
    )
    assert list(server.known) == listed[-5:]
    assert len(lessons) == 20 + 15
