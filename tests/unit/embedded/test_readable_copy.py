from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from rwsplit.embedded.readable_copy import readable_copy


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """An installation only its owner can read, its libraries beside the package as in a wheel."""
    prefix = tmp_path / "closed" / "package" / "pginstall"
    for part in ("bin", "lib", "include"):
        (prefix / part).mkdir(parents=True)
    (prefix / "bin" / "postgres").write_text("#!/bin/sh\n")
    (prefix / "bin" / "postgres").chmod(0o700)
    (prefix / "lib" / "plpgsql.so").write_text("code")
    (prefix / "lib" / "libpq.a").write_text("static")
    (tmp_path / "closed" / "package.libs").mkdir()
    (tmp_path / "closed" / "package.libs" / "libpq.so").write_text("shared")
    (tmp_path / "closed").chmod(0o700)
    return prefix / "bin"


def test_the_copy_keeps_the_shape_and_can_be_read_by_everybody(closed: Path, tmp_path: Path):
    copied = readable_copy(closed, cache=tmp_path / "cache")

    assert (copied / "../../../package.libs/libpq.so").resolve().read_text() == "shared"
    assert (copied / "../lib/plpgsql.so").resolve().read_text() == "code"
    assert stat.S_IMODE((copied / "postgres").stat().st_mode) == 0o755
    for parent, directories, files in os.walk(tmp_path / "cache"):
        for name in directories + files:
            assert os.stat(Path(parent, name)).st_mode & 0o004


def test_what_running_servers_do_not_need_is_left_out(closed: Path, tmp_path: Path):
    copied = readable_copy(closed, cache=tmp_path / "cache")

    assert not (copied.parent / "include").exists()
    assert not (copied.parent / "lib" / "libpq.a").exists()


def test_it_is_made_once_per_version(closed: Path, tmp_path: Path):
    first = readable_copy(closed, cache=tmp_path / "cache")
    made = (first / "postgres").stat().st_ino

    assert readable_copy(closed, cache=tmp_path / "cache") == first
    assert (first / "postgres").stat().st_ino == made

    (closed / "postgres").write_text("#!/bin/sh\n# another version\n")
    assert readable_copy(closed, cache=tmp_path / "cache") != first
    assert len(list((tmp_path / "cache").iterdir())) == 2  # and no scratch directory
