"""Owed: the answers a server owes for one unit, and what to do with each."""

from __future__ import annotations

from collections import deque
from typing import ClassVar, Final

from rwsplit.protocol.looks import Look

#: Step of a unit: the answer to one message. A `bytes` step is an answer to make up, a `Look` one to swallow and look at.
FORWARD: Final = 0
SWALLOW: Final = 1
#: The last step of a unit whose ReadyForQuery the client must not get: it has sent Flush where rwsplit sends Sync.
UNTOLD: Final = 2
Step = int | bytes | Look


class Owed:
    """The answers a server owes for one unit."""

    __slots__ = (
        "done",
        "error",
        "failed",
        "failed_at",
        "forwarded",
        "guarded",
        "kept",
        "reports",
        "sink",
        "size",
        "steps",
        "told",
    )

    vital: ClassVar[bool] = False
    """Whether the units behind it rely on it, so that after an error the server's further answers do not count."""

    def __init__(self, sink: list[bytes] | None, *, guarded: bool = False) -> None:
        self.sink = sink
        """Where answers go; None: they are swallowed."""
        self.steps: deque[Step] | None = None
        """What to do with the answer to each message; None: forward all."""
        self.guarded = guarded
        self.forwarded = False
        """Whether a part of the answer has gone to the sink."""
        self.failed = False
        """An ErrorResponse came for it."""
        self.failed_at = 0
        """Bytes of the answer in front of the ErrorResponse."""
        self.error: bytes | None = None
        """The ErrorResponse frame for which the answer is kept back."""
        self.kept: list[bytes] | None = None
        """What is kept back of the answer of a guarded unit."""
        self.size = 0
        """Bytes of the answer so far."""
        self.done = 0
        """Steps that are through; those that follow it did not happen if the unit failed."""
        self.told = 0
        """The steps whose answers the client got: so many of its messages have succeeded."""
        self.reports: list[bytes] | None = None
        """Where ParameterStatus goes although the answer is swallowed."""

    def reword(self, frame: bytes) -> bytes:
        """Return the ErrorResponse *frame* in the client's own words."""
        return frame

    def deliver(self) -> None:
        """Send the answer that was kept back."""
        if self.kept is not None and self.sink is not None:
            self.sink.extend(self.kept)
        self.kept = None
        self.error = None
        self.forwarded = True
