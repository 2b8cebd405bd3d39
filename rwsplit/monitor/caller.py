"""Caller: opens links to one node as the monitor's role, for probes and for the operator's commands (PROMOTE).

All logins as that role go through it, so they share address, TLS, password and precautions, and the reasons for failure.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from typing import Final

import trio

from rwsplit.config.loader import read_password
from rwsplit.config.model import AuthConfig, MonitorConfig, NodeConfig, TlsConfig
from rwsplit.errors import ConfigError, NodeError, NodeUnreachable, ServerRefused
from rwsplit.monitor.link import Link, ProbeFailed
from rwsplit.server.authentication import INVALID_PASSWORD
from rwsplit.server.credentials import Credentials, Plain
from rwsplit.server.dialer import dial
from rwsplit.server.endpoint import Endpoint
from rwsplit.server.files import Purpose
from rwsplit.server.stream import WireStream

#: The errors of connecting to a machine that does not answer, or on which no process listens.
_NOBODY: Final = frozenset(
    {
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.ETIMEDOUT,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
    }
)


class Caller:
    """Logs in to one node as the monitor's role."""

    def __init__(
        self,
        node: NodeConfig,
        monitor: MonitorConfig,
        tls: TlsConfig,
        auth: AuthConfig,
    ) -> None:
        self.endpoint = Endpoint.from_config(node, tls, auth)
        self._monitor = monitor
        self._credentials = Credentials(monitor.user, Plain(b""))

    async def call(self, parameters: Mapping[str, str]) -> Link:
        """Open a link to the node with the startup *parameters*.

        Raises:
            ProbeFailed: the login failed; `lost` is true, and `__cause__` is the dialer's error.
        """
        credentials = self._read_credentials()
        try:
            dialed = await dial(
                self.endpoint,
                database=self._monitor.database,
                user=self._monitor.user,
                parameters=parameters,
                credentials=credentials,
                timeout=self._monitor.timeout,
                purpose=Purpose.OURS,
            )
        except ServerRefused as exc:
            reason = self._without_address(exc)
            if credentials is None and exc.server_sqlstate == INVALID_PASSWORD:
                reason = "asks for a password, and monitor.password is not set"
            raise ProbeFailed(reason, lost=True) from exc
        except NodeUnreachable as exc:
            silent = _is_silence(exc.__cause__)
            raise ProbeFailed(self._without_address(exc), lost=True, silent=silent) from exc
        return Link(WireStream(dialed.wire, dialed.unread))

    def _read_credentials(self) -> Credentials | None:
        """Return the credentials of the monitor's role; its password file is read anew for each connection.

        They are kept while the password is the same, since they cache the keys that SCRAM derives from it. That takes
        milliseconds, and a node that refuses the login is tried all the time.
        """
        password, path = self._monitor.password, self._monitor.password_file
        if not password and path is not None:
            try:
                password = read_password(path)
            except ConfigError as exc:
                raise ProbeFailed(str(exc), lost=True) from exc
        secret = Plain((password or "").encode())
        if self._credentials.secret != secret:
            self._credentials = Credentials(self._monitor.user, secret)
        return self._credentials if password else None

    def _without_address(self, exc: NodeError) -> str:
        """Return the message of *exc* without the address, which is shown beside it everywhere."""
        return str(exc).removeprefix(f"{self.endpoint}: ")


def _is_silence(exc: BaseException | None) -> bool:
    """Return whether nothing answered at the address; an unresolved host name tells nothing of the node."""
    return isinstance(exc, trio.TooSlowError) or (
        isinstance(exc, OSError)
        and exc.errno in _NOBODY
        and not isinstance(exc, socket.gaierror)
    )
