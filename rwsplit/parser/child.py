"""Child: the parser process itself.

It reads messages from the socket that is its standard input, until rwsplit ends and so the socket does. It ignores signals to
rwsplit's process group (`__main__`). A kernel timer (SIGPROF) kills it when one text has taken more processor time than allowed,
since nothing else can interrupt compiled code. Processor time is what counts, so that a busy machine does not make a text look
expensive; rwsplit watches by its own clock whether the process answers at all.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from typing import Final

from rwsplit.parser.endings import OUT_OF_MEMORY
from rwsplit.parser.frames import BrokenFrame, Frames, encode
from rwsplit.parser.messages import (
    Bodies,
    Facts,
    Known,
    Message,
    Query,
    Read,
    Ready,
)
from rwsplit.parser.work import classify, read
from rwsplit.sql.classify import unread

_CHUNK: Final = 256 << 10


def main() -> None:
    """Serve until standard input ends. Arguments: seconds a text may take, bytes of memory the process may take."""
    seconds, memory = float(sys.argv[1]), int(sys.argv[2])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        memory = min(memory, hard)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    with socket.socket(fileno=0) as connection:
        try:
            Child(connection, seconds).serve()
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        except (EOFError, OSError):
            pass


class Child:
    """Does the work that comes over *connection*, one piece after the other."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self._frames = Frames()

    def serve(self) -> None:
        """Work until the connection ends. Raises EOFError, OSError then; MemoryError."""
        self._send(Ready())
        while True:
            match self._receive():
                case Query() as query:
                    self._limit()
                    self._classify(query)
                case Bodies(texts):
                    for text in texts:
                        self._limit()
                        self._send(Read(read(text)))
                case other:
                    raise EOFError(f"unexpected: {type(other).__name__}")
            signal.setitimer(signal.ITIMER_PROF, 0)

    def _classify(self, query: Query) -> None:
        work = classify(query)
        try:
            names = next(work)
            self._send(names)
            known = self._receive()
            assert isinstance(known, Known)
            work.send(known)
        except StopIteration as end:
            facts: Facts = end.value
            try:
                self._send(facts)
            except BrokenFrame:
                self._send(Facts(unread(facts.script.hints)))

    def _limit(self) -> None:
        """Start the timer that kills the process if this piece of work takes too long."""
        signal.setitimer(signal.ITIMER_PROF, self._seconds)

    def _send(self, message: Message) -> None:
        self._connection.sendall(encode(message))

    def _receive(self) -> Message:
        while True:
            message = self._frames.next()
            if message is not None:
                return message
            data = self._connection.recv(_CHUNK)
            if not data:
                raise EOFError
            self._frames.feed(data)
