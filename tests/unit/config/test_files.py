"""Files are read to their end or refused, never waited for."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from rwsplit.config.files import Exposure, exposure, read_file


def test_a_file_is_read_up_to_its_limit(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")

    assert read_file(path, 5) == b"12345"
    with pytest.raises(OSError, match="is larger than 4 bytes"):
        read_file(path, 4)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none", 5)


def test_a_link_leads_to_its_file(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"1")
    (tmp_path / "link").symlink_to("file")

    assert read_file(tmp_path / "link", 5) == b"1"


def test_what_is_no_file_is_refused_at_once(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for path, what in (
            (tmp_path / "pipe", "it is a pipe, not a file"),
            (tmp_path / "socket", "it is a socket, not a file"),
            (Path("/dev/full"), "it is a device, not a file"),
            (Path("/dev/zero"), "it is a device, not a file"),
            (tmp_path, "Is a directory"),
            (Path("a\0b"), "a path has no NUL in it"),
            (Path("a" * 5000), "File name too long"),
        ):
            with pytest.raises(OSError, match=what):
                read_file(path, 5)


@pytest.mark.parametrize(
    ("mode", "who"),
    [
        (0o600, Exposure.NOBODY),
        (0o700, Exposure.NOBODY),
        (0o640, Exposure.GROUP),
        (0o620, Exposure.GROUP),
        (0o604, Exposure.EVERYBODY),
        (0o662, Exposure.EVERYBODY),
    ],
)
def test_who_else_may_read_it_is_known_by_its_mode(tmp_path: Path, mode: int, who: Exposure):
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    assert exposure(path.stat()) is who
