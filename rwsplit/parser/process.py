"""Process: rwsplit's side of a running parser process: start and end, and the messages both ways.

It is a new process (not a fork, since rwsplit has threads) in a session of its own, so that Ctrl-C does not reach it. Its standard
input is one end of a socket pair. It never outlives rwsplit: when rwsplit ends, however it does, the other end closes.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import sysconfig
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NoReturn

import attrs
import trio

from rwsplit.parser.endings import Ending, ending_of
from rwsplit.parser.frames import BrokenFrame, Frames, encode
from rwsplit.parser.messages import Message, Ready

_CHUNK: Final = 256 << 10
#: Seconds a process that was killed, or has closed its socket, may take to be gone.
_GONE: Final = 5.0
#: Seconds in which it may end by itself when its socket has closed.
_GRACE: Final = 2.0


@attrs.frozen(kw_only=True)
class Limits:
    """The limits of a parser process."""

    seconds: float = 1.0
    """Processor time for one text."""
    patience: float = 3.0
    """Seconds within which it must send something, or at least use processor time."""
    start: float = 30.0
    """Seconds it may take to start."""
    memory: int = 512 << 20
    """Bytes of address space."""
    full: int = 256 << 20
    """Bytes of resident memory at which it is replaced."""


class Ended(Exception):
    """The process has ended, or must be killed."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.value)
        self.ending = ending


class Process:
    """One parser process that is ready."""

    def __init__(
        self, process: trio.Process, stream: trio.SocketStream, limits: Limits
    ) -> None:
        self._process = process
        self._stream = stream
        self._limits = limits
        self._frames = Frames()
        self.pid: int = process.pid
        self.is_hopeless = False
        """Whether it must be killed, since it does not answer as it should."""

    async def send(self, message: Message) -> None:
        """Send *message*. Raises Ended; BrokenFrame: it is too long."""
        data = encode(message)
        with trio.move_on_after(self._limits.patience) as scope:
            try:
                await self._stream.send_all(data)
            except trio.BrokenResourceError:
                raise Ended(await self._ending()) from None
        if scope.cancelled_caught:
            self._give_up(Ending.SILENT)

    async def receive(self) -> Message:
        """Return its next message. Raises Ended if none comes in time."""
        return await self._receive(self._limits.patience)

    async def wait(self) -> Ending:
        """Block until it ends; return why."""
        return ending_of(await self._process.wait())

    def resident(self) -> int:
        """Return its resident memory in bytes."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        except OSError:
            return 0
        return int(pages) * _PAGE

    def _used(self) -> str:
        """Return the processor time it has used, as a text to compare."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return " ".join(fields[11:13])

    async def await_ready(self) -> None:
        """Block until it can begin. Raises Ended."""
        if not isinstance(await self._receive(self._limits.start), Ready):
            raise Ended(Ending.BROKEN)

    async def _receive(self, patience: float) -> Message:
        while True:
            try:
                message = self._frames.next()
            except BrokenFrame:
                self._give_up(Ending.BROKEN)
            if message is not None:
                return message
            self._frames.feed(await self._receive_some(patience))

    async def _receive_some(self, patience: float) -> bytes:
        data = None
        for _ in range(_MOST_WAITS):
            used = self._used()
            with trio.move_on_after(patience):
                data = await self._receive_now()
            if data is None:
                # rwsplit itself may be late: an answer that has arrived by now counts.
                with trio.move_on_after(_TICK):
                    data = await self._receive_now()
            if data is not None or self._used() == used:
                break  # else it is working, and its own timer limits that
        if data is None:
            self._give_up(Ending.SILENT)
        if not data:
            raise Ended(await self._ending())
        return data

    async def _receive_now(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(_CHUNK))
        except trio.BrokenResourceError:
            return b""

    def _give_up(self, ending: Ending) -> NoReturn:
        self.is_hopeless = True
        raise Ended(ending) from None

    async def _ending(self) -> Ending:
        with trio.move_on_after(_GONE):
            return await self.wait()
        return Ending.DIED


@asynccontextmanager
async def started(limits: Limits) -> AsyncIterator[Process]:
    """Start a process and yield it once it is ready; at the end of the block it has ended.

    Raises Ended if it does not become ready, OSError if it cannot be started.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = await trio.lowlevel.open_process(
            [
                *(sys.executable or "python3", "-P", "-m", "rwsplit.parser"),
                *(str(limits.seconds), str(limits.memory)),
            ],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            env=_environment(),
        )
        theirs.close()
        ours.setblocking(False)  # noqa: FBT003
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        running = Process(process, stream, limits)
        try:
            await running.await_ready()
            yield running
        finally:
            ours.close()
            if not running.is_hopeless:
                with trio.move_on_after(_GRACE, shield=True):
                    await process.wait()
            process.kill()
            with trio.move_on_after(_GONE, shield=True):
                await process.wait()


def _environment() -> Mapping[str, str]:
    """Return an environment in which Python imports this rwsplit, and nothing from the working directory."""
    found = dict(os.environ)
    root = str(Path(__file__).resolve().parent.parent.parent)
    if root not in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        path = found.get("PYTHONPATH")
        found["PYTHONPATH"] = os.pathsep.join(filter(None, (path, root)))
    return found


_TICK: Final = 0.001
_MOST_WAITS: Final = 10
"""How many times `patience` a process may take if it uses processor time throughout."""
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
