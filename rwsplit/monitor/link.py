"""Link: one connection to one node, over which one question is asked at a time.

A question is bytes that end in a Sync, its answer one row up to the ReadyForQuery: one write, one wait
and, as a rule, one read. (A `WireStream` would also pause the task before it writes and before it
reads, which makes a look a third dearer.) What a node says unasked, ParameterStatus and notices, may
come between any two frames and is passed over.

A link is at rest between two questions, or closed. Whatever interrupts an answer closes it, be it a
timeout, a cancelled task or nonsense: the rest of that answer would be read as the next one, and an
old position be taken for a new one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final

import trio

from rwsplit.errors import NodeError, ProtocolViolation
from rwsplit.protocol import codes, frontend
from rwsplit.protocol.fields import parse_error_fields, printable
from rwsplit.protocol.framing import HEADER_SIZE, split
from rwsplit.protocol.rows import parse_row
from rwsplit.server.stream import MAX_PAYLOAD, WireStream

#: The values of a row in text format; None is NULL.
Row = Sequence[bytes | None]

#: Severities after which a node closes the connection.
DEADLY: Final = frozenset({"FATAL", "PANIC"})


class ProbeFailed(NodeError):
    """A probe failed; *lost*: the connection is gone, not just slow; *silent*: not one byte came from the node."""

    def __init__(self, reason: str, *, lost: bool, silent: bool = False) -> None:
        super().__init__(reason.strip().partition("\n")[0])
        self.lost = lost
        self.silent = silent
        self.overdue = 0.0
        """Seconds from the probe's deadline until it was noticed; if more than HELD_UP, rwsplit itself was held up."""


def question(query: str) -> bytes:
    """Return what asks for the answer to *query*, one row at most that counts."""
    ask = frontend.parse("", query) + frontend.bind("", "") + frontend.execute()
    return ask + frontend.sync()


class Link:
    """An established connection that nobody else uses."""

    __slots__ = ("_error", "_row", "_stream", "_unread", "_wire")

    def __init__(self, stream: WireStream) -> None:
        self._stream = stream
        self._wire = stream.wire
        self._unread = stream.take_unread()
        self._row: Row = ()
        self._error: str | None = None

    @property
    def is_closed(self) -> bool:
        """Whether it is of no more use."""
        return self._wire.fileno() < 0

    @property
    def host(self) -> str:
        """The address it leads to."""
        return self._wire.peer.rpartition(":")[0].strip("[]")

    def fileno(self) -> int:
        """Return its socket's file descriptor, -1 once it is closed."""
        return self._wire.fileno()

    async def ask(self, question: bytes) -> Row:
        """Send *question* and return the row that answers it, empty if there was none.

        Raises:
            ProbeFailed: the node answered with an error, or (*lost*) the link is closed now.
        """
        try:
            # A node that has left may have said why: that is still to be read.
            with contextlib.suppress(OSError):
                sent = self.send(question)
                if sent < len(question) or self._wire.wants_write:
                    await self._stream.send_all(question[sent:])
            row = self._parse()
            while row is None:
                if not self._wire.has_pending:
                    await trio.lowlevel.wait_readable(self._wire.fileno())
                else:
                    await trio.lowlevel.checkpoint()
                row = self.receive()
        except BaseException as exc:
            self._close_for(exc)
            raise
        return row

    def send(self, question: bytes) -> int:
        """Begin with *question*; return how many of its bytes the socket took. Raises OSError."""
        self._row, self._error = (), None
        return self._wire.send(question)

    def receive(self) -> Row | None:
        """Read what has come of the answer; return the row once it is complete, None before.

        Raises:
            ProbeFailed: the node answered with an error, or (*lost*) the link is closed now.
        """
        try:
            while data := self._wire.recv():
                self._unread += data
                row = self._parse()
                if row is not None or not self._wire.has_pending:
                    return row
        except BaseException as exc:
            self._close_for(exc)
            raise
        if data is not None:
            self.close()
            raise ProbeFailed("server closed the connection unexpectedly", lost=True)
        return None

    async def wait_unasked(self) -> None:
        """Block until the node says something between two questions: mostly that the connection ends."""
        await trio.lowlevel.wait_readable(self._wire.fileno())

    def close(self) -> None:
        """Say goodbye where that needs no waiting, and close. May be called again."""
        if not self.is_closed:
            with contextlib.suppress(OSError):
                self._wire.send(frontend.TERMINATE)
            self._stream.close()

    def _close_for(self, exc: BaseException) -> None:
        """Close the link, unless *exc* leaves it at rest: an answer that is an error."""
        if not isinstance(exc, ProbeFailed) or exc.lost:
            self.close()

    def _parse(self) -> Row | None:
        """Take the frames that are complete; return the row if its ReadyForQuery is among them."""
        data = self._unread
        end = 0
        try:
            for code, start, end in split(data):
                if code == codes.DATA_ROW:
                    self._row = parse_row(data[start + HEADER_SIZE : end])
                elif code == codes.ERROR:
                    self._error = _read_error(data[start + HEADER_SIZE : end])
                elif code == codes.READY:
                    self._unread = data[end:]
                    if self._error is not None:
                        raise ProbeFailed(self._error, lost=False)
                    return self._row
        except ProtocolViolation as exc:
            raise ProbeFailed(f"does not speak as PostgreSQL does: {exc}", lost=True) from exc
        self._unread = data[end:]
        if len(self._unread) > MAX_PAYLOAD:
            reason = (
                f"does not speak as PostgreSQL does: a message of more than {MAX_PAYLOAD} bytes"
            )
            raise ProbeFailed(reason, lost=True)
        return None


def _read_error(payload: bytes) -> str:
    """Return the sentence of an ErrorResponse. Raises ProbeFailed if it ends the connection."""
    fields = parse_error_fields(payload)
    sentence = printable(fields.get("M", "no reason given"))
    if fields.get("V", fields.get("S")) in DEADLY:
        raise ProbeFailed(sentence, lost=True)
    return sentence
