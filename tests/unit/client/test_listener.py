"""Accepting clients, and going on accepting them."""

from __future__ import annotations

import resource
import socket

import attrs
import pytest
import trio
from structlog.testing import capture_logs

from rwsplit.client.listener import serve_listener
from rwsplit.config.choices import AuthType
from rwsplit.config.model import Address, TcpConfig
from rwsplit.errors import ConfigError
from rwsplit.protocol import codes, frontend
from rwsplit.server.stream import WireStream
from rwsplit.server.wire import PlainWire
from tests.support.lobby import OpenLobby, served


@pytest.fixture
def trusting() -> OpenLobby:
    return OpenLobby(method=AuthType.TRUST)


async def connect(port: int, host: str = "127.0.0.1") -> WireStream:
    """Connect and send a startup packet."""
    stream = WireStream(PlainWire(socket.create_connection((host, port))))
    await stream.send_all(frontend.startup_message({"user": "app"}))
    return stream


def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


async def logs_in(port: int, host: str = "127.0.0.1") -> bool:
    stream = await connect(port, host)
    code, _ = await stream.read_frame()
    stream.close()
    return code == ord("R")


async def test_clients_of_a_free_port_are_served(trusting):
    async with served(trusting) as port:
        assert port > 0
        for _ in range(3):
            assert await logs_in(port)

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


async def test_connections_are_watched_as_the_configuration_says(trusting):
    trusting.config = attrs.evolve(trusting.config, tcp=TcpConfig(keepidle=7))
    async with served(trusting) as port:
        stream = await connect(port)
        while (await stream.read_frame())[0] != codes.READY:
            pass
        [(_, wire, _)] = trusting.established
        assert wire._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7
        stream.close()


async def test_anywhere_is_every_address_on_one_port(trusting):
    async with served(trusting, host="*") as port:
        assert await logs_in(port)
        if has_ipv6():
            assert await logs_in(port, "::1")


async def test_a_taken_port_is_a_problem_of_the_configuration(trusting):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            await serve_listener(Address(host="127.0.0.1", port=port), trusting)

    assert caught.value.problems == [
        f"listen: cannot listen on 127.0.0.1:{port}: Address already in use"
    ]


async def test_an_address_of_another_machine_is_a_problem_of_the_configuration(trusting):
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:0: Cannot assign"):
        await serve_listener(Address(host="192.0.2.1", port=0), trusting)


def test_a_name_that_cannot_be_one_is_a_problem_of_the_configuration():
    with pytest.raises(ValueError, match="must be a host name or an address"):
        Address(host="x" * 70, port=0)


async def test_two_listeners_may_share_a_port(trusting, nursery):
    address = Address(host="127.0.0.1", port=0)
    port = await nursery.start(
        lambda task_status: serve_listener(
            address, trusting, reuse_port=True, task_status=task_status
        )
    )
    again = await nursery.start(
        lambda task_status: serve_listener(
            Address(host="127.0.0.1", port=port),
            trusting,
            reuse_port=True,
            task_status=task_status,
        )
    )

    assert again == port
    nursery.cancel_scope.cancel()


async def test_startups_may_outlive_the_listener(trusting, nursery):
    async with trio.open_nursery() as listeners:
        port = await listeners.start(
            lambda task_status: serve_listener(
                Address(host="127.0.0.1", port=0),
                trusting,
                clients=nursery,
                task_status=task_status,
            )
        )
        stream = WireStream(PlainWire(socket.create_connection(("127.0.0.1", port))))
        await stream.send_all(frontend.ssl_request())
        assert await stream.receive_exactly(1) == b"N"
        listeners.cancel_scope.cancel()

    await stream.send_all(frontend.startup_message({"user": "app"}))
    assert (await stream.read_frame())[0] == ord("R")
    stream.close()
    trusting.close()


async def test_a_lack_of_descriptors_is_waited_out(trusting):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with capture_logs() as logs:
        async with served(trusting) as port:
            assert await logs_in(port)
            client = socket.socket()
            try:
                lowest_free = client.fileno() + 1
                resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
                client.connect(("127.0.0.1", port))
                with trio.fail_after(5):
                    while logs[-1]["event"] != "accept_failed":
                        await trio.lowlevel.checkpoint()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            stream = WireStream(PlainWire(client))
            await stream.send_all(frontend.startup_message({"user": "app"}))
            assert (await stream.read_frame())[0] == ord("R")
            stream.close()

    failures = [log for log in logs if log["event"] == "accept_failed"]
    assert [log["reason"] for log in failures] == ["Too many open files"]
