from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import pytest

from rwsplit.embedded.certificates import make_certificates
from rwsplit.embedded.postgres import EmbeddedError

with_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="needs the openssl program"
)


@with_openssl
def test_a_client_that_trusts_the_authority_accepts_the_certificate(tmp_path: Path):
    made = make_certificates(tmp_path / "tls")

    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.certificate, made.key)
    client = ssl.create_default_context(cafile=made.authority)
    assert handshake(client, server, "127.0.0.1")
    assert handshake(client, server, "localhost")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(client, server, "elsewhere.example")


@with_openssl
def test_a_second_certificate_comes_from_the_same_authority(tmp_path: Path):
    first = make_certificates(tmp_path)
    authority = first.authority.read_bytes()

    second = make_certificates(tmp_path, name="client")

    assert second.authority.read_bytes() == authority
    assert second.certificate != first.certificate


def test_without_openssl_it_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(EmbeddedError, match="openssl program"):
        make_certificates(tmp_path)


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> bool:
    """Let the two talk in memory until both are content."""
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(theirs, ours, server_hostname=name),
        server.wrap_bio(ours, theirs, server_side=True),
    ]
    done = [False, False]
    for turn in range(20):
        try:
            ends[turn % 2].do_handshake()
            done[turn % 2] = True
        except ssl.SSLWantReadError:
            pass
    return all(done)
