"""`rwsplit check`: every problem of a configuration file, and with --connect of the nodes it names, before it is used."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated

import trio
import typer

from rwsplit.app.memory import state_path, why_unusable
from rwsplit.app.preparation import prepare_file
from rwsplit.cli.proxy import DEFAULT_FILES, default_file
from rwsplit.cluster.inspection import Finding, Line, judge
from rwsplit.config.model import Config
from rwsplit.config.settings import values
from rwsplit.errors import ConfigError, RwsplitError
from rwsplit.monitor.inspector import inspect


def check(
    config: Annotated[
        Path | None, typer.Option("-c", "--config", metavar="FILE", help="The file to check.")
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print the effective settings too.")
    ] = False,
    connect: Annotated[
        bool,
        typer.Option("--connect", help="Connect to each node, too, as the monitor does."),
    ] = False,
) -> None:
    """Check a configuration file: every problem with its path; exit 1 if there is one.

    With --connect the nodes are checked, too: address, login, role, replication, and the right to promote.
    """
    path = config_file(config)
    prepared = prepare_file(path)
    loaded, users = prepared.config, prepared.keyring
    if loaded.users.file is not None and (unknown := users.lacking(loaded)):
        raise ConfigError(unknown)
    problem = why_unusable(loaded)
    if problem and not connect:
        raise ConfigError([problem])
    if show:
        for setting, value in values(loaded).items():
            print(f"{setting}: {value}".rstrip())
    counts = f"{len(loaded.nodes)} nodes, {len(users)} users"
    if connect:
        doubts = [Line("file", each, Finding.WORTH_A_LOOK) for each in prepared.warnings]
        file = Line("file", f"{path}: {counts}")
        _check_nodes(loaded, *(doubts or [file]), _state(loaded, problem))
        return
    for warning in prepared.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if not show:
        print(f"{path} is fine: {counts}")


def _check_nodes(config: Config, *before: Line) -> None:
    """Connect to the nodes and print what was found below *before*. Raises RwsplitError: something is wrong."""
    monitor = config.monitor
    found = judge(
        trio.run(inspect, config), monitor.user, monitor.database, config.consistency.max_lag
    )
    lines = [*before, *found]
    width = max(len(line.subject) for line in lines)
    for line in lines:
        print(f"{line.subject:<{width}}  {line.verdict:<4}  {line.text}")
    failures = sum(line.verdict == "FAIL" for line in lines)
    if failures:
        raise RwsplitError(f"{failures} of {len(lines)} checks failed")


def _state(config: Config, problem: str | None) -> Line:
    """Return the line of the state file; who may write it depends on who asks."""
    if problem:
        finding = Finding.STATE_NOT_SAVED
        return Line("state", f"{problem}; {finding.value}", finding)
    return Line("state", f"{state_path(config)}: {getpass.getuser()} may write it")


def config_file(config: Path | None) -> Path:
    """Return the file meant: the one given, else the first default that exists."""
    path = config or default_file()
    if path is None:
        places = " or ".join(map(str, DEFAULT_FILES))
        raise ConfigError([f"there is no {places}; name a configuration file by -c"])
    return path
