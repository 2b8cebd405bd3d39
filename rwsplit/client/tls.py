"""TLS towards clients: the context made of the configuration.

PgBouncer's client_tls_sslmode: `allow` and `prefer` leave it to the client, `require` turns away those who do
not ask for TLS, `verify-ca` and `verify-full` also those without a certificate the CA signed.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from rwsplit.config.choices import SslMode
from rwsplit.config.model import TlsConfig
from rwsplit.errors import ConfigError
from rwsplit.server.authentication import end_point_binding
from rwsplit.server.certificates import first_certificate, tls_reason

#: PostgreSQL's protocol in TLS's list of protocols; without it direct TLS is not for us.
ALPN: Final = "postgresql"
#: Modes in which a client must ask for TLS.
DEMANDING: Final = frozenset({SslMode.REQUIRE, SslMode.VERIFY_CA, SslMode.VERIFY_FULL})
#: Modes in which it must also show a certificate.
VERIFYING: Final = frozenset({SslMode.VERIFY_CA, SslMode.VERIFY_FULL})


class ClientTlsContext(ssl.SSLContext):
    """A server-side context that knows its own certificate, which clients may bind SCRAM to."""

    binding: bytes | None = None
    """The `tls-server-end-point` data, None if the certificate defines none."""


def make_client_context(tls: TlsConfig) -> ClientTlsContext | None:
    """Return the context for clients, None with `client_tls_sslmode: disable`.

    Raises:
        ConfigError: a file cannot be used.
    """
    if tls.client_tls_sslmode is SslMode.DISABLE:
        return None
    if tls.client_tls_cert_file is None:
        raise ConfigError(["tls.client_tls_cert_file: is required for TLS"])
    context = ClientTlsContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    # Connections are long; tickets would only be bytes nobody redeems. PostgreSQL sends none either.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.set_alpn_protocols([ALPN])
    _load_certificate(context, tls.client_tls_cert_file, tls.client_tls_key_file)
    if tls.client_tls_sslmode in VERIFYING:
        if tls.client_tls_ca_file is None:
            raise ConfigError(["tls.client_tls_ca_file: is required to verify clients"])
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(tls.client_tls_ca_file)
        except OSError as exc:
            raise _unusable("client_tls_ca_file", tls.client_tls_ca_file, exc) from exc
    return context


def _load_certificate(
    context: ClientTlsContext, cert_file: Path, key_file: Path | None
) -> None:
    try:
        # The password keeps OpenSSL from asking the terminal for one.
        context.load_cert_chain(cert_file, key_file, password="")
        certificate = first_certificate(cert_file)
    except OSError as exc:
        raise _unusable("client_tls_cert_file", cert_file, exc) from exc
    if certificate is not None:
        context.binding = end_point_binding(certificate)


def _unusable(setting: str, file: Path, exc: OSError) -> ConfigError:
    return ConfigError([f"tls.{setting}: cannot use {file}: {tls_reason(exc)}"])
