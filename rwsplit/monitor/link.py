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
    """A node was not seen; *lost* says that the connection is gone, False that it was only slow."""

    def __init__(self, reason: str, *, lost: bool) -> None:
        super().__init__(reason.strip().partition("\n")[0])
        self.lost = lost


class Link:
    """An established connection that nobody else uses."""

    __slots__ = ("_stream", "_unread", "_wire")

    def __init__(self, stream: WireStream) -> None:
        self._stream = stream
        self._wire = stream.wire
        self._unread = stream.take_unread()

    @property
    def is_closed(self) -> bool:
        """Whether it is of no more use."""
        return self._wire.fileno() < 0

    async def ask(self, question: bytes) -> Row:
        """Send *question* and return the row that answers it, empty if there was none.

        Raises:
            ProbeFailed: the node answered with an error, or (*lost*) the link is closed now.
        """
        try:
            row, error = await self._exchange(question)
        except EOFError as exc:
            raise ProbeFailed("server closed the connection unexpectedly", lost=True) from exc
        except ProtocolViolation as exc:
            raise ProbeFailed(f"does not speak as PostgreSQL does: {exc}", lost=True) from exc
        if error is not None:
            raise ProbeFailed(error, lost=False)
        return row

    async def wait_unasked(self) -> None:
        """Block until the node says something between two questions: mostly that the connection ends."""
        await trio.lowlevel.wait_readable(self._wire.fileno())

    def close(self) -> None:
        """Say goodbye where that needs no waiting, and close. May be called again."""
        if not self.is_closed:
            with contextlib.suppress(OSError):
                self._wire.send(frontend.TERMINATE)
            self._stream.close()

    async def _exchange(self, question: bytes) -> tuple[Row, str | None]:
        try:
            # A node that has left may have said why: that is still to be read.
            with contextlib.suppress(OSError):
                await self._send(question)
            return await self._read_answer()
        except BaseException:
            self.close()
            raise

    async def _send(self, question: bytes) -> None:
        sent = self._wire.send(question)
        if sent < len(question) or self._wire.wants_write:
            await self._stream.send_all(question[sent:])

    async def _read_answer(self) -> tuple[Row, str | None]:
        """Read up to the ReadyForQuery; return the row and the error, if there was one."""
        row: Row = ()
        error = None
        data = self._unread
        while True:
            end = 0
            for code, start, end in split(data):
                if code == codes.DATA_ROW:
                    row = parse_row(data[start + HEADER_SIZE : end])
                elif code == codes.ERROR:
                    error = _read_error(data[start + HEADER_SIZE : end])
                elif code == codes.READY:
                    self._unread = data[end:]
                    return row, error
            rest = data[end:]
            if len(rest) > MAX_PAYLOAD:
                raise ProtocolViolation(f"a message of more than {MAX_PAYLOAD} bytes")
            data = rest + await self._receive()

    async def _receive(self) -> bytes:
        while True:
            if self._wire.has_pending:
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(self._wire.fileno())
            data = self._wire.recv()
            if data:
                return data
            if data is not None:
                raise EOFError


def _read_error(payload: bytes) -> str:
    """Return the sentence of an ErrorResponse. Raises ProbeFailed if it ends the connection."""
    fields = parse_error_fields(payload)
    sentence = printable(fields.get("M", "no reason given"))
    if fields.get("V", fields.get("S")) in DEADLY:
        raise ProbeFailed(sentence, lost=True)
    return sentence
