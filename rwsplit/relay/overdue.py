"""Overdue: which nodes owe answers and give no sign of life, and what becomes of what they owe.

One look every tick of `upkeep`, from moments that are recorded anyway. A node that owes something is reported with
when it last answered anybody and since when it owes; the monitor, which knows of its probes too, judges
(`cluster.health`). What a frozen node has not begun to answer runs elsewhere: the servers it is on are closed, so
that no late answer reaches anyone. The primary is spared but for reads that a replica may answer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from rwsplit.cluster.health import PATIENCE
from rwsplit.cluster.node import NEVER, Frozen, NodeView, Suspect
from rwsplit.exchange.lease import IDLE
from rwsplit.routing.route import Target
from rwsplit.server.patience import HELD_UP
from rwsplit.session.unit import Unit

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

#: Seconds a read waits, at most, while a server is being opened for it.
OPENING: Final = 0.5


class Overdue:
    """Knows who owes answers for how long."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._last = NEVER
        """Moment of the last look."""
        self._resumed = NEVER
        """When rwsplit went on after it was held up: until then it had not read any answer."""

    def look(self, now: float) -> None:
        """Report the nodes that owe answers for long, and see what frozen ones owe run elsewhere."""
        last, self._last = self._last, now
        if now - last > HELD_UP:  # answers may have arrived that were not read yet
            self._resumed = now if last > NEVER else NEVER
            return
        relay = self._relay
        heard: dict[str, float] = {}
        asked: dict[str, float] = {}
        for pool in relay.pools:
            name = pool.node
            latest, oldest = heard.get(name, NEVER), asked.get(name, math.inf)
            # Idle servers owe nothing, and the one that answered last is at the right end.
            all_idle = len(pool.idle) == len(pool.servers)
            for server in list(pool.idle)[-1:] if all_idle else pool.servers:
                latest = max(latest, server.last_done)
                owed = server.responses.owed
                if owed:
                    sent = owed[0].sent if isinstance(owed[0], Unit) else server.idle_since
                    oldest = min(oldest, max(sent, server.last_done, self._resumed))
            heard[name], asked[name] = latest, oldest
        for node in relay.view.nodes:
            latest, oldest = heard.get(node.name, NEVER), asked.get(node.name, math.inf)
            silent = now - max(latest, oldest) >= PATIENCE[0]
            if silent or (oldest <= now and isinstance(node.health, Suspect | Frozen)):
                relay.report_owing(node.name, latest, oldest)
        for node in relay.view.nodes:
            if isinstance(node.health, Frozen):
                self._abandon(node)
        self._look_elsewhere(now)

    def _look_elsewhere(self, now: float) -> None:
        """Have reads that wait for servers to be opened, which takes too long, go to other nodes.

        A node whose postmaster alone does not answer has nothing to hide from probes.
        """
        relay = self._relay
        primary = relay.view.primary
        for pool in relay.pools:
            if not pool.starting or (primary is not None and pool.node == primary.name):
                continue
            for client in list(pool.waiters):
                unit: Unit = client.pending[0]  # type: ignore[assignment]  # who waits, waits with a unit
                read = unit.route is not None and unit.route.target is Target.REPLICA
                if read and now - unit.arrived >= OPENING:
                    unit.refused_by |= 1 << pool.node_index
                    relay.loss.requeue(client)  # type: ignore[arg-type]  # the relay's are all Clients

    def _abandon(self, node: NodeView) -> None:
        """Have what the frozen *node* has not begun to answer run elsewhere."""
        relay = self._relay
        is_primary = node is relay.view.primary
        for pool in relay.pools:
            if pool.node != node.name:
                continue
            for server in list(pool.servers):
                if server.lease != IDLE:
                    relay.loss.abandon(server)
                elif not is_primary:  # its backend may stay frozen although the node answers
                    relay.close_server(server)
