"""Endpoint: where a node listens, and the TLS context with which it is met.

libpq's sslmode decides what is checked: `verify-ca` the certificate's signature, `verify-full` its name too,
and `require` the signature where a CA file is given.
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path
from typing import Final

import attrs

from rwsplit.config.choices import SslMode
from rwsplit.config.model import AuthConfig, NodeConfig, TcpConfig, TlsConfig
from rwsplit.errors import ConfigError, NodeUnreachable
from rwsplit.server.certificates import tls_reason
from rwsplit.server.demands import Demands
from rwsplit.server.wire import TCP, format_address

#: PostgreSQL's protocol in TLS's list of protocols.
ALPN: Final = "postgresql"


@attrs.frozen(kw_only=True)
class Endpoint:
    """Where a node listens, how TLS is to be spoken to it, and how its connections are watched."""

    host: str
    """A name, an address, or the directory of a Unix socket."""
    port: int = 5432
    sslmode: SslMode = SslMode.PREFER
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    demands: Demands = attrs.field(factory=Demands)
    """The authentication methods accepted from it."""

    tcp: TcpConfig = TCP

    @classmethod
    def from_config(
        cls,
        node: NodeConfig,
        tls: TlsConfig,
        auth: AuthConfig | None = None,
        tcp: TcpConfig = TCP,
    ) -> Endpoint:
        """Return the endpoint of *node*."""
        return cls(
            host=node.host,
            port=node.port,
            sslmode=tls.server_tls_sslmode,
            ca_file=tls.server_tls_ca_file,
            cert_file=tls.server_tls_cert_file,
            key_file=tls.server_tls_key_file,
            demands=Demands() if auth is None else Demands.from_config(auth),
            tcp=tcp,
        )

    def __str__(self) -> str:
        return format_address(self.host, self.port)

    @property
    def is_local(self) -> bool:
        """Whether it is a Unix socket, which never speaks TLS."""
        return self.host.startswith("/")


def server_tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    """Return the TLS context for *endpoint*; made once, and again when a file of it has changed.

    Raises:
        NodeUnreachable: a file cannot be used.
    """
    files = (endpoint.ca_file, endpoint.cert_file, endpoint.key_file)
    try:
        stamps = tuple(file.stat().st_mtime_ns if file else 0 for file in files)
        return _make_context(endpoint.sslmode, files, stamps)
    except ssl.SSLError as exc:
        raise NodeUnreachable(
            f"{endpoint}: the TLS files cannot be used: {exc.reason or exc}"
        ) from exc
    except OSError as exc:
        raise NodeUnreachable(
            f"{endpoint}: {exc.filename or 'a TLS file'}: {exc.strerror or exc}"
        ) from exc


def check_tls_files(tls: TlsConfig) -> None:
    """Check that the files for TLS towards the nodes can be used.

    Raises:
        ConfigError: one cannot; the message names the setting, the file and the reason.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for setting, file in (
        ("server_tls_ca_file", tls.server_tls_ca_file),
        ("server_tls_cert_file", tls.server_tls_cert_file),
    ):
        if file is None:
            continue
        try:
            if setting == "server_tls_ca_file":
                context.load_verify_locations(file)
            else:
                context.load_cert_chain(file, tls.server_tls_key_file, password="")
        except OSError as exc:
            raise ConfigError([f"tls.{setting}: cannot use {file}: {tls_reason(exc)}"]) from exc


@lru_cache(maxsize=16)
def _make_context(
    mode: SslMode, files: tuple[Path | None, ...], _stamps: tuple[int, ...]
) -> ssl.SSLContext:
    ca_file, cert_file, key_file = files
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([ALPN])
    verifies = mode in (SslMode.VERIFY_CA, SslMode.VERIFY_FULL)
    # libpq: with a CA file, `require` verifies as `verify-ca` does.
    verifies = verifies or (mode is SslMode.REQUIRE and ca_file is not None)
    context.check_hostname = mode is SslMode.VERIFY_FULL
    context.verify_mode = ssl.CERT_REQUIRED if verifies else ssl.CERT_NONE
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    elif verifies:
        context.load_default_certs()
    if cert_file is not None:
        # With a password given, OpenSSL does not ask for one on the terminal.
        context.load_cert_chain(cert_file, key_file, password="")
    return context
