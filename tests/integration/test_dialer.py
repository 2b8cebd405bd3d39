"""Dialing real PostgreSQL with every authentication method, sslmode and kind of secret."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator

import pytest
import trio

from rwsplit.config.choices import AuthType, SslMode
from rwsplit.config.model import AuthConfig
from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.postgres import system_directory
from rwsplit.errors import LoginUnfinished, NodeUnreachable, ServerRefused
from rwsplit.protocol import codes, frontend
from rwsplit.protocol.scram import ScramVerifier, derive_keys
from rwsplit.server.credentials import Credentials
from rwsplit.server.demands import Demands
from rwsplit.server.dialer import Dialed, Endpoint, dial, send_cancel
from rwsplit.server.stream import WireStream
from tests.support.lobby import OpenLobby, served
from tests.support.logins import log_in_with_psycopg

pytestmark = pytest.mark.integration

LOOPBACK = "127.0.0.1/32"
HBA = (
    f"host all trusty {LOOPBACK} trust",
    f"host all clear {LOOPBACK} password",
    f"host all md5 {LOOPBACK} md5",
    f"hostssl all encrypted {LOOPBACK} scram-sha-256",
    f"host all encrypted {LOOPBACK} reject",
    f"hostnossl all bare {LOOPBACK} scram-sha-256",
    f"host all bare {LOOPBACK} reject",
)
#: SASLprep changes this one.
PASSWORD = "pa\u00dfw\u00adort \u2168"
#: Everything may be asked for.
CLEARTEXT = AuthConfig(server_cleartext=True)
USERS = ("trusty", "clear", "md5", "encrypted", "bare", "scram", "j\u00fcrgen")


@pytest.fixture(scope="module")
def tls_cluster() -> Iterator[EmbeddedCluster]:
    """One PostgreSQL with OpenSSL, and users for every method."""
    binaries = system_directory()
    if binaries is None:
        pytest.skip(
            "this system has no PostgreSQL server of its own, and the wheel's has no OpenSSL"
        )
    with EmbeddedCluster(replicas=0, postgres=binaries, ssl=True, hba=HBA) as cluster:
        for user in USERS:
            encryption = "md5" if user == "md5" else "scram-sha-256"
            cluster.add_user(user, PASSWORD, encryption=encryption)
        yield cluster


@pytest.fixture(scope="module")
def stored(tls_cluster: EmbeddedCluster) -> dict[str, str]:
    """What PostgreSQL keeps of each user's password."""
    return dict(
        tls_cluster.primary.query(
            "select rolname, rolpassword from pg_authid where rolpassword is not null"
        )
    )


async def log_in(
    cluster: EmbeddedCluster,
    user: str,
    secret: str | Credentials | None = PASSWORD,
    mode: SslMode = SslMode.DISABLE,
    *,
    database: str = "postgres",
    auth: AuthConfig = CLEARTEXT,
    **parameters: str,
) -> Dialed:
    """Dial, and leave politely."""
    credentials = Credentials.from_text(user, secret) if isinstance(secret, str) else secret
    result = await dial(
        Endpoint(
            host="127.0.0.1",
            port=cluster.primary.port,
            sslmode=mode,
            ca_file=cluster.certificate_authority,
            demands=Demands.from_config(auth),
        ),
        database=database,
        user=user,
        parameters=parameters,
        credentials=credentials,
        timeout=10,
    )
    await WireStream(result.wire).send_all(frontend.terminate())
    result.wire.close()
    return result


@pytest.mark.parametrize("mode", list(SslMode))
@pytest.mark.parametrize("user", ["trusty", "clear", "md5", "scram", "j\u00fcrgen"])
async def test_a_password_logs_in_by_every_method_and_sslmode(tls_cluster, user, mode):
    result = await log_in(tls_cluster, user, PASSWORD, mode)

    assert result.wire.is_tls == (mode not in (SslMode.DISABLE, SslMode.ALLOW))
    assert result.pid > 0
    assert len(result.cancel_key) == 4
    assert result.parameters["server_encoding"] == "UTF8"


async def test_a_password_is_not_told_to_who_asks_for_it_in_the_clear(tls_cluster):
    with pytest.raises(ServerRefused, match="without TLS"):
        await log_in(tls_cluster, "clear", auth=AuthConfig())

    assert (
        await log_in(tls_cluster, "clear", PASSWORD, SslMode.REQUIRE, auth=AuthConfig())
    ).pid


@pytest.mark.parametrize(
    ("user", "asked"),
    [("trusty", "no proof"), ("md5", "md5"), ("clear", "the password itself")],
)
async def test_a_node_that_asks_for_less_than_is_required_is_refused(tls_cluster, user, asked):
    auth = AuthConfig(server_require_auth="scram-sha-256")

    await log_in(tls_cluster, "scram", auth=auth)
    with pytest.raises(
        ServerRefused, match=f"asks for {asked}, which auth.server_require_auth"
    ):
        await log_in(tls_cluster, user, auth=auth)


@pytest.mark.parametrize("mode", list(SslMode))
async def test_pg_hba_may_ask_for_tls(tls_cluster, mode):
    if mode is SslMode.DISABLE:
        with pytest.raises(ServerRefused) as caught:
            await log_in(tls_cluster, "encrypted", PASSWORD, mode)
        assert caught.value.server_sqlstate == "28000"
    else:
        assert (await log_in(tls_cluster, "encrypted", PASSWORD, mode)).wire.is_tls


@pytest.mark.parametrize("mode", list(SslMode))
async def test_pg_hba_may_refuse_tls(tls_cluster, mode):
    if mode in (SslMode.DISABLE, SslMode.ALLOW, SslMode.PREFER):
        assert not (await log_in(tls_cluster, "bare", PASSWORD, mode)).wire.is_tls
    else:
        with pytest.raises(ServerRefused):
            await log_in(tls_cluster, "bare", PASSWORD, mode)


async def test_an_md5_hash_logs_in_by_md5_alone(tls_cluster, stored):
    assert stored["md5"].startswith("md5")
    await log_in(tls_cluster, "md5", stored["md5"])

    with pytest.raises(ServerRefused, match="only an md5 hash"):
        await log_in(tls_cluster, "scram", stored["md5"])


@pytest.mark.parametrize("mode", [SslMode.DISABLE, SslMode.REQUIRE])
async def test_a_verifier_logs_in_with_the_key_a_client_showed(tls_cluster, stored, mode):
    lobby = OpenLobby(users={"scram": stored["scram"]})
    credentials = lobby.keyring.get("scram")
    with pytest.raises(ServerRefused, match="a client must have logged in"):
        await log_in(tls_cluster, "scram", credentials, mode)

    async with served(lobby) as port:
        await log_in_with_psycopg(port, user="scram", password=PASSWORD)

    await log_in(tls_cluster, "scram", credentials, mode)


async def test_a_password_in_clear_shows_the_key_too(tls_cluster, stored):
    lobby = OpenLobby(users={"scram": stored["scram"]}, method=AuthType.PASSWORD)
    async with served(lobby) as port:
        await log_in_with_psycopg(port, user="scram", password=PASSWORD)

    await log_in(tls_cluster, "scram", lobby.keyring.get("scram"))


async def test_a_verifier_of_another_salt_is_said_so(tls_cluster, stored):
    lobby = OpenLobby(users={"scram": stored["clear"]})
    async with served(lobby) as port:
        await log_in_with_psycopg(port, user="scram", password=PASSWORD)

    with pytest.raises(ServerRefused, match="another SCRAM verifier"):
        await log_in(tls_cluster, "scram", lobby.keyring.get("scram"))


async def test_few_iterations_are_fine(tls_cluster):
    """`scram_iterations` came with PostgreSQL 16; the verifier is what older ones accept as well."""
    made = ScramVerifier.from_keys(derive_keys(b"few", b"0123456789abcdef", 1), b"", 1)
    text = "SCRAM-SHA-256$1:{}${}:{}".format(
        *(
            b64encode(part).decode()
            for part in (b"0123456789abcdef", made.stored_key, made.server_key)
        )
    )
    tls_cluster.add_user("few", text)

    await log_in(tls_cluster, "few", "few")


async def test_a_wrong_password_is_postgresqls_own_error(tls_cluster):
    with pytest.raises(ServerRefused) as caught:
        await log_in(tls_cluster, "scram", "wrong")

    assert caught.value.server_sqlstate == "28P01"
    assert b'password authentication failed for user "scram"' in caught.value.response
    assert caught.value.response[0] == codes.ERROR


async def test_an_unknown_database_is_postgresqls_own_error(tls_cluster):
    with pytest.raises(ServerRefused, match='database "nowhere" does not exist') as caught:
        await log_in(tls_cluster, "scram", database="nowhere")

    assert caught.value.server_sqlstate == "3D000"


async def test_startup_parameters_and_options_arrive(tls_cluster):
    result = await log_in(
        tls_cluster,
        "scram",
        application_name="till",
        TimeZone="Europe/Berlin",
        options="-c search_path=shop -c DateStyle=German",
    )

    assert result.parameters["application_name"] == "till"
    assert result.parameters["TimeZone"] == "Europe/Berlin"
    assert result.parameters["DateStyle"] == "German, DMY"


async def test_a_wrong_startup_parameter_is_postgresqls_own_error(tls_cluster):
    with pytest.raises(ServerRefused) as caught:
        await log_in(tls_cluster, "scram", work_mem="much")

    assert caught.value.server_sqlstate == "22023"


async def test_a_server_works_and_can_be_cancelled(tls_cluster):
    endpoint = Endpoint(
        host="127.0.0.1", port=tls_cluster.primary.port, sslmode=SslMode.REQUIRE
    )
    dialed = await dial(
        endpoint,
        database="postgres",
        user="scram",
        parameters={},
        credentials=Credentials.from_text("scram", PASSWORD),
        timeout=10,
    )
    stream = WireStream(dialed.wire)
    await stream.send_all(frontend.query("select 1") + frontend.query("select pg_sleep(60)"))
    answers = []
    while "Z" not in answers:
        answers.append(chr((await stream.read_frame())[0]))
    assert answers == ["T", "D", "C", "Z"]

    with trio.fail_after(10):
        # The second query may not have begun when the request arrives; then nothing is cancelled.
        async with trio.open_nursery() as nursery:

            async def cancel_until_heard() -> None:
                while True:
                    await send_cancel(endpoint, dialed.pid, dialed.cancel_key, timeout=5)

            nursery.start_soon(cancel_until_heard)
            code, payload = await stream.read_frame()
            while code != codes.ERROR:
                code, payload = await stream.read_frame()
            nursery.cancel_scope.cancel()
    assert b"C57014" in payload
    stream.close()


async def test_a_paused_node_is_given_up_in_time(fragile_cluster):
    node = fragile_cluster.replicas[0]
    node.pause()
    try:
        with pytest.raises(NodeUnreachable, match=r"no answer within 0\.3 s"):
            await dial(
                Endpoint(host=node.host, port=node.port),
                database="postgres",
                user="app",
                parameters={},
                credentials=None,
                timeout=0.3,
            )
    finally:
        node.resume()


async def test_a_node_that_is_down_refuses(fragile_cluster):
    node = fragile_cluster.replicas[0]
    node.kill()

    with pytest.raises(NodeUnreachable, match="connection refused"):
        await dial(
            Endpoint(host=node.host, port=node.port),
            database="postgres",
            user="app",
            parameters={},
            credentials=None,
            timeout=5,
        )


async def test_what_a_login_itself_runs_into_is_told_from_a_node_that_does_not_answer(
    tls_cluster,
):
    for parameters in ({"post_auth_delay": "30"}, {"options": "-c post_auth_delay=30"}):
        with pytest.raises(LoginUnfinished, match=r"no answer within 0\.5 s"):
            await dial(
                Endpoint(host="127.0.0.1", port=tls_cluster.primary.port),
                database="postgres",
                user="trusty",
                parameters=parameters,
                credentials=None,
                timeout=0.5,
            )
