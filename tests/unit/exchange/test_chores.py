"""What rwsplit asks of servers by itself: refused, it is taken back; what follows is for its class."""

from __future__ import annotations

from typing import Any

from rwsplit.exchange.chores import DISCARD_SEQUENCES, DISCARD_SEQUENCES_ASIDE, Chore, Purpose
from rwsplit.exchange.lease import Leased
from rwsplit.protocol import codes
from rwsplit.session.prepared import Prepared
from rwsplit.session.teaching import Lesson
from tests.support.frames import error

REFUSAL = error("42601")
GOODBYE = error("57P01", severity="FATAL")


class Noted(Chore[Leased, Any]):
    """A chore that notes what happens to it."""

    __slots__ = ("refusals",)

    def __init__(self) -> None:
        super().__init__(Purpose.TIDY)
        self.refusals: list[bytes] = []

    def refused_by(self, server: Leased, error: bytes) -> None:
        super().refused_by(server, error)
        self.refusals.append(error)


def taught(chore: Noted) -> tuple[Leased, Prepared]:
    """Return a server on which *chore* prepares a statement, and that statement."""
    server, prepared = Leased(), Prepared(b"s1", b"select 1\0\0\0", b"select 1", None)
    lesson = Lesson(0, prepared, known=True)
    server.known[prepared] = lesson
    chore.lessons = [lesson]
    return server, prepared


def test_what_it_was_to_teach_is_not_known_if_it_is_refused():
    chore = Noted()
    server, prepared = taught(chore)

    chore.failed_on(server, REFUSAL)

    assert prepared not in server.known
    assert (chore.refusals, chore.error) == ([REFUSAL], None)


def test_what_waits_behind_it_gets_the_error_a_server_says_goodbye_with():
    chore = Noted()
    server, prepared = taught(chore)

    chore.failed_on(server, GOODBYE)

    assert prepared not in server.known
    assert (chore.refusals, chore.error) == ([], GOODBYE), "it is not refused: its server goes"


def test_nothing_follows_from_the_answer_to_a_plain_chore():
    server, chore = Leased(), Chore[Leased, Any](Purpose.REFUSE)
    chore.answered_by(server)
    assert (server.lease, server.out, chore.sink) == (Leased().lease, [], None)


def test_within_a_transaction_the_unnamed_portal_is_left_alone():
    assert DISCARD_SEQUENCES[0] == codes.QUERY
    assert DISCARD_SEQUENCES_ASIDE[0] == codes.PARSE
    assert DISCARD_SEQUENCES_ASIDE.count(b"rwsplit aside\0") == 3, "bound, executed, closed"
    assert DISCARD_SEQUENCES_ASIDE.endswith(b"S\0\0\0\4")
