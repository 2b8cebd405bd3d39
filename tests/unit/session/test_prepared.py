"""Statements on pooled servers: what a server is taught, closed, and what is taken back."""

from __future__ import annotations

from itertools import count

import pytest

from rwsplit.protocol.responses import FORWARD, SWALLOW, Owed, Step
from rwsplit.session.knowledge import Knowledge
from rwsplit.session.parameters import NONE
from rwsplit.session.prepared import (
    PARSE_COMPLETE,
    PARSED,
    SHARED_LIMIT,
    SYNC,
    Lesson,
    Part,
    Prepared,
    PreparedRegistry,
    ServerState,
    compose,
    unlearn,
)
from rwsplit.sql.cache import INLINE_LIMIT
from rwsplit.sql.statement import PrimaryOnly, Script
from tests.support.frames import bind, close, execute, parse

NO_TYPES = b"\0\0\0"


def statement(number: int) -> Prepared:
    query = b"select %d" % number
    return Prepared(b"rwsplit_%d" % number, query + NO_TYPES, query, Script(()))


ONE, TWO, THREE = statement(1), statement(2), statement(3)


def parsed(prepared: Prepared, name: str | None = None) -> bytes:
    """Return the Parse that teaches *prepared*, under its own name unless told otherwise."""
    return parse(prepared.name.decode() if name is None else name, prepared.query.decode())


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
        return sent, None if found is None else list(found)

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

    assert conversation.sends(RUN, needs=[ONE]) == (parsed(ONE) + RUN, [SWALLOW])
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
        parsed(TWO) + close("x") + parsed(ONE) + RUN,
        [SWALLOW, SWALLOW, FORWARD, FORWARD, FORWARD],
    )
    assert conversation.known == [TWO, ONE]


def test_in_an_open_unit_a_known_statement_is_parsed_again():
    conversation = Conversation(ONE)

    sent = conversation.sends(ONE, steps=[PARSED], may_omit=False)

    assert sent == (closed(ONE) + parsed(ONE), [SWALLOW, FORWARD])
    assert conversation.known == [ONE]


def test_behind_work_in_flight_nothing_known_is_relied_on_to_be_absent_or_present():
    conversation = Conversation(ONE)
    conversation.server.responses.owed.append(Owed([]))

    assert conversation.sends(ONE, steps=[PARSED]) == (
        closed(ONE) + parsed(ONE),
        [SWALLOW, FORWARD],
    )
    assert conversation.sends(RUN, needs=[TWO]) == (
        closed(TWO) + parsed(TWO) + RUN,
        [SWALLOW, SWALLOW],
    )


def test_a_server_that_forgot_may_still_have_what_it_was_taught():
    conversation = Conversation(ONE)

    conversation.server.forget()

    assert conversation.known == []
    assert conversation.sends(RUN, needs=[ONE]) == (
        closed(ONE) + parsed(ONE) + RUN,
        [SWALLOW, SWALLOW],
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
        closed(TWO) + parsed(THREE) + RUN,
        [SWALLOW, SWALLOW],
    )
    assert conversation.known == [ONE, THREE]


def test_what_a_unit_uses_itself_is_not_closed_for_it_whatever_the_limit():
    conversation = Conversation(ONE, limit=1)

    sent = conversation.sends(TWO, RUN, THREE, RUN, needs=[ONE], steps=[PARSED, PARSED])

    assert sent == (parsed(TWO) + RUN + parsed(THREE) + RUN, [FORWARD, FORWARD])
    assert conversation.known == [ONE, TWO, THREE]

    four = statement(4)
    conversation.sends(RUN, needs=[four])
    assert conversation.known == [four]


def test_statements_are_closed_between_a_units_own_messages():
    conversation = Conversation(ONE, limit=1)

    sent = conversation.sends(bind() + execute(), TWO, SYNC, steps=[FORWARD, FORWARD, PARSED])

    assert sent == (
        bind() + execute() + closed(ONE) + parsed(TWO) + SYNC,
        [FORWARD, FORWARD, SWALLOW, FORWARD],
    )


# Failures...


def test_a_statement_whose_parse_failed_or_was_skipped_is_not_known():
    conversation = Conversation()
    conversation.sends(ONE, TWO, RUN, needs=[THREE], steps=[PARSED, PARSED, FORWARD, FORWARD])

    unlearn(conversation.server, conversation.lessons, done=2)

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

    assert sent == closed(ONE) + parsed(THREE) + RUN
    assert steps == [SWALLOW, SWALLOW]
    assert server.known == [TWO, THREE]


def test_a_statement_taught_before_ddl_is_not_what_a_client_parses_after_it():
    server = Conversation(ONE)

    sent, steps = server.sends(ONE, RUN, steps=[PARSED, FORWARD, FORWARD], age=1)
    assert sent == closed(ONE) + parsed(ONE) + RUN
    assert steps == [SWALLOW, FORWARD, FORWARD, FORWARD]

    sent, steps = server.sends(ONE, RUN, steps=[PARSED, FORWARD, FORWARD], age=1)
    assert sent == RUN
    assert steps == [PARSE_COMPLETE, FORWARD, FORWARD]
