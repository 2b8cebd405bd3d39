"""Dialing nodes that behave as no PostgreSQL should."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest
import trio

from rwsplit.config.choices import SslMode
from rwsplit.config.model import NodeConfig, TcpConfig, TlsConfig
from rwsplit.embedded.certificates import Certificates, make_certificates
from rwsplit.errors import NodeUnreachable, ServerRefused
from rwsplit.protocol import backend, frontend
from rwsplit.server.dialer import Dialed, dial, send_cancel
from rwsplit.server.endpoint import Endpoint, server_tls_context
from rwsplit.server.stream import WireStream
from rwsplit.server.wire import PlainWire
from tests.support.scripted import KEY, OK, READY, Script, behind_tls, node, says, silent
from tests.support.wires import server_context

REFUSAL = backend.error_response("FATAL", "28000", "no pg_hba.conf entry")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates") / "tls")


def encrypts(made: Certificates, *messages: bytes) -> Script:
    """Give TLS to who asks, then behave as `says`."""
    return behind_tls(made, says(*messages))


async def dialed(port: int, mode: SslMode = SslMode.DISABLE, **options: object) -> Dialed:
    settings = {"host": "127.0.0.1", "timeout": 5.0, **options}
    timeout = settings.pop("timeout")
    result = await dial(
        Endpoint(port=port, sslmode=mode, **settings),  # type: ignore[arg-type]
        database="shop",
        user="app",
        parameters={"application_name": "till"},
        credentials=None,
        timeout=timeout,  # type: ignore[arg-type]
    )
    result.wire.close()
    return result


# -- what a node says -------------------------------------------------------------------------------


async def test_everything_a_node_says_about_itself_is_kept():
    notice = backend.notice_response("WARNING", "01000", "collation changed")
    status = backend.parameter_status("server_version", "16.0")
    later = backend.parameter_status("in_hot_standby", "on")
    async with node(says(notice, OK, status, notice, KEY, READY, later)) as port:
        result = await dialed(port)

    assert (result.pid, result.cancel_key) == (7, b"abcd")
    assert result.parameters == {"server_version": "16.0"}
    assert result.notices == (notice, notice)
    assert result.unread == later
    assert result.wire.peer == f"127.0.0.1:{port}"


async def test_the_startup_packet_names_user_database_and_parameters():
    received = []

    async def script(stream: WireStream) -> None:
        received.append(await stream.receive_some())
        await stream.send_all(OK + READY)

    async with node(script) as port:
        result = await dialed(port)

    assert received == [
        frontend.startup_message(
            {"application_name": "till", "user": "app", "database": "shop"}
        )
    ]
    assert (result.pid, result.cancel_key) == (0, b"")


async def test_a_refusal_is_kept_byte_for_byte():
    response = backend.error_response("FATAL", "3D000", 'database "shop" does not exist')
    async with node(says(OK, response)) as port:
        with pytest.raises(ServerRefused, match='database "shop" does not exist') as caught:
            await dialed(port)

    assert caught.value.response == response
    assert caught.value.server_sqlstate == "3D000"
    assert str(caught.value).startswith(f"127.0.0.1:{port}: ")


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "closed the connection during startup"),
        ([OK], "closed the connection during startup"),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "does not speak as PostgreSQL does"),
        ([b"R\0\0\0\0"], "does not speak as PostgreSQL does"),
        ([b"R\x3f\xff\xff\xff"], "does not speak as PostgreSQL does"),
        ([KEY], "before authentication"),
        ([OK, OK], "during startup"),
        ([OK, b"K\0\0\0\x06ab"], "during startup"),
        ([OK, backend.data_row([])], "during startup"),
        ([b"E\0\0\0\x05S"], "does not speak as PostgreSQL does"),
        ([OK, *[backend.parameter_status("a", "b")] * 1001], "without an end"),
    ],
)
async def test_what_is_no_postgresql_is_unreachable(messages, words):
    async def script(stream: WireStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"".join(messages))

    async with node(script) as port:
        with pytest.raises(NodeUnreachable, match=words) as caught:
            await dialed(port)

    assert str(caught.value).startswith(f"127.0.0.1:{port}: ")


# -- getting there ----------------------------------------------------------------------------------


async def test_nobody_there_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(NodeUnreachable) as caught:
        await dialed(port)

    assert str(caught.value) == f"127.0.0.1:{port}: connection refused"


async def test_a_node_that_says_nothing_is_given_up(autojump_clock):
    async with node(silent) as port:
        with pytest.raises(NodeUnreachable, match=r"no answer within 5 s"):
            await dialed(port)


@pytest.mark.parametrize(
    ("host", "words"),
    [("x" * 70, "not a usable host name"), ("a..b", "not a usable host name")],
)
async def test_a_name_that_is_none_is_said_so(host, words):
    with pytest.raises(NodeUnreachable, match=words):
        await dialed(5432, host=host)


async def test_a_name_nobody_knows_is_said_so():
    with pytest.raises(NodeUnreachable, match=r"nowhere\.invalid:5432: "):
        await dialed(5432, host="nowhere.invalid")


class Resolver(trio.abc.HostnameResolver):
    """Knows one name, with the addresses it is given."""

    def __init__(self, *addresses: tuple[str, int]) -> None:
        self._addresses = addresses

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # noqa: A002
        await trio.lowlevel.checkpoint()
        return [(socket.AF_INET, type, proto, "", address) for address in self._addresses]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


async def test_every_address_of_a_name_is_tried():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()
    async with node(says(OK, KEY, READY)) as port:
        trio.socket.set_custom_hostname_resolver(Resolver(nobody, ("127.0.0.1", port)))
        result = await dialed(port, host="db.example")

    assert result.pid == 7
    assert result.wire.peer == f"db.example:{port}"


async def test_an_address_that_does_not_answer_leaves_time_for_the_next(autojump_clock):
    # A backlog that is full: the system drops what comes, as a firewall would.
    with socket.socket() as listener, socket.socket() as filler:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        filler.connect(listener.getsockname())
        async with node(says(OK, KEY, READY)) as port:
            trio.socket.set_custom_hostname_resolver(
                Resolver(listener.getsockname(), ("127.0.0.1", port))
            )
            result = await dialed(port, host="db.example")

            assert result.pid == 7
            trio.socket.set_custom_hostname_resolver(Resolver(listener.getsockname()))
            with pytest.raises(NodeUnreachable, match="no answer within 5 s"):
                await dialed(port, host="db.example")


async def test_a_name_without_addresses_is_said_so():
    trio.socket.set_custom_hostname_resolver(Resolver())

    with pytest.raises(NodeUnreachable):
        await dialed(5432, host="db.example")


async def test_a_unix_socket_is_named_by_its_directory(tmp_path: Path, nursery):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / ".s.PGSQL.5432"))
        listener.listen()

        async def serve() -> None:
            await trio.lowlevel.wait_readable(listener)
            stream = WireStream(PlainWire(listener.accept()[0]))
            with contextlib.closing(stream):
                await says(OK, KEY, READY)(stream)

        nursery.start_soon(serve)
        # TLS is for networks: sslmode is no matter here.
        result = await dialed(5432, SslMode.REQUIRE, host=str(tmp_path))

    assert result.pid == 7
    with pytest.raises(NodeUnreachable, match="no such file"):
        await dialed(5433, host=str(tmp_path))


def test_an_endpoint_is_made_of_the_configuration(tmp_path: Path):
    node_config = NodeConfig(name="pg1", host="10.0.0.1", port=5433)
    tls = TlsConfig(
        server_tls_sslmode=SslMode.VERIFY_FULL,
        server_tls_ca_file=tmp_path / "ca",
        server_tls_cert_file=tmp_path / "cert",
        server_tls_key_file=tmp_path / "key",
    )

    endpoint = Endpoint.from_config(node_config, tls, tcp=TcpConfig(keepidle=7))

    assert str(endpoint) == "10.0.0.1:5433"
    assert endpoint == Endpoint(
        host="10.0.0.1",
        port=5433,
        sslmode=SslMode.VERIFY_FULL,
        ca_file=tmp_path / "ca",
        cert_file=tmp_path / "cert",
        key_file=tmp_path / "key",
        tcp=TcpConfig(keepidle=7),
    )


async def test_a_server_is_watched_as_its_endpoint_says():
    async with node(says(OK, KEY, READY)) as port:
        endpoint = Endpoint(
            host="127.0.0.1", port=port, sslmode=SslMode.DISABLE, tcp=TcpConfig(keepidle=7)
        )
        result = await dial(
            endpoint, database="shop", user="app", parameters={}, credentials=None, timeout=5.0
        )
        sock = result.wire._socket
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7
        result.wire.close()


# -- TLS --------------------------------------------------------------------------------------------


async def test_tls_is_taken_where_it_is_offered(certificates):
    async with node(encrypts(certificates, OK, KEY, READY)) as port:
        assert (await dialed(port, SslMode.PREFER)).wire.is_tls


async def test_without_tls_prefer_goes_on_and_require_does_not():
    async def declines(stream: WireStream) -> None:
        assert await stream.receive_some() == frontend.ssl_request()
        await stream.send_all(b"N")
        await says(OK, KEY, READY)(stream)

    async with node(declines, declines) as port:
        assert not (await dialed(port, SslMode.PREFER)).wire.is_tls
        with pytest.raises(
            NodeUnreachable, match="does not support TLS, and sslmode is require"
        ):
            await dialed(port, SslMode.REQUIRE)


async def test_an_answer_that_is_neither_yes_nor_no_is_no_postgresql():
    async with node(says(b"E")) as port:
        with pytest.raises(NodeUnreachable, match="answered the request for TLS"):
            await dialed(port, SslMode.PREFER)


async def test_plaintext_behind_the_consent_to_tls_is_an_attack():
    async with node(says(b"S" + OK)) as port:
        with pytest.raises(NodeUnreachable, match="unencrypted data"):
            await dialed(port, SslMode.PREFER)


async def test_where_tls_fails_prefer_tries_without_and_require_does_not(certificates):
    async def fails(stream: WireStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"S")
        await stream.receive_some()
        await stream.send_all(b"\x15\x03\x01\0\x02\x02\x28")  # a fatal alert: handshake failure

    async with node(fails, says(OK, KEY, READY), fails) as port:
        assert not (await dialed(port, SslMode.PREFER)).wire.is_tls
        with pytest.raises(NodeUnreachable, match="TLS failed"):
            await dialed(port, SslMode.REQUIRE)


async def test_where_tls_is_refused_prefer_tries_without(certificates):
    async with node(encrypts(certificates, REFUSAL), says(OK, KEY, READY)) as port:
        assert not (await dialed(port, SslMode.PREFER)).wire.is_tls


async def test_where_plain_is_refused_allow_tries_tls(certificates):
    async with node(says(REFUSAL), encrypts(certificates, OK, KEY, READY)) as port:
        assert (await dialed(port, SslMode.ALLOW)).wire.is_tls


@pytest.mark.parametrize("mode", [SslMode.ALLOW, SslMode.PREFER])
async def test_when_both_ways_fail_the_first_refusal_counts(certificates, mode):
    first = encrypts(certificates, REFUSAL) if mode is SslMode.PREFER else says(REFUSAL)
    async with node(first, says(backend.error_response("FATAL", "53300", "full"))) as port:
        with pytest.raises(ServerRefused) as caught:
            await dialed(port, mode)

    assert caught.value.server_sqlstate == "28000"


@pytest.mark.parametrize("mode", [SslMode.ALLOW, SslMode.PREFER, SslMode.REQUIRE])
async def test_another_refusal_is_not_tried_again(certificates, mode):
    refusal = backend.error_response("FATAL", "53300", "full")
    script = says(refusal) if mode is SslMode.ALLOW else encrypts(certificates, refusal)
    async with node(script) as port:
        with pytest.raises(ServerRefused, match="full"):
            await dialed(port, mode)


@pytest.mark.parametrize(
    ("mode", "host", "trusted", "accepted"),
    [
        (SslMode.REQUIRE, "127.0.0.1", False, True),
        (SslMode.REQUIRE, "127.0.0.1", True, True),
        (SslMode.VERIFY_CA, "127.0.0.1", True, True),
        (SslMode.VERIFY_CA, "127.0.0.1", False, False),
        (SslMode.VERIFY_FULL, "127.0.0.1", True, True),
        (SslMode.VERIFY_FULL, "localhost", True, True),
        (SslMode.VERIFY_FULL, "db.example", True, False),
        (SslMode.VERIFY_CA, "db.example", True, True),
    ],
)
async def test_certificates_are_checked_as_sslmode_says(
    certificates, mode, host, trusted, accepted
):
    ca_file = certificates.authority if trusted else None
    async with node(encrypts(certificates, OK, KEY, READY)) as port:
        trio.socket.set_custom_hostname_resolver(Resolver(("127.0.0.1", port)))
        if accepted:
            assert (await dialed(port, mode, host=host, ca_file=ca_file)).wire.is_tls
        else:
            with pytest.raises(NodeUnreachable, match="its certificate is refused"):
                await dialed(port, mode, host=host, ca_file=ca_file)


async def test_require_with_another_authority_refuses(certificates, tmp_path):
    other = make_certificates(tmp_path / "tls")
    async with node(encrypts(certificates, OK, KEY, READY)) as port:
        with pytest.raises(NodeUnreachable, match="its certificate is refused"):
            await dialed(port, SslMode.REQUIRE, ca_file=other.authority)


async def test_files_that_cannot_be_used_are_said_so(certificates, tmp_path):
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("nonsense")
    async with node(silent, silent) as port:
        with pytest.raises(NodeUnreachable, match="missing: No such file"):
            await dialed(port, SslMode.VERIFY_CA, ca_file=tmp_path / "missing")
        with pytest.raises(NodeUnreachable, match="TLS files cannot be used"):
            await dialed(port, SslMode.VERIFY_CA, ca_file=nonsense)


def test_a_context_is_made_once_until_a_file_changes(certificates, tmp_path):
    ca_file = tmp_path / "ca.crt"
    ca_file.write_bytes(certificates.authority.read_bytes())
    endpoint = Endpoint(
        host="db",
        sslmode=SslMode.VERIFY_CA,
        ca_file=ca_file,
        cert_file=certificates.certificate,
        key_file=certificates.key,
    )
    first = server_tls_context(endpoint)

    assert server_tls_context(endpoint) is first
    ca_file.write_bytes(ca_file.read_bytes() + b"\n")

    os.utime(ca_file, ns=(1, 1))
    assert server_tls_context(endpoint) is not first


# -- cancelling -------------------------------------------------------------------------------------


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_cancel_request_is_over_when_the_node_has_closed(certificates, encrypted):
    received = []

    async def script(stream: WireStream) -> None:
        received.append(await stream.receive_some())
        if encrypted:
            await stream.send_all(b"S")
            await stream.start_tls(server_context(certificates), server_side=True)
            received.append(await stream.receive_some())
        await stream.send_all(b"ignored")

    mode = SslMode.PREFER if encrypted else SslMode.ALLOW
    async with node(script) as port:
        await send_cancel(
            Endpoint(host="127.0.0.1", port=port, sslmode=mode), 7, b"abcd", timeout=5
        )

    assert received == [frontend.ssl_request()] * encrypted + [
        frontend.cancel_request(7, b"abcd")
    ]


async def test_a_cancel_request_that_gets_nowhere_is_an_error(autojump_clock):
    async with node(silent) as port:
        endpoint = Endpoint(host="127.0.0.1", port=port, sslmode=SslMode.DISABLE)
        with pytest.raises(NodeUnreachable, match="no answer within 2 s"):
            await send_cancel(endpoint, 7, b"abcd", timeout=2)
