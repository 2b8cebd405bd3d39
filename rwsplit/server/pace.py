"""Pace: so many steps of one kind in one pass of trio's scheduler, the rest in the next ones.

trio runs every task that can go on before it looks at anything else, and the relay has its turn between two passes. A thousand clients
that say something at the same moment would so be served in one pass, in the midst of which no statement goes on: a step of a login is
0.1 ms of processor time, a TLS handshake 1 ms and more. What waits here has not been read yet, so nothing is lost and the kernel
holds it. First in, first out.
"""

from __future__ import annotations

from typing import Final

from trio.lowlevel import ParkingLot, TrioToken, current_trio_token


class Pace:
    """Lets *most* steps a pass go on. Use it from the trio thread only, in as many runs of trio as you like."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._left = most
        self._lot = ParkingLot()
        self._asked_in: TrioToken | None = None
        """The run of trio in which a new pass is being waited for."""

    @property
    def waiting(self) -> int:
        """How many wait for a pass with room for them."""
        return len(self._lot)

    async def step(self) -> None:
        """Return when this pass has room for one more step, which the caller takes at once; mostly without waiting.

        Raises:
            trio.Cancelled: the step must not be taken any more.
        """
        self._ask_for_the_next()
        if self._left > 0 and not self._lot:
            self._left -= 1
        else:
            await self._lot.park()

    def _ask_for_the_next(self) -> None:
        """Have `_renew` called in the next pass, unless that is under way, or there is enough left anyway."""
        if self._left > self.most // 2 and not self._lot:
            return
        token = current_trio_token()
        if token is not self._asked_in:
            self._asked_in = token
            token.run_sync_soon(self._renew)

    def _renew(self) -> None:
        """Begin a new pass: those that have waited longest go on."""
        self._asked_in = None
        self._left = self.most - len(self._lot.unpark(count=self.most))
        self._ask_for_the_next()


#: TLS handshakes with clients, and with nodes: a crowd of strangers must not make a node seem slow.
OF_CLIENTS: Final = Pace(4)
OF_NODES: Final = Pace(4)
