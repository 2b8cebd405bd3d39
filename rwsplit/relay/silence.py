"""Silence: servers that say nothing and cannot be at work.

A server may send nothing for hours while it runs a long statement, or between two rows. Two kinds of silence are different.
First, PostgreSQL builds a message before it sends the beginning of it, so at most its send buffer can be missing of a message that has
begun; if more is missing, the server is not working on it. Second, a server on a node that is down owes an answer that may never
come; rwsplit waits for it, but not for ever. A node that answers any session, or refuses only the monitor, is not silent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from rwsplit.cluster.node import Down
from rwsplit.protocol.backend import error_response
from rwsplit.server.server import Server

if TYPE_CHECKING:
    from rwsplit.relay.relay import Relay

#: Bytes of a message that a working server may not have sent yet: PostgreSQL's send buffer has 8 kB.
SEND_BUFFER: Final = 16 * 1024

_log = structlog.get_logger("rwsplit.relay")


class Silence:
    """Remembers which servers are silent, and since when; closes them after `server_silence_timeout`."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._quiet: dict[Server, tuple[object, float]] = {}
        """Silent servers: what each had sent by then, and since when that has not changed."""

    def look(self, awake: float) -> None:
        """Close servers that have been silent for too long; rwsplit has run for *awake* seconds."""
        relay = self._relay
        before, self._quiet = self._quiet, {}
        timeout = relay.config.pool.server_silence_timeout
        if not timeout:
            return
        down = {
            node.name: self._last_answer(node.name)
            for node in relay.view.nodes
            if isinstance(node.health, Down) and node.health.silent
        }
        for server in list(relay.servers.values()):
            heard = down.get(server.pool.node)
            is_cut_off = server.responses.missing > SEND_BUFFER
            if server.paused or not (is_cut_off or (heard is not None and server.owed_count)):
                continue
            mark = (server.responses.progress, heard)
            known = before.get(server)
            since = known[1] if known is not None and known[0] == mark else awake
            if awake - since < timeout:
                self._quiet[server] = mark, since
            else:
                self._give_up(server, timeout, is_cut_off=is_cut_off)

    def _last_answer(self, node: str) -> float:
        """Return when any session last got an answer from *node*."""
        pools = [pool for pool in self._relay.pools if pool.node == node]
        return max((server.last_done for pool in pools for server in pool.servers), default=0.0)

    def _give_up(self, server: Server, timeout: float, *, is_cut_off: bool) -> None:
        node = server.pool.node
        reason = "broke off in the middle of a message" if is_cut_off else "is down"
        _log.warning("server_given_up", node=node, server=server.pid, reason=reason)
        self._relay.counters.timeouts += 1
        message = (
            f"{node} {reason} and has said nothing for server_silence_timeout ({timeout:g} s)"
        )
        self._relay.lose_server(server, error_response("FATAL", "08006", message))
