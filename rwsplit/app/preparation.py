"""Preparation: everything that a configuration needs before it can be in force, made or refused as a whole.

`rwsplit check`, the start and a reload ask for the same: so what one of them refuses the others do, too. Nothing here
changes anything; it reads files and may take a moment, so a running rwsplit does it beside its event loop.
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

#: Certificates that rwsplit shows to others.
_SHOWN: Final = ("tls.client_tls_cert_file", "tls.server_tls_cert_file")


@attrs.frozen(kw_only=True)
class Prepared:
    """A configuration and what follows from it."""

    config: Config
    keyring: Keyring
    tls_context: ClientTlsContext | None
    warnings: tuple[str, ...] = ()
    """What is no reason to refuse it, and worth saying: `path: sentence`."""
    userlist: tuple[str, ...] = ()
    """What differs from the users of before, in sentences."""


def prepare_file(path: Path, previous: Keyring | None = None) -> Prepared:
    """Return what the configuration file *path* comes to; users unchanged since *previous* keep what was learned.

    Raises:
        ConfigError: it cannot be used.
    """
    return prepare(load(path), previous)


def prepare(config: Config, previous: Keyring | None = None) -> Prepared:
    """Return what *config* comes to; users unchanged since *previous* keep what was learned.

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
    """Add those of a ConfigError to *problems* and go on."""
    try:
        yield
    except ConfigError as error:
        problems += error.problems


def _too_open(config: Config) -> Iterator[str]:
    """Yield which secrets more than one user may read; files of everybody were refused when *config* was loaded.

    The configuration itself is not: with a password in it, that is what many have, and what rwsplit went on with.
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
                continue  # who cannot be read is refused elsewhere


def _holds_password(config: Config) -> bool:
    """Return whether the monitor's password stands in the configuration itself."""
    return config.monitor.password_file is None and bool(config.monitor.password)


def _validities(config: Config) -> Iterator[tuple[str, Path, Validity]]:
    """Yield the dates of the certificates rwsplit shows."""
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
