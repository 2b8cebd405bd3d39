"""The TLS context clients meet."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from rwsplit.client.tls import make_client_context
from rwsplit.config.choices import SslMode
from rwsplit.config.model import TlsConfig
from rwsplit.embedded.certificates import Certificates, make_certificates
from rwsplit.errors import ConfigError
from rwsplit.server.authentication import end_point_binding


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates") / "tls")


def configured(made: Certificates, mode: SslMode, *, ca: bool = False) -> TlsConfig:
    return TlsConfig(
        client_tls_sslmode=mode,
        client_tls_cert_file=made.certificate,
        client_tls_key_file=made.key,
        client_tls_ca_file=made.authority if ca else None,
    )


def test_disabled_means_none():
    assert make_client_context(TlsConfig()) is None


@pytest.mark.parametrize("mode", [SslMode.ALLOW, SslMode.PREFER, SslMode.REQUIRE])
def test_clients_need_no_certificate_unless_they_are_verified(certificates, mode):
    context = make_client_context(configured(certificates, mode))

    assert context is not None
    assert context.verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize("mode", [SslMode.VERIFY_CA, SslMode.VERIFY_FULL])
def test_clients_are_verified_against_the_authority(certificates, mode):
    context = make_client_context(configured(certificates, mode, ca=True))

    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.cert_store_stats()["x509_ca"] == 1


def test_the_context_knows_what_its_certificate_is_bound_by(certificates):
    context = make_client_context(configured(certificates, SslMode.PREFER))
    der = ssl.PEM_cert_to_DER_cert(certificates.certificate.read_text())

    assert context is not None
    assert context.binding == end_point_binding(der)
    assert len(context.binding or b"") == 32


def test_files_that_cannot_be_used_are_named(certificates, tmp_path: Path):
    missing = tmp_path / "missing.crt"
    nonsense = tmp_path / "nonsense.crt"
    nonsense.write_text("nonsense")
    good = configured(certificates, SslMode.VERIFY_CA, ca=True)

    for changed, problem in [
        ({"client_tls_cert_file": None}, "client_tls_cert_file: is required"),
        ({"client_tls_cert_file": missing}, "missing.crt: No such file"),
        ({"client_tls_cert_file": nonsense}, "client_tls_cert_file: cannot use"),
        ({"client_tls_key_file": nonsense}, "client_tls_cert_file: cannot use"),
        ({"client_tls_ca_file": None}, "client_tls_ca_file: is required"),
        ({"client_tls_ca_file": missing}, "missing.crt: No such file"),
        ({"client_tls_ca_file": nonsense}, "client_tls_ca_file: cannot use"),
    ]:
        settings = {
            name: getattr(good, name)
            for name in (
                "client_tls_sslmode",
                "client_tls_cert_file",
                "client_tls_key_file",
                "client_tls_ca_file",
            )
        }
        with pytest.raises(ConfigError, match=problem):
            make_client_context(TlsConfig(**{**settings, **changed}))
