"""A peer that reads nothing is not dead: what this kernel does to connections whose window is zero, with short times."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Iterator

import pytest

from rwsplit.config.model import TcpConfig
from rwsplit.server.wire import PlainWire

#: Keepalives that would end a connection within two seconds.
EAGER = {"keepidle": 1.0, "keepintvl": 1.0, "keepcnt": 1}


@pytest.fixture
def sleeper() -> Iterator[socket.socket]:
    """A socket that is connected to the next who accepts, and never reads."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        yield client


def filled(sleeper: socket.socket, tcp: TcpConfig) -> PlainWire:
    """The wire to *sleeper*, watched as *tcp* says, when it takes no more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sleeper.connect(listener.getsockname())
        wire = PlainWire(listener.accept()[0], tcp=tcp)
    while wire.send(bytes(65_536)):
        pass
    return wire


def end_of(wire: PlainWire, seconds: float) -> int:
    """The error *wire* ends with within so many seconds, 0 if it lives."""
    poll = select.poll()
    poll.register(wire.fileno(), select.POLLERR)
    poll.poll(seconds * 1000)
    return wire.detach().getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def test_keepalives_leave_a_client_alone_that_pauses_in_its_result(sleeper: socket.socket):
    wire = filled(sleeper, TcpConfig(**EAGER))

    assert end_of(wire, 4.0) == 0
    assert sleeper.recv(1000) == bytes(1000)
    wire.close()


def test_a_user_timeout_would_end_it_which_is_why_there_is_none_by_default(
    sleeper: socket.socket,
):
    wire = filled(sleeper, TcpConfig(user_timeout=0.5))

    assert end_of(wire, 30.0) == errno.ETIMEDOUT
    wire.close()
