"""Runtime files: where a running `rwsplit demo` leaves its URL, so that `rwsplit status` finds it.

One file per demo, named by its process, in a directory only its user may enter: $XDG_RUNTIME_DIR/rwsplit, or
rwsplit-UID in the directory for temporary files. The URL holds a password, so a directory that
belongs to another user, or lets others in, is not used.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from rwsplit.errors import RwsplitError


@attrs.frozen
class Demo:
    """A running demo."""

    url: str
    pid: int
    started: float


def runtime_directory() -> Path:
    """Return the directory of runtime files; it may not exist yet."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given and Path(given).is_dir() and os.access(given, os.W_OK):
        return Path(given) / "rwsplit"
    return Path(tempfile.gettempdir()) / f"rwsplit-{os.getuid()}"


@contextmanager
def announced(url: str) -> Iterator[None]:
    """Let other commands of this user find *url* until the block ends.

    Raises:
        RwsplitError: the directory is not ours alone.
    """
    directory = runtime_directory()
    directory.mkdir(mode=0o700, exist_ok=True)
    if not _is_private(directory):
        raise RwsplitError(f"{directory} is open to others; remove it")
    path = directory / f"demo-{os.getpid()}.json"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"url": url, "pid": os.getpid()}, file)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def find_demos() -> list[Demo]:
    """Return the demos that run, the one started last first; files of those that do not run are removed."""
    directory = runtime_directory()
    if not directory.is_dir() or not _is_private(directory):
        return []
    demos = []
    for path in directory.glob("demo-*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            said = json.loads(path.read_text())
            demo = Demo(str(said["url"]), int(said["pid"]), path.stat().st_mtime)
            if _is_running(demo.pid):
                demos.append(demo)
            else:
                path.unlink(missing_ok=True)
    return sorted(demos, key=lambda demo: demo.started, reverse=True)


def _is_private(directory: Path) -> bool:
    status = directory.lstat()
    return (
        stat.S_ISDIR(status.st_mode)
        and status.st_uid == os.getuid()
        and not stat.S_IMODE(status.st_mode) & 0o077
    )


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0
