"""Jobs: the pieces of work a parser process is given, and what is said to it in each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import trio

from rwsplit.parser.endings import Ending
from rwsplit.parser.frames import BrokenFrame
from rwsplit.parser.messages import Bodies, Facts, Known, Names, Query, Read
from rwsplit.parser.process import Ended, Process
from rwsplit.parser.reader import Reading
from rwsplit.sql.body import Body
from rwsplit.sql.excerpt import Excerpt
from rwsplit.sql.functions import FunctionBook


class Job:
    """A piece of work for a process."""

    def __init__(self, asker: Hashable, size: int, is_wanted: Callable[[], bool]) -> None:
        self.asker = asker
        self.size = size
        self.is_wanted = is_wanted
        self.begun = trio.Event()
        self.done = trio.Event()
        self.ending: Ending | None = None
        """Of the process that was to do it."""

    async def run(self, process: Process) -> None:
        """Have it done by *process*. Raises Ended."""
        raise NotImplementedError


class StatementJob(Job):
    """A statement to be classified by what *book* returns then."""

    def __init__(
        self,
        text: bytes,
        book: Callable[[], FunctionBook],
        asker: Hashable,
        is_wanted: Callable[[], bool],
    ) -> None:
        super().__init__(asker, len(text), is_wanted)
        self.reading = Reading(None)
        """What has become of it so far."""
        self._text = text
        self._book = book

    async def run(self, process: Process) -> None:
        """Have *process* classify it. Raises Ended."""
        await process.send(Query(self._text))
        message, book = await process.receive(), None
        if isinstance(message, Names):
            book = self._book()
            try:
                await process.send(Known(Excerpt.of(book, message.names)))
            except BrokenFrame:
                await process.send(Known(None))
            message = await process.receive()
        if not isinstance(message, Facts):
            raise Ended(Ending.BROKEN)
        self.reading = Reading(message.script, book or self._book())


class BodiesJob(Job):
    """Bodies to be read."""

    def __init__(self, texts: Sequence[str], asker: Hashable) -> None:
        super().__init__(asker, sum(map(len, texts)), lambda: True)
        self.bodies: list[Body] = []
        """What the first of them may do; of all of them when it is done."""
        self._texts = tuple(texts)

    async def run(self, process: Process) -> None:
        """Have *process* read them. Raises Ended."""
        await process.send(Bodies(self._texts))
        for _ in self._texts:
            message = await process.receive()
            if not isinstance(message, Read):
                raise Ended(Ending.BROKEN)
            self.bodies.append(message.body)
