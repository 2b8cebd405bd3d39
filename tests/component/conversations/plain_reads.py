"""Plain reads: outside transactions, of sessions that have nothing special about them."""

from __future__ import annotations

from typing import Final

from tests.support.conversation.steps import Conversation, answers, gets, hears, is_, rows, says
from tests.support.frames import query

A_READ: Final = Conversation(
    "a read goes to a replica, and the server back to its pool",
    says("a", query("select 1")),
    gets("n1", query("select 1")),
    is_("n1", "held"),
    answers("n1"),
    hears("a", *rows("select 1")),
    is_("n1", "idle"),
)

CONVERSATIONS: Final = (A_READ,)
