"""From YAML to a `Config`, with every problem reported at once, each with its path.

`document.py` reads the text (YAML 1.2: `on`, `off` and `12:30` are plain words), `reader.py` makes the
model's values of it, `checks.py` compares them; here are the files.

`load` returns a `Config` or raises a `ConfigError`, whatever the file contains and whatever lies in its place. Exceptions that
the readers did not foresee become a `ConfigError`, too, since a reload must not end a running rwsplit.

Rejected: reporting line numbers with each problem. A path is what the operator searches for, and it
stays right for `rwsplit config set`, where there is no line yet.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from rwsplit.config.checks import Problem, check_config
from rwsplit.config.document import not_understood, read_document
from rwsplit.config.files import Exposure, exposure, read_file, see_that_it_is_regular
from rwsplit.config.model import Config
from rwsplit.config.reader import Reader
from rwsplit.config.settings import all_settings
from rwsplit.errors import ConfigError

LIMIT = 1 << 20
"""Bytes of YAML; more is a mistake."""

#: Bytes of a file whose first line is a password.
PASSWORD_LIMIT: Final = 1 << 16
#: The settings that name secret files: a user who can read one can pose as another user.
SECRET_FILES: Final = (
    "monitor.password_file",
    "users.file",
    "tls.client_tls_key_file",
    "tls.server_tls_key_file",
)


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
    try:
        return _parse(text, path, files=files)
    except ConfigError:
        raise
    except Exception as exc:
        raise not_understood(exc, path) from exc


def _parse(text: str, path: Path | None, *, files: bool) -> Config:
    tree = read_document(text, path)
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
        ConfigError: it cannot be read; the message is one sentence.
    """
    return as_text(read_raw(path), path)


def read_raw(path: Path) -> bytes:
    """Return the bytes of the configuration file *path*. Raises ConfigError, as `read_text`."""
    try:
        return read_file(path, LIMIT)
    except FileNotFoundError:
        raise ConfigError([f"{path}: there is no such file"]) from None
    except OSError as exc:
        raise ConfigError([f"{path}: cannot be read: {exc.strerror}"]) from None


def as_text(data: bytes, path: Path) -> str:
    """Return *data*, those of *path*, as text with line ends of one kind. Raises ConfigError."""
    try:
        return data.decode().replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as exc:
        raise ConfigError([f"{path}: is not UTF-8 text (byte {exc.start})"]) from None


def _explained(path: str, problems: list[Problem]) -> bool:
    """Tell whether a problem at *path* may only be a consequence of one that was reported."""
    return any(
        known in {"", path}
        or known.startswith((f"{path}.", f"{path}["))
        or path.startswith(f"{known}.")
        for known, _ in problems
    )


def _check_files(config: Config) -> Iterator[Problem]:
    for setting, path in named_files(config):
        try:
            status = os.stat(path)
            see_that_it_is_regular(status)
        except FileNotFoundError:
            yield setting, f"there is no such file: {path}"
            continue
        except OSError as exc:
            yield setting, f"cannot be read: {path}: {exc.strerror}"
            continue
        if not os.access(path, os.R_OK):
            yield setting, f"cannot be read: {path}"
        elif setting in SECRET_FILES and exposure(status) is Exposure.EVERYBODY:
            yield setting, f"{Exposure.EVERYBODY.value}: chmod 600 {path}"


def named_files(config: Config) -> Iterator[tuple[str, Path]]:
    """Yield the files *config* names that must be there, each with its setting."""
    for setting in all_settings():
        if setting.type is not Path or setting.path == "admin.state_file":
            continue
        section, name = setting.path.split(".")
        path: Path | None = getattr(getattr(config, section), name)
        if path is not None:
            yield setting.path, path


def read_password(path: Path) -> str:
    """Return the monitor's password, the first line of the file *path*.

    Raises:
        ConfigError: it cannot be read; the message is one sentence.
    """
    try:
        text = read_file(path, PASSWORD_LIMIT).decode()
    except OSError as exc:
        raise ConfigError(
            [f"monitor.password_file: cannot be read: {path}: {exc.strerror}"]
        ) from None
    except UnicodeDecodeError as exc:
        raise ConfigError(
            [
                f"monitor.password_file: cannot be read: {path}: is not UTF-8 text (byte {exc.start})"
            ]
        ) from None
    return text.partition("\n")[0].rstrip("\r")


def _read_password(config: Config) -> Config:
    """Return *config* with the monitor's password taken from its file."""
    path = config.monitor.password_file
    if path is None:
        return config
    password = read_password(path)
    if not password:
        raise ConfigError([f"monitor.password_file: its first line is empty: {path}"])
    if "\0" in password:
        raise ConfigError([f"monitor.password_file: a password has no NUL in it: {path}"])
    return attrs.evolve(config, monitor=attrs.evolve(config.monitor, password=password))
