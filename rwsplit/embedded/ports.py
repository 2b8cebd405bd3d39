"""Free TCP ports on the loopback address that stay free.

The kernel hands out ports above `ip_local_port_range` to outgoing connections, so a port found by
binding to 0 may be taken by any client's connection while its server is down for a restart. Ports are
drawn at random below that range instead, which also keeps parallel runs apart.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"
LOWEST: Final = 15_000
ATTEMPTS: Final = 1_000


def free_ports(count: int) -> list[int]:
    """Return *count* different ports nobody listens on now.

    Raises: OSError when that many cannot be found.
    """
    highest = _first_ephemeral() - 1
    found: list[int] = []
    for _ in range(ATTEMPTS):
        if len(found) == count:
            return found
        port = random.randint(LOWEST, highest)  # noqa: S311 - no secret
        if port not in found and is_free(port):
            found.append(port)
    raise OSError(f"cannot find {count} free ports between {LOWEST} and {highest}")


def is_free(port: int) -> bool:
    """Return whether a server could listen on *port* of the loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As PostgreSQL does: connections of an earlier server in TIME_WAIT are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def _first_ephemeral() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        first = 32_768
    return first if first > LOWEST + ATTEMPTS else 32_768
