"""Signals: TERM and INT end rwsplit gracefully (a second one, or QUIT, at once), HUP reloads.

However often HUP comes, one reload is under way and one waits at most: that one has not read the file yet.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Awaitable, Callable

import structlog
import trio

from rwsplit.app.shutdown import Shutdown
from rwsplit.config.changes import Changes
from rwsplit.errors import RwsplitError

_log = structlog.get_logger("rwsplit.app")

Reload = Callable[[], Awaitable[Changes]]


async def heed_signals(shutdown: Shutdown, reload: Reload) -> None:
    """Do what the process's signals ask for, for ever; *reload* raises RwsplitError if it is refused."""
    wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
    asked, reloads = trio.open_memory_channel[None](1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_reload_when_asked, reload, reloads, name="reload")
        with trio.open_signal_receiver(*wanted) as signals:
            async for number in signals:
                _log.info("signal", name=signal.Signals(number).name)
                if number == signal.SIGHUP:
                    with contextlib.suppress(trio.WouldBlock):
                        asked.send_nowait(None)  # TERM does not wait for it
                else:
                    shutdown.request(wait=number != signal.SIGQUIT)


async def _reload_when_asked(reload: Reload, asked: trio.MemoryReceiveChannel[None]) -> None:
    async for _ in asked:
        await _reload(reload)


async def _reload(reload: Reload) -> None:
    try:
        changes = await reload()
    except RwsplitError as error:
        _log.error("reload_refused", reason=str(error))
    else:
        _log.info("reloaded", changes=list(changes.told))
