"""What signals ask of a running rwsplit."""

from __future__ import annotations

import signal
from typing import Any, cast

import trio
import trio.testing

from rwsplit.app.signals import heed_signals
from rwsplit.config.changes import Changes


class SlowOperator:
    """Reloads when it is let."""

    def __init__(self) -> None:
        self.begun = 0
        self.through = trio.Event()

    async def reload(self) -> Changes:
        self.begun += 1
        await self.through.wait()
        return Changes((), ())


async def test_a_storm_of_hup_is_one_more_reload(nursery):
    operator = SlowOperator()
    nursery.start_soon(heed_signals, cast("Any", None), operator.reload)
    await trio.testing.wait_all_tasks_blocked()
    for _ in range(20):
        signal.raise_signal(signal.SIGHUP)
        await trio.testing.wait_all_tasks_blocked(0.01)

    assert operator.begun == 1
    operator.through.set()
    await trio.testing.wait_all_tasks_blocked(0.01)
    # What the file has come to while the first was under way is not missed.
    assert operator.begun == 2

    signal.raise_signal(signal.SIGHUP)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert operator.begun == 3
