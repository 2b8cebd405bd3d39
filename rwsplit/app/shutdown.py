"""Shutdown: end every session between two transactions, and the rest when time is up."""

from __future__ import annotations

import structlog
import trio

from rwsplit.protocol import codes
from rwsplit.protocol.backend import error_response
from rwsplit.relay.relay import Relay

#: Seconds between two looks at who is idle by now.
INTERVAL = 0.05
GOODBYE = error_response(
    "FATAL", "57P01", "terminating connection due to administrator command"
)

_log = structlog.get_logger("rwsplit.app")


class Shutdown:
    """The wish to end, and how it comes true."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._at_once = trio.Event()
        self.requested = trio.Event()

    def request(self, *, wait: bool) -> None:
        """Begin to end: when running transactions have finished, or (not *wait*) at once.

        Asked a second time, it ends at once.
        """
        if not wait or self.requested.is_set():
            self._at_once.set()
        self._relay.draining = True
        self.requested.set()

    async def drain(self) -> None:
        """End sessions as they become idle, until none is left or `limits.shutdown_timeout` is over."""
        relay = self._relay
        timeout = relay.config.limits.shutdown_timeout
        _log.info("draining", clients=len(relay.clients), seconds=timeout)
        with trio.move_on_after(timeout):
            while relay.clients and not self._at_once.is_set():
                for client in list(relay.clients.values()):
                    if client.is_idle and client.tx == codes.IDLE and not client.sink:
                        relay.fail_client(client, GOODBYE)
                with trio.move_on_after(INTERVAL):
                    await self._at_once.wait()
        left = list(relay.clients.values())
        if left:
            _log.info("sessions_cut_off", clients=len(left))
        for client in left:
            relay.fail_client(client, GOODBYE)
        await relay.lingering.wait_over()
