"""Parser: keeps a parser process running and gives it texts to parse, one at a time.

These are long or expensive statements, and bodies from the catalog. They wait in a fair queue. If the process ends, the text
it was parsing fails, and the others in the queue wait for the next process. A text that has caused the end of a process is not
tried again (`endings.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Final, NoReturn

import structlog
import trio

from rwsplit.parser.endings import Ending, Suspects
from rwsplit.parser.fair_queue import FairQueue
from rwsplit.parser.jobs import BodiesJob, Job, StatementJob
from rwsplit.parser.process import Ended, Limits, Process, started
from rwsplit.parser.reader import Reader, Reading
from rwsplit.sql.body import UNREADABLE, Body
from rwsplit.sql.functions import FunctionBook

#: Seconds a statement waits for its turn; after that it is given up.
STATEMENT_PATIENCE: Final = 10.0
#: The same for bodies, for which no client waits.
BODY_PATIENCE: Final = 30.0
#: Characters of bodies in one job.
BATCH: Final = 64 << 10
#: Seconds between the end of a process and the start of the next: after the first failure, and at most.
PAUSE: Final = (0.05, 5.0)
#: Seconds a process must run to count as a successful start.
STEADY: Final = 10.0
#: How often a text is tried if the process ends for an unknown reason.
TRIES: Final = 2
#: Failed starts in a row after which texts no longer wait for a process.
HOPELESS: Final = 4
#: Failed starts are counted up to this number.
MOST_FAILURES: Final = 10

_log = structlog.get_logger("rwsplit.parser")


class Parser(Reader):
    """Parses texts in a parser process. Use it from the trio thread only."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.pid: int | None = None
        """The process id, while a process is ready."""
        self.texts = 0
        """How many statements and bodies were parsed."""
        self.unread = 0
        """How many could not be parsed."""
        self.endings = dict.fromkeys(Ending, 0)
        self._queue: FairQueue[Job] = FairQueue()
        self._suspects = Suspects()
        self._news = trio.Event()
        self._ready_at = math.inf
        self._failures = 0

    async def run(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Keep a process running, until cancelled."""
        task_status.started()
        while True:
            self._ready_at = math.inf
            ending = await self._live()
            self.endings[ending] += 1
            pause = self._pause(ending, trio.current_time() - self._ready_at)
            tell = _log.info if ending is Ending.FULL else _log.warning
            tell("parser_ended", reason=ending.value, restart_in=round(pause, 2))
            self._news.set()
            await trio.sleep(pause)

    def _pause(self, ending: Ending, lived: float) -> float:
        """Return the seconds until the next start, after a process has ended that was ready for *lived* seconds."""
        if lived > STEADY:
            self._failures = 0
        if ending is Ending.FULL or ending.is_the_texts:
            return 0.0
        self._failures = min(self._failures + 1, MOST_FAILURES)
        return min(PAUSE[1], PAUSE[0] * 2.0 ** (self._failures - 1))

    # For callers...

    async def classify(
        self,
        text: bytes,
        book: Callable[[], FunctionBook],
        *,
        asker: Hashable,
        is_wanted: Callable[[], bool],
    ) -> Reading:
        """Return the facts of *text*, by *book* as it is when its turn comes; give up if *is_wanted* is false then."""
        if self._suspects.include(text, trio.current_time()):
            return self._refusal(text)
        for _ in range(TRIES):
            job = StatementJob(text, book, asker, is_wanted)
            await self._do(job, STATEMENT_PATIENCE)
            if job.reading.script is not None:
                self.texts += 1
                self._suspects.acquit(text)
                return job.reading
            if job.ending is None:
                break  # its turn did not come, or no session waits for it any more
            if self._suspects.are_to_include(text, job.ending, trio.current_time()):
                self.unread += 1
                return self._refusal(text)
        self.unread += is_wanted()
        return Reading(None)

    async def read_bodies(self, texts: Sequence[str], *, asker: Hashable) -> list[Body | None]:
        """Return what each of *texts* may do; None for a text that could not be parsed now."""
        now = trio.current_time()
        found: dict[str, Body | None] = {
            text: self._stand_in(text)
            for text in texts
            if self._suspects.include(_bytes(text), now)
        }
        for batch in _batches([text for text in dict.fromkeys(texts) if text not in found]):
            job = BodiesJob(batch, asker)
            await self._do(job, BODY_PATIENCE)
            self.texts += len(job.bodies)
            for text, body in zip(batch, job.bodies, strict=False):
                self._suspects.acquit(_bytes(text))
                found[text] = body
            left = batch[len(job.bodies) :]
            if left:  # the first of these was being parsed when the process ended
                found[left[0]] = await self._read_alone(left[0], asker, job.ending)
            for text in left[1:]:
                found[text] = await self._read_alone(text, asker)
        return [found[text] for text in texts]

    async def _read_alone(
        self, text: str, asker: Hashable, ending: Ending | None = None
    ) -> Body | None:
        """Return what *text* may do; *ending* is why the process ended that was parsing it before."""
        tries = TRIES
        if ending is not None and self._is_suspect(text, ending):
            tries = 0
        for _ in range(tries):
            job = BodiesJob([text], asker)
            await self._do(job, BODY_PATIENCE)
            if job.bodies:
                self.texts += 1
                self._suspects.acquit(_bytes(text))
                return job.bodies[0]
            if job.ending is None or self._is_suspect(text, job.ending):
                break
        self.unread += 1
        return self._stand_in(text)

    def _is_suspect(self, text: str, ending: Ending) -> bool:
        """Note that the body *text* was being read at *ending*; return whether it is not to be tried again now."""
        return self._suspects.are_to_include(_bytes(text), ending, trio.current_time())

    def _refusal(self, text: bytes) -> Reading:
        return Reading(None, is_final=self._suspects.include_for_good(text))

    def _stand_in(self, text: str) -> Body | None:
        """Return what is to be taken for the body *text*, which was not read; None: it is read sometime."""
        return UNREADABLE if self._suspects.include_for_good(_bytes(text)) else None

    async def _do(self, job: Job, patience: float) -> None:
        """Queue *job*; return once it is done, or given up."""
        if self.pid is None and self._failures >= HOPELESS:
            await trio.lowlevel.checkpoint()
            return
        self._queue.put(job, job.asker, job.size)
        self._news.set()
        try:
            with trio.move_on_after(patience):
                await job.begun.wait()
            if job.begun.is_set():
                await job.done.wait()
        finally:
            job.is_wanted = _never  # any more

    # The process...

    async def _live(self) -> Ending:
        """Start a process, give it jobs until it ends; return why it ended."""
        try:
            async with started(self.limits) as process:
                self.pid, self._ready_at = process.pid, trio.current_time()
                try:
                    return await self._work_with(process)
                finally:
                    self.pid = None
        except Ended as ended:
            return ended.ending
        except OSError as error:
            _log.warning("parser_not_started", error=str(error))
        except Exception:  # noqa: BLE001 - logged; rwsplit can do without
            _log.exception("parser_failed")
        return Ending.NOT_STARTED

    async def _work_with(self, process: Process) -> Ending:
        async with trio.open_nursery() as nursery:
            gone: list[Ending] = []

            async def watch() -> None:
                gone.append(await process.wait())
                self._news.set()

            nursery.start_soon(watch)
            ending: Ending | None = None
            while ending is None:
                while not self._queue and not gone:
                    self._news = trio.Event()
                    await self._news.wait()
                if gone:
                    ending = gone[0]
                    break
                job = self._queue.take()
                if job.is_wanted():
                    ending = await self._serve(process, job)
                else:
                    job.begun.set()
                    job.done.set()
                if ending is None and process.resident() > self.limits.full:
                    ending = Ending.FULL
            nursery.cancel_scope.cancel()
        return ending

    async def _serve(self, process: Process, job: Job) -> Ending | None:
        """Let *process* do *job*; return why the process ended, None if it did not."""
        began = trio.current_time()
        job.begun.set()
        try:
            await job.run(process)
        except Ended as ended:
            job.ending = ended.ending
        except Exception:  # noqa: BLE001 - logged, and the job fails
            # An error on this side: the process may still wait for a message.
            _log.exception("parser_failed")
            job.ending = Ending.BROKEN
        finally:
            self._queue.charge(job.asker, trio.current_time() - began)
            job.done.set()
        return job.ending


def _never() -> bool:
    return False


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield *texts* in batches of BATCH characters; a longer text is a batch of its own."""
    batch: list[str] = []
    size = 0
    for text in texts:
        if batch and size + len(text) > BATCH:
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    if batch:
        yield batch
