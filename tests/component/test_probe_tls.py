"""What `tls.server_tls_*` says of connections to nodes holds for probes, too."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from rwsplit.cluster.node import Role
from rwsplit.config.choices import SslMode
from rwsplit.config.model import MonitorConfig, NodeConfig, TlsConfig
from rwsplit.embedded.certificates import Certificates, make_certificates
from rwsplit.monitor.link import ProbeFailed
from rwsplit.monitor.probe import Probe
from rwsplit.protocol import frontend
from rwsplit.server.stream import WireStream
from tests.support.probed import PRIMARY, REPLICA, probed
from tests.support.scripted import Script, behind_tls, node, silent
from tests.support.wires import server_context

MakeProbe = Callable[..., Probe]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates") / "tls")


@pytest.fixture
async def probe_of():
    """Makes probes of a port with settings of TLS; they are closed with the test."""
    made: list[Probe] = []

    def make(port: int, mode: SslMode, **files: Path) -> Probe:
        node_config = NodeConfig(name="pg0", host="127.0.0.1", port=port)
        tls = TlsConfig(server_tls_sslmode=mode, **files)
        made.append(Probe(node_config, MonitorConfig(), tls))
        return made[-1]

    yield make
    for probe in made:
        probe.close()


def without_tls(script: Script) -> Script:
    """Decline TLS, then follow *script*."""

    async def declines(stream: WireStream) -> None:
        assert await stream.receive_some() == frontend.ssl_request()
        await stream.send_all(b"N")
        await script(stream)

    return declines


@pytest.mark.parametrize("mode", [SslMode.PREFER, SslMode.REQUIRE, SslMode.VERIFY_FULL])
async def test_a_probe_looks_through_tls(mode, certificates, probe_of: MakeProbe):
    heard: list[bytes] = []
    script = behind_tls(certificates, probed(PRIMARY, REPLICA, heard=heard))
    async with node(script) as port:
        probe = probe_of(port, mode, server_tls_ca_file=certificates.authority)

        assert (await probe.look()).role is Role.PRIMARY
        assert (await probe.look()).role is Role.REPLICA

    assert b"rwsplit monitor" in heard[0]


@pytest.mark.parametrize("mode", [SslMode.DISABLE, SslMode.ALLOW])
async def test_where_sslmode_does_not_ask_for_tls_it_is_not_asked_for(
    mode, probe_of: MakeProbe
):
    async with node(probed(PRIMARY)) as port:
        assert (await probe_of(port, mode).look()).role is Role.PRIMARY


async def test_without_tls_prefer_looks_all_the_same_and_require_does_not(probe_of: MakeProbe):
    async with node(*[without_tls(probed(PRIMARY))] * 2) as port:
        prefers = probe_of(port, SslMode.PREFER)
        assert (await prefers.look()).role is Role.PRIMARY
        prefers.close()

        with pytest.raises(ProbeFailed) as caught:
            await probe_of(port, SslMode.REQUIRE).look()

    assert str(caught.value) == "it does not support TLS, and sslmode is require"
    assert caught.value.lost


async def test_a_certificate_of_another_authority_is_refused(
    certificates, tmp_path: Path, probe_of: MakeProbe
):
    other = make_certificates(tmp_path / "tls")
    async with node(behind_tls(certificates, probed(PRIMARY))) as port:
        probe = probe_of(port, SslMode.VERIFY_CA, server_tls_ca_file=other.authority)
        with pytest.raises(ProbeFailed, match="its certificate is refused: ") as caught:
            await probe.look()

    assert caught.value.lost


async def test_a_probe_shows_the_certificate_it_was_given(certificates, probe_of: MakeProbe):
    shown: list[bytes | None] = []

    async def demands_certificate(stream: WireStream) -> None:
        context = server_context(certificates)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificates.authority)
        await stream.receive_some()
        await stream.send_all(b"S")
        tls = await stream.start_tls(context, server_side=True)
        shown.append(tls.getpeercert(binary_form=True))
        await probed(PRIMARY)(stream)

    async with node(demands_certificate) as port:
        probe = probe_of(
            port,
            SslMode.VERIFY_CA,
            server_tls_ca_file=certificates.authority,
            server_tls_cert_file=certificates.certificate,
            server_tls_key_file=certificates.key,
        )
        assert (await probe.look()).role is Role.PRIMARY

    assert shown == [ssl.PEM_cert_to_DER_cert(certificates.certificate.read_text())]


async def test_a_file_that_is_missing_fails_the_look(tmp_path: Path, probe_of: MakeProbe):
    async with node(silent) as port:
        probe = probe_of(port, SslMode.VERIFY_CA, server_tls_ca_file=tmp_path / "missing")
        with pytest.raises(ProbeFailed, match="missing: No such file") as caught:
            await probe.look()

    assert caught.value.lost
