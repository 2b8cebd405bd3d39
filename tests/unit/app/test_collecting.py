"""When full collections of garbage are made."""

from __future__ import annotations

import subprocess
import sys

import trio
import trio.testing

from rwsplit.app.collecting import DUE, OVERDUE, collect_when_quiet


class Process:
    """One whose relay takes so many turns a second, and that has so many young collections each."""

    def __init__(self, *, turns: float, young: int) -> None:
        self.collections = 0
        self._turns = turns
        self._young = young
        self._since = trio.current_time()

    def turns(self) -> int:
        return int(trio.current_time() * self._turns)

    def young(self) -> int:
        return int((trio.current_time() - self._since) * self._young)

    def collect(self) -> None:
        self.collections += 1
        self._since = trio.current_time()

    async def run(self, seconds: float) -> int:
        with trio.move_on_after(seconds):
            await collect_when_quiet(self.turns, young=self.young, collect=self.collect)
        return self.collections


async def test_nothing_is_collected_before_there_may_be_something(autojump_clock):
    assert await Process(turns=0, young=1).run(DUE - 1) == 0
    assert await Process(turns=0, young=1).run(DUE + 2) == 1


async def test_probes_are_quiet(autojump_clock):
    assert await Process(turns=40, young=DUE).run(3.5) >= 2


async def test_while_clients_are_served_it_is_put_off_but_not_for_ever(autojump_clock):
    assert await Process(turns=5000, young=DUE).run(OVERDUE / DUE - 2) == 0
    assert await Process(turns=5000, young=DUE).run(OVERDUE / DUE + 3) == 1


def test_what_is_there_at_the_start_is_not_looked_at_again():
    said = (
        "import gc; from rwsplit.app.collecting import take_over; take_over();"
        "print(gc.get_freeze_count() > 10000, len(gc.get_objects()) < 1000, gc.get_threshold()[2] > 1 << 20)"
    )
    done = subprocess.run(
        [sys.executable, "-c", said], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["True"] * 3
