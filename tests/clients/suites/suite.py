"""A suite: sources of another project, an environment of its own to run them in, an outcome.

The environment is made once and kept in `.venv/suites`; nothing of a suite is ever part of rwsplit's own.
"""

from __future__ import annotations

import abc
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

import attrs

from rwsplit.embedded.reachable import ReachableNode

ENVIRONMENTS: Final = Path(__file__).parents[3] / ".venv" / "suites"


@attrs.frozen
class Outcome:
    """What became of a run."""

    passed: int
    skipped: int
    failed: Sequence[str]
    """The tests that failed, by the name a person would select them with."""
    finished: bool
    """Whether the suite came to its own end; a crash counts for nothing otherwise."""


@attrs.frozen
class Target:
    """Where a suite connects to."""

    host: str
    port: int
    user: str
    password: str


class Suite(abc.ABC):
    """One suite; *sources* is its repository or sdist, unpacked."""

    name: ClassVar[str]
    requirements: ClassVar[Sequence[str]]
    """What it needs beside `package`, for pip."""

    def __init__(self, sources: Path) -> None:
        self.sources = sources
        if problem := self.problem():
            raise ValueError(f"{sources} does not hold {self.name}: {problem}")

    @abc.abstractmethod
    def problem(self) -> str:
        """Return what is missing in the sources, else nothing."""

    @abc.abstractmethod
    def version(self) -> str:
        """Return the version the sources say they are."""

    @abc.abstractmethod
    def package(self) -> Sequence[str]:
        """Return what pip is to install for the suite to test."""

    @abc.abstractmethod
    def prepare(self, primary: ReachableNode) -> None:
        """Make the databases it expects."""

    @abc.abstractmethod
    def run(
        self, python: Path, target: Target, directory: Path, arguments: Sequence[str]
    ) -> Outcome:
        """Run it with *python* against *target*; *arguments* choose some of its tests."""

    def environment(self) -> Path:
        """Return the Python of its environment, which is made if it is not there yet."""
        home = ENVIRONMENTS / f"{self.name}-{self.version()}"
        python = home / "bin" / "python"
        installed = home / ".installed"
        if not installed.exists():
            print(f"installing what {self.name} {self.version()} needs into {home} ...")
            subprocess.run([sys.executable, "-m", "venv", os.fspath(home)], check=True)
            pip = [os.fspath(python), "-m", "pip", "install", "--quiet"]
            subprocess.run([*pip, *self.package(), *self.requirements], check=True)
            installed.touch()
        return python


def execute(
    command: Sequence[str | Path], *, where: Path, log: Path, variables: Mapping[str, str]
) -> int:
    """Run *command* in *where*, its output both shown and kept in *log*; return its exit status."""
    kept = {name: value for name, value in os.environ.items() if not _changes_clients(name)}
    with (
        log.open("w") as file,
        subprocess.Popen(
            [os.fspath(word) for word in command],
            cwd=where,
            env={**kept, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            print(line, end="", flush=True)
    return process.returncode


def _changes_clients(name: str) -> bool:
    """Return whether an environment variable would change what a client does."""
    return name.startswith(("PG", "PSYCOPG", "DJANGO", "PYTEST", "COVERAGE"))
