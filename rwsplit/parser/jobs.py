"""Jobs: the pieces of work for a parser process, and the messages of each."""

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
        """Why the process ended that was doing it; None if it did not."""

    async def run(self, process: Process) -> None:
        """Let *process* do it. Raises Ended."""
        raise NotImplementedError


class StatementJob(Job):
    """A statement to be classified by *book*, as that is when the job runs."""

    def __init__(
        self,
        text: bytes,
        book: Callable[[], FunctionBook],
        asker: Hashable,
        is_wanted: Callable[[], bool],
    ) -> None:
        super().__init__(asker, len(text), is_wanted)
        self.reading = Reading(None)
        """The result so far."""
        self._text = text
        self._book = book

    async def run(self, process: Process) -> None:
        """Let *process* classify it. Raises Ended."""
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
    """Bodies of functions, views and policies to be parsed."""

    def __init__(self, texts: Sequence[str], asker: Hashable) -> None:
        super().__init__(asker, sum(map(len, texts)), lambda: True)
        self.bodies: list[Body] = []
        """The results for the first of them so far; for all of them once it is done."""
        self._texts = tuple(texts)

    async def run(self, process: Process) -> None:
        """Let *process* parse them. Raises Ended."""
        await process.send(Bodies(self._texts))
        for _ in self._texts:
            message = await process.receive()
            if not isinstance(message, Read):
                raise Ended(Ending.BROKEN)
            self.bodies.append(message.body)
