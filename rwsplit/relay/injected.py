"""Injected work: what rwsplit itself sends to a server; its answers are swallowed."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from rwsplit.protocol import codes
from rwsplit.protocol.framing import frame
from rwsplit.protocol.responses import Owed
from rwsplit.session.teaching import Lesson

if TYPE_CHECKING:
    from rwsplit.relay.client import Client
    from rwsplit.relay.resetting import Reset
    from rwsplit.session.unit import Unit


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


class Injected(Owed):
    """The answers owed for something a client never asked for."""

    __slots__ = ("cancels", "client", "lessons", "purpose", "reset")

    def __init__(self, purpose: Purpose, client: Client | None = None) -> None:
        super().__init__(None)
        self.purpose = purpose
        self.client = client
        """On whose behalf: its unit relies on it."""
        self.cancels: Client | None = None
        """Who asked meanwhile for the unit behind it to be cancelled."""
        self.lessons: list[Lesson] = []
        """What it was to teach its server, to be taken back if it fails."""
        self.reset: Reset | None = None
        """What cleans a server that no session holds."""


class Ahead(Injected):
    """A change of parameters right ahead of what must run with them."""

    __slots__ = ()

    vital = True


class Restoration(Injected):
    """What brings back the session's parameters once *unit*, which resets some, is through."""

    __slots__ = ("query", "unit")

    def __init__(self, client: Client, unit: Unit, query: bytes) -> None:
        super().__init__(Purpose.RESTORE, client)
        self.reports = client.sink
        self.unit = unit
        self.query = query


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
