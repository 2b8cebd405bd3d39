"""The directory of one cluster, recognisable as ours and removed with everything that works in it.

It holds a marker file, which its owner keeps locked (flock) for as long as it lives. The kernel
drops the lock with the process, however it ends and in whatever container, so a marker that can be
locked is a leftover: its processes are ended and its files removed, by the guardian at once or,
where that was killed too, by the next run. Rejected: a pid and its start time in the file, which
says nothing to another pid namespace sharing the directory.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from rwsplit.embedded import processes

MARKER: Final = "rwsplit-embedded-cluster"
PREFIX: Final = "rwsplit-cluster-"
REMOVAL_ATTEMPTS: Final = 5


class InUse(Exception):
    """The directory belongs to a run that is alive, or holds files that are not ours."""


class ClusterDirectory:
    """A directory this process owns until `remove`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def create(cls, path: Path | None = None) -> ClusterDirectory:
        """Make *path* (default: a new temporary directory) and own it; a leftover there goes first.

        Raises: InUse when another run owns it or when it holds anything else.
        """
        if path is None:
            path = Path(tempfile.mkdtemp(prefix=PREFIX))
        elif path.is_dir() and not remove_leftover(path) and any(path.iterdir()):
            raise InUse(f"{path} is not empty")
        path = path.resolve()
        path.mkdir(mode=0o711, parents=True, exist_ok=True)
        path.chmod(
            0o711
        )  # the servers' account passes through; each node's directory is its own

        lock = _lock(path / MARKER, os.O_RDWR | os.O_CREAT)
        if lock is None:
            raise InUse(f"{path} is used by another embedded cluster")
        os.ftruncate(lock, 0)
        os.write(lock, b"%d\n" % os.getpid())
        return cls(path, lock)

    def remove(self) -> None:
        """End what works in the directory, remove it, and give up the lock."""
        if self._lock < 0:
            return
        try:
            _remove(self.path)
        finally:
            os.close(self._lock)
            self._lock = -1


def remove_leftovers(parent: Path | None = None) -> list[Path]:
    """Remove the temporary clusters whose owner is gone and return their paths."""
    parent = parent or Path(tempfile.gettempdir())
    return [path for path in _candidates(parent) if remove_leftover(path)]


def remove_leftover(path: Path) -> bool:
    """Remove *path* if it is a cluster whose owner is gone; return whether it was.

    Raises: InUse when it is a cluster whose owner lives.
    """
    try:
        lock = _lock(path / MARKER, os.O_RDWR)
    except FileNotFoundError:
        return False
    if lock is None:
        raise InUse(f"{path} is used by another embedded cluster")
    try:
        _remove(path)
    finally:
        os.close(lock)
    return True


def _candidates(parent: Path) -> Iterator[Path]:
    """Yield the directories in *parent* that are ours, abandoned, and really directories of ours."""
    for path in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            status = path.lstat()
            if (
                stat.S_ISDIR(status.st_mode)
                and status.st_uid == os.geteuid()
                and is_abandoned(path)
            ):
                yield path


def is_abandoned(path: Path) -> bool:
    """Return whether *path* is a cluster whose owner is gone."""
    try:
        lock = _lock(path / MARKER, os.O_RDWR)
    except OSError:
        return False
    if lock is not None:
        os.close(lock)
    return lock is not None


def _lock(marker: Path, flags: int) -> int | None:
    """Return a locked descriptor of *marker*, None when another process holds the lock."""
    descriptor = os.open(marker, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _remove(path: Path) -> None:
    """End the processes and remove the files; the marker last, so that an interruption is resumed."""
    processes.end_all(path)
    for entry in path.iterdir():
        if entry.is_dir():
            processes.forget_shared_memory(entry)
    for _ in range(REMOVAL_ATTEMPTS):  # a dying process may still write
        for entry in path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != MARKER:
                entry.unlink(missing_ok=True)
        if [entry.name for entry in path.iterdir()] == [MARKER]:
            break
    else:
        return  # the marker stays, and the next run tries again
    (path / MARKER).unlink(missing_ok=True)
    path.rmdir()
