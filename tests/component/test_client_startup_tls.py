"""Clients that ask for TLS, demand it, or abuse it."""

from __future__ import annotations

import contextlib

import pytest

from rwsplit.client.tls import make_client_context
from rwsplit.config.choices import AuthType, SslMode
from rwsplit.config.model import TlsConfig
from rwsplit.embedded.certificates import Certificates, make_certificates
from rwsplit.protocol import frontend
from rwsplit.protocol.scram import ScramClient
from rwsplit.server.authentication import end_point_binding
from tests.support.lobby import OpenLobby
from tests.support.startup_client import connect
from tests.support.wires import client_context

__all__ = ["connect"]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates") / "tls")


def encrypted(
    made: Certificates, mode: SslMode = SslMode.PREFER, **options: object
) -> OpenLobby:
    tls = TlsConfig(
        client_tls_sslmode=mode,
        client_tls_cert_file=made.certificate,
        client_tls_key_file=made.key,
        client_tls_ca_file=made.authority,
    )
    return OpenLobby(tls=tls, tls_context=make_client_context(tls), **options)  # type: ignore[arg-type]


@pytest.fixture
def trusting() -> OpenLobby:
    return OpenLobby(method=AuthType.TRUST)


async def test_a_client_that_asks_for_tls_gets_it(connect, certificates):
    lobby = encrypted(certificates, method=AuthType.TRUST)
    client = connect(lobby)
    await client.says(frontend.gssenc_request())
    assert await client.stream.receive_exactly(1) == b"N"
    await client.encrypts(certificates)
    await client.starts()

    await client.is_ready()
    assert lobby.logins[0].tls
    assert lobby.established[0][1].is_tls


async def test_plain_clients_are_welcome_where_tls_is_preferred(connect, certificates):
    client = connect(encrypted(certificates, method=AuthType.TRUST))
    await client.starts()

    await client.is_ready()


@pytest.mark.parametrize("mode", [SslMode.REQUIRE, SslMode.VERIFY_CA, SslMode.VERIFY_FULL])
async def test_plain_clients_are_turned_away_where_tls_is_required(connect, certificates, mode):
    lobby = encrypted(certificates, mode, method=AuthType.TRUST)
    client = connect(lobby)
    await client.starts()
    error = await client.hears_error()
    assert error["C"] == "28000"
    assert "sslmode=require" in error["M"]

    client = connect(lobby)
    await client.says(frontend.cancel_request(1, b"kkkk"))
    await client.hears_nothing_more()
    assert lobby.cancelled == [(1, b"kkkk")]


async def test_plaintext_behind_the_request_for_tls_is_an_attack(connect, certificates):
    client = connect(encrypted(certificates, method=AuthType.TRUST))
    await client.says(frontend.ssl_request() + frontend.startup_message({"user": "app"}))

    error = await client.hears_error()
    assert (error["C"], error["M"]) == ("08P01", "received unencrypted data after SSL request")


async def test_a_cancel_request_may_be_encrypted(connect, certificates):
    lobby = encrypted(certificates)
    client = connect(lobby)
    await client.encrypts(certificates)
    await client.says(frontend.cancel_request(4711, b"kkkk"))

    await client.hears_nothing_more()
    assert lobby.cancelled == [(4711, b"kkkk")]


async def test_inside_tls_encryption_is_not_asked_for_again(connect, certificates):
    client = connect(encrypted(certificates))
    await client.encrypts(certificates)
    await client.says(frontend.gssenc_request())

    assert (await client.hears_error())["C"] == "08P01"


async def test_direct_tls_needs_no_request_but_the_protocols_name(connect, certificates):
    for protocol, sqlstate in (("postgresql", None), ("http/1.1", "08P01"), (None, "08P01")):
        lobby = encrypted(certificates, method=AuthType.TRUST)
        client = connect(lobby)
        context = client_context(certificates)
        if protocol is not None:
            context.set_alpn_protocols([protocol])
        await client.stream.start_tls(context, server_side=False, server_hostname="localhost")
        if sqlstate is None:
            await client.starts()
            await client.is_ready()
        else:
            assert (await client.hears_error())["C"] == sqlstate


async def test_direct_tls_where_there_is_none_is_closed(connect, trusting):
    client = connect(trusting)
    await client.says(b"\x16\x03\x01\x02\x00\x01")

    await client.hears_nothing_more()


async def test_a_failed_handshake_is_one_clients_trouble(connect, certificates):
    client = connect(encrypted(certificates))
    await client.says(b"\x16\x03\x01\x00\x05hello")

    assert (await client.stream.receive_some())[0] == 0x15  # an alert, and no ErrorResponse
    await client.hears_nothing_more()


async def test_a_handshake_that_never_ends_is_cut_off_without_a_word(
    connect, certificates, autojump_clock
):
    client = connect(encrypted(certificates))
    await client.says(frontend.ssl_request())
    assert await client.stream.receive_exactly(1) == b"S"

    await client.hears_nothing_more()


async def test_who_must_show_a_certificate_and_does_not_stays_out(connect, certificates):
    lobby = encrypted(certificates, SslMode.VERIFY_CA, method=AuthType.TRUST)
    client = connect(lobby)
    with contextlib.suppress(OSError, EOFError):
        await client.encrypts(certificates)
        await client.starts()
        await client.is_ready()

    assert lobby.logins == []


@pytest.mark.parametrize("bound", [False, True])
async def test_scram_may_be_bound_to_the_channel(connect, certificates, bound):
    lobby = encrypted(certificates, users={"app": "secret"})
    client = connect(lobby)
    tls = await client.encrypts(certificates)
    await client.starts()
    binding = end_point_binding(tls.getpeercert(binary_form=True) or b"") if bound else None
    await client.proves_by_scram(binding=binding)

    await client.hears()
    await client.is_ready()


async def test_an_offer_of_binding_that_got_lost_is_noticed(connect, certificates):
    client = connect(encrypted(certificates, users={"app": "secret"}))
    await client.encrypts(certificates)
    await client.starts()
    await client.hears()
    first = ScramClient("nonce", could_bind=True).first()
    await client.says(frontend.sasl_initial_response("SCRAM-SHA-256", first))

    assert "channel binding" in (await client.hears_error())["M"]
