"""Signals: TERM and INT end rwsplit gracefully (a second one, or QUIT, at once), HUP reloads."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import structlog
import trio

from rwsplit.app.shutdown import Shutdown
from rwsplit.errors import RwsplitError

if TYPE_CHECKING:
    from rwsplit.app.operating import OurOperator

_log = structlog.get_logger("rwsplit.app")


async def heed_signals(shutdown: Shutdown, operator: OurOperator) -> None:
    """Do what the process's signals ask for, for ever."""
    wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
    async with trio.open_nursery() as reloads:
        with trio.open_signal_receiver(*wanted) as signals:
            async for number in signals:
                _log.info("signal", name=signal.Signals(number).name)
                if number == signal.SIGHUP:
                    reloads.start_soon(_reload, operator, name="reload")  # TERM does not wait
                else:
                    shutdown.request(wait=number != signal.SIGQUIT)


async def _reload(operator: OurOperator) -> None:
    try:
        changes = await operator.reload()
    except RwsplitError as error:
        _log.error("reload_refused", reason=str(error))
    else:
        _log.info("reloaded", changes=list(changes.told))
