"""Session: one client's conversation, from the first statement to Terminate, whatever servers it used.

`receive` takes the client's bytes and appends what they amount to - units and chunks - to *pending*; the relay
takes them from there, in order, one server at a time. What must survive the change of servers is `state`.

A frame is held whole only if it must be understood: long CopyData, Bind and over-long queries pass
through as they arrive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rwsplit.errors import ProtocolViolation
from rwsplit.protocol import codes
from rwsplit.protocol.framing import HEADER, HEADER_SIZE, check_length
from rwsplit.session import inband
from rwsplit.session.assembly import Assembly
from rwsplit.session.function_calls import facts_of_call
from rwsplit.session.knowledge import Knowledge
from rwsplit.session.parameters import ParameterSet
from rwsplit.session.pinning import renames
from rwsplit.session.prepared import SYNC
from rwsplit.session.renaming import Apart, Renaming, Unsettled
from rwsplit.session.stand_ins import NOTHING, OPAQUE
from rwsplit.session.state import NOTHING_SAID, SessionState
from rwsplit.session.substitution import special
from rwsplit.session.unit import EXTENDED, FUNCTION, SIMPLE, Chunk, Piece, Unit
from rwsplit.sql.cache import INLINE_LIMIT
from rwsplit.sql.classify import PARSE_LIMIT
from rwsplit.sql.statement import Script

#: A frame that need not be understood is passed through as it comes beyond this; the names it
#: carries are at its beginning.
STREAM_LIMIT: Final = 64 * 1024
#: A unit without a Sync is opened beyond this.
UNIT_LIMIT: Final = 256 * 1024

_header = HEADER.unpack_from


class Session(SessionState):
    """One established client: its bytes become units."""

    __slots__ = (
        "_assembly",
        "_buffer",
        "_former",
        "_open",
        "_opened",
        "_settled",
        "_through",
        "held",
        "unended",
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
        self.unended = False
        """What came last left messages that no Sync or Flush has ended."""
        self.held: Chunk | None = None
        """Stands for what has been received and cannot be looked at before names are settled."""
        self._buffer = b""
        self._through = 0
        self._assembly: Assembly | None = None
        self._open = False
        self._opened: Unit | None = None
        """The open unit."""
        self._former: Assembly | None = None
        """What took the messages of the open unit so far."""
        self._settled = 0
        """Units in flight whose names are settled all the same, while what was held is looked at."""

    @property
    def is_idle(self) -> bool:
        """Nothing is in flight, pending, open or half received."""
        return not (
            self.in_flight or self.pending or self._open or self._buffer or self._assembly
        )

    @property
    def is_open(self) -> bool:
        """A unit has been passed on whose end has not been received."""
        return self._open

    @property
    def is_mid_frame(self) -> bool:
        """The beginning of a frame has been passed on and its end has not been received."""
        return self._through > 0

    def receive(self, data: bytes) -> None:
        """Append what *data* amounts to to *pending*.

        Raises:
            ProtocolViolation: it is not what a PostgreSQL client sends.
        """
        if self._buffer:
            data = self._buffer + data
            if self.held is not None:
                self.pending_bytes += len(data) - len(self._buffer)
                self._buffer = data
                return
            self._buffer = b""
        elif self._assembly is None and not self._through and data[0] == _QUERY:
            size = len(data)
            if size > HEADER_SIZE and _header(data, 0)[1] == size - 1 and not self.unsettled:
                self._query(data, 0, size)
                return
        self._scan(data)

    def resume(self) -> None:
        """Look at what was held: the names are settled, so that at least the first message of it is taken.

        Raises:
            ProtocolViolation: see `receive`.
        """
        self.held = None
        data, self._buffer = self._buffer, b""
        self.pending_bytes = max(0, self.pending_bytes - len(data))
        self._settled = self.in_flight
        self._scan(data)
        self._settled = 0
        assert len(self._buffer) < len(data)

    def _hold(self, size: int) -> None:
        """Keep what has been received and not been looked at until all names are settled."""
        self.held = Chunk([])
        self.held.holds = True
        self._append(self.held, size)

    def is_unsettled(self, name: bytes) -> bool:
        """Return whether it is not known yet what a unit that begins now would mean by *name*."""
        if name:
            return name in self.unsettled
        return not self._open and (self.in_flight > self._settled or bool(self.pending))

    def open_up(self) -> None:
        """Have the messages sent on that still lack their Sync; the client may wait for an error."""
        if self._assembly and not self._buffer and not self._through:
            self._open_up()

    # Frames...

    def _scan(self, data: bytes) -> None:
        pos, size = 0, len(data)
        if self._through:
            pos = min(self._through, size)
            self._through -= pos
            rest = Chunk([data[:pos]])
            rest.is_rest = True
            self._append(rest, pos)
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
                        return
                    break
                run = self._frame(code, data, run, pos, end)
            except Unsettled:
                self._hold(size - pos)
                break
            pos = end
        assembly = self._assembly
        if assembly is not None:
            if run < pos:
                assembly.add_raw(data[run:pos])
            if assembly.size > UNIT_LIMIT:
                self._open_up()
            self.unended = True
        self._buffer = data[pos:]

    def _frame(self, code: int, data: bytes, run: int, pos: int, end: int) -> int:
        """Take the complete frame `data[pos:end]`; return where the run of unchanged frames begins."""
        if code in _ASSEMBLED:
            assembly = self._assembly
            if assembly is None:
                assembly = self._assembly = self._assemble()
                run = pos
            try:
                replacement = assembly.message(code, data, pos, end)
            except Apart:
                self._interrupt(data, run, pos)
                return self._frame(code, data, pos, pos, end)
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

    def _assemble(self) -> Assembly:
        """Return the assembly of a unit, or of the rest of the open one."""
        assembly = Assembly(self)
        if self._former is not None:
            assembly.continues(self._former)
        return assembly

    def _other(self, code: int, data: bytes, pos: int, end: int) -> None:
        if code == codes.QUERY:
            self._query(data, pos, end)
        elif code in _COPY:
            chunk = Chunk([data[pos:end]])
            chunk.is_copy = True
            chunk.ends_copy = code != codes.COPY_DATA
            self._append(chunk, end - pos)
        elif code == codes.FUNCTION_CALL:
            unit = self._function_call(data[pos:end])
            if self._open:
                self._end_with(data[pos:end], unit.script)
            else:
                self._append(unit, end - pos)
        else:
            chunk = Chunk([])
            chunk.terminates = True
            self._append(chunk, 0)

    def _query(self, data: bytes, pos: int, end: int) -> None:
        """Take a Query message; its text ends with the message's only zero byte."""
        text = data[pos + HEADER_SIZE : end - 1]
        if data.find(0, pos + HEADER_SIZE, end) != end - 1:
            raise ProtocolViolation("invalid message format")
        script: Script | None
        if self.opaque and not (text.isascii() and b"\\" not in text):
            script = OPAQUE  # else it means the same in whatever encoding and string syntax
        elif end - pos <= INLINE_LIMIT:
            script = self.scope.statements.lookup(text)
        else:
            script = OPAQUE if len(text) > PARSE_LIMIT else self.scope.statements.peek(text)
        if self._open:
            self._end_with(data[pos:end], script or OPAQUE)
            return
        if self.unsettled and script is not None and script.notable:
            self.await_names(script)
        if self.names:
            self.names.pop(b"", None)
            self.unnamed_by = None
        query = data if end - pos == len(data) else data[pos:end]
        spare = self.spare
        if spare is not None and script is not None and script.plain_read:
            self.spare = None
            spare.renew(query, script)
            self.pending.append(spare)
            self.pending_bytes += end - pos
            return
        unit = Unit(self, SIMPLE, Piece([query], script), end - pos)
        if script is None:
            unit.waiting_for = (text,)
        elif script.notable:
            self._special(unit, text, script)
        else:
            unit.plain = script.plain_read
        self.pending.append(unit)
        self.pending_bytes += end - pos

    def _special(self, unit: Unit, query: bytes, script: Script) -> None:
        replaced = None
        changes = renames(script)
        if script.special or changes:
            renaming = Renaming(self)
            replaced = (
                special(self, query, script, lambda: renaming) if script.special else None
            )
            if changes:
                self.note_names(script, renaming)
                renaming.end()
                unit.renaming = renaming
        self.note_definitions(script)
        unit.piece.effects = script
        if replaced is not None:
            unit.piece.run_instead(replaced)
            unit.script = unit.piece.script
            unit.executes = unit.script is not inband.ANSWER

    def _function_call(self, data: bytes) -> Unit:
        oid = int.from_bytes(data[HEADER_SIZE : HEADER_SIZE + 4], "big")
        piece = Piece([data], facts_of_call(oid))
        return Unit(self, FUNCTION, piece, len(data))

    def _end_with(self, data: bytes, script: Script | None) -> None:
        """End the open unit with a Query or FunctionCall instead of its Sync.

        Its ReadyForQuery ends the unit - unless the unit fails before: then the server skips to the Sync.
        """
        chunk = Chunk([data], script)
        chunk.completes = chunk.by_query = True
        assert self._opened is not None
        assert self._former is not None
        if script is not None and script.notable:
            chunk.effects = script
            if data[0] == _QUERY:
                self._special_end(chunk, data[HEADER_SIZE:-1], script)
        drops = data[0] == _QUERY and b"" in self.names
        self._opened.end_names(b"" if drops else None, self._former.said)
        self._open = False
        self._opened = self._former = None
        self._append(chunk, len(data))

    def _special_end(self, chunk: Chunk, query: bytes, script: Script) -> None:
        """Have *chunk*, the Query that ends the open unit, name what servers know; see `_special`."""
        self.await_names(script)
        unit, number = self._opened, self._former.said if self._former is not None else 0
        assert unit is not None

        def renaming() -> Renaming:
            unit.renaming = unit.renaming or Renaming(self)
            return unit.renaming

        replaced = special(self, query, script, renaming, number) if script.special else None
        if renames(script):
            self.note_names(script, renaming(), number)
        if replaced is not None:
            chunk.run_instead(replaced)

    # Ends of units...

    def _sync(self, data: bytes, run: int, pos: int, end: int) -> None:
        assembly = self._assembly
        if assembly is None:
            piece = Piece([data[pos:end]], NOTHING)
            size, executes, row_limit, waiting = end - pos, False, False, _NOTHING
        else:
            assembly.add_raw(data[run:end] if run < pos else data[pos:end])
            size, executes, row_limit = assembly.size, assembly.executes, assembly.keeps_portal
            waiting = assembly.waiting_for
            piece = assembly.take(keep_plan=self._open)
            self._assembly = None
        if self._open:
            self._open = False
            assert self._opened is not None
            if assembly is None:
                assembly = self._former
            assert assembly is not None
            self._opened.renaming = assembly.renaming
            self._opened.row_limit = assembly.keeps_portal
            self._opened.end_names()
            self._opened = self._former = None
            self._continue(piece, size).completes = True
            return
        unit = Unit(self, EXTENDED, piece, size)
        if assembly is not None and assembly.renaming is not None:
            unit.renaming = assembly.renaming
            unit.renaming.end()
        unit.executes = executes and piece.script is not inband.ANSWER
        if assembly is not None:
            unit.describes, unit.follows = assembly.describes, assembly.follows
        unit.row_limit = row_limit
        unit.waiting_for = waiting
        script = piece.script
        unit.plain = (
            script is not None
            and script.plain_read
            and piece.plan is None
            and piece.unnamed is None
            and piece.litter is None
            and not row_limit
        )
        self._append(unit, size)

    def _flush(self, data: bytes, run: int, pos: int, end: int) -> None:
        """Take a Flush.

        A client that parses and describes a statement first (asyncpg, postgres.js) asks for the answers like this. To a server
        that may be a unit of its own, a Sync ends it as well: nothing has been executed. So what the client then executes is
        free to go where it belongs.
        """
        assembly = self._assembly
        if assembly is not None and assembly.only_asks and not self._open:
            if run < pos:
                assembly.add_raw(data[run:pos])
            assembly.leave_untold()
            self._sync(SYNC, 0, 0, len(SYNC))
        elif assembly is not None:
            assembly.add_raw(data[run:end] if run < pos else data[pos:end])
            self._open_up()
        elif self._open or self.in_flight:
            self._append(Chunk([data[pos:end]]), end - pos)

    def _open_up(self) -> None:
        """Send what there is of the unit; the rest follows as it comes."""
        assembly = self._assembly
        assert assembly is not None
        size, waiting = assembly.size, assembly.waiting_for
        piece = assembly.take(keep_plan=True)
        assembly.size = 0
        self._former = assembly
        if self._opened is not None:
            self._opened.renaming = assembly.renaming
            self._continue(piece, size)
            return
        self._open = True
        self._opened = unit = Unit(self, EXTENDED, piece, size)
        unit.renaming = assembly.renaming
        unit.is_open = True
        unit.row_limit = True
        unit.follows = assembly.follows
        unit.waiting_for = waiting
        self._append(unit, size)

    def _interrupt(self, data: bytes, run: int, pos: int) -> None:
        """Send an unfinished unit on because something else than its Sync follows."""
        assembly = self._assembly
        assert assembly is not None
        if run < pos:
            assembly.add_raw(data[run:pos])
        self._open_up()
        self._assembly = None

    def _continue(self, piece: Piece, size: int) -> Chunk:
        chunk = Chunk.like(piece)
        self._append(chunk, size)
        return chunk

    def _stream(self, data: bytes, code: int, run: int, pos: int, end: int) -> bool:
        """Pass an incomplete long frame through; False if it must be awaited whole."""
        size = len(data)
        if code in (codes.QUERY, codes.PARSE) and end - pos <= PARSE_LIMIT:
            return False
        if code == codes.QUERY and not self._open:
            if self._assembly is not None:
                self._interrupt(data, run, pos)
            else:
                self.names.pop(b"", None)
                self.unnamed_by = None
                unit = Unit(self, SIMPLE, Piece([data[pos:]], OPAQUE), size - pos)
                unit.row_limit = True
                self._append(unit, size - pos)
                self._through = end - size
                return True
        if code in _ASSEMBLED:
            assembly = self._assembly
            if assembly is None:
                assembly = self._assembly = self._assemble()
                run = pos
            assembly.await_name(code, data, pos)
            if run < pos:
                assembly.add_raw(data[run:pos])
            assembly.long_message(code, data, pos, end)
            self._open_up()
        else:
            if self._assembly is not None:
                self._interrupt(data, run, pos)
            if code in (codes.QUERY, codes.FUNCTION_CALL) and self._open:
                self._end_with(data[pos:], OPAQUE)
            elif code == codes.FUNCTION_CALL:
                unit = self._function_call(data[pos:])
                unit.row_limit = True
                self._append(unit, size - pos)
            else:
                chunk = Chunk([data[pos:]])
                chunk.is_copy = code in _COPY
                chunk.ends_copy = chunk.is_copy and code != codes.COPY_DATA
                self._append(chunk, size - pos)
        self._through = end - size
        return True

    def _append(self, item: Unit | Chunk, size: int) -> None:
        self.pending.append(item)
        self.pending_bytes += size


_QUERY: Final = codes.QUERY
_NOTHING: Final[Sequence[bytes]] = ()
_COPY: Final = frozenset({codes.COPY_DATA, codes.COPY_DONE, codes.COPY_FAIL})
_ASSEMBLED: Final = frozenset(
    {codes.BIND, codes.EXECUTE, codes.PARSE, codes.DESCRIBE, codes.CLOSE}
)
