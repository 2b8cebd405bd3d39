"""Real clients at the door: libpq through psycopg and psql, asyncpg."""

from __future__ import annotations

import shutil
from base64 import b64encode

import psycopg
import pytest

from rwsplit.client.tls import make_client_context
from rwsplit.config.choices import AuthType, SslMode
from rwsplit.config.model import TlsConfig
from rwsplit.embedded.certificates import Certificates, make_certificates
from rwsplit.protocol.scram import ScramVerifier, derive_keys
from rwsplit.server.credentials import hash_md5, prepare_password
from tests.support.lobby import OpenLobby, served
from tests.support.logins import log_in_with_asyncpg, log_in_with_psql, log_in_with_psycopg

pytestmark = pytest.mark.integration

PASSWORD = "p\u00e4ssw\u00adort \u2168"


def verifier_of(password: str) -> str:
    salt = b"0123456789abcdef"
    keys = derive_keys(prepare_password(password.encode()), salt, 4096)
    made = ScramVerifier.from_keys(keys, salt, 4096)
    parts = (b64encode(part).decode() for part in (salt, made.stored_key, made.server_key))
    return "SCRAM-SHA-256$4096:{}${}:{}".format(*parts)


SECRETS = {
    "plain": PASSWORD,
    "md5": "md5" + hash_md5(PASSWORD.encode(), b"app").decode(),
    "verifier": verifier_of(PASSWORD),
}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates") / "tls")


def encrypted(made: Certificates, mode: SslMode = SslMode.REQUIRE, **options) -> OpenLobby:
    tls = TlsConfig(
        client_tls_sslmode=mode,
        client_tls_cert_file=made.certificate,
        client_tls_key_file=made.key,
        client_tls_ca_file=made.authority,
    )
    return OpenLobby(tls=tls, tls_context=make_client_context(tls), **options)


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        (AuthType.SCRAM, "plain"),
        (AuthType.SCRAM, "verifier"),
        (AuthType.MD5, "plain"),
        (AuthType.MD5, "md5"),
        (AuthType.MD5, "verifier"),
        (AuthType.PASSWORD, "plain"),
        (AuthType.PASSWORD, "md5"),
        (AuthType.PASSWORD, "verifier"),
        (AuthType.TRUST, "plain"),
    ],
)
async def test_libpq_and_asyncpg_prove_themselves(method, kind):
    lobby = OpenLobby(users={"app": SECRETS[kind]}, method=method)
    async with served(lobby) as port:
        known = await log_in_with_psycopg(
            port, user="app", password=PASSWORD, application_name="till", options="-c a.b=c"
        )
        assert known == (4711, 160000)
        pid, version = await log_in_with_asyncpg(
            port, user="app", password=PASSWORD, database="shop", ssl=False
        )
        assert (pid, version) == (4711, "16.0")

    [first, *_] = lobby.logins
    assert (first.user, first.database, first.application_name) == ("app", "shop", "till")
    assert first.parameters["options"] == "-c a.b=c"


async def test_a_wrong_password_reads_as_postgresql_says_it():
    async with served(OpenLobby(users={"app": "secret"})) as port:
        for user, password in (("app", "wrong"), ("nobody", "secret")):
            with pytest.raises(psycopg.OperationalError) as caught:
                await log_in_with_psycopg(port, user=user, password=password)
            assert f'FATAL:  password authentication failed for user "{user}"' in str(
                caught.value
            )


@pytest.mark.parametrize("negotiation", ["postgres", "direct"])
@pytest.mark.parametrize("binding", ["disable", "prefer", "require"])
async def test_libpq_binds_scram_to_the_channel(certificates, negotiation, binding):
    if negotiation == "direct" and psycopg.pq.version() < 170000:
        pytest.skip("direct TLS needs libpq 17")
    lobby = encrypted(certificates, users={"app": "secret"})
    direct = {"sslnegotiation": "direct"} if negotiation == "direct" else {}
    async with served(lobby) as port:
        known = await log_in_with_psycopg(
            port,
            user="app",
            password="secret",
            sslmode="verify-full",
            sslrootcert=str(certificates.authority),
            channel_binding=binding,
            **direct,
        )

    assert known == (4711, 160000)
    assert lobby.logins[0].tls


async def test_asyncpg_speaks_tls(certificates):
    async with served(encrypted(certificates, users={"app": "secret"})) as port:
        pid, _ = await log_in_with_asyncpg(
            port, user="app", password="secret", database="shop", ssl="require"
        )

    assert pid == 4711


async def test_where_tls_is_required_plain_clients_are_told(certificates):
    async with served(encrypted(certificates, users={"app": "secret"})) as port:
        with pytest.raises(psycopg.OperationalError, match="TLS is required here"):
            await log_in_with_psycopg(port, user="app", password="secret", sslmode="disable")


async def test_who_must_show_a_certificate_gets_in_with_one(certificates):
    client = make_certificates(certificates.authority.parent, name="client")
    lobby = encrypted(certificates, SslMode.VERIFY_FULL, users={"app": "secret"})
    client.key.chmod(0o600)
    async with served(lobby) as port:
        with pytest.raises(psycopg.OperationalError, match=r"certificate required|SSL"):
            await log_in_with_psycopg(
                port, user="app", password="secret", sslmode="require", sslcert="/nowhere"
            )
        known = await log_in_with_psycopg(
            port,
            user="app",
            password="secret",
            sslmode="require",
            sslcert=str(client.certificate),
            sslkey=str(client.key),
        )

    assert known == (4711, 160000)


@pytest.mark.parametrize(("wanted", "minor"), [("3.0", 0), ("3.2", 2), ("latest", 2)])
async def test_libpq_negotiates_its_protocol(wanted, minor):
    if psycopg.pq.version() < 180000:
        pytest.skip("choosing the protocol needs libpq 18")
    lobby = OpenLobby(users={"app": "secret"})
    async with served(lobby) as port:
        await log_in_with_psycopg(
            port, user="app", password="secret", max_protocol_version=wanted
        )

    assert lobby.logins[0].minor == minor


async def test_psql_logs_in():
    if shutil.which("psql") is None:
        pytest.skip("psql is not installed")
    lobby = OpenLobby(users={"app": "secret"})
    async with served(lobby) as port:
        done = await log_in_with_psql(
            f"host=127.0.0.1 port={port} user=app password=secret dbname=shop"
        )

    assert b'connected to database "shop" as user "app"' in done.stdout
    assert done.returncode == 0
