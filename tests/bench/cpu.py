"""Processor time of processes with all their threads and children, and of the machine, from Linux.

A process's time is its own CPU clock, the one `clock_getcpuclockid(3)` names: nanoseconds, user and
system together, every thread counted, those that ended too. `/proc/PID/schedstat` knows only the
first thread, and `/proc/PID/stat` counts in ticks of 10 ms. What children used that have ended
and were waited for is in their parent's `cutime` and `cstime` (ticks, but summed up in nanoseconds
before they are shown): a child's time moves there when it is reaped, so the sum over a tree never
drops, whether a server forks per connection (PostgreSQL), recycles a set of children (Pgpool-II)
or runs threads (HAProxy, rwsplit's monitor). Lost is only what a child used whose parent ignores SIGCHLD;
none of the programs measured here does.

Work the kernel does for a socket is charged to the process it interrupts; over loopback that is
nearly always the sender.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import attrs

HAS_PROC: Final = Path("/proc/self/stat").exists()
TICKS: Final = os.sysconf("SC_CLK_TCK")
CPUCLOCK_SCHED: Final = 2
"""The kind of clock in the low bits of a clock id made from a pid: all that ran, in nanoseconds."""


@attrs.frozen
class ProcessTimes:
    """What one line of /proc/PID/stat says."""

    parent: int
    reaped: float
    """Seconds of processor time of all descendants that were waited for."""


@attrs.frozen
class MachineTimes:
    """Seconds since boot, summed over the processors."""

    busy: float
    stolen: float
    """Time in which another guest of the same host ran instead of us."""


def processor_time(roots: Iterable[int]) -> float | None:
    """Return the seconds of processor time *roots* and all their descendants have used.

    None where there is no /proc to tell.
    """
    if not HAS_PROC:
        return None
    processes = _all_processes()
    return sum(_own_time(pid) + processes[pid].reaped for pid in descendants(roots, processes))


def descendants(roots: Iterable[int], processes: Mapping[int, ProcessTimes]) -> set[int]:
    """Return those of *roots* that exist and everything below them."""
    children: dict[int, list[int]] = {}
    for pid, process in processes.items():
        children.setdefault(process.parent, []).append(pid)

    found: set[int] = set()
    waiting = [pid for pid in roots if pid in processes]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children.get(pid, ()))
    return found


def living_tree(root: int) -> set[int]:
    """Return *root* and its descendants, as far as they exist; without /proc just *root*."""
    return descendants([root], _all_processes()) if HAS_PROC else {root}


def machine_times() -> MachineTimes | None:
    """Return what all processors together have done; None without /proc."""
    if not HAS_PROC:
        return None
    return parse_machine_times(Path("/proc/stat").read_text().splitlines()[0])


def parse_process_times(line: str) -> ProcessTimes:
    """Read a line of /proc/PID/stat; see proc(5)."""
    # The name, second field, is in parentheses and may itself hold spaces and parentheses.
    fields = line.rpartition(")")[2].split()
    return ProcessTimes(
        parent=int(fields[1]), reaped=(int(fields[13]) + int(fields[14])) / TICKS
    )


def parse_machine_times(line: str) -> MachineTimes:
    """Read the first line of /proc/stat; guests are counted in `user` already."""
    user, nice, system, _idle, _iowait, irq, softirq, stolen = map(int, line.split()[1:9])
    busy = user + nice + system + irq + softirq
    return MachineTimes(busy=busy / TICKS, stolen=stolen / TICKS)


def _all_processes() -> dict[int, ProcessTimes]:
    found: dict[int, ProcessTimes] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                line = Path("/proc", name, "stat").read_text()
            except OSError:
                continue  # it ended meanwhile
            found[int(name)] = parse_process_times(line)
    return found


def _own_time(pid: int) -> float:
    """Return what all threads of *pid* have used; 0 when it is gone (its parent counts it now)."""
    try:
        return time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED)
    except OSError:
        return 0.0
