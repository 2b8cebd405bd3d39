"""Parser: has texts read by a parser process, one at a time, and keeps that process running.

What is read is what others must not wait for: long or dear statements, bodies out of the catalog. Whoever asks waits in a
fair queue. When the process ends, for whatever reason, the text it was reading is not read; everything else in the queue waits
for the next process. A text that is to blame for that is not tried again (`endings.py`).
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

#: Seconds a statement waits for its turn; then it is not read.
STATEMENT_PATIENCE: Final = 10.0
#: The same of bodies, for which no client waits.
BODY_PATIENCE: Final = 30.0
#: Characters of bodies that are read as one piece of work.
BATCH: Final = 64 << 10
#: Seconds between the end of a process that died and the start of the next: at first, at most.
PAUSE: Final = (0.05, 5.0)
#: Seconds after which a process that runs was started with success.
STEADY: Final = 10.0
#: How often a text is tried if the process ends and nobody knows why.
TRIES: Final = 2
#: Starts in a row that have come to nothing, after which nobody waits for one any more.
HOPELESS: Final = 4
#: As many as are counted.
MOST_FAILURES: Final = 10

_log = structlog.get_logger("rwsplit.parser")


class Parser(Reader):
    """Reads texts in a process. Use it from the trio thread only."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.pid: int | None = None
        """The process that runs, if one is ready."""
        self.texts = 0
        """Statements and bodies that were read."""
        self.unread = 0
        """Those that were not."""
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
        """Return how long to wait before the next start, a process having ended that was ready for *lived* seconds."""
        if lived > STEADY:
            self._failures = 0
        if ending is Ending.FULL or ending.is_the_texts:
            return 0.0
        self._failures = min(self._failures + 1, MOST_FAILURES)
        return min(PAUSE[1], PAUSE[0] * 2.0 ** (self._failures - 1))

    # For whoever has something to be read...

    async def classify(
        self,
        text: bytes,
        book: Callable[[], FunctionBook],
        *,
        asker: Hashable,
        is_wanted: Callable[[], bool],
    ) -> Reading:
        """Return the facts of *text*, by what *book* returns when it is read; it need not be if *is_wanted* says no then."""
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
                break  # its turn did not come, or nobody waits for it
            if self._suspects.are_to_include(text, job.ending, trio.current_time()):
                self.unread += 1
                return self._refusal(text)
        self.unread += is_wanted()
        return Reading(None)

    async def read_bodies(self, texts: Sequence[str], *, asker: Hashable) -> list[Body | None]:
        """Return what each of *texts* may do; None: it could not be read now."""
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
            if left:  # the first of these was being read when the process ended
                found[left[0]] = await self._read_alone(left[0], asker, job.ending)
            for text in left[1:]:
                found[text] = await self._read_alone(text, asker)
        return [found[text] for text in texts]

    async def _read_alone(
        self, text: str, asker: Hashable, ending: Ending | None = None
    ) -> Body | None:
        """Return what *text* may do; *ending*: of the process that was reading it before."""
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
        """Return when *job* is done, or will not be."""
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
        """Start a process and have it job until it ends; return why."""
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
        """Have *process* do *job*; return why it ended, None: it did not."""
        began = trio.current_time()
        job.begun.set()
        try:
            await job.run(process)
        except Ended as ended:
            job.ending = ended.ending
        except Exception:  # noqa: BLE001 - logged, and said to whoever waits
            # Ours, in what is asked of the process: it may still wait for an answer.
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
    """Yield *texts* in portions, each short or one text."""
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
