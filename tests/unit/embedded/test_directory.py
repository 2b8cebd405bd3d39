from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rwsplit.embedded import directory
from rwsplit.embedded.directory import (
    ClusterDirectory,
    InUse,
    remove_leftover,
    remove_leftovers,
)

OWN_AND_WAIT = """
import sys
from pathlib import Path
from rwsplit.embedded.directory import ClusterDirectory
owned = ClusterDirectory.create(Path(sys.argv[1]))
(owned.path / "primary").mkdir()
print("owned", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def abandoned(tmp_path: Path) -> Path:
    """A cluster directory whose owner was killed."""
    path = tmp_path / f"{directory.PREFIX}abandoned"
    owner = start_owner(path)
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    return path


def start_owner(path: Path) -> subprocess.Popen[str]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWN_AND_WAIT, os.fspath(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "owned\n"
    return owner


def test_a_removed_directory_is_gone_with_its_files(tmp_path: Path):
    owned = ClusterDirectory.create(tmp_path / "mine")
    (owned.path / "primary").mkdir()
    (owned.path / "primary" / "file").write_text("x")

    owned.remove()

    assert not owned.path.exists()
    owned.remove()  # a second time does no harm


def test_an_existing_empty_directory_may_be_used(tmp_path: Path):
    (tmp_path / "empty").mkdir()

    owned = ClusterDirectory.create(tmp_path / "empty")

    assert owned.path == (tmp_path / "empty").resolve()
    owned.remove()


def test_a_directory_with_other_files_is_refused_and_left_alone(tmp_path: Path):
    (tmp_path / "letter.txt").write_text("dear")

    with pytest.raises(InUse, match="not empty"):
        ClusterDirectory.create(tmp_path)

    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_a_directory_of_a_living_run_is_refused_and_left_alone(tmp_path: Path):
    path = tmp_path / f"{directory.PREFIX}alive"
    owner = start_owner(path)
    try:
        with pytest.raises(InUse, match="another embedded cluster"):
            ClusterDirectory.create(path)
        assert remove_leftovers(tmp_path) == []
        assert (path / "primary").is_dir()
    finally:
        owner.communicate("")


def test_a_leftover_is_removed_when_its_directory_is_wanted_again(abandoned: Path):
    owned = ClusterDirectory.create(abandoned)

    assert [entry.name for entry in owned.path.iterdir()] == [directory.MARKER]
    owned.remove()


def test_leftovers_in_the_temporary_directory_are_removed(abandoned: Path):
    bystander = abandoned.parent / f"{directory.PREFIX}not-ours"
    bystander.mkdir()

    assert remove_leftovers(abandoned.parent) == [abandoned]

    assert not abandoned.exists()
    assert bystander.is_dir()


def test_a_symbolic_link_to_a_leftover_is_not_followed(abandoned: Path, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / f"{directory.PREFIX}link").symlink_to(abandoned)

    assert remove_leftovers(elsewhere) == []
    assert abandoned.is_dir()


def test_a_directory_without_the_marker_is_no_leftover(tmp_path: Path):
    assert not remove_leftover(tmp_path)
    assert tmp_path.is_dir()
