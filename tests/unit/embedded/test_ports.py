from __future__ import annotations

import socket
from pathlib import Path

from rwsplit.embedded.ports import free_ports, is_free


def test_the_ports_are_different_and_can_be_listened_on():
    ports = free_ports(5)

    assert len(set(ports)) == 5
    assert all(is_free(port) for port in ports)


def test_they_are_not_ports_the_kernel_gives_to_clients():
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    assert all(port < first for port in free_ports(20))


def test_a_port_somebody_listens_on_is_not_free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not is_free(server.getsockname()[1])
