"""Chores: what rwsplit itself asks of servers. No client has asked for it, so its answers are swallowed.

A chore is owed like a unit. When it is answered `done` is called, and before that `failed` if the server refused it. What follows
from either is for the class of the chore; the classes are where the reason for asking is.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Generic, TypeVar

from rwsplit.exchange.lease import Leased
from rwsplit.exchange.waits import Waiter
from rwsplit.protocol import codes
from rwsplit.protocol.framing import frame
from rwsplit.protocol.refusals import is_fatal
from rwsplit.protocol.responses import Owed
from rwsplit.session.teaching import Lesson, unlearn

AnyServer = TypeVar("AnyServer", bound=Leased)
AnyClient = TypeVar("AnyClient", bound=Waiter)


class Purpose(Enum):
    """Why rwsplit sent something by itself."""

    PARAMETERS = "bring the server to the session's parameters"
    QUESTION = "ask for the session's parameters and what state it has left"
    BEGIN = "begin the session's transaction again on the primary"
    RESTORE = "bring back the session's parameters after a RESET"
    ROLLBACK = "end a transaction that no session owns any more"
    RESET = "wipe what a pinned session left"
    TRIAL = "see what a statement returns"
    TEACH = "prepare a statement that EXECUTE names"
    REFUSE = "fail a transaction rwsplit cannot go on with"
    SEQUENCES = "keep apart what sessions have drawn from sequences"
    TIDY = "close a statement left under a client's name"


class Chore(Owed, Generic[AnyServer, AnyClient]):
    """The answers owed for something a client never asked for. On nothing of this class itself does anything rely."""

    __slots__ = ("cancels", "client", "lessons", "purpose")

    def __init__(self, purpose: Purpose, client: AnyClient | None = None) -> None:
        super().__init__(None)
        self.purpose = purpose
        self.client = client
        """On whose behalf: its unit relies on it."""
        self.cancels: AnyClient | None = None
        """Who asked meanwhile for the unit behind it to be cancelled."""
        self.lessons: list[Lesson] = []
        """What it was to teach its server, to be taken back if it fails."""

    def failed_on(self, server: AnyServer, error: bytes) -> None:
        """Take note that *server* answers with *error*; what comes last of its answers is still to come."""
        unlearn(server, self.lessons, self.done)
        if is_fatal(error):
            self.error = error  # the server goes: what waits behind it may run elsewhere
        else:
            self.refused_by(server, error)

    def refused_by(self, server: AnyServer, error: bytes) -> None:
        """Go on although *server*, which stays, has refused it with *error*."""

    def answered_by(self, server: AnyServer) -> None:
        """Go on now that *server* has answered it, whether it failed or not."""


def query(sql: bytes) -> bytes:
    """Return *sql* as a Query frame."""
    return frame(codes.QUERY, sql + b"\0")


def aside(sql: bytes) -> bytes:
    """Return frames that run *sql* and leave the unnamed portal alone, though not the unnamed statement."""
    portal = b"rwsplit aside\0"
    return b"".join(
        [
            frame(codes.PARSE, b"\0" + sql + bytes(3)),
            frame(codes.BIND, portal + bytes(7)),
            frame(codes.EXECUTE, portal + bytes(4)),
            frame(codes.CLOSE, b"P" + portal),
            frame(codes.SYNC, b""),
        ]
    )


ROLLBACK: Final = query(b"ROLLBACK")
DEALLOCATE_ALL: Final = query(b"DEALLOCATE ALL")
DISCARD_SEQUENCES: Final = query(b"DISCARD SEQUENCES")
#: The same within a transaction: a Query would take the unnamed portal from it.
DISCARD_SEQUENCES_ASIDE: Final = aside(b"DISCARD SEQUENCES")
