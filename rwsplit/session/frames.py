"""Frames: cuts the bytes of a client into frames, a slice at a time.

What is kept of them, and why, is `input`.

One write of a client may take seconds of work. So it has an *allowance*, in words of work (`sql.effort`). When that is used
up, the remaining bytes are kept, and the session is *behind* until it gets another allowance and `go_on` is called. The
meaning of a frame does not depend on when it is looked at, since frames may arrive one at a time anyway.

A frame is held whole only if it must be understood: long CopyData, Bind and over-long queries pass
through as they arrive.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rwsplit.errors import ProtocolViolation
from rwsplit.protocol import codes
from rwsplit.protocol.framing import HEADER, HEADER_SIZE, check_length
from rwsplit.session.assembly import Apart, Assembly
from rwsplit.session.chunk import Chunk, ChunkKind
from rwsplit.session.conversation import Conversation
from rwsplit.session.input import (
    ALLOWED,
    BEHIND,
    BETWEEN_FRAMES,
    COMPLETE,
    HELD,
    IN_LONG_FRAME,
    IN_UNIT,
    INCOMPLETE,
    MESSAGE,
    SETTLED,
    SPENT,
    UNSETTLED,
)
from rwsplit.session.knowledge import Knowledge
from rwsplit.session.names import Unsettled
from rwsplit.session.parameters import ParameterSet
from rwsplit.session.state import NOTHING_SAID
from rwsplit.session.unit import Unit
from rwsplit.sql.classify import PARSE_LIMIT

#: A frame that need not be understood is passed through as it comes beyond this; the names it
#: carries are at its beginning.
STREAM_LIMIT: Final = 64 * 1024
#: A unit without a Sync is opened beyond this.
UNIT_LIMIT: Final = 256 * 1024
#: A unit with more steps is opened, too, since a unit is sent to its server in one write.
STEPS_LIMIT: Final = 1024
#: The allowance of a session without a limit.
UNBOUNDED: Final = 1 << 62
#: Bytes with too few frames to be worth counting; statements that are classified count all the same.
FEW_BYTES: Final = 512
#: Bytes of a frame that count as one word, as a power of two.
WORD_SHIFT: Final = 9

_header = HEADER.unpack_from


class Frames(Conversation):
    """One client's bytes; `session.Session` makes units of them."""

    __slots__ = (
        "_assembly",
        "_former",
        "_opened",
        "allowance",
        "effort",
    )

    def __init__(
        self,
        knowledge: Knowledge,
        *,
        user: str,
        database: str,
        application_name: str = "",
        parameters: ParameterSet,
        opaque: bool = False,
        started_with: Mapping[str, str] = NOTHING_SAID,
    ) -> None:
        super().__init__(
            knowledge,
            user=user,
            database=database,
            application_name=application_name,
            parameters=parameters,
            opaque=opaque,
            started_with=started_with,
        )
        self.effort = knowledge.effort
        self.allowance = UNBOUNDED
        """Words of work that may still be done for it in this slice."""
        self._assembly: Assembly | None = None
        self._opened: Unit | None = None
        """The open unit."""
        self._former: Assembly | None = None
        """What took the messages of the open unit so far."""

    @property
    def is_idle(self) -> bool:
        """Nothing is in flight, pending, open or half received."""
        taken = self.input
        return not (self.in_flight or self.pending or taken.unit_state or taken.size)

    @property
    def is_open(self) -> bool:
        """A unit has been passed on whose end has not been received."""
        return self.input.is_open

    @property
    def is_behind(self) -> bool:
        """Its allowance was used up before all its bytes were looked at."""
        return self.input.frame_state == BEHIND

    @property
    def is_mid_frame(self) -> bool:
        """The beginning of a frame has been passed on and its end has not been received."""
        return self.input.frame_state == IN_LONG_FRAME

    def receive(self, data: bytes) -> None:
        """Append the units and chunks of *data* to *pending*, as far as the allowance goes.

        Raises:
            ProtocolViolation: it is not what a PostgreSQL client sends.
        """
        taken = self.input
        state = taken.frame_state
        if not state:
            if data[0] == _QUERY and not taken.unit_state:
                size = len(data)
                if (
                    size > HEADER_SIZE
                    and _header(data, 0)[1] == size - 1
                    and not self.names.unsettled
                ):
                    self._query(data, 0, size)
                    return
        elif state != IN_LONG_FRAME:
            is_complete = taken.add(data)
            if state == HELD:
                self.pending_bytes += len(data)
            if not is_complete:
                return
            data = taken.take(COMPLETE)
        self._scan(data)

    def go_on(self) -> None:
        """Go on with the bytes that were left when the allowance was used up.

        Raises:
            ProtocolViolation: see `receive`.
        """
        self._scan(self.input.take(ALLOWED))

    def resume(self) -> None:
        """Look at what was held: the names are settled, so that at least the first message of it is taken.

        Raises:
            ProtocolViolation: see `receive`.
        """
        data = self.input.take(SETTLED)
        self.pending_bytes = max(0, self.pending_bytes - len(data))
        self._settled = self.in_flight
        self._scan(data)
        self._settled = 0
        assert self.input.size < len(data)

    def open_up(self) -> None:
        """Have the messages sent on that still lack their Sync; the client may wait for an error."""
        if self.input.is_unended and self.input.frame_state == BETWEEN_FRAMES:
            self._open_up()

    # Frames...

    def _scan(self, data: bytes) -> None:  # noqa: C901, PLR0915 - the loop over frames, in one
        effort = self.effort
        limit = effort.words + self.allowance
        pos, size = 0, len(data)
        counts = size > FEW_BYTES
        why, wanted = INCOMPLETE, HEADER_SIZE
        if self.input.missing:
            pos = self.input.pass_through(data)
            effort.words += pos >> WORD_SHIFT
            self._append(Chunk(ChunkKind.REST, [data[:pos]]), pos)
        run = pos
        while size - pos >= HEADER_SIZE:
            code, length = _header(data, pos)
            if code not in codes.FRONTEND:
                raise ProtocolViolation(f"invalid frontend message type {code}")
            check_length(code, length)
            end = pos + 1 + length
            try:
                if end > size:
                    if size - pos >= STREAM_LIMIT and self._stream(data, code, run, pos, end):
                        self.allowance = limit - effort.words
                        return
                    wanted = self._wanted(code, end - pos)
                    break
                if counts:
                    effort.words += 1 + (length >> WORD_SHIFT)
                run = self._frame(code, data, run, pos, end)
            except Unsettled:
                why = UNSETTLED
                self._append(Chunk(ChunkKind.HELD, []), size - pos)
                break
            pos = end
            if counts and effort.words >= limit and pos < size:
                why = SPENT
                break
        self.allowance = limit - effort.words
        assembly = self._assembly
        if assembly is not None:
            if run < pos:
                assembly.add_raw(data[run:pos])
            if assembly.size > UNIT_LIMIT or assembly.steps > STEPS_LIMIT:
                self._open_up()
        if pos < size:
            self.input.keep(why, data[pos:], wanted)

    def _frame(self, code: int, data: bytes, run: int, pos: int, end: int) -> int:
        """Take the complete frame `data[pos:end]`; return where the run of unchanged frames begins."""
        if code in ASSEMBLED:
            assembly = self._assembly
            if assembly is None:
                assembly = self._assembly = self._assemble()
                run = pos
            try:
                replacement = assembly.message(code, data, pos, end)
            except Apart:
                self._interrupt(data, run, pos)
                return self._frame(code, data, pos, pos, end)
            if self.input.unit_state != IN_UNIT:
                self.input.step(MESSAGE)
            if replacement is None:
                return run
            if run < pos:
                assembly.add_raw(data[run:pos])
            assembly.add_part(replacement)
            return end
        if code == codes.SYNC:
            self._sync(data, run, pos, end)
        elif code == codes.FLUSH:
            self._flush(data, run, pos, end)
        else:
            if self._assembly is not None:
                self._interrupt(data, run, pos)
            self._other(code, data, pos, end)
        return end

    def _wanted(self, code: int, size: int) -> int:
        """Return how many bytes of an incomplete frame of *size* bytes must be there before it can be looked at."""
        if code in (codes.QUERY, codes.PARSE) and size <= PARSE_LIMIT:
            return size
        return min(size, STREAM_LIMIT)

    # What becomes of them...

    def _assemble(self) -> Assembly:
        """Return the assembly of a unit, or of the rest of the open one."""
        raise NotImplementedError

    def _query(self, data: bytes, pos: int, end: int) -> None:
        """Take a Query message; its text ends with the message's only zero byte."""
        raise NotImplementedError

    def _other(self, code: int, data: bytes, pos: int, end: int) -> None:
        """Take what is no part of a unit of the extended protocol."""
        raise NotImplementedError

    def _sync(self, data: bytes, run: int, pos: int, end: int) -> None:
        """Take a Sync: it ends the unit."""
        raise NotImplementedError

    def _flush(self, data: bytes, run: int, pos: int, end: int) -> None:
        """Take a Flush."""
        raise NotImplementedError

    def _stream(self, data: bytes, code: int, run: int, pos: int, end: int) -> bool:
        """Pass an incomplete long frame through; False if it must be awaited whole."""
        raise NotImplementedError

    def _interrupt(self, data: bytes, run: int, pos: int) -> None:
        """Send an unfinished unit on because something else than its Sync follows."""
        raise NotImplementedError

    def _open_up(self) -> None:
        """Send what there is of the unit; the rest follows as it comes."""
        raise NotImplementedError


_QUERY: Final = codes.QUERY
#: What units of the extended protocol are made of.
ASSEMBLED: Final = frozenset(
    {codes.BIND, codes.EXECUTE, codes.PARSE, codes.DESCRIBE, codes.CLOSE}
)
