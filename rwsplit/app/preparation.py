"""Preparation: everything that a configuration needs before it can be in force, made or refused as a whole.

`rwsplit check`, the start and a reload all call `prepare`, so they refuse the same configurations. It changes nothing; it
reads files, which may take a while, so a running rwsplit calls it in a thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import attrs

from rwsplit.client.tls import ClientTlsContext, make_client_context
from rwsplit.config.files import Exposure, exposure
from rwsplit.config.loader import SECRET_FILES, load, named_files
from rwsplit.config.model import Config
from rwsplit.errors import ConfigError
from rwsplit.server.certificates import Validity, first_certificate, validity
from rwsplit.server.credentials import Keyring
from rwsplit.server.endpoint import check_tls_files

#: The settings of the certificates that rwsplit presents to clients and nodes.
_SHOWN: Final = ("tls.client_tls_cert_file", "tls.server_tls_cert_file")


@attrs.frozen(kw_only=True)
class Prepared:
    """A configuration and what follows from it."""

    config: Config
    keyring: Keyring
    tls_context: ClientTlsContext | None
    warnings: tuple[str, ...] = ()
    """Warnings, which do not refuse the configuration: `path: sentence`."""
    userlist: tuple[str, ...] = ()
    """What has changed in the userlist, in sentences."""


def prepare_file(path: Path, previous: Keyring | None = None) -> Prepared:
    """Load and prepare the configuration file *path*; users unchanged since *previous* keep their derived keys.

    Raises:
        ConfigError: it cannot be used.
    """
    return prepare(load(path), previous)


def prepare(config: Config, previous: Keyring | None = None) -> Prepared:
    """Prepare *config*; users unchanged since *previous* keep their derived keys.

    Raises:
        ConfigError: it cannot be used; all problems are in `.problems`.
    """
    problems: list[str] = []
    keyring = Keyring() if previous is None else previous
    context: ClientTlsContext | None = None
    with _noting(problems):
        if config.users.file is not None:
            keyring = Keyring.load(config.users.file, previous=previous)
    with _noting(problems):
        context = make_client_context(config.tls)
    with _noting(problems):
        check_tls_files(config.tls)
    now, warnings = datetime.now(UTC), list(_too_open(config))
    for setting, file, dates in _validities(config):
        problem, warning = dates.problem(now), dates.warning(now)
        if problem:
            problems.append(f"{setting}: {file} {problem}")
        elif warning:
            warnings.append(f"{setting}: {file} {warning}")
    if problems:
        raise ConfigError(problems)
    told = [] if previous is None else keyring.differences(previous)
    return Prepared(
        config=config,
        keyring=keyring,
        tls_context=context,
        warnings=tuple(warnings),
        userlist=tuple(told),
    )


@contextmanager
def _noting(problems: list[str]) -> Iterator[None]:
    """Catch a ConfigError and add its problems to *problems*."""
    try:
        yield
    except ConfigError as error:
        problems += error.problems


def _too_open(config: Config) -> Iterator[str]:
    """Yield a warning for each secret file its group may read; `load` has refused those that everybody may read.

    A configuration file with a password in it is not refused, even if everybody may read it: earlier versions accepted it.
    """
    if config.path is not None and _holds_password(config):
        with suppress(OSError):
            exposed = exposure(config.path.stat())
            if exposed is not Exposure.NOBODY:
                advice = "chmod 600 it, or move the password to monitor.password_file"
                yield f"monitor.password: {exposed.value}: {config.path}; {advice}"
    for setting, path in named_files(config):
        if setting in SECRET_FILES:
            try:
                if exposure(path.stat()) is Exposure.GROUP:
                    yield f"{setting}: {Exposure.GROUP.value}: {path}"
            except OSError:
                continue  # a file that cannot be read is refused elsewhere


def _holds_password(config: Config) -> bool:
    """Return whether the monitor's password stands in the configuration itself."""
    return config.monitor.password_file is None and bool(config.monitor.password)


def _validities(config: Config) -> Iterator[tuple[str, Path, Validity]]:
    """Yield the validity of each certificate that rwsplit presents."""
    for setting, path in named_files(config):
        if setting not in _SHOWN:
            continue
        try:
            der = first_certificate(path)
        except OSError:
            continue
        dates = None if der is None else validity(der)
        if dates is not None:
            yield setting, path, dates
