"""From YAML to a `Config`, with every problem reported at once, each with its path.

ruamel.yaml reads the text (YAML 1.2: `on`, `off` and `12:30` are plain words), `reader.py` makes the
model's values of it, `checks.py` compares them; here are the files.

Rejected: reporting line numbers with each problem. A path is what the operator searches for, and it
stays right for `rwsplit config set`, where there is no line yet.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from rwsplit.config.checks import Problem, check_config
from rwsplit.config.model import Config
from rwsplit.config.reader import Reader
from rwsplit.config.settings import all_settings
from rwsplit.errors import ConfigError

LIMIT = 1 << 20
"""Bytes of YAML; more is a mistake."""


def load(path: Path) -> Config:
    """Return the configuration in the file *path*.

    Raises:
        ConfigError: it cannot be read, or it has problems; all of them are in `.problems`.
    """
    return parse(read_text(path), path=path)


def parse(text: str, *, path: Path | None = None, files: bool = True) -> Config:
    """Return the configuration written as *text*; relative paths start at the directory of *path*.

    With *files* the files that are named must be readable, and the monitor's password is read.

    Raises:
        ConfigError: it has problems; all of them are in `.problems`.
    """
    tree = _parse_yaml(text, path)
    reader = Reader(base=path.resolve().parent if path else Path.cwd())
    config = reader.read_config({} if tree is None else tree)
    config = attrs.evolve(config, path=path.resolve() if path else None)

    problems = list(reader.problems)
    found = check_config(config)
    if files:
        found += _check_files(config)
    problems += [each for each in found if not _explained(each[0], reader.problems)]
    if problems:
        raise ConfigError([f"{where or 'the file'}: {what}" for where, what in problems])
    return _read_password(config) if files else config


def read_text(path: Path) -> str:
    """Return the text of the configuration file *path*.

    Raises:
        ConfigError: it cannot be read; says so in one sentence.
    """
    try:
        if path.stat().st_size > LIMIT:
            raise ConfigError([f"{path}: is larger than {LIMIT} bytes"])
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError([f"{path}: there is no such file"]) from None
    except OSError as exc:
        raise ConfigError([f"{path}: cannot be read: {exc.strerror}"]) from None
    except UnicodeDecodeError as exc:
        raise ConfigError([f"{path}: is not UTF-8 text (byte {exc.start})"]) from None


def yaml_problem(exc: YAMLError, path: Path | None) -> ConfigError:
    """Return *exc* as one sentence with its line."""
    where = str(path) if path else "the text"
    if isinstance(exc, MarkedYAMLError) and exc.problem:
        mark = exc.problem_mark or exc.context_mark
        line = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        return ConfigError([f"{where}: {line}{_sentence(exc.problem)}"])
    return ConfigError([f"{where}: is not YAML: {_sentence(str(exc))}"])


def _sentence(text: str) -> str:
    return " ".join(text.split()).partition(", if necessary")[0]


def _parse_yaml(text: str, path: Path | None) -> Any:
    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = 20
    try:
        return yaml.load(text)
    except YAMLError as exc:
        raise yaml_problem(exc, path) from None
    except (ValueError, RecursionError) as exc:
        raise ConfigError([f"{path or 'the text'}: is not YAML: {exc}"]) from None


def _explained(path: str, problems: list[Problem]) -> bool:
    """Tell whether a problem at *path* may only be a consequence of one that was reported."""
    return any(
        known in {"", path}
        or known.startswith((f"{path}.", f"{path}["))
        or path.startswith(f"{known}.")
        for known, _ in problems
    )


def _check_files(config: Config) -> Iterator[Problem]:
    for setting in all_settings():
        if setting.type is not Path or setting.path == "admin.state_file":
            continue
        section, name = setting.path.split(".")
        path: Path | None = getattr(getattr(config, section), name)
        if path is None:
            continue
        if not path.exists():
            yield setting.path, f"there is no such file: {path}"
        elif not path.is_file() or not os.access(path, os.R_OK):
            yield setting.path, f"cannot be read: {path}"


def _read_password(config: Config) -> Config:
    """Return *config* with the monitor's password taken from its file."""
    path = config.monitor.password_file
    if path is None:
        return config
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError([f"monitor.password_file: cannot be read: {exc}"]) from None
    if not lines or not lines[0]:
        raise ConfigError([f"monitor.password_file: its first line is empty: {path}"])
    return attrs.evolve(config, monitor=attrs.evolve(config.monitor, password=lines[0]))
