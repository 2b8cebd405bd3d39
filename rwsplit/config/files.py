"""Files: reading the files that an operator names, so that none can block rwsplit or fill its memory.

Only regular files are read, and only up to a limit: opening a pipe would block, and a device may have no end. Every failure is
an `OSError` whose `strerror` can be shown. A secret file must not be readable by everybody.
"""

from __future__ import annotations

import errno
import os
import stat
from enum import Enum
from pathlib import Path
from typing import Final

#: What to call files that are not regular.
_KINDS: Final = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Exposure(Enum):
    """Who besides its owner may read or change a secret file."""

    NOBODY = ""
    GROUP = "its group may read or change it"
    EVERYBODY = "everybody may read or change it"


def read_file(path: Path, limit: int) -> bytes:
    """Return what the regular file *path* holds, *limit* bytes at most.

    Raises:
        OSError: it is not a regular file, is too large, or cannot be read; `strerror` can be shown.
    """
    if "\0" in os.fspath(path):
        raise OSError(errno.EINVAL, "a path has no NUL in it")
    see_that_it_is_regular(
        os.stat(path)
    )  # before it is opened: opening a device may have an effect
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        see_that_it_is_regular(os.fstat(descriptor))
        found = file.read(limit + 1)
    if len(found) > limit:
        raise OSError(errno.EFBIG, f"is larger than {limit} bytes")
    return found


def see_that_it_is_regular(status: os.stat_result) -> None:
    """Raise OSError if *status* is not that of a regular file."""
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"it is {_KINDS.get(kind, 'something else')}, not a file")


def exposure(status: os.stat_result) -> Exposure:
    """Return who besides its owner may read or change the file with *status*."""
    if status.st_mode & (stat.S_IROTH | stat.S_IWOTH):
        return Exposure.EVERYBODY
    if status.st_mode & (stat.S_IRGRP | stat.S_IWGRP):
        return Exposure.GROUP
    return Exposure.NOBODY
