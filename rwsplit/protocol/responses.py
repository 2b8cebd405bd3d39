"""Responses: match what a server answers with what it owes, first in, first out.

Every unit sent to a server is owed answers up to and including one ReadyForQuery. A `ResponseQueue` holds
what is owed in order and sorts the bytes a server sends:

- **forward**: the answer belongs to a client; it is appended to the unit's *sink* as slices, runs of frames at
  a time. A frame that has not arrived whole passes through as it comes, so a 1 GB row is never held; nor is an error or a notice of
  more than MESSAGE_LIMIT: what must be known of an error stands at its beginning.
- **swallow**: the client never asked (a Parse we sent ahead, a SET we put in front): it is dropped.
- **make up**: the server never got the request (Close of a statement that others still use): the answer is
  inserted where it belongs.

A unit that is *guarded* may be run again elsewhere as long as nothing of its answer has left. So its first
answers are kept back while they are small, and with an error that might heal (`exchange.healing`) the whole
answer is: the owner of the unit runs it again or calls `Owed.deliver`.

After an ErrorResponse in the extended protocol the server discards everything up to the Sync, so the steps left
are void and exactly one ReadyForQuery remains owed (PostgreSQL manual, "Extended Query").
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from enum import IntEnum
from typing import Final

from rwsplit.errors import ProtocolViolation
from rwsplit.protocol import codes
from rwsplit.protocol.framing import HEADER, HEADER_SIZE, check_length, frame
from rwsplit.protocol.looks import Look, Overheard
from rwsplit.protocol.owed import (
    FORWARD as FORWARD,
    SWALLOW as SWALLOW,
    UNTOLD as UNTOLD,
    Owed as Owed,
    Step as Step,
)
from rwsplit.protocol.refusals import (
    LOSING as LOSING,
    is_fatal as is_fatal,
    is_stale_plan as is_stale_plan,
    may_heal as may_heal,
    ran_nothing as ran_nothing,
    sqlstate as sqlstate,
)

#: A frame larger than this that has not arrived whole is passed through as it comes.
HOLD_LIMIT: Final = 16 * 1024
#: A frame that must be understood is held if it is this large at most.
MESSAGE_LIMIT: Final = 1 << 20


class What(IntEnum):
    """What a server's bytes amounted to."""

    DONE = 1
    """The unit's ReadyForQuery came; the value is its transaction status."""
    PARTIAL = 2
    """Something was forwarded, or looked at, and the unit goes on; the value is the number of bytes forwarded."""
    FAILED = 3
    """An ErrorResponse was met within the unit; the value is the frame."""
    COPY_IN = 4
    """The server waits for CopyData."""
    FATAL = 5
    """An ErrorResponse came while nothing was owed; the value is the frame."""
    ASYNC = 6
    """A message that belongs to no unit (a notification) was appended to the owner's sink."""
    VIOLATION = 7
    """The bytes are not what a PostgreSQL server sends; the value is why, in words. Nothing follows."""


Event = tuple[What, Owed | None, bytes | int]


class ResponseQueue:
    """What one server owes, and the sorting of what it sends."""

    __slots__ = ("_missing", "_more", "_rest", "_through", "owed", "owner", "shown_pid")

    def __init__(self) -> None:
        self.owed: deque[Owed] = deque()
        self.shown_pid: Callable[[int], int] = _as_it_is
        """What clients are told instead of a backend's PID: it is that of the session that notifies."""
        self.owner: list[bytes] | None = None
        """Sink of the session that holds the server: notifications go there."""
        self._rest = b""
        """The beginning of a frame, or of one's header."""
        self._more: list[bytes] = []
        """The further pieces of that frame, joined once it is complete."""
        self._missing = 0
        """How many bytes of it are still to come; zero if that need not be awaited."""
        self._through = 0

    def receive(self, data: bytes) -> list[Event]:  # noqa: C901, PLR0912, PLR0915 - the hot loop, in one frame
        """Sort *data*, forward what is to be forwarded, return what happened, in order."""
        events: list[Event] = []
        if self._rest:
            data = self._put_together(data)
            if not data:
                return events
        size = len(data)
        start = pos = 0
        owed = self.owed
        current = owed[0] if owed else None
        if self._through:
            pos = min(self._through, size)
            self._through -= pos
            if current is None or current.sink is None:
                start = pos
        try:
            while size - pos >= HEADER_SIZE:
                code, length = _header(data, pos)
                end = pos + 1 + length
                if code in _PASSED_ON and current is not None and current.steps is None:
                    if end > size or length < 4:
                        check_length(code, length)
                        break
                    pos = end
                    continue
                check_length(code, length)
                if end > size:
                    if length > MESSAGE_LIMIT and not _may_pass(current, code):
                        raise ProtocolViolation(  # noqa: TRY301 - as below
                            f"a message of type {code:#04x} has {length} bytes"
                        )
                    break
                if code == _READY:
                    if current is None or length != _READY_LENGTH:
                        raise ProtocolViolation("a ReadyForQuery came that was not owed")  # noqa: TRY301 - no call in the hot loop
                    self._finish(current, data, start, pos, end)
                    owed.popleft()
                    events.append((_DONE, current, data[pos + 5]))
                    current = owed[0] if owed else None
                    pos = start = end
                    continue
                start, pos = self._look(events, current, data, code, start, pos, end)
        except ProtocolViolation as violation:
            # What is off the books by now must still be told, and what the unit that goes on has been told already.
            if current is not None and current.steps is None:
                self._forward(current, data, start, pos)
            events.append((What.VIOLATION, None, str(violation).encode()))
            return events
        if start < size:
            self._keep(events, current, data, start, pos, size)
        return events

    def takes_whole(self, current: Owed, data: bytes) -> bool:
        """Take *data* off the queue if it is the whole answer to *current*, the only one owed, as it is to be forwarded.

        The caller hands it over. False, and nothing has happened: an error, a notice, a part of an answer, a
        transaction left open, or answers to be swallowed or made up are for `receive`.
        """
        size = len(data)
        if (
            self._rest
            or self._through
            or current.steps is not None
            or current.kept is not None
            or current.error is not None
            or data[-6:] != _IDLE_AT_LAST
        ):
            return False
        pos, last = 0, size - 6
        while pos < last:
            code, length = _header(data, pos)
            if code not in _PASSED_ON or length < 4:
                return False
            pos += 1 + length
        if pos != last:
            return False
        self.owed.popleft()
        current.forwarded = True
        return True

    @property
    def missing(self) -> int:
        """Bytes that are still to come of a frame whose beginning, with its length, has come."""
        return self._through or self._missing

    @property
    def progress(self) -> Hashable:
        """A value that differs after every byte received."""
        head = self.owed[0] if self.owed else None
        size = 0 if head is None else head.size
        return len(self.owed), id(head), size, self._through, self._missing, len(self._rest)

    def discard_input(self) -> None:
        """Forget bytes of an incomplete frame (the server is being closed)."""
        self._rest = b""
        self._more.clear()
        self._missing = 0
        self._through = 0

    # The parts...

    def _put_together(self, data: bytes) -> bytes:
        """Return the frame that has begun with *data* behind it; nothing while it must be awaited whole."""
        if len(data) < self._missing:
            self._more.append(data)
            self._missing -= len(data)
            return b""
        whole = b"".join((self._rest, *self._more, data))
        self._more.clear()
        self._missing = 0
        self._rest = b""
        return whole

    def _finish(self, current: Owed, data: bytes, start: int, pos: int, end: int) -> None:
        """Hand over the end of a unit's answer; with an error that might heal it is kept, too."""
        if current.steps:
            self._forward(current, data, start, pos)
            start = pos
            self._make_up(current)
            if current.steps:  # UNTOLD
                current.steps = None
                if current.error is None:
                    current.deliver()
                return
        if current.error is not None:
            self._forward(current, data, start, end)
            return
        current.size += end - start
        if current.sink is None:
            return
        if current.kept is not None:
            current.deliver()
        current.forwarded = True
        current.sink.append(data if start == 0 and end == len(data) else data[start:end])

    def _look(
        self,
        events: list[Event],
        current: Owed | None,
        data: bytes,
        code: int,
        start: int,
        pos: int,
        end: int,
    ) -> tuple[int, int]:
        """Handle the complete frame at *pos*; return the new start of the run and position."""
        if code == codes.ERROR:
            return self._error(events, current, data, start, pos, end)
        if code in (codes.PARAMETER_STATUS, codes.NOTICE, codes.NOTIFICATION):
            return self._asynchronous(events, current, data, code, start, pos, end)
        if current is None:
            raise ProtocolViolation(
                f"a message of type {code:#04x} came although nothing was owed"
            )
        if current.steps and isinstance(current.steps[0], bytes):
            self._forward(current, data, start, pos)
            start = pos
            self._make_up(current)
        if code == codes.COPY_IN:
            self._forward(current, data, start, end)
            current.deliver()
            events.append((What.COPY_IN, current, 0))
            return end, end
        if code not in codes.PASSED_ON:
            raise ProtocolViolation(f"a message of type {code:#04x} is not expected here")
        if current.steps:
            step = current.steps[0]
            if isinstance(step, Look):
                return self._see(events, current, step, data, code, start, pos, end)
        if code in codes.COMPLETES and current.steps is not None:
            return self._step(current, data, start, pos, end)
        return start, end

    def _see(
        self,
        events: list[Event],
        current: Owed,
        look: Look,
        data: bytes,
        code: int,
        start: int,
        pos: int,
        end: int,
    ) -> tuple[int, int]:
        """Look at a part of the answer to a Describe, and swallow it if rwsplit itself has asked."""
        if look.__class__ is Overheard:
            look.take(code, data[pos:end])
            if code in codes.COMPLETES:
                return self._step(current, data, start, pos, end)
            return start, end
        self._forward(current, data, start, pos)
        look.take(code, data[pos:end])
        if code in codes.COMPLETES:
            steps = current.steps
            assert steps is not None
            steps.popleft()
            current.done += 1
            if not steps:
                current.steps = None
            events.append((What.PARTIAL, current, 0))
        return end, end

    def _step(
        self, current: Owed, data: bytes, start: int, pos: int, end: int
    ) -> tuple[int, int]:
        """Forward or swallow the answer that completes one message."""
        steps = current.steps
        assert steps is not None
        current.done += 1
        if steps and steps.popleft() == SWALLOW:
            self._forward(current, data, start, pos)
            start = end
        else:
            current.told += 1
        if not steps:
            current.steps = None
        return start, end

    def _make_up(self, current: Owed) -> None:
        steps = current.steps
        assert steps is not None
        while steps and isinstance(steps[0], bytes):
            made_up = steps.popleft()
            assert isinstance(made_up, bytes)
            current.done += 1
            current.told += 1
            self._forward(current, made_up, 0, len(made_up))

    def _forward(self, current: Owed, data: bytes, start: int, end: int) -> None:
        """Hand over `data[start:end]`, or keep it while the unit may still run elsewhere."""
        if end <= start:
            return
        current.size += end - start
        if current.sink is None:
            return
        if not current.guarded or current.forwarded:
            current.forwarded = True
            current.sink.append(data[start:end])
            return
        if current.kept is None:
            current.kept = []
        current.kept.append(data[start:end])
        if current.size > HOLD_LIMIT and current.error is None:
            current.deliver()

    def _error(
        self,
        events: list[Event],
        current: Owed | None,
        data: bytes,
        start: int,
        pos: int,
        end: int,
    ) -> tuple[int, int]:
        frame = data[pos:end]
        if current is None:
            events.append((What.FATAL, None, frame))
            return end, end
        self._forward(current, data, start, pos)
        if current.vital:
            current.failed = True
            events.append((What.FAILED, current, frame))
            return len(data), len(data)
        is_whole = end - pos == 1 + _header(data, pos)[1]
        if is_whole:  # else its length is told already
            frame = current.reword(frame)
        if current.steps:
            self._make_up(current)
        if current.guarded and not current.forwarded and is_whole and may_heal(frame):
            current.error = frame
        else:
            current.deliver()
        current.failed_at = current.size
        self._forward(current, frame, 0, len(frame))
        is_untold = current.steps and current.steps[-1] == UNTOLD
        current.steps = deque((UNTOLD,)) if is_untold else None
        current.failed = True
        events.append((What.FAILED, current, frame))
        return end, end

    def _asynchronous(
        self,
        events: list[Event],
        current: Owed | None,
        data: bytes,
        code: int,
        start: int,
        pos: int,
        end: int,
    ) -> tuple[int, int]:
        """NoticeResponse, ParameterStatus and NotificationResponse may come at any time."""
        sink = current.sink if current is not None else self.owner
        if code == codes.NOTIFICATION:
            return self._notification(events, current, data, start, pos, end)
        if code == codes.PARAMETER_STATUS:
            if data[pos + 5 : end].startswith(_HIDDEN):
                sink = None
            elif current is not None and current.reports is not None:
                current.reports.append(data[pos:end])
                events.append((What.ASYNC, current, 0))
                return end, end
        if current is not None:
            if sink is current.sink:
                return (start, end) if sink is not None else (end, end)
            self._forward(current, data, start, pos)
        if sink is not None:
            sink.append(data[pos:end])
            events.append((What.ASYNC, None, 0))
        return end, end

    def _notification(
        self,
        events: list[Event],
        current: Owed | None,
        data: bytes,
        start: int,
        pos: int,
        end: int,
    ) -> tuple[int, int]:
        """Hand a notification to the session that holds the server, in the name of the session it came from."""
        sink = self.owner
        if current is not None:
            self._forward(current, data, start, pos)
        if sink is None:
            return end, end
        code, length = _header(data, pos)
        pid = self.shown_pid(int.from_bytes(data[pos + 5 : pos + 9], "big"))
        renamed = HEADER.pack(code, length) + pid.to_bytes(4, "big") + data[pos + 9 : end]
        if current is not None and sink is current.sink:
            self._forward(current, renamed, 0, len(renamed))
        else:
            sink.append(renamed)
            events.append((What.ASYNC, None, 0))
        return end, end

    def _keep(
        self,
        events: list[Event],
        current: Owed | None,
        data: bytes,
        start: int,
        pos: int,
        size: int,
    ) -> None:
        """Forward a run whose unit goes on, keep an incomplete frame or let it pass through."""
        stop = pos
        self._missing = 0
        if size - pos >= HEADER_SIZE:
            code, length = _header(data, pos)
            is_long = length > MESSAGE_LIMIT
            if code == codes.ERROR and is_long and size - pos >= HOLD_LIMIT:
                assert current is not None
                self._error(events, current, data, start, pos, size)
                self._through = pos + 1 + length - size
                self._rest = b""
                return
            if code not in _PASSED_ON and not (is_long and code == codes.NOTICE):
                # Nothing can be done with a part of it; of a long error the beginning must be known.
                self._missing = (HOLD_LIMIT if is_long else 1 + length) - (size - pos)
            elif (
                length > HOLD_LIMIT
                and current is not None
                and (current.steps is None or code not in codes.COMPLETES)
                and (code == codes.NOTICE or not _is_looked_at(current))
            ):
                if current.steps and code != codes.NOTICE:
                    self._forward(current, data, start, pos)
                    start = pos
                    self._make_up(current)
                self._through = pos + 1 + length - size
                stop = size
        if stop > start and current is not None:
            self._forward(current, data, start, stop)
            if current.forwarded:
                events.append((What.PARTIAL, current, stop - start))
        self._rest = data[stop:]


def _may_pass(current: Owed | None, code: int) -> bool:
    """Return whether a message of the type *code*, too long to be held, may pass to the unit that is answered."""
    if code in _PASSED_ON:
        return True
    return code in (codes.ERROR, codes.NOTICE) and current is not None and not current.vital


def _as_it_is(pid: int) -> int:
    return pid


def _is_looked_at(current: Owed) -> bool:
    return bool(current.steps) and isinstance(current.steps[0], Look)  # type: ignore[index]


_header = HEADER.unpack_from
_READY: Final = codes.READY
_READY_LENGTH: Final = 5
_DONE: Final = What.DONE
_PASSED_ON: Final = codes.PASSED_ON
_IDLE_AT_LAST: Final = frame(codes.READY, b"I")
#: A client sees one stable server: what differs between primary and replica is not reported on the way.
_HIDDEN: Final = (b"in_hot_standby\0", b"default_transaction_read_only\0")
