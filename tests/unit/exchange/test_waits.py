"""What sessions wait for: one thing at a time, and its end leaves no trace in any book."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from rwsplit.exchange.waits import TABLE, Cause, IllegalWait, Waiter, Waiting, Waits
from rwsplit.session.knowledge import Knowledge
from rwsplit.session.parameters import NONE
from rwsplit.sql.cache import StatementCache
from rwsplit.sql.functions import FunctionBook


class Rig:
    """Sessions that wait, a pool they can wait in front of, and the books of both."""

    def __init__(self, sessions: int = 1) -> None:
        self.counters = SimpleNamespace(load=[0, 0])
        self.waits: Waits[Waiter] = Waits(self.counters)
        self.line = SimpleNamespace(node="n1", node_index=1, waiters=deque(), exclusive=0)
        functions = FunctionBook((), ())
        knowledge = Knowledge(StatementCache(functions, size=100), functions)
        self.sessions = [
            Waiter(knowledge, user="app", database="shop", parameters=NONE)
            for _ in range(sessions)
        ]
        for session in self.sessions:
            session.wait = None

    def books(self) -> object:
        line = self.line
        return (
            [*self.waits.homeless],
            [*self.waits.parked],
            [*line.waiters],
            line.exclusive,
            [*self.counters.load],
        )


Act = Callable[[Rig, Waiter], object]
BEGIN: dict[Cause, Act] = {
    Cause.NO_SERVER: lambda rig, session: rig.waits.queue(session, rig.line, shares=False),
    Cause.NO_NODE: lambda rig, session: rig.waits.await_node(session),
    Cause.NOT_FRESH: lambda rig, session: rig.waits.park(session),
    Cause.EXPENSIVE: lambda rig, session: rig.waits.await_parser(session),
}
ACTS: dict[Cause, Act] = {**BEGIN, Cause.ENDED: lambda rig, session: rig.waits.end(session)}


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize("state", TABLE, ids=str)
def test_a_session_waits_as_the_table_says_and_in_no_other_way(
    state: Waiting | None, cause: Cause
):
    rig = Rig()
    [session] = rig.sessions
    for each, after in TABLE[None].items():
        if after is state and after is not None:
            ACTS[each](rig, session)
    assert session.waits_for is state
    wait, books = session.wait, rig.books()

    if cause in TABLE[state]:
        ACTS[cause](rig, session)
        assert session.waits_for is TABLE[state][cause]
    else:
        with pytest.raises(IllegalWait, match=cause.value):
            ACTS[cause](rig, session)
        assert (session.wait, rig.books()) == (wait, books), "nothing has happened"


@pytest.mark.parametrize("cause", BEGIN)
def test_the_end_of_a_wait_leaves_no_trace(cause: Cause):
    rig = Rig()
    [session] = rig.sessions
    before = rig.books()

    BEGIN[cause](rig, session)
    assert (rig.books() != before) == (cause is not Cause.EXPENSIVE)
    rig.waits.end(session)

    assert rig.books() == before


def test_who_stands_in_a_queue_is_counted_where_it_stands():
    rig = Rig(3)
    for session, shares in zip(rig.sessions, (True, False, True), strict=True):
        rig.waits.queue(session, rig.line, shares=shares)
        assert session.line is rig.line

    assert [*rig.line.waiters] == rig.sessions
    assert (rig.line.exclusive, rig.counters.load) == (1, [0, 3])


@pytest.mark.parametrize("number", range(3))
def test_whoever_leaves_a_queue_leaves_the_others_in_their_order(number: int):
    rig = Rig(3)
    for session in rig.sessions:
        rig.waits.queue(session, rig.line, shares=False)
    others = [session for session in rig.sessions if session is not rig.sessions[number]]

    rig.waits.end(rig.sessions[number])

    assert [*rig.line.waiters] == others
    assert (rig.line.exclusive, rig.counters.load) == (2, [0, 2])


def test_who_waits_for_no_server_stands_in_no_queue():
    rig = Rig()
    [session] = rig.sessions
    assert session.line is None
    rig.waits.await_node(session)
    assert session.line is None


def test_a_wait_that_has_ended_is_told_from_the_next_one():
    rig = Rig()
    [session] = rig.sessions
    first = rig.waits.park(session)
    rig.waits.end(session)
    assert rig.waits.park(session) is not first
