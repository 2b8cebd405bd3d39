"""What a probe asks for, and how it fails; looks at real nodes are in tests/integration."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from rwsplit.config.model import MonitorConfig, NodeConfig, SslMode, TlsConfig
from rwsplit.monitor.probe import Link, Probe, ProbeFailed, connection_parameters

NODE = NodeConfig(name="pg0", host="10.0.0.1", port=5433)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def silent(listener: socket.socket, timeout: float) -> Probe:
    host, port = listener.getsockname()
    node = NodeConfig(name="pg0", host=host, port=port)
    tls = TlsConfig(server_tls_sslmode=SslMode.DISABLE)
    return Probe(node, MonitorConfig(timeout=timeout), tls)


def refused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as made:
        port: int = made.getsockname()[1]
    return port


def test_every_wait_of_the_connection_is_bounded():
    parameters = connection_parameters(NODE, MonitorConfig(timeout=0.25), TlsConfig())

    assert parameters["connect_timeout"] == 2
    assert parameters["tcp_user_timeout"] == 250
    assert "-c statement_timeout=250" in str(parameters["options"])


def test_it_logs_in_as_the_monitor():
    monitor = MonitorConfig(user="watch", database="app")

    parameters = connection_parameters(NODE, monitor, TlsConfig())

    assert (parameters["host"], parameters["port"]) == ("10.0.0.1", 5433)
    assert (parameters["user"], parameters["dbname"]) == ("watch", "app")
    assert parameters["sslmode"] == "prefer"
    assert "sslrootcert" not in parameters
    assert "password" not in parameters


def test_tls_towards_servers_holds_for_probes_too():
    tls = TlsConfig(
        server_tls_sslmode=SslMode.VERIFY_FULL,
        server_tls_ca_file=Path("ca.crt"),
        server_tls_cert_file=Path("me.crt"),
        server_tls_key_file=Path("me.key"),
    )

    parameters = connection_parameters(NODE, MonitorConfig(), tls)

    assert parameters["sslmode"] == "verify-full"
    assert parameters["sslrootcert"] == "ca.crt"
    assert (parameters["sslcert"], parameters["sslkey"]) == ("me.crt", "me.key")


async def test_nobody_listening_is_a_lost_connection():
    node = NodeConfig(name="pg0", host="127.0.0.1", port=refused_port())
    probe = Probe(node, MonitorConfig(), TlsConfig())

    with pytest.raises(ProbeFailed, match="Connection refused") as caught:
        await probe.look()

    assert caught.value.lost
    assert "\n" not in str(caught.value)
    probe.close()


async def test_a_password_file_that_cannot_be_read_fails_the_probe(tmp_path: Path):
    node = NodeConfig(name="pg0", host="127.0.0.1", port=refused_port())
    probe = Probe(node, MonitorConfig(password_file=tmp_path / "missing"), TlsConfig())

    with pytest.raises(ProbeFailed, match="No such file"):
        await probe.look()

    probe.close()


async def test_a_silent_node_fails_the_probe_in_time(listener: socket.socket):
    probe = silent(listener, 0.1)

    with pytest.raises(ProbeFailed, match=r"no answer in 0\.1 s") as caught:
        await probe.look()

    assert not caught.value.lost
    probe.close()


async def test_a_cancelled_look_is_cancelled_at_once(listener: socket.socket):
    probe = silent(listener, 60.0)

    with trio.move_on_after(0.05) as scope:
        await probe.look()

    assert scope.cancelled_caught
    probe.close()


async def test_a_node_never_occupies_more_than_its_threads(listener: socket.socket):
    before = threading.active_count()
    probe = silent(listener, 0.05)

    for _ in range(6):
        with pytest.raises(ProbeFailed):
            await probe.look()

    assert threading.active_count() - before <= 2
    probe.close()


def test_an_abandoned_link_looks_no_more():
    link = Link({}, None)
    link.abandon()

    with pytest.raises(ProbeFailed, match="abandoned"):
        link.look()
