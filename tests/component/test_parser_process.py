"""A real parser process: it reads, is ended when it takes too much, and whatever ends it is made good."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import structlog
import trio
import trio.testing
from structlog.testing import LogCapture

from rwsplit.parser import parser as parsing
from rwsplit.parser.endings import RETRIAL, Ending
from rwsplit.parser.frames import encode
from rwsplit.parser.messages import Bodies, Message, Query
from rwsplit.parser.parser import Parser
from rwsplit.parser.process import Limits, Process, started
from rwsplit.parser.reader import Reading
from rwsplit.sql.body import UNREADABLE, Body, read_body
from rwsplit.sql.catalog import Catalog
from rwsplit.sql.facts import HARMLESS
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.statement import PrimaryOnly

BOOK: Final = FunctionBook().within(Catalog(functions={("public", "f"): HARMLESS}), ("public",))
#: Seconds; a coverage run on a busy machine is slow.
PATIENCE: Final = 120.0
GENEROUS: Final = Limits(seconds=20.0, patience=40.0, start=PATIENCE)
LONG: Final = b"select f() from t where a = " + b" + ".join([b"b"] * 1500)
#: Takes some seconds however fast the machine is, when it is allowed to.
DEAR: Final = b"select " + b", ".join(b"f%d(1 + 2)" % number for number in range(45_000))
DEAR_BODY: Final = "begin " + "perform f(1 + 2); " * 14_000 + "end"


class Stage:
    """A parser that runs, and what it has logged."""

    def __init__(self, parser: Parser) -> None:
        self.parser = parser
        self.log = LogCapture()

    async def classify(
        self, text: bytes, *, asker: int = 0, book: Callable[[], FunctionBook] = lambda: BOOK
    ) -> Reading:
        with trio.fail_after(PATIENCE):
            return await self.parser.classify(text, book, asker=asker, is_wanted=lambda: True)

    async def bodies(self, *texts: str) -> list[Body | None]:
        with trio.fail_after(PATIENCE):
            return await self.parser.read_bodies(texts, asker="database")

    async def running(self, *, other_than: int | None = None) -> int:
        """Return the id of the process when one runs."""
        await until(lambda: self.parser.pid not in {None, other_than})
        assert self.parser.pid is not None
        return self.parser.pid

    async def under_work(self, text: bytes, nursery: trio.Nursery) -> list[Reading]:
        """Have *text* classified; return when the process works on it, with where the outcome will be."""
        outcome: list[Reading] = []

        asked = trio.Event()

        def book() -> FunctionBook:
            asked.set()
            return BOOK

        async def classify() -> None:
            outcome.append(await self.classify(text, book=book))

        nursery.start_soon(classify)
        with trio.fail_after(PATIENCE):
            await asked.wait()
        return outcome

    async def ended(self, endings: Mapping[Ending, int]) -> None:
        """Return when processes have ended like that. They are counted after those who wait are told."""
        await until(lambda: sum(self.endings().values()) >= sum(endings.values()))
        assert self.endings() == endings

    def endings(self) -> Mapping[Ending, int]:
        return {ending: count for ending, count in self.parser.endings.items() if count}


@asynccontextmanager
async def playing(limits: Limits = GENEROUS) -> AsyncIterator[Stage]:
    stage = Stage(Parser(limits))
    before = structlog.get_config()
    structlog.configure(processors=[stage.log])
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(stage.parser.run)
            yield stage
            nursery.cancel_scope.cancel()
    finally:
        structlog.configure(**before)


def address_space(pid: int) -> int:
    """Return how many bytes of addresses a process uses."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def is_there(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def until(holds: Callable[[], bool]) -> None:
    """Return when *holds* does: of what another process does there is no event to await."""
    with trio.fail_after(PATIENCE):
        while not holds():  # noqa: ASYNC110
            await trio.sleep(0.005)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "STATEMENT_PATIENCE", PATIENCE)
    monkeypatch.setattr(parsing, "BODY_PATIENCE", PATIENCE)


async def test_it_reads_by_what_names_mean_at_that_moment():
    async with playing() as stage:
        first = await stage.classify(LONG)
        assert first.script is not None
        assert first.script.primary_only is None
        assert first.book is BOOK
        nothing = FunctionBook()
        second = await stage.classify(LONG, book=lambda: nothing)
        assert second.script is not None
        assert second.script.primary_only is PrimaryOnly.UNKNOWN_FUNCTION
        assert second.book is nothing
        assert stage.parser.texts == 2
        assert not stage.endings()


async def test_it_reads_bodies_in_their_order():
    texts = [f"begin perform f{number}(); end" for number in range(3000)]
    async with playing() as stage:
        assert await stage.bodies(*texts) == [read_body(text) for text in texts]
        assert await stage.bodies() == []


async def test_a_text_that_takes_too_long_ends_it_and_is_not_tried_again():
    async with playing(attrs.evolve(GENEROUS, seconds=0.1)) as stage:
        pid = await stage.running()
        assert await stage.classify(DEAR) == Reading(None, is_final=True)
        await stage.ended({Ending.OVERRAN: 1})
        await stage.running(other_than=pid)
        assert await stage.classify(DEAR) == Reading(None, is_final=True)
        assert stage.endings() == {Ending.OVERRAN: 1}
        assert (stage.parser.texts, stage.parser.unread) == (0, 1)
        [entry] = stage.log.entries
        assert (entry["event"], entry["log_level"]) == ("parser_ended", "warning")
        assert entry["reason"] == Ending.OVERRAN.value


async def test_time_in_the_queue_and_time_without_work_does_not_count():
    async with playing(attrs.evolve(GENEROUS, seconds=2.0)) as stage:
        async with trio.open_nursery() as nursery:
            outcomes: list[Reading] = []

            async def ask(number: int) -> None:
                outcomes.append(await stage.classify(LONG + b", %d" % number, asker=number))

            for number in range(30):
                nursery.start_soon(ask, number)
        assert all(outcome.script is not None for outcome in outcomes)
        assert not stage.endings()


async def test_one_bad_body_does_not_keep_the_others_from_being_read():
    async with playing(attrs.evolve(GENEROUS, seconds=0.05)) as stage:
        found = await stage.bodies("select a()", DEAR_BODY, "select b()")
        assert found == [read_body("select a()"), UNREADABLE, read_body("select b()")]
        await stage.ended({Ending.OVERRAN: 1})
        count = stage.endings()[Ending.OVERRAN]
        assert await stage.bodies(DEAR_BODY, "select a()") == [UNREADABLE, found[0]]
        assert stage.endings()[Ending.OVERRAN] == count


async def test_a_text_that_takes_too_much_memory_ends_it():
    async with playing() as stage:
        needed = address_space(await stage.running())
    async with playing(attrs.evolve(GENEROUS, memory=needed + (8 << 20))) as stage:
        assert await stage.classify(DEAR) == Reading(None, is_final=True)
        await stage.ended({Ending.NO_MEMORY: 1})
        assert (await stage.classify(LONG)).script is not None


async def test_it_is_replaced_when_it_has_grown():
    async with playing(attrs.evolve(GENEROUS, full=1)) as stage:
        pid = await stage.running()
        assert (await stage.classify(LONG)).script is not None
        await stage.running(other_than=pid)
        assert (await stage.classify(LONG)).script is not None
        assert set(stage.endings()) == {Ending.FULL}
        assert all(entry["log_level"] == "info" for entry in stage.log.entries)


async def test_killed_while_idle_it_is_back_before_anybody_notices():
    async with playing() as stage:
        pid = await stage.running()
        os.kill(pid, signal.SIGKILL)
        assert (await stage.classify(LONG)).script is not None
        await stage.running(other_than=pid)
        assert stage.endings() == {Ending.DIED: 1}
        assert stage.log.entries[0]["reason"] == Ending.DIED.value


async def test_killed_while_it_starts_the_next_one_does_the_work():
    async with playing() as stage:
        for _ in range(2):
            child = await a_child()
            os.kill(child, signal.SIGKILL)
            await until(lambda child=child: not is_there(child))  # type: ignore[misc]
        assert (await stage.classify(LONG)).script is not None
        assert set(stage.endings()) == {Ending.DIED}


async def test_killed_at_work_the_text_is_tried_once_more_and_others_in_the_queue_wait():
    async with playing() as stage, trio.open_nursery() as nursery:
        pid = await stage.running()
        dear = await stage.under_work(DEAR, nursery)
        others: list[Reading] = []

        async def ask(number: int) -> None:
            others.append(await stage.classify(LONG + b" + %d" % number, asker=number + 1))

        for number in range(5):
            nursery.start_soon(ask, number)
        await trio.testing.wait_all_tasks_blocked()
        os.kill(pid, signal.SIGKILL)
        await stage.running(other_than=pid)
        await until(lambda: len(others) == 5 and bool(dear))
        assert all(other.script is not None for other in others)
        assert dear[0].script is not None
        assert stage.endings() == {Ending.DIED: 1}


async def test_a_text_at_which_it_always_dies_is_left_alone_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
):
    async with playing() as stage:

        def kill() -> FunctionBook:
            assert stage.parser.pid is not None
            os.kill(stage.parser.pid, signal.SIGKILL)
            return BOOK

        for _ in range(3):
            assert await stage.classify(LONG, book=kill) == Reading(None)
        await stage.ended({Ending.DIED: 3})  # the last time it was not tried
        assert (await stage.classify(LONG + b", 1")).script is not None
        clock = trio.current_time
        monkeypatch.setattr(trio, "current_time", lambda: clock() + RETRIAL)
        assert (await stage.classify(LONG)).script is not None


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
async def test_a_text_at_which_it_crashes_is_not_tried_again(number: signal.Signals):
    async with playing() as stage:

        def crash() -> FunctionBook:
            assert stage.parser.pid is not None
            os.kill(stage.parser.pid, number)
            return BOOK

        for _ in range(2):
            assert await stage.classify(LONG, book=crash) == Reading(None, is_final=True)
        await stage.ended({Ending.CRASHED: 1})


async def test_bodies_are_read_whatever_kills_it_while_it_reads_them(
    monkeypatch: pytest.MonkeyPatch,
):
    """The rest of a portion is read one by one."""
    texts = [f"begin perform f{number}(); end" for number in range(20)]
    receive, received, killed = Process.receive, Counter[int](), set[int]()

    async def killing(process: Process) -> Message:
        received[process.pid] += 1
        if received[process.pid] == 6 and len(killed) < 2:
            killed.add(process.pid)
            os.kill(process.pid, signal.SIGKILL)
        return await receive(process)

    monkeypatch.setattr(Process, "receive", killing)
    monkeypatch.setattr(parsing, "BATCH", 300)  # what it has read by then may be all of one
    async with playing() as stage:
        assert await stage.bodies(*texts) == [read_body(text) for text in texts]
        assert killed
        await stage.ended({Ending.DIED: len(killed)})


async def test_a_body_at_which_it_always_dies_is_left_alone_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
):
    good, bad = ["select a()", "select b()"], "select bad()"
    send = Process.send

    async def killing(process: Process, message: Message) -> None:
        if isinstance(message, Bodies) and bad in message.texts:
            os.kill(process.pid, signal.SIGKILL)
        await send(process, message)

    monkeypatch.setattr(Process, "send", killing)
    monkeypatch.setattr(parsing, "PAUSE", (0.001, 0.001))
    monkeypatch.setattr(parsing, "HOPELESS", 100)  # or what comes behind is not waited for
    async with playing() as stage:
        expected = [read_body(good[0]), None, read_body(good[1])]
        for _ in range(3):
            assert await stage.bodies(good[0], bad, good[1]) == expected
        await stage.ended({Ending.DIED: 5})  # with the others, alone twice; again; alone
        clock = trio.current_time
        monkeypatch.setattr(trio, "current_time", lambda: clock() + RETRIAL)
        monkeypatch.setattr(Process, "send", send)
        assert await stage.bodies(bad) == [read_body(bad)]


async def test_one_that_is_silent_is_killed():
    async with playing(attrs.evolve(GENEROUS, patience=1.0)) as stage:
        pid = await stage.running()
        os.kill(pid, signal.SIGSTOP)
        await stage.classify(LONG)
        await until(lambda: not is_there(pid))
        assert Ending.SILENT in stage.endings()


async def test_signals_to_the_process_group_do_not_reach_it():
    async with playing() as stage:
        pid = await stage.running()
        assert os.getpgid(pid) != os.getpgid(0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            os.kill(pid, number)
        assert (await stage.classify(LONG)).script is not None
        assert stage.parser.pid == pid


async def test_where_none_can_be_started_nobody_waits_for_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parsing, "PAUSE", (0.001, 0.001))
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    async with playing() as stage:
        await until(lambda: stage.parser.endings[Ending.NOT_STARTED] >= parsing.HOPELESS)
        assert await stage.classify(LONG) == Reading(None)
        assert await stage.bodies("select 1") == [None]


@pytest.mark.parametrize(
    ("does", "ending", "start"),
    [
        ("printf nonsense >&0; exec sleep 60", Ending.BROKEN, PATIENCE),
        ("exec sleep 60", Ending.SILENT, 0.2),
        ("exit 0", Ending.DIED, PATIENCE),
    ],
)
async def test_one_that_is_no_parser_is_not_waited_for(
    does: str, ending: Ending, start: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    async with playing(attrs.evolve(GENEROUS, start=start)) as stage:
        await until(lambda: bool(stage.endings()))
        assert set(stage.endings()) == {ending}
        assert stage.parser.pid is None


async def test_what_waits_too_long_is_not_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parsing, "STATEMENT_PATIENCE", 0.05)
    parser = Parser(GENEROUS)  # it never runs
    found = await parser.classify(LONG, lambda: BOOK, asker=1, is_wanted=lambda: True)
    assert found == Reading(None)
    assert parser.unread == 1


async def test_what_nobody_wants_any_more_is_not_read():
    async with playing() as stage:
        await stage.running()
        found = await stage.parser.classify(
            LONG, lambda: BOOK, asker=1, is_wanted=lambda: False
        )
        assert found == Reading(None)
        assert (stage.parser.texts, stage.parser.unread) == (0, 0)


async def test_an_error_of_ours_while_a_text_is_read_harms_nothing_else():
    async with playing() as stage:

        def fails() -> FunctionBook:
            raise RuntimeError

        assert (await stage.classify(LONG, book=fails)).script is None
        assert stage.log.entries[0]["event"] == "parser_failed"
        assert (await stage.classify(LONG)).script is not None
        assert Ending.BROKEN in stage.endings()


@pytest.mark.parametrize("moment", ["starting", "idle", "at work"])
async def test_it_ends_with_the_parser_whatever_it_is_doing(moment: str):
    pid = 0
    async with playing() as stage, trio.open_nursery() as nursery:
        if moment == "starting":
            pid = await a_child()
        else:
            pid = await stage.running()
        if moment == "at work":
            await stage.under_work(DEAR, nursery)
        nursery.cancel_scope.cancel()
    assert not is_there(pid)


@pytest.mark.parametrize("message", [None, Query(DEAR), Bodies((DEAR_BODY,) * 50)])
async def test_it_does_not_outlive_whoever_started_it(message: Any):
    """As by kill -9: all that happens then is that the other end of the socket closes."""
    async with started(GENEROUS) as process:
        if message is not None:
            await process._stream.send_all(encode(message))
        process._stream.socket.close()
        with trio.fail_after(PATIENCE):
            await process.wait()


def test_it_is_found_wherever_rwsplit_was_started_from(tmp_path: Path):
    (tmp_path / "rwsplit").mkdir()
    (tmp_path / "rwsplit" / "__init__.py").write_text("raise SystemExit('not this one')")
    script = "\n".join(
        [
            f"import sys; sys.path.insert(0, {str(Path(parsing.__file__).parents[2])!r})",
            "import trio",
            "from rwsplit.parser.process import Limits, started",
            "async def main():",
            "    async with started(Limits()) as process:",
            "        print('ready', process.resident() > 0)",
            "trio.run(main)",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stdout == "ready True\n", done.stderr


async def a_child() -> int:
    """Return the id of a parser process of ours when there is one."""
    await until(lambda: bool(children()))
    return children()[0]


def children() -> list[int]:
    """Return the ids of our parser processes."""
    tasks = Path("/proc/self/task").iterdir()
    pids = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    return [pid for pid in pids if is_there(pid) and is_parser(pid)]


def is_parser(pid: int) -> bool:
    try:
        return b"rwsplit.parser" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
