"""Files: how many file descriptors this process may open, and what the last of them are reserved for.

Every connection takes one. A shortage must not count against a node, and an operator must still be able to log in. So there
are reserves: the first to be refused are clients, then rwsplit opens no more servers, and the last descriptors are for the
console, for probes, and for the files rwsplit reads and writes. The kernel always gives out the lowest free number, so the
number of a new socket tells how many are left, at no cost.
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

#: The errors of a system call when the process or the system lacks a descriptor, or memory for a socket.
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
#: From this limit on the reserves have their full size; below it they shrink in proportion.
_AMPLE: Final = 1024
#: The limits that are tried where the hard limit is infinite.
ENOUGH: Final = (1_048_576, 65_536, 10_240)
#: Seconds between two log lines about a shortage.
SELDOM: Final = 60.0


class Purpose(Enum):
    """What a connection is for; the value is how many descriptors are reserved for more important purposes."""

    CLIENT = 96
    SERVER = 64
    CONSOLE = 32
    OURS = 0
    """Probes and cancel requests."""


def limit() -> int:
    """Return how many descriptors this process may open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def raise_limit() -> int:
    """Raise the soft limit to the hard limit; return the limit now in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Where the hard limit is infinite, the kernel may refuse infinity as the soft limit.
    for wanted in (hard, *(n for n in ENOUGH if hard == resource.RLIM_INFINITY)):
        if soft in (wanted, resource.RLIM_INFINITY) or 0 <= wanted < soft:
            break
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            break
    return limit()


def is_spent(fd: int, purpose: Purpose) -> bool:
    """Return whether the new descriptor *fd* is one of those reserved for more important purposes than *purpose*."""
    return fd >= limit() - reserve(purpose)


def reserve(purpose: Purpose) -> int:
    """Return how many descriptors are reserved for more important purposes than *purpose*."""
    return min(purpose.value, purpose.value * limit() // _AMPLE)


def is_short(purpose: Purpose) -> bool:
    """Return whether there is no descriptor for *purpose*: none is left, or only reserved ones."""
    try:
        fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    os.close(fd)
    return is_spent(fd, purpose)


def out_of_files() -> OutOfFiles:
    """Return the error for a connection that gets no descriptor."""
    return OutOfFiles(
        f"rwsplit is out of file descriptors (its limit is {limit()}): raise LimitNOFILE or ulimit -n, or lower "
        "limits.max_client_conn"
    )


class Seldom:
    """Limits how often the same log line is written."""

    def __init__(self, seconds: float = SELDOM) -> None:
        self._seconds = seconds
        self._next = float("-inf")

    def is_due(self, now: float) -> bool:
        """Return whether the line may be written at *now*, and if so remember that it was."""
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True
