"""`rwsplit check`: every problem of a configuration file, before it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rwsplit.app.memory import why_unusable
from rwsplit.cli.proxy import DEFAULT_FILES, default_file
from rwsplit.config.loader import load
from rwsplit.config.settings import values
from rwsplit.errors import ConfigError
from rwsplit.server.credentials import Keyring


def check(
    config: Annotated[
        Path | None, typer.Option("-c", "--config", metavar="FILE", help="The file to check.")
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print the effective settings too.")
    ] = False,
) -> None:
    """Check a configuration file: every problem with its path; exit 1 if there is one."""
    path = config_file(config)
    loaded = load(path)
    users = Keyring.load(loaded.users.file) if loaded.users.file else None
    if users is not None and (
        unknown := [u for u in loaded.admin.users if users.get(u) is None]
    ):
        raise ConfigError(
            [f"admin.users: {name!r} is not in {loaded.users.file}" for name in unknown]
        )
    if problem := why_unusable(loaded):
        raise ConfigError([problem])
    if show:
        for setting, value in values(loaded).items():
            print(f"{setting}: {value}".rstrip())
    else:
        print(f"{path} is fine: {len(loaded.nodes)} nodes, {len(users or ())} users")


def config_file(config: Path | None) -> Path:
    """Return the file meant: the one given, else the first default that exists."""
    path = config or default_file()
    if path is None:
        places = " or ".join(map(str, DEFAULT_FILES))
        raise ConfigError([f"there is no {places}; name a configuration file by -c"])
    return path
