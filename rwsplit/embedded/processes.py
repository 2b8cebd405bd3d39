"""Processes of a cluster: found by the directory they work in, waited for with a deadline.

PostgreSQL's child processes lead process groups of their own and rewrite their argument list, so
neither a process group nor a command line finds them all. What they share is their working
directory, the data directory, whose name no other process has reason to use. A pid alone is never
trusted: it is killed only while it is a PostgreSQL program that works inside that directory.

Imports nothing outside the standard library: the guardian must start in milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

HAS_PROC: Final = Path("/proc/self/stat").exists()
PROGRAMS: Final = frozenset({"postgres", "initdb", "pg_basebackup"})
POLL_INTERVAL: Final = 0.02
"""Seconds between two looks at something that gives no notice."""
STOP_TIMEOUT: Final = 5.0
"""Seconds a process may take to be stopped."""
IPC_RMID: Final = 0
_STOPPED: Final = frozenset({"T", "t", "Z", ""})


def wait_until(condition: Callable[[], bool], *, timeout: float) -> bool:
    """Block until *condition* holds; return whether it did within *timeout* seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_INTERVAL)  # noqa: TID251 - synchronous by design; trio calls it in a thread
    return True


def working_in(directory: Path) -> list[int]:
    """Return the pids of PostgreSQL programs that work inside *directory*, zombies left out."""
    if HAS_PROC:
        return [pid for pid in _all_pids() if _works_in(pid, os.fspath(directory))]
    return _started_for(directory)


def children_of(pid: int) -> list[int]:
    """Return the pids of the living children of *pid*."""
    if HAS_PROC:
        return [child for child in _all_pids() if _state_and_parent(child)[1] == pid]
    return [child for child, parent, _ in _process_list() if parent == pid]


def send(pids: Iterable[int], signum: signal.Signals) -> None:
    """Send *signum* to each of *pids* that still exists."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signum)


def stop(pid: int) -> list[int]:
    """SIGSTOP *pid*, then every child it has; return the pids, in that order.

    A stop takes effect when the kernel gets to it: until then the process may be forking a child.
    """
    send([pid], signal.SIGSTOP)
    if HAS_PROC:
        wait_until(lambda: _state_and_parent(pid)[0] in _STOPPED, timeout=STOP_TIMEOUT)
    children = children_of(pid)
    send(children, signal.SIGSTOP)
    return [pid, *children]


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill *process*, begun in a session of its own, with its children, and wait for it.

    What it printed is not read: a child that outlived it would hold the pipe open for ever, as the
    one in which pg_basebackup streams WAL does.
    """
    with process, suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def end_all(directory: Path, *, patience: float = 5.0) -> bool:
    """End every PostgreSQL program inside *directory*; return whether none is left.

    SIGQUIT first: an immediate shutdown takes the shared memory along. SIGKILL for what is left.
    """
    pids = working_in(directory)
    send(pids, signal.SIGCONT)
    for signum in (signal.SIGQUIT, signal.SIGKILL, signal.SIGKILL):
        send(pids, signum)
        if wait_until(lambda: not working_in(directory), timeout=patience if pids else 0):
            break
        pids = working_in(directory)
    return not working_in(directory)


def forget_shared_memory(data: Path) -> None:
    """Remove the System V segment a killed postmaster of *data* left behind, if it still exists.

    The seventh line of postmaster.pid holds its key and its id; the file itself exists only while
    the postmaster runs or if it was killed.
    """
    with suppress(OSError, IndexError, ValueError):
        segment = int((data / "postmaster.pid").read_text().splitlines()[6].split()[1])
        ctypes.CDLL(None).shmctl(segment, IPC_RMID, None)


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _works_in(pid: int, directory: str) -> bool:
    """Answer from /proc; a process that ends meanwhile does not count."""
    try:
        if Path(f"/proc/{pid}/comm").read_text().strip() not in PROGRAMS:
            return False
        if _state_and_parent(pid)[0] == "Z":
            return False
        if os.readlink(f"/proc/{pid}/cwd").startswith(directory):
            return True
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(argument.startswith(os.fsencode(directory) + b"/") for argument in arguments)


def _state_and_parent(pid: int) -> tuple[str, int]:
    """Return the one-letter state and the parent's pid; ("", 0) for a process that is gone."""
    try:
        # The name, second field, is in parentheses and may itself hold spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0
    return fields[0], int(fields[1])


def _started_for(directory: Path) -> list[int]:
    """Without /proc only postmasters show what they work on; their children follow them."""
    return [
        pid
        for pid, _, command in _process_list()
        if f"{directory}/" in command and PROGRAMS & {Path(w).name for w in command.split()[:1]}
    ]


def _process_list() -> list[tuple[int, int, str]]:
    listing = subprocess.run(
        ["ps", "-axo", "pid=,ppid=,command="],  # noqa: S607 - wherever this system keeps it
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    rows = (line.split(None, 2) for line in listing.splitlines())
    return [(int(row[0]), int(row[1]), row[2]) for row in rows if len(row) == 3]
