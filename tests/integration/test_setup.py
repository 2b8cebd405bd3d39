"""What `make run` says to those whose Python does not suit, and that it leaves no .venv that is of no use."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rwsplit.embedded.processes import wait_until

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """As much of a fresh checkout as is looked at before anything is installed."""
    place = tmp_path / "checkout"
    (place / "deploy").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "deploy/venv.sh"):
        shutil.copy2(ROOT / name, place / name)
    return place


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def make(checkout: Path, python: object, goal: str = "run") -> tuple[int, str]:
    done = subprocess.run(
        ["make", goal, f"PYTHON={python}"],
        cwd=checkout,
        env={**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr


def too_old(checkout: Path) -> Path:
    """A real Python older than 3.11 where there is one, else what says it is."""
    for number in range(10, 6, -1):
        found = shutil.which(f"python3.{number}")
        if (
            found
            and not subprocess.run(
                [found, "-c", ""], capture_output=True, check=False
            ).returncode
        ):
            return Path(found)
    return program(
        checkout / "old", '[ "$1" = --version ] && echo Python 3.9.2 && exit\nexit 1'
    )


@pytest.mark.parametrize("goal", ["run", "check"])
def test_an_old_python_is_refused_by_its_version(checkout: Path, goal: str):
    status, said = make(checkout, too_old(checkout), goal)
    assert status != 0
    assert "rwsplit needs Python 3.11 or newer; " in said
    assert " is Python 3." in said
    assert not (checkout / ".venv").exists()


def test_one_that_does_not_run_is_not_taken_for_an_old_one(checkout: Path):
    """As pyenv's python3.10 where that version is not active."""
    python = program(checkout / "python", "echo 'pyenv: not found' >&2\nexit 127")
    _, said = make(checkout, python)
    assert (
        f"rwsplit needs Python 3.11 or newer; {python} does not run: pyenv: not found" in said
    )
    assert not (checkout / ".venv").exists()


def test_a_python_that_is_not_there_is_named(checkout: Path):
    _, said = make(checkout, "/nowhere/python3")
    assert "rwsplit needs Python 3.11 or newer; there is no /nowhere/python3" in said
    assert not (checkout / ".venv").exists()


def test_one_without_venv_leaves_nothing(checkout: Path):
    """As Debian's without python3-venv: it makes half of it, and fails."""
    python = program(
        checkout / "python",
        f'[ "$2" = venv ] && mkdir -p "$3/bin" && echo no ensurepip && exit 1\nexec {sys.executable} "$@"',
    )
    _, said = make(checkout, python)
    assert "cannot make a virtual environment: no ensurepip" in said
    assert "apt install python3-venv" in said
    assert not (checkout / ".venv").exists()


def test_a_venv_of_no_use_is_made_anew_and_goes_on_next_time_where_pip_failed(checkout: Path):
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / ".venv/bin/python").symlink_to("/nowhere/python3")
    status, said = make(checkout, sys.executable)
    assert status != 0
    assert ".venv is incomplete, or of another Python; making it anew" in said
    assert "pip could not install it; it needs the network or an index of your own" in said
    assert "the first time and when pyproject.toml or constraints.txt has changed" in said
    assert (checkout / ".venv/bin/pip").exists()
    assert not (checkout / ".venv/.installed-demo").exists()
    assert "making" not in make(checkout, "/nowhere/python3")[1]


def test_an_interrupt_while_the_venv_is_made_removes_it(checkout: Path):
    python = program(
        checkout / "python",
        f'[ "$2" = venv ] && mkdir -p "$3/bin" && exec sleep 60\nexec {sys.executable} "$@"',
    )
    process = subprocess.Popen(
        ["make", "run", f"PYTHON={python}"],
        cwd=checkout,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    begun = wait_until((checkout / ".venv/bin").exists, timeout=20)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does at Ctrl-C
    _, said = process.communicate(timeout=30)
    assert begun
    assert "interrupted; removed .venv" in said
    assert not (checkout / ".venv").exists()
