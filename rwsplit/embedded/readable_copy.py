"""A copy of PostgreSQL's programs that an unprivileged account can read, made once and kept.

Root's .venv is often closed to everybody else. The copy lives in root's own cache directory (a
shared one, such as /tmp, would let others plant programs) under a name made from the programs'
size and time, so another version never meets it, and appears by a rename, so it is whole or absent.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

CACHE: Final = Path("/var/cache/rwsplit")


def readable_copy(directory: Path, *, cache: Path | None = None) -> Path:
    """Return a bin directory with the programs of *directory*, readable by every account.

    The installation is the parent of *directory*. A wheel keeps the libraries its programs need
    beside its package (`package.libs`), at a path relative to them: the shape is kept.
    """
    prefix = directory.parent
    package = prefix.parent
    status = (directory / "postgres").stat()
    cache = cache or CACHE
    home = cache / f"postgres-{status.st_size:x}-{status.st_mtime_ns:x}"
    copied = home / package.name / prefix.name / directory.name
    if copied.is_dir():
        return copied

    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="new-") as scratch:
        new = Path(scratch) / "home"
        _copy(prefix, new / package.name / prefix.name)
        libraries = package.with_name(package.name + ".libs")
        if libraries.is_dir():
            _copy(libraries, new / libraries.name)
        _open(new)
        try:
            new.rename(home)
        except OSError:
            if not copied.is_dir():  # else another run was faster
                raise
    return copied


def _copy(source: Path, target: Path) -> None:
    """Copy what running servers needs; headers and static libraries are not."""
    shutil.copytree(
        source, target, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a")
    )


def _open(top: Path) -> None:
    """Let everybody read, and run what its owner may run."""
    for parent, _, files in os.walk(top):
        os.chmod(parent, 0o755)  # noqa: S103 - programs without secrets
        for name in files:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
