"""Files: how many descriptors this process may have, and what the last of them are kept for.

Every connection is one. When they run out that is rwsplit's trouble and no node's, and it must stay one that an operator can
look into: so clients are refused while some are left, servers are not opened when there are fewer, and the very last are for
the console, for probes, and for what rwsplit reads and writes itself. The kernel gives out the lowest number that is free, so
the number of a new socket says how many are left, at no cost.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sys
from enum import Enum
from typing import Final

from rwsplit.errors import OutOfFiles

#: What the system says when it is out of what a connection needs, as a whole or for this process.
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
#: Limit from which on the reserves are whole; with a lower one they are a part of it.
_AMPLE: Final = 1024
#: What is tried instead of infinity.
ENOUGH: Final = (1_048_576, 65_536, 10_240)
#: Seconds between two log lines about it.
SELDOM: Final = 60.0


class Purpose(Enum):
    """What a connection is for; the value is how many descriptors are left to others."""

    CLIENT = 96
    SERVER = 64
    CONSOLE = 32
    OURS = 0
    """Probes and cancel requests."""


def limit() -> int:
    """Return how many descriptors this process may have."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def raise_limit() -> int:
    """Raise the limit as far as it goes without privileges; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A hard limit of infinity may be more than the kernel takes for the other one.
    for wanted in (hard, *(n for n in ENOUGH if hard == resource.RLIM_INFINITY)):
        if soft in (wanted, resource.RLIM_INFINITY) or 0 <= wanted < soft:
            break
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            break
    return limit()


def is_spent(fd: int, purpose: Purpose) -> bool:
    """Return whether *fd*, which was just given out, is one of those kept for more important things than *purpose*."""
    return fd >= limit() - reserve(purpose)


def reserve(purpose: Purpose) -> int:
    """Return how many descriptors are left to what is more important than *purpose*."""
    return min(purpose.value, purpose.value * limit() // _AMPLE)


def is_short(purpose: Purpose) -> bool:
    """Return whether the next descriptor would be spent for *purpose*, or there is none."""
    try:
        fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    os.close(fd)
    return is_spent(fd, purpose)


def out_of_files() -> OutOfFiles:
    """Return the error that says so."""
    return OutOfFiles(
        f"rwsplit is out of file descriptors (its limit is {limit()}): raise LimitNOFILE or ulimit -n, or lower "
        "limits.max_client_conn"
    )


class Seldom:
    """Lets the same thing be said once in a while."""

    def __init__(self, seconds: float = SELDOM) -> None:
        self._seconds = seconds
        self._next = float("-inf")

    def is_due(self, now: float) -> bool:
        """Return whether it may be said at *now*, and count it as said."""
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True
