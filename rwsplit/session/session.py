"""Session: one client's conversation, from the first statement to Terminate, whatever servers it used.

`receive` takes the client's bytes and appends what they amount to - units and chunks - to *pending*; the relay
takes them from there, in order, one server at a time. `frames` finds the frames; `state` is what must survive a change of
servers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rwsplit.errors import ProtocolViolation
from rwsplit.protocol import codes
from rwsplit.protocol.framing import HEADER_SIZE
from rwsplit.session import inband
from rwsplit.session.assembly import Apart, Assembly
from rwsplit.session.chunk import Chunk, ChunkKind
from rwsplit.session.frames import ASSEMBLED, Frames
from rwsplit.session.function_calls import facts_of_call
from rwsplit.session.input import MESSAGE, OPEN, PASSED_ON, QUERY, SYNC
from rwsplit.session.piece import Piece
from rwsplit.session.pinning import renames
from rwsplit.session.prepared import SYNC as _SYNC
from rwsplit.session.renaming import Renaming
from rwsplit.session.stand_ins import NOTHING, OPAQUE
from rwsplit.session.substitution import special
from rwsplit.session.unit import EXTENDED, FUNCTION, SIMPLE, Unit
from rwsplit.sql.cache import INLINE_LIMIT
from rwsplit.sql.classify import PARSE_LIMIT
from rwsplit.sql.script import Script


class Session(Frames):
    """One established client: its bytes become units."""

    __slots__ = ()

    # Messages...

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
            self._append(Chunk(_COPY[code], [data[pos:end]]), end - pos)
        elif code == codes.FUNCTION_CALL:
            unit = self._function_call(data[pos:end])
            if self.input.is_open:
                self._end_with(data[pos:end], unit.script)
            else:
                self._append(unit, end - pos)
        else:
            self._append(Chunk(ChunkKind.TERMINATE, []), 0)

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
        if self._opened is not None:
            self._end_with(data[pos:end], script or OPAQUE)
            return
        names = self.names
        if names.unsettled and script is not None and script.notable:
            names.await_settled(script)
        if names:
            names.drop_unnamed()
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
            renaming = Renaming(self.names)
            replaced = (
                special(self, query, script, lambda: renaming) if script.special else None
            )
            if changes:
                renaming.note(script)
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
        assert self._opened is not None
        assert self._former is not None
        chunk = Chunk(ChunkKind.QUERY, [data], script, self._opened)
        if script is not None and script.notable:
            chunk.effects = script
            if data[0] == _QUERY:
                self._special_end(chunk, data[HEADER_SIZE:-1], script)
        drops = data[0] == _QUERY and b"" in self.names
        self._opened.end_names(b"" if drops else None, self._former.said)
        self.input.step(QUERY)
        self._opened = self._former = None
        self._append(chunk, len(data))

    def _special_end(self, chunk: Chunk, query: bytes, script: Script) -> None:
        """Have *chunk*, the Query that ends the open unit, name what servers know; see `_special`."""
        self.names.await_settled(script)
        unit, number = self._opened, self._former.said if self._former is not None else 0
        assert unit is not None

        def renaming() -> Renaming:
            unit.renaming = unit.renaming or Renaming(self.names)
            return unit.renaming

        replaced = special(self, query, script, renaming, number) if script.special else None
        if renames(script):
            renaming().note(script, number)
        if replaced is not None:
            chunk.run_instead(replaced)

    # Ends of units...

    def _sync(self, data: bytes, run: int, pos: int, end: int) -> None:
        assembly = self._assembly
        is_open = self.input.unit_state >= OPEN
        if assembly is None:
            piece = Piece([data[pos:end]], NOTHING)
            size, executes, row_limit, waiting = end - pos, False, False, _NOTHING
        else:
            assembly.add_raw(data[run:end] if run < pos else data[pos:end])
            size, executes, row_limit = assembly.size, assembly.executes, assembly.keeps_portal
            waiting = assembly.waiting_for
            piece = assembly.finish(is_open=is_open)
            self._assembly = None
        self.input.step(SYNC)
        if is_open:
            assert self._opened is not None
            if assembly is None:
                assembly = self._former
            assert assembly is not None
            self._opened.renaming = assembly.renaming
            self._opened.row_limit = assembly.keeps_portal
            self._opened.end_names()
            self._append(Chunk.of(ChunkKind.SYNC, piece, self._opened), size)
            self._opened = self._former = None
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
        if assembly is not None and assembly.only_asks and not self.input.is_open:
            if run < pos:
                assembly.add_raw(data[run:pos])
            assembly.leave_untold()
            self._sync(_SYNC, 0, 0, len(_SYNC))
        elif assembly is not None:
            assembly.add_raw(data[run:end] if run < pos else data[pos:end])
            self._open_up()
        elif self.input.is_open or self.in_flight:
            self._append(Chunk(ChunkKind.MORE, [data[pos:end]]), end - pos)

    def _open_up(self) -> None:
        """Send what there is of the unit; the rest follows as it comes."""
        assembly = self._assembly
        assert assembly is not None
        self.input.step(PASSED_ON)
        size, waiting = assembly.size, assembly.waiting_for
        piece = assembly.take()
        self._former = assembly
        if self._opened is not None:
            self._opened.renaming = assembly.renaming
            if assembly.renaming is not None:
                assembly.renaming.tidy(self._opened.told)
            self._append(Chunk.of(ChunkKind.MORE, piece, self._opened), size)
            return
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

    def _stream(self, data: bytes, code: int, run: int, pos: int, end: int) -> bool:
        """Pass an incomplete long frame through; False if it must be awaited whole."""
        if code in (codes.QUERY, codes.PARSE) and end - pos <= PARSE_LIMIT:
            return False
        if code in ASSEMBLED:
            self._stream_message(data, code, run, pos, end)
        else:
            if self._assembly is not None:
                self._interrupt(data, run, pos)
            self._stream_other(data[pos:], code)
        self.input.stream(end - len(data))
        return True

    def _stream_message(self, data: bytes, code: int, run: int, pos: int, end: int) -> None:
        """Pass on the beginning of a long message of the extended protocol, and what came of its unit before."""
        assembly = self._assembly
        if assembly is None:
            assembly = self._assembly = self._assemble()
            run = pos
        assembly.await_name(code, data, pos)
        if run < pos:
            assembly.add_raw(data[run:pos])
        try:
            assembly.long_message(code, data, pos, end)
        except Apart:
            self._interrupt(data, pos, pos)
            self._stream_message(data, code, pos, pos, end)
            return
        self.input.step(MESSAGE)
        self._open_up()

    def _stream_other(self, data: bytes, code: int) -> None:
        """Pass on *data*, the beginning of any other long message."""
        if code in (codes.QUERY, codes.FUNCTION_CALL) and self.input.is_open:
            self._end_with(data, OPAQUE)
        elif code == codes.QUERY:
            self.names.drop_unnamed()
            unit = Unit(self, SIMPLE, Piece([data], OPAQUE), len(data))
            unit.row_limit = True
            self._append(unit, len(data))
        elif code == codes.FUNCTION_CALL:
            unit = self._function_call(data)
            unit.row_limit = True
            self._append(unit, len(data))
        else:
            kind = _COPY.get(code, ChunkKind.MORE)
            self._append(Chunk(kind, [data]), len(data))


_QUERY: Final = codes.QUERY
_NOTHING: Final[Sequence[bytes]] = ()
_COPY: Final = {
    codes.COPY_DATA: ChunkKind.COPY_DATA,
    codes.COPY_DONE: ChunkKind.COPY_END,
    codes.COPY_FAIL: ChunkKind.COPY_END,
}
